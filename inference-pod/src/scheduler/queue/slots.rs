//! Where waiting requests are kept: places that are used again, and lists through them, so that a request joins and leaves
//! in constant time and without an allocation.

use super::super::job::Queued;

pub(super) const NO_PLACE: u32 = u32::MAX;

/// A waiting request and where it belongs.
pub(super) struct Slot {
    pub(super) queued: Queued,
    /// Counts requests; tells this one from others that had the place before.
    pub(super) sequence: u64,
    pub(super) lane: u32,
    pub(super) class: u32,
    before: u32,
    after: u32,
}

impl Slot {
    pub(super) fn new(queued: Queued, sequence: u64, lane: u32, class: u32) -> Self {
        Self {
            queued,
            sequence,
            lane,
            class,
            before: NO_PLACE,
            after: NO_PLACE,
        }
    }

    /// The next in its list, or `NO_PLACE`.
    pub(super) fn after(&self) -> u32 {
        self.after
    }
}

#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn insert(&mut self, slot: Slot) -> u32 {
        if let Some(place) = self.free.pop() {
            self.slots[place as usize] = Some(slot);
            return place;
        }
        self.slots.push(Some(slot));
        self.slots.len() as u32 - 1
    }

    pub(super) fn get(&self, place: u32) -> Option<&Slot> {
        self.slots.get(place as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Slot> {
        self.slots.get_mut(place as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<Slot> {
        let slot = self.slots.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(slot)
    }
}

/// Places in order.
#[derive(Clone, Copy)]
pub(super) struct List {
    pub(super) first: u32,
    last: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self {
        first: NO_PLACE,
        last: NO_PLACE,
    };

    pub(super) fn is_empty(&self) -> bool {
        self.first == NO_PLACE
    }

    pub(super) fn push(&mut self, slots: &mut Slots, place: u32) {
        if let Some(slot) = slots.get_mut(place) {
            (slot.before, slot.after) = (self.last, NO_PLACE);
        }
        match slots.get_mut(self.last) {
            Some(last) => last.after = place,
            None => self.first = place,
        }
        self.last = place;
    }

    pub(super) fn unlink(&mut self, slots: &mut Slots, place: u32) {
        let Some((before, after)) = slots.get(place).map(|slot| (slot.before, slot.after)) else {
            return;
        };
        match slots.get_mut(before) {
            Some(slot) => slot.after = after,
            None => self.first = after,
        }
        match slots.get_mut(after) {
            Some(slot) => slot.before = before,
            None => self.last = before,
        }
    }
}
