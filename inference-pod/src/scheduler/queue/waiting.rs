//! The requests that wait, without locks and clocks: what enters, what leaves, and what runs next.

use std::collections::HashMap;
use std::time::Instant;

use super::super::job::{Job, Queued};
use super::super::limits::Limits;
use super::lane::{Lane, class};
use super::order::Order;
use super::slots::{Slot, Slots};

/// Inputs of all waiting requests together may not take more than this.
pub(super) const MAX_QUEUED_BYTES: usize = 512 << 20;
/// Lanes that are kept without a request: shapes come back.
const MOST_EMPTY_LANES: usize = 256;

/// By which a request is found again while it waits.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Ticket {
    place: u32,
    sequence: u64,
}

/// What a worker has to do.
pub(super) enum Next {
    /// To run these.
    Batch(Vec<Queued>),
    /// To wait for a change, and no longer than until then.
    Wait(Option<Instant>),
}

/// Requests in the order of their class and, within it, as they came.
type Rank = (u32, u64);

pub(super) struct Waiting {
    limits: Limits,
    smallest_preferred: usize,
    largest_preferred: usize,
    slots: Slots,
    lanes: Vec<Lane>,
    lanes_by_key: HashMap<Box<[i64]>, u32>,
    free_lanes: Vec<u32>,
    empty_lanes: usize,
    /// A key on its way to be looked up.
    key: Vec<i64>,
    /// Lanes that can be taken from, by the rank of their first request.
    ready: Order<Rank>,
    /// The other lanes with requests, by when those have waited long enough.
    ripening: Order<Instant>,
    /// Requests that are put behind the others at their deadline.
    deadlines: Order<Instant>,
    /// Requests by level.
    levels: Vec<usize>,
    requests: usize,
    bytes: usize,
    next_sequence: u64,
    is_closed: bool,
}

impl Waiting {
    pub(super) fn new(mut limits: Limits) -> Self {
        if limits.preferred_rows.is_empty() {
            limits.preferred_rows.push(limits.max_batch_rows);
        }
        Self {
            smallest_preferred: limits.preferred_rows.iter().copied().min().unwrap_or(1),
            largest_preferred: limits.preferred_rows.iter().copied().max().unwrap_or(1),
            levels: vec![0; limits.levels.len().max(1)],
            limits,
            slots: Slots::default(),
            lanes: Vec::new(),
            lanes_by_key: HashMap::new(),
            free_lanes: Vec::new(),
            empty_lanes: 0,
            key: Vec::new(),
            ready: Order::default(),
            ripening: Order::default(),
            deadlines: Order::default(),
            requests: 0,
            bytes: 0,
            next_sequence: 0,
            is_closed: false,
        }
    }

    /// Whether nothing waits and nothing will.
    pub(super) fn is_finished(&self) -> bool {
        self.is_closed && self.requests == 0
    }

    /// Whether a worker finds something to run, or at least to look at.
    pub(super) fn has_ready(&self) -> bool {
        self.ready.first().is_some()
    }

    /// When there is something to do without a change from outside.
    pub(super) fn next_event(&self) -> Option<Instant> {
        let ripe = self.ripening.first().map(|(at, _)| at);
        let late = self.deadlines.first().map(|(at, _)| at);
        ripe.into_iter().chain(late).min()
    }

    /// Lets everything that waits run, as full as it is.
    pub(super) fn close(&mut self, now: Instant) {
        self.is_closed = true;
        while let Some((_, lane)) = self.ripening.first() {
            self.settle(lane, now);
        }
    }

    /// Whether a request of this size is one too many, apart from `more` that count as waiting.
    pub(super) fn is_full(&self, level: usize, bytes: usize, more: usize) -> bool {
        let level = level.min(self.levels.len() - 1);
        let most = self
            .limits
            .levels
            .get(level)
            .map_or(0, |level| level.max_requests);
        self.levels[level] + more >= most || (self.requests > 0 && self.bytes + bytes > MAX_QUEUED_BYTES)
    }

    pub(super) fn enter(&mut self, mut job: Job, bytes: usize, now: Instant) -> Ticket {
        job.level = job.level.min(self.levels.len() - 1);
        let (level, rows, deadline) = (job.level, job.rows, job.deadline);
        let lane = self.lane_of(&job);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.requests += 1;
        self.bytes += bytes;
        self.levels[level] += 1;
        let queued = Queued {
            job,
            entered: now,
            bytes,
        };
        let slot = Slot::new(queued, sequence, lane, class(level, false));
        let place = self.slots.insert(slot);
        if let Some(deadline) = deadline.filter(|_| self.delays_late(level)) {
            self.deadlines.set(place, deadline);
        }
        let entered = &mut self.lanes[lane as usize];
        let is_last = entered.push(&mut self.slots, place);
        entered.rows += rows;
        let rows = entered.rows;
        entered.is_candidate |= if is_last {
            rows > self.largest_preferred || self.limits.preferred_rows.contains(&rows)
        } else {
            rows >= self.smallest_preferred
        };
        self.settle(lane, now);
        Ticket { place, sequence }
    }

    /// Takes a request out that still waits.
    pub(super) fn leave(&mut self, ticket: Ticket, now: Instant) -> Option<Queued> {
        let slot = self.slots.get(ticket.place)?;
        if slot.sequence != ticket.sequence {
            return None;
        }
        let lane = slot.lane;
        let queued = self.unlink(ticket.place)?;
        self.mark_candidate(lane);
        self.settle(lane, now);
        Some(queued)
    }

    /// The batch to run now. Requests that are not to run any more go into `dead` on the way.
    pub(super) fn next(&mut self, now: Instant, dead: &mut Vec<Queued>) -> Next {
        self.delay_late(now);
        while let Some((at, lane)) = self.ripening.first()
            && at <= now
        {
            self.settle(lane, now);
        }
        while let Some((_, lane)) = self.ready.first() {
            let count = self.plan(lane, now, dead);
            let mut batch = Vec::with_capacity(count);
            while batch.len() < count
                && let Some((_, place)) = self.lanes[lane as usize].first()
            {
                batch.extend(self.unlink(place));
            }
            self.lanes[lane as usize].is_candidate = false;
            if !batch.is_empty() {
                self.mark_candidate(lane);
            }
            self.settle(lane, now);
            if !batch.is_empty() {
                return Next::Batch(batch);
            }
        }
        Next::Wait(self.next_event())
    }

    /// How many requests from the front of a lane run now; none when they are to wait for company. As Triton has it: the
    /// largest preferred size that they make exactly; where they skip over all of these, as much as stays below; and all
    /// that fits when they have waited long enough.
    fn plan(&mut self, lane: u32, now: Instant, dead: &mut Vec<Queued>) -> usize {
        let (mut count, mut rows, mut preferred, mut is_full) = (0, 0, None, false);
        let mut next = self.lanes[lane as usize].first().map(|(_, place)| place);
        while let Some(place) = next
            && let Some(slot) = self.slots.get(place)
        {
            next = self.lanes[lane as usize].after(&self.slots, place);
            if !self.is_wanted(&slot.queued.job, now) {
                dead.extend(self.unlink(place));
                continue;
            }
            let more = rows + slot.queued.job.rows;
            if count > 0 && more > self.largest_preferred && preferred.is_none() {
                preferred = Some(count);
            }
            if count > 0 && more > self.limits.max_batch_rows {
                is_full = true;
                break;
            }
            rows = more;
            count += 1;
            if self.limits.preferred_rows.contains(&rows) {
                preferred = Some(count);
            }
        }
        match preferred {
            Some(count) if !self.has_waited(lane, now) => count,
            _ if is_full || rows >= self.largest_preferred || self.is_due(lane, now) => count,
            _ => 0,
        }
    }

    /// Whether somebody waits for it, and it is in time or may be late.
    fn is_wanted(&self, job: &Job, now: Instant) -> bool {
        let in_time = job.deadline.is_none_or(|deadline| now < deadline);
        !job.reply.is_closed() && (in_time || self.delays_late(job.level))
    }

    fn delays_late(&self, level: usize) -> bool {
        self.limits
            .levels
            .get(level)
            .is_some_and(|level| level.delays_late_requests)
    }

    /// Whether whatever is there has waited as long as it may for company.
    fn has_waited(&self, lane: u32, now: Instant) -> bool {
        self.is_closed || (!self.limits.max_delay.is_zero() && self.is_ripe(lane, now))
    }

    /// Whether whatever is there runs.
    fn is_due(&self, lane: u32, now: Instant) -> bool {
        self.is_closed
            || self.limits.max_delay.is_zero()
            || self.lanes[lane as usize].has_late()
            || self.is_ripe(lane, now)
    }

    fn is_ripe(&self, lane: u32, now: Instant) -> bool {
        let oldest = self.lanes[lane as usize].oldest(&self.slots);
        oldest.is_some_and(|oldest| now.saturating_duration_since(oldest) >= self.limits.max_delay)
    }

    /// Moves requests whose time is over behind the others of their level.
    fn delay_late(&mut self, now: Instant) {
        while let Some((deadline, place)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.remove(place);
            let Some(lane) = self.slots.get(place).map(|slot| slot.lane) else {
                continue;
            };
            self.lanes[lane as usize].unlink(&mut self.slots, place);
            if let Some(slot) = self.slots.get_mut(place) {
                slot.class = class(slot.queued.job.level, true);
            }
            self.lanes[lane as usize].push(&mut self.slots, place);
            self.settle(lane, now);
        }
    }

    /// What is left may begin with a preferred size.
    fn mark_candidate(&mut self, lane: u32) {
        let lane = &mut self.lanes[lane as usize];
        lane.is_candidate |= lane.rows >= self.smallest_preferred;
    }

    /// Takes a request out of its lane, which is to be settled then.
    fn unlink(&mut self, place: u32) -> Option<Queued> {
        let lane = self.slots.get(place)?.lane;
        let lane = &mut self.lanes[lane as usize];
        lane.unlink(&mut self.slots, place);
        self.deadlines.remove(place);
        let Slot { queued, .. } = self.slots.remove(place)?;
        lane.rows -= queued.job.rows;
        self.requests -= 1;
        self.bytes -= queued.bytes;
        self.levels[queued.job.level] -= 1;
        Some(queued)
    }

    /// The lane of a request, made where there is none.
    fn lane_of(&mut self, job: &Job) -> u32 {
        self.key.clear();
        // Those who run alone need no company of the same shape.
        if self.limits.max_batch_rows > 1 {
            job.write_key(&mut self.key);
        }
        if let Some(lane) = self.lanes_by_key.get(self.key.as_slice()) {
            self.empty_lanes -= usize::from(self.lanes[*lane as usize].is_empty());
            return *lane;
        }
        let made = Lane::new(&self.key);
        let key = made.key.clone();
        let lane = match self.free_lanes.pop() {
            Some(free) => {
                self.lanes[free as usize] = made;
                free
            }
            None => {
                self.lanes.push(made);
                self.lanes.len() as u32 - 1
            }
        };
        self.lanes_by_key.insert(key, lane);
        lane
    }

    /// Puts a lane where it belongs after a change.
    fn settle(&mut self, lane: u32, now: Instant) {
        let settled = &self.lanes[lane as usize];
        let Some((class, place)) = settled.first() else {
            self.ready.remove(lane);
            self.ripening.remove(lane);
            self.keep_empty(lane);
            return;
        };
        let (Some(first), Some(oldest)) = (self.slots.get(place), settled.oldest(&self.slots)) else {
            return;
        };
        if settled.is_candidate || self.is_due(lane, now) {
            self.ripening.remove(lane);
            self.ready.set(lane, (class, first.sequence));
        } else {
            self.ready.remove(lane);
            self.ripening.set(lane, oldest + self.limits.max_delay);
        }
    }

    fn keep_empty(&mut self, lane: u32) {
        self.lanes[lane as usize].is_candidate = false;
        if self.empty_lanes < MOST_EMPTY_LANES {
            self.empty_lanes += 1;
            return;
        }
        let key = std::mem::take(&mut self.lanes[lane as usize].key);
        self.lanes_by_key.remove(&key);
        self.free_lanes.push(lane);
    }

    /// Whether every lane is where it belongs, and what is counted is there.
    #[cfg(test)]
    pub(super) fn lanes_are_consistent(&self) -> Result<(), String> {
        let (mut requests, mut empty) = (0, 0);
        for lane in self.lanes_by_key.values() {
            let lane = &self.lanes[*lane as usize];
            let mut rows = 0;
            let mut next = lane.first().map(|(_, place)| place);
            while let Some(place) = next {
                let slot = self.slots.get(place).ok_or("a lane has an empty place")?;
                rows += slot.queued.job.rows;
                requests += 1;
                next = lane.after(&self.slots, place);
            }
            empty += usize::from(lane.is_empty());
            if rows != lane.rows {
                return Err(format!("{rows} rows counted as {}", lane.rows));
            }
        }
        if (requests, empty) != (self.requests, self.empty_lanes) {
            return Err(format!("{requests} requests, {empty} empty lanes"));
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, &[usize]) {
        (self.requests, self.bytes, &self.levels)
    }
}
