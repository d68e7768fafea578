//! Messages that come compressed, made plain before tonic sees them: it would inflate them without asking the budget.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;

use super::pauses::{PREFIX_BYTES, too_large};
use super::shares::Shares;
use crate::error::Result;
use crate::memory::Reservation;
use crate::protocol::body;
use crate::protocol::compression::Encoding;
use crate::protocol::intake::Intake;

const COMPRESSED: u8 = 1;

/// How the messages of a call may be compressed.
pub(super) fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let name = headers.get("grpc-encoding")?;
    [Encoding::Gzip, Encoding::Deflate]
        .into_iter()
        .find(|encoding| name == encoding.name())
}

/// The messages of one call, compressed and otherwise.
pub(super) struct Inflater {
    encoding: Encoding,
    /// What came and is not a whole message yet.
    arrived: BytesMut,
    /// Its share of the memory.
    waiting: Reservation,
    /// Those of what is passed on.
    shares: Shares,
    /// Most bytes of a message.
    largest: usize,
}

impl Inflater {
    /// One for a call whose messages may be compressed in this way.
    pub(super) fn new(encoding: Encoding, intake: &Intake, shares: Shares) -> Self {
        Self {
            encoding,
            arrived: BytesMut::new(),
            waiting: intake.budget.reserve(1),
            shares,
            largest: intake.max_message_bytes,
        }
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
                let [a, b, c, d] = u32::try_from(plain.len()).unwrap_or(u32::MAX).to_be_bytes();
                let prefix = [0, a, b, c, d];
                self.shares.take(&prefix, true)?;
                self.shares.take(&plain, true)?;
                messages.extend_from_slice(&prefix);
                messages.extend_from_slice(&plain);
            } else {
                self.shares.take(&message, false)?;
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
        let (reservation, largest) = (Arc::clone(self.shares.current()), self.largest);
        let encoding = self.encoding;
        body::inflated(message.len(), move || {
            encoding.inflate(&message, largest, &too_large(largest), &reservation)
        })
        .await
    }
}
