//! Waiting requests that can run together, the most urgent first.

use std::time::Instant;

use super::slots::{List, NO_PLACE, Slots};

/// A class is a priority level and whether the request is past its deadline there: two for each level.
pub(super) const fn class(level: usize, is_late: bool) -> u32 {
    2 * level as u32 + is_late as u32
}

const fn is_late(class: u32) -> bool {
    class % 2 == 1
}

/// Requests of one shape.
pub(super) struct Lane {
    pub(super) key: Box<[i64]>,
    pub(super) rows: usize,
    /// Whether a batch of a preferred size may be there; to be looked at.
    pub(super) is_candidate: bool,
    /// Those that are not empty, the most urgent first. There are as many as levels that wait: few.
    classes: Vec<(u32, List)>,
}

impl Lane {
    pub(super) fn new(key: &[i64]) -> Self {
        Self {
            key: key.into(),
            rows: 0,
            is_candidate: false,
            classes: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The class and the place of the request that is next.
    pub(super) fn first(&self) -> Option<(u32, u32)> {
        self.classes.first().map(|(class, list)| (*class, list.first))
    }

    /// Puts a request behind those of its class. Answers whether it is behind all others too.
    pub(super) fn push(&mut self, slots: &mut Slots, place: u32) -> bool {
        let Some(slot) = slots.get(place) else {
            return false;
        };
        let class = slot.class;
        let index = match self.classes.binary_search_by_key(&class, |(class, _)| *class) {
            Ok(index) => index,
            Err(index) => {
                self.classes.insert(index, (class, List::EMPTY));
                index
            }
        };
        self.classes[index].1.push(slots, place);
        index + 1 == self.classes.len()
    }

    pub(super) fn unlink(&mut self, slots: &mut Slots, place: u32) {
        let Some(slot) = slots.get(place) else {
            return;
        };
        let found = self
            .classes
            .binary_search_by_key(&slot.class, |(class, _)| *class);
        if let Ok(index) = found {
            let list = &mut self.classes[index].1;
            list.unlink(slots, place);
            if list.is_empty() {
                self.classes.remove(index);
            }
        }
    }

    /// Who comes behind a request.
    pub(super) fn after(&self, slots: &Slots, place: u32) -> Option<u32> {
        let slot = slots.get(place)?;
        if slot.after() != NO_PLACE {
            return Some(slot.after());
        }
        let next = self.classes.partition_point(|(class, _)| *class <= slot.class);
        self.classes.get(next).map(|(_, list)| list.first)
    }

    /// Whether some request is past its deadline. A worker that would only wait for company has time for it.
    pub(super) fn has_late(&self) -> bool {
        self.classes.iter().any(|(class, _)| is_late(*class))
    }

    /// When the first of all its requests entered.
    pub(super) fn oldest(&self, slots: &Slots) -> Option<Instant> {
        let entered = |(_, list): &(u32, List)| slots.get(list.first).map(|slot| slot.queued.entered);
        self.classes.iter().filter_map(entered).min()
    }
}
