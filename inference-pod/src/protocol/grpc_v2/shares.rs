//! The shares of the memory that the messages of a call take: one for each, as a message of a stream may have come whole while
//! the one before is answered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::elements::Elements;
use crate::error::Result;
use crate::memory::{Budget, Reservation};
use crate::protocol::intake::TENSOR_EXPANSION;

/// Shares of the messages of a stream that have come whole, in order.
#[derive(Default)]
pub(super) struct Whole(Mutex<VecDeque<Arc<Reservation>>>);

impl Whole {
    /// That of the message that is handled next.
    pub(super) fn next(&self) -> Option<Arc<Reservation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn add(&self, share: Arc<Reservation>) {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shares.push_back(share);
    }
}

/// Counts the bytes of a call as they come.
pub(super) struct Shares {
    budget: Arc<Budget>,
    elements: Elements,
    /// That of the message that comes now; where it is no stream, of the only one.
    current: Arc<Reservation>,
    whole: Option<Arc<Whole>>,
}

impl Shares {
    pub(super) fn new(budget: &Arc<Budget>, are_requests: bool, whole: Option<Arc<Whole>>) -> Self {
        Self {
            budget: Arc::clone(budget),
            elements: Elements::new(are_requests),
            current: Arc::new(budget.reserve(TENSOR_EXPANSION)),
            whole,
        }
    }

    pub(super) fn current(&self) -> &Arc<Reservation> {
        &self.current
    }

    /// Takes the share of what came. `is_counted` says that its bytes are, and only what is in them is not.
    pub(super) fn take(&mut self, mut piece: &[u8], is_counted: bool) -> Result<()> {
        while !piece.is_empty() {
            let passed = self.elements.pass(piece)?;
            if let (Some(length), false) = (passed.begins, is_counted) {
                // One that can never fit is refused before it is sent.
                self.current.check(length)?;
            }
            let bytes = if is_counted { 0 } else { passed.bytes };
            self.current.grow_beyond(bytes, passed.beyond)?;
            piece = &piece[passed.bytes..];
            if let (true, Some(whole)) = (passed.ends, &self.whole) {
                let next = Arc::new(self.budget.reserve(TENSOR_EXPANSION));
                whole.add(std::mem::replace(&mut self.current, next));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_answered_gives_back_no_more_than_its_own_share() {
        let budget = Budget::of(Some(10_000));
        let whole = Arc::new(Whole::default());
        let mut shares = Shares::new(&budget, true, Some(Arc::clone(&whole)));
        // Two whole messages and half of a third in one piece.
        let piece = [
            &[0, 0, 0, 0, 2, 0x0a, 0][..],
            &[0, 0, 0, 0, 0],
            &[0, 0, 0, 0, 9, 0x0a],
        ]
        .concat();
        shares.take(&piece, false).unwrap();
        assert_eq!(budget.taken(), 18 * TENSOR_EXPANSION);
        drop(whole.next().unwrap());
        assert_eq!(budget.taken(), 11 * TENSOR_EXPANSION);
        drop(whole.next().unwrap());
        assert_eq!(budget.taken(), 6 * TENSOR_EXPANSION);
        assert!(whole.next().is_none());
        drop(shares);
        assert_eq!(budget.taken(), 0);
    }
}
