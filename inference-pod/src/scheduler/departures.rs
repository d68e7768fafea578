//! Answers on their way to those who wait: at once, or in the order in which their requests came (`preserve_ordering`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::{InferenceError, Result};
use crate::runtime::OutputTensor;

pub(super) type Answer = Result<Vec<OutputTensor>>;
type Caller = oneshot::Sender<Answer>;

/// The order in which answers leave. Whatever becomes of a request, its place is given up: nobody waits for ever behind it.
#[derive(Default)]
pub(super) struct Departures {
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    places: VecDeque<Place>,
    /// The number of the first place.
    first: u64,
    /// Answers that wait for those before them.
    parked: usize,
}

enum Place {
    /// Its request waits or runs.
    Taken,
    Parked(Caller, Answer),
    /// Its request was answered out of turn, or not at all.
    GivenUp,
}

impl Departures {
    fn lock(&self) -> MutexGuard<'_, Line> {
        // Nothing that is done under the lock panics half way.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers that are there and wait for those before them; they count as requests that wait.
    pub(super) fn parked(&self) -> usize {
        self.lock().parked
    }

    /// The next place in line.
    fn join(&self) -> u64 {
        let mut line = self.lock();
        line.places.push_back(Place::Taken);
        line.first + line.places.len() as u64 - 1
    }

    fn depart(&self, number: u64, place: Place) {
        let mut line = self.lock();
        let Some(index) = number
            .checked_sub(line.first)
            .and_then(|index| usize::try_from(index).ok())
        else {
            return;
        };
        if let Some(taken) = line.places.get_mut(index) {
            let is_parked = matches!(place, Place::Parked(..));
            *taken = place;
            line.parked += usize::from(is_parked);
        }
        // Sent under the lock, or a later answer could overtake.
        while !matches!(line.places.front(), None | Some(Place::Taken)) {
            line.first += 1;
            if let Some(Place::Parked(caller, answer)) = line.places.pop_front() {
                line.parked -= 1;
                // The caller may have gone meanwhile.
                let _ = caller.send(answer);
            }
        }
    }
}

/// The way back to who waits for a request. Dropped without an answer, it gives up its place.
pub(super) struct Reply {
    caller: Option<Caller>,
    turn: Option<(Arc<Departures>, u64)>,
}

impl Reply {
    pub(super) fn new(caller: Caller) -> Self {
        Self {
            caller: Some(caller),
            turn: None,
        }
    }

    /// From now on its answer leaves behind those of all that joined before.
    pub(super) fn join(&mut self, departures: &Arc<Departures>) {
        self.turn = Some((Arc::clone(departures), departures.join()));
    }

    /// Whether nobody waits any more.
    pub(super) fn is_closed(&self) -> bool {
        self.caller.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Answers when it is its turn.
    pub(super) fn send(mut self, answer: Answer) {
        let Some(caller) = self.caller.take() else {
            return;
        };
        match self.turn.take() {
            Some((departures, number)) => departures.depart(number, Place::Parked(caller, answer)),
            // The caller may have gone meanwhile.
            None => drop(caller.send(answer)),
        }
    }

    /// Says at once, whoever else waits, that there will be no answer.
    pub(super) fn refuse(mut self, error: InferenceError) {
        if let Some(caller) = self.caller.take() {
            // The caller may have gone meanwhile.
            let _ = caller.send(Err(error));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some((departures, number)) = self.turn.take() {
            departures.depart(number, Place::GivenUp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(departures: &Arc<Departures>) -> (Reply, oneshot::Receiver<Answer>) {
        let (caller, answer) = oneshot::channel();
        let mut reply = Reply::new(caller);
        reply.join(departures);
        (reply, answer)
    }

    #[test]
    fn answers_wait_for_those_before_them_and_for_nobody_who_gave_up() {
        let departures = Arc::new(Departures::default());
        let ((first, mut one), (second, mut two), (third, mut three), (fourth, mut four)) = (
            joined(&departures),
            joined(&departures),
            joined(&departures),
            joined(&departures),
        );
        second.send(Ok(vec![]));
        fourth.send(Ok(vec![]));
        assert!(two.try_recv().is_err() && four.try_recv().is_err());
        assert_eq!(departures.parked(), 2);
        first.send(Ok(vec![]));
        assert!(one.try_recv().is_ok() && two.try_recv().is_ok() && four.try_recv().is_err());
        // As when a worker panics with it in hand.
        drop(third);
        assert!(three.try_recv().is_err() && four.try_recv().is_ok());
        assert_eq!(departures.parked(), 0);
    }

    #[test]
    fn a_refusal_does_not_wait_for_its_turn() {
        let departures = Arc::new(Departures::default());
        let ((first, mut one), (second, mut two)) = (joined(&departures), joined(&departures));
        second.refuse(InferenceError::unavailable("late"));
        assert_eq!(two.try_recv().unwrap().unwrap_err().message, "late");
        first.send(Ok(vec![]));
        assert!(one.try_recv().is_ok());
        assert_eq!(departures.lock().places.len(), 0);
    }
}
