//! The queue as a state machine: whatever enters, leaves and is taken, at whatever time, nothing is lost or given twice.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::limits::LevelLimits;
use super::tests::{Waits, job, limits};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Enter {
        rows: usize,
        width: i64,
        level: usize,
        timeout: Option<u64>,
    },
    /// One of those that wait.
    Leave(usize),
    /// One whose caller goes away without taking it out.
    HangUp(usize),
    Take,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let enter = (1_usize..5, 1_i64..4, 0_usize..3, prop::option::of(0_u64..30));
    prop_oneof![
        6 => enter.prop_map(|(rows, width, level, timeout)| Step::Enter { rows, width, level, timeout }),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::HangUp),
        3 => Just(Step::Take),
        2 => (0_u64..20).prop_map(Step::Pass),
    ]
}

fn rules() -> impl Strategy<Value = Limits> {
    let preferred = prop::collection::vec(1_usize..8, 0..3);
    let delay = prop_oneof![Just(0), 1_u64..30];
    let levels = prop::collection::vec((1_usize..12, any::<bool>()), 1..=3);
    (4_usize..9, delay, preferred, levels).prop_map(|(max_batch_rows, delay, preferred, levels)| Limits {
        preferred_rows: preferred
            .into_iter()
            .map(|size| size.min(max_batch_rows))
            .collect(),
        levels: levels
            .into_iter()
            .map(|(max_requests, delays_late_requests)| LevelLimits {
                max_requests,
                delays_late_requests,
            })
            .collect(),
        ..limits(max_batch_rows, 0, delay)
    })
}

/// What is known of a request from outside.
struct Known {
    ticket: Ticket,
    answer: Option<Waits>,
    rows: usize,
    bytes: usize,
    width: i64,
    level: usize,
    entered: Instant,
    deadline: Option<Instant>,
}

struct Machine {
    limits: Limits,
    waiting: Waiting,
    now: Instant,
    known: BTreeMap<usize, Known>,
    entered: usize,
    is_closed: bool,
}

/// The request's number travels as the length of its shape's name: its own first size.
fn number(queued: &Queued) -> usize {
    queued.job.inputs[1].shape[0] as usize
}

impl Machine {
    fn is_late(&self, known: &Known) -> bool {
        known.deadline.is_some_and(|deadline| deadline <= self.now)
    }

    fn delays(&self, level: usize) -> bool {
        self.limits.levels[level].delays_late_requests
    }

    fn enter(&mut self, rows: usize, width: i64, level: usize, timeout: Option<u64>) {
        let level = level.min(self.limits.levels.len() - 1);
        let (mut job, answer) = job(rows, width);
        job.level = level;
        job.deadline = timeout.map(|timeout| self.now + Duration::from_millis(timeout));
        // Only the first size is not a part of the key.
        let mut marker = job.inputs[0].clone();
        marker.shape = vec![self.entered as i64];
        job.inputs.push(marker);
        let (bytes, deadline) = (job.byte_size(), job.deadline);
        let at_level = self.known.values().filter(|known| known.level == level).count();
        let is_full = self.waiting.is_full(level, bytes, 0);
        assert_eq!(is_full, at_level >= self.limits.levels[level].max_requests);
        if is_full {
            return;
        }
        let known = Known {
            ticket: self.waiting.enter(job, bytes, self.now),
            answer: Some(answer),
            rows,
            bytes,
            width,
            level,
            entered: self.now,
            deadline,
        };
        self.known.insert(self.entered, known);
        self.entered += 1;
    }

    fn nth(&self, index: usize) -> Option<usize> {
        let count = self.known.len().max(1);
        self.known.keys().nth(index % count).copied()
    }

    fn leave(&mut self, index: usize) {
        let Some(which) = self.nth(index) else { return };
        let known = self.known.remove(&which).unwrap();
        let queued = self.waiting.leave(known.ticket, self.now).unwrap();
        assert_eq!(number(&queued), which);
        assert!(self.waiting.leave(known.ticket, self.now).is_none());
    }

    fn hang_up(&mut self, index: usize) {
        if let Some(which) = self.nth(index) {
            self.known.get_mut(&which).unwrap().answer = None;
        }
    }

    fn take(&mut self) -> bool {
        let mut dead = Vec::new();
        let next = self.waiting.next(self.now, &mut dead);
        for queued in dead {
            let known = self.known.remove(&number(&queued)).unwrap();
            let is_refused = self.is_late(&known) && !self.delays(known.level);
            assert!(known.answer.is_none() || is_refused, "a live request was buried");
        }
        match next {
            Next::Batch(batch) => {
                self.check_batch(batch);
                true
            }
            Next::Wait(until) => {
                assert_eq!(until, self.waiting.next_event());
                self.check_wait(until);
                false
            }
        }
    }

    /// The class, and the number within it, by which requests are served.
    fn rank(&self, which: usize, known: &Known) -> (usize, bool, usize) {
        (known.level, self.is_late(known), which)
    }

    fn check_batch(&mut self, batch: Vec<Queued>) {
        assert!(!batch.is_empty());
        let numbers: Vec<_> = batch.iter().map(number).collect();
        let mut members = Vec::new();
        for which in &numbers {
            members.push((
                *which,
                self.known.remove(which).expect("given twice, or never entered"),
            ));
        }
        let (_, first) = &members[0];
        let rows: usize = members.iter().map(|(_, known)| known.rows).sum();
        assert!(members.len() == 1 || rows <= self.limits.max_batch_rows);
        for (_, known) in &members {
            assert_eq!(known.width, first.width, "shapes were mixed");
            assert!(known.answer.is_some(), "ran for nobody");
            assert!(!self.is_late(known) || self.delays(known.level), "ran too late");
        }
        assert!(
            self.is_justified(&members, rows),
            "it should have waited for company"
        );
        // Those that stay behind in its lane are not more urgent. Late ones among themselves are in the order in which
        // they became late.
        for (which, known) in &members {
            for (other, left) in &self.known {
                if left.width == first.width && left.answer.is_some() && !self.is_late(left) {
                    assert!(
                        self.rank(*which, known) < self.rank(*other, left),
                        "{other} should have gone before {which}"
                    );
                }
            }
        }
    }

    /// Whether a batch had a reason not to wait: its size, its age, or that what comes next does not fit.
    fn is_justified(&self, members: &[(usize, Known)], rows: usize) -> bool {
        let (_, first) = &members[0];
        let preferred = &self.limits.preferred_rows;
        let largest = preferred
            .iter()
            .copied()
            .max()
            .unwrap_or(self.limits.max_batch_rows);
        let lane = || {
            let left = self.known.iter().filter(|(_, known)| known.width == first.width);
            left.map(|(which, known)| (*which, known))
        };
        let taken = members.iter().map(|(which, known)| (*which, known));
        let has_waited = |(_, known): (usize, &Known)| {
            self.is_late(known) || known.entered + self.limits.max_delay <= self.now
        };
        let next = lane()
            .filter(|(_, known)| known.answer.is_some())
            .min_by_key(|(which, known)| self.rank(*which, known));
        self.is_closed
            || preferred.contains(&rows)
            || rows >= largest
            || taken.chain(lane()).any(has_waited)
            || next.is_some_and(|(_, next)| rows + next.rows > largest)
    }

    /// Whoever waits does so for company, and not for longer than the delay.
    fn check_wait(&self, until: Option<Instant>) {
        for known in self.known.values() {
            assert!(known.answer.is_some() || !self.limits.max_delay.is_zero());
            let runs_late = self.is_late(known) && self.delays(known.level);
            assert!(
                known.answer.is_none() || !runs_late,
                "a worker that waits has time for it"
            );
            let ripe = known.entered + self.limits.max_delay;
            assert!(ripe > self.now, "it waited long enough");
            assert!(
                until.is_some_and(|until| until <= ripe),
                "nobody would look in time"
            );
        }
        let mut lanes: BTreeMap<i64, usize> = BTreeMap::new();
        for known in self.known.values() {
            *lanes.entry(known.width).or_default() += known.rows;
        }
        let largest = self.limits.preferred_rows.iter().copied().max();
        let enough = largest.unwrap_or(self.limits.max_batch_rows);
        assert!(
            lanes.values().all(|rows| *rows < enough),
            "enough were there: {lanes:?}"
        );
    }

    fn check_counts(&self) {
        let mut levels = vec![0; self.limits.levels.len()];
        for known in self.known.values() {
            levels[known.level] += 1;
        }
        let bytes = self.known.values().map(|known| known.bytes).sum();
        assert_eq!(
            self.waiting.counts(),
            (self.known.len(), bytes, levels.as_slice())
        );
        assert_eq!(self.waiting.lanes_are_consistent(), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn nothing_is_lost_or_given_twice_and_every_bound_holds(
        limits in rules(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut machine = Machine {
            waiting: Waiting::new(limits.clone()),
            limits,
            now: Instant::now(),
            known: BTreeMap::new(),
            entered: 0,
            is_closed: false,
        };
        for step in steps {
            match step {
                Step::Enter { rows, width, level, timeout } => machine.enter(rows, width, level, timeout),
                Step::Leave(index) => machine.leave(index),
                Step::HangUp(index) => machine.hang_up(index),
                Step::Take => {
                    machine.take();
                }
                Step::Pass(milliseconds) => machine.now += Duration::from_millis(milliseconds),
            }
            machine.check_counts();
        }
        machine.is_closed = true;
        machine.waiting.close(machine.now);
        while machine.take() {
            machine.check_counts();
        }
        prop_assert!(machine.known.is_empty(), "somebody was forgotten");
        prop_assert!(machine.waiting.is_finished());
        machine.check_counts();
    }
}
