//! Messages that come compressed, made plain before tonic sees them: it would inflate them without asking the budget.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::HeaderMap;

use super::pauses::{PREFIX_BYTES, too_large};
use crate::error::Result;
use crate::memory::Reservation;
use crate::protocol::body;
use crate::protocol::compression::Encoding;
use crate::protocol::intake::Intake;

const COMPRESSED: u8 = 1;

/// The messages of one call, compressed and otherwise.
pub(super) struct Inflater {
    /// What came and is not a whole message yet.
    arrived: BytesMut,
    /// Its share of the memory.
    waiting: Reservation,
    /// That of what is passed on.
    reservation: Arc<Reservation>,
    /// Most bytes of a message.
    largest: usize,
}

impl Inflater {
    /// One for a call that may hold compressed messages.
    pub(super) fn of_call(
        headers: &HeaderMap,
        intake: &Intake,
        reservation: &Arc<Reservation>,
    ) -> Option<Self> {
        let encoding = headers.get("grpc-encoding")?;
        (encoding == Encoding::Gzip.name()).then(|| Self {
            arrived: BytesMut::new(),
            waiting: intake.budget.reserve(1),
            reservation: Arc::clone(reservation),
            largest: intake.max_message_bytes,
        })
    }

    /// Takes what came, and gives the messages that are whole with it; perhaps none.
    pub(super) async fn take(&mut self, piece: Bytes) -> Result<Bytes> {
        self.waiting.grow(piece.len())?;
        self.arrived.extend_from_slice(&piece);
        let mut messages = BytesMut::new();
        while let Some([flag, length @ ..]) = self.arrived.first_chunk::<PREFIX_BYTES>() {
            let (flag, length) = (*flag, u32::from_be_bytes(*length) as usize);
            self.waiting.check(length)?;
            if self.arrived.len() - PREFIX_BYTES < length {
                break;
            }
            let mut message = self.arrived.split_to(PREFIX_BYTES + length).freeze();
            if flag == COMPRESSED {
                message.advance(PREFIX_BYTES);
                let plain = self.inflate(message).await?;
                messages.put_u8(0);
                messages.put_u32(u32::try_from(plain.len()).unwrap_or(u32::MAX));
                messages.extend_from_slice(&plain);
            } else {
                self.reservation.grow(message.len())?;
                messages.extend_from_slice(&message);
            }
        }
        self.waiting.clear();
        self.waiting.grow(self.arrived.len())?;
        Ok(messages.freeze())
    }

    /// The beginning of a message that has no end.
    pub(super) fn rest(&mut self) -> Bytes {
        self.arrived.split().freeze()
    }

    async fn inflate(&self, message: Bytes) -> Result<Bytes> {
        let (reservation, largest) = (Arc::clone(&self.reservation), self.largest);
        body::inflated(message.len(), move || {
            Encoding::Gzip.inflate(&message, largest, &too_large(largest), &reservation)
        })
        .await
    }
}
