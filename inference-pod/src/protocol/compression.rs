//! Bodies that travel compressed: gzip, and deflate in zlib's form, as Triton and its clients have it.

use std::io::{self, Read, Write as _};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};
use http::{HeaderMap, header};

use crate::error::{ErrorKind, InferenceError, Result};
use crate::memory::Reservation;

/// What is inflated at a time; the memory for requests is asked for each.
const PIECE_BYTES: usize = 64 << 10;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// The name in headers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// How the body of a request is compressed; nothing for one that is sent as it is.
    pub(super) fn of_request(headers: &HeaderMap) -> Result<Option<Self>> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else {
            return Ok(None);
        };
        match value.to_str() {
            Ok("" | "identity") => Ok(None),
            Ok(name) if Self::from_name(name).is_some() => Ok(Self::from_name(name)),
            _ => Err(InferenceError {
                kind: ErrorKind::UnsupportedEncoding,
                message: format!(
                    "Content-Encoding {value:?} is not supported, send gzip, deflate or the body as it is"
                ),
            }),
        }
    }

    /// How the answer is to be compressed: the encoding that the client weighs most, the first of equals.
    pub(super) fn of_response(headers: &HeaderMap) -> Option<Self> {
        let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
        let mut best = (None, 0.0);
        for item in accepted.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = match parts.find_map(|part| part.strip_prefix("q=")) {
                Some(text) => text.parse().unwrap_or(0.0),
                None => 1.0,
            };
            let encoding = Self::from_name(name);
            if weight > best.1 && (encoding.is_some() || name == "identity") {
                best = (encoding, weight);
            }
        }
        best.0
    }

    /// What was compressed. It may have `most` bytes, else the answer is `too_large`, and it takes its share of the memory as
    /// it grows: nobody can fill the memory with a small body that inflates to a large one.
    pub(super) fn inflate(
        self,
        compressed: &[u8],
        most: usize,
        too_large: &InferenceError,
        reservation: &Reservation,
    ) -> Result<Bytes> {
        let mut reader: Box<dyn Read + '_> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(compressed)),
            Self::Deflate => Box::new(Zlib::new(compressed)),
        };
        let mut piece = vec![0; PIECE_BYTES.min(most.saturating_add(1))];
        let mut body = Vec::new();
        loop {
            let count = match reader.read(&mut piece) {
                Ok(0) => return Ok(body.into()),
                Ok(count) => count,
                Err(error) => {
                    return Err(InferenceError::invalid(format!(
                        "the body is not {}, as its encoding says: {error}",
                        self.name()
                    )));
                }
            };
            if body.len() + count > most {
                return Err(too_large.clone());
            }
            reservation.grow(count)?;
            body.extend_from_slice(&piece[..count]);
        }
    }

    /// A body, compressed. Fast rather than small: what is sent are mostly numbers, which gain little from more work.
    pub(super) fn deflate(self, body: &[u8]) -> io::Result<Bytes> {
        let compressed = match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(body)?;
                encoder.finish()?
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(body)?;
                encoder.finish()?
            }
        };
        Ok(compressed.into())
    }
}

/// Reads zlib's form to its end. The library's own reader takes a stream that breaks off for a whole one.
struct Zlib<'a> {
    compressed: &'a [u8],
    state: Decompress,
    ended: bool,
}

impl<'a> Zlib<'a> {
    fn new(compressed: &'a [u8]) -> Self {
        Self {
            compressed,
            state: Decompress::new(true),
            ended: false,
        }
    }
}

impl Read for Zlib<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            let (taken, given) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(self.compressed, buffer, FlushDecompress::None)?;
            let taken = (self.state.total_in() - taken) as usize;
            let given = (self.state.total_out() - given) as usize;
            self.compressed = &self.compressed[taken..];
            self.ended = status == Status::StreamEnd;
            if given > 0 {
                return Ok(given);
            }
            if taken == 0 && !self.ended {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it breaks off"));
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::memory::Budget;

    const BOTH: [Encoding; 2] = [Encoding::Gzip, Encoding::Deflate];

    fn inflate(encoding: Encoding, compressed: &[u8], most: usize) -> Result<Bytes> {
        let too_large = InferenceError {
            kind: ErrorKind::TooLarge,
            message: "too large".to_owned(),
        };
        encoding.inflate(
            compressed,
            most,
            &too_large,
            &Budget::of(Some(1 << 20)).reserve(2),
        )
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(body: Vec<u8>) {
            for encoding in BOTH {
                let compressed = encoding.deflate(&body).unwrap();
                prop_assert_eq!(inflate(encoding, &compressed, body.len()).unwrap(), body.clone());
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(body: Vec<u8>) {
            for encoding in BOTH {
                let _ = inflate(encoding, &body, 100);
            }
        }
    }

    #[test]
    fn a_body_that_inflates_beyond_its_limits_is_too_large() {
        for encoding in BOTH {
            let compressed = encoding.deflate(&[0; 1 << 20]).unwrap();
            for (most, part) in [(1 << 19, "too large"), (1 << 20, "--max-request-memory")] {
                let error = inflate(encoding, &compressed, most).unwrap_err();
                assert!(
                    error.kind == ErrorKind::TooLarge && error.message.contains(part),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_body_that_breaks_off_or_is_something_else_is_refused() {
        for encoding in BOTH {
            let compressed = encoding.deflate(&[7; 1000]).unwrap();
            for wrong in [&compressed[..compressed.len() - 3], b"{\"inputs\": []}"] {
                let error = inflate(encoding, wrong, 1000).unwrap_err();
                assert!(error.message.contains(encoding.name()), "{error}");
            }
        }
    }

    #[test]
    fn the_encoding_of_the_answer_is_the_one_that_weighs_most() {
        for (accepted, expected) in [
            ("gzip", Some(Encoding::Gzip)),
            ("deflate, gzip", Some(Encoding::Deflate)),
            ("deflate;q=0.5, gzip;q=0.8", Some(Encoding::Gzip)),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=0", None),
            ("br, *", None),
            ("gzip;q=x", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            assert_eq!(Encoding::of_response(&headers), expected, "{accepted}");
        }
        assert_eq!(Encoding::of_response(&HeaderMap::new()), None);
    }
}
