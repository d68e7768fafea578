//! How much a message of tensors takes beyond its size, found as it comes: an empty input has two bytes on the wire and some
//! hundreds once it is decoded. Only what matters for that is looked at; what is malformed is left for the decoder to refuse.

use super::pauses::PREFIX_BYTES;
use crate::error::{InferenceError, Result};
use crate::tensor::STRING_BYTES;

/// Most inputs, outputs, raw contents and parameters of a message together.
const MOST_PARTS: usize = 16_384;
/// What the largest of them, an input, takes before anything is in it.
const PART_BYTES: usize = 512;
/// An integer of one byte on the wire becomes one of eight in a list that grows by doubling.
const VARINT_EXPANSION: usize = 8;

/// The messages that matter, by where they are.
#[derive(Clone, Copy)]
enum Level {
    Request,
    Input,
    Output,
    Contents,
}

#[derive(Clone, Copy)]
enum State {
    Tag,
    Varint,
    Length(u64),
    Skip(usize),
}

/// Where a call's bytes are among and within its messages.
pub(super) struct Elements {
    /// Whether its messages are requests for inference.
    are_requests: bool,
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix that came.
    begun: usize,
    /// Position in the message.
    at: usize,
    /// Levels and their ends; the first is the message itself.
    levels: [(Level, usize); 3],
    depth: usize,
    state: State,
    varint: u64,
    shift: u32,
    parts: usize,
}

/// What was passed of a piece, at most to the end of a message.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) bytes: usize,
    /// Memory that the parts in them take.
    pub(super) beyond: usize,
    /// Length of a message that begins in it.
    pub(super) begins: Option<usize>,
    /// Whether a message ends with it.
    pub(super) ends: bool,
}

impl Elements {
    pub(super) fn new(are_requests: bool) -> Self {
        Self {
            are_requests,
            prefix: [0; PREFIX_BYTES],
            begun: 0,
            at: 0,
            levels: [(Level::Request, 0); 3],
            depth: 0,
            state: State::Tag,
            varint: 0,
            shift: 0,
            parts: 0,
        }
    }

    /// Looks at what came next.
    pub(super) fn pass(&mut self, piece: &[u8]) -> Result<Passed> {
        let mut passed = Passed::default();
        let prefix = (PREFIX_BYTES - self.begun).min(piece.len());
        if prefix > 0 {
            self.prefix[self.begun..self.begun + prefix].copy_from_slice(&piece[..prefix]);
            self.begun += prefix;
            if self.begun < PREFIX_BYTES {
                passed.bytes = prefix;
                return Ok(passed);
            }
            let [_, length @ ..] = self.prefix;
            let length = u32::from_be_bytes(length) as usize;
            self.begin(length);
            passed.begins = Some(length);
        }
        let rest = &piece[prefix..];
        let within = rest.len().min(self.levels[0].1 - self.at);
        self.walk(&rest[..within], &mut passed.beyond)?;
        passed.bytes = prefix + within;
        passed.ends = self.at == self.levels[0].1;
        if passed.ends {
            self.begun = 0;
        }
        Ok(passed)
    }

    fn begin(&mut self, length: usize) {
        self.at = 0;
        self.levels[0] = (Level::Request, length);
        self.depth = 0;
        self.parts = 0;
        self.next_field();
        if !self.are_requests {
            self.state = State::Skip(length);
        }
    }

    fn next_field(&mut self) {
        (self.state, self.varint, self.shift) = (State::Tag, 0, 0);
    }

    fn walk(&mut self, mut piece: &[u8], beyond: &mut usize) -> Result<()> {
        while let Some(byte) = piece.first() {
            if let State::Skip(left) = self.state {
                let step = left.min(piece.len());
                self.at += step;
                self.skip(left - step);
                piece = &piece[step..];
            } else {
                self.at += 1;
                self.take(*byte, beyond)?;
                piece = &piece[1..];
            }
            while self.depth > 0 && self.at >= self.levels[self.depth].1 {
                self.depth -= 1;
                self.next_field();
            }
        }
        Ok(())
    }

    /// Takes a byte of a tag, a number or a length.
    fn take(&mut self, byte: u8, beyond: &mut usize) -> Result<()> {
        self.varint |= u64::from(byte & 0x7f) << self.shift;
        if byte & 0x80 != 0 {
            self.shift += 7;
            if self.shift > 63 {
                self.skip(usize::MAX);
            }
            return Ok(());
        }
        let (value, state) = (self.varint, self.state);
        self.next_field();
        match (state, value & 7) {
            (State::Length(field), _) => self.delimited(field, value, beyond)?,
            // The begin and the end of a group have nothing between tag and next tag.
            (State::Varint | State::Skip(_), _) | (State::Tag, 3 | 4) => {}
            (State::Tag, 0) => self.state = State::Varint,
            (State::Tag, 1) => self.skip(8),
            (State::Tag, 2) => self.state = State::Length(value >> 3),
            (State::Tag, 5) => self.skip(4),
            // No field begins so: there is nothing more to find here.
            (State::Tag, _) => self.skip(usize::MAX),
        }
        Ok(())
    }

    fn skip(&mut self, length: usize) {
        let length = length.min(self.levels[self.depth].1.saturating_sub(self.at));
        self.next_field();
        if length > 0 {
            self.state = State::Skip(length);
        }
    }

    fn delimited(&mut self, field: u64, length: u64, beyond: &mut usize) -> Result<()> {
        let (level, end) = self.levels[self.depth];
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(end - self.at);
        let inner = match (level, field) {
            (Level::Request, 5) => Some(Level::Input),
            (Level::Request, 6) => Some(Level::Output),
            (Level::Input, 5) => Some(Level::Contents),
            _ => None,
        };
        match (level, field) {
            (Level::Request, 4..=7) | (Level::Input, 4) | (Level::Output, 2) => {
                self.parts += 1;
                check_parts(self.parts)?;
                *beyond += PART_BYTES;
            }
            (Level::Input, 3) | (Level::Contents, 2..=5) => {
                *beyond = beyond.saturating_add(length.saturating_mul(VARINT_EXPANSION));
            }
            (Level::Contents, 8) => *beyond += STRING_BYTES,
            _ => {}
        }
        match inner {
            Some(inner) if length > 0 => {
                self.depth += 1;
                self.levels[self.depth] = (inner, self.at + length);
            }
            _ => self.skip(length),
        }
        Ok(())
    }
}

fn check_parts(parts: usize) -> Result<()> {
    if parts <= MOST_PARTS {
        return Ok(());
    }
    Err(InferenceError::invalid(format!(
        "the message has more than {MOST_PARTS} inputs, outputs, raw_input_contents and parameters together, which is the most \
         that one request may have; put what they hold into fewer and larger tensors, or into several requests"
    )))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::super::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
    use super::super::proto::{InferParameter, InferTensorContents, ModelInferRequest};
    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], message].concat()
    }

    /// What all of it takes, as it comes in pieces of this size, and how many messages there are.
    fn beyond(framed: &[u8], piece: usize) -> Result<(usize, usize)> {
        let mut elements = Elements::new(true);
        let (mut beyond, mut messages) = (0, 0);
        for mut piece in framed.chunks(piece) {
            while !piece.is_empty() {
                let passed = elements.pass(piece)?;
                beyond += passed.beyond;
                messages += usize::from(passed.ends);
                piece = &piece[passed.bytes..];
            }
        }
        Ok((beyond, messages))
    }

    fn message() -> ModelInferRequest {
        let parameters = || [("p".to_owned(), InferParameter::default())].into();
        ModelInferRequest {
            model_name: "*\0*\0".into(),
            inputs: vec![InferInputTensor {
                name: "x".into(),
                shape: vec![1, 300, 2],
                parameters: parameters(),
                contents: Some(InferTensorContents {
                    fp32_contents: vec![1.0; 100],
                    int64_contents: vec![1; 10],
                    bytes_contents: vec!["".into(), "abc".into()],
                    ..Default::default()
                }),
                ..Default::default()
            }],
            outputs: vec![InferRequestedOutputTensor {
                name: "y".into(),
                parameters: parameters(),
            }],
            raw_input_contents: vec![vec![0x2a; 100].into(), "".into()],
            ..Default::default()
        }
    }

    #[test]
    fn parts_and_elements_are_found_however_the_bytes_are_cut() {
        let one = framed(&message().encode_to_vec());
        let expected = 6 * PART_BYTES + 2 * STRING_BYTES + (4 + 10) * VARINT_EXPANSION;
        let three = [one.clone(), framed(&[]), one].concat();
        for piece in [1, 2, 3, 7, 64, three.len()] {
            assert_eq!(beyond(&three, piece).unwrap(), (2 * expected, 3), "{piece}");
        }
    }

    #[test]
    fn a_message_of_nothing_but_empty_parts_is_refused() {
        for tag in [0x22, 0x2a, 0x32, 0x3a] {
            let error = beyond(&framed(&[tag, 0].repeat(MOST_PARTS + 1)), 1000).unwrap_err();
            assert!(error.message.contains("more than 16384 inputs"), "{error}");
            assert!(beyond(&framed(&[tag, 0].repeat(MOST_PARTS)), 1000).is_ok());
        }
        // Tags and lengths may be written longer than they need be.
        assert!(beyond(&framed(&[0xaa, 0x80, 0, 0x80, 0].repeat(MOST_PARTS + 1)), 1000).is_err());
    }

    #[test]
    fn what_is_malformed_hides_nothing_that_the_decoder_would_read() {
        // A group that nobody knows, in it bytes that look like a broken input, and after it an input.
        let group = [0x9b, 6, 0x2a, 2, 0xff, 0xff, 0x9c, 6, 0x2a, 0];
        assert_eq!(ModelInferRequest::decode(&group[..]).unwrap().inputs.len(), 1);
        assert_eq!(beyond(&framed(&group), 3).unwrap(), (2 * PART_BYTES, 1));
        for garbage in [
            &[0xff; 40][..],
            &[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[7, 7],
            &[0x2a],
        ] {
            assert_eq!(beyond(&framed(garbage), 1).unwrap().1, 1);
        }
    }
}
