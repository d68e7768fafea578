//! What makes two requests the same: the loaded version, and every input's shape and elements. Names and datatypes are the
//! version's own. The outputs that are wanted are no part of it, as sessions compute all of them.

use std::sync::Arc;

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use crate::error::{InferenceError, Result};
use crate::scheduler::{JobInput, JobRequest};
use crate::tensor::TensorData;

/// More than that is hashed elsewhere than on the threads that serve the network.
const LARGE_BYTES: usize = 256 << 10;

/// A hash that nobody can make collide: with a weaker one, a client could be given another's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The loaded version.
    pub(super) serial: u64,
    pub(super) hash: [u8; SHA256_OUTPUT_LEN],
}

/// The key of a request.
pub(super) async fn of(serial: u64, job: &JobRequest) -> Result<Key> {
    let bytes: usize = job.inputs.iter().map(|input| input.data.memory_size()).sum();
    let hash = if bytes <= LARGE_BYTES {
        hash(&job.inputs)
    } else {
        let (inputs, memory) = (job.inputs.clone(), Arc::clone(&job.memory));
        let hashing = tokio::task::spawn_blocking(move || {
            // A caller that goes away does not end it, so the bytes keep their share of the memory.
            let _memory = memory;
            hash(&inputs)
        });
        let hashed = hashing.await;
        hashed.map_err(|panic| InferenceError::internal(format!("hashing failed: {panic}")))?
    };
    Ok(Key { serial, hash })
}

/// Everything has its length before it, so that no two lists of inputs give the same bytes.
fn hash(inputs: &[JobInput]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut hasher = Context::new(&SHA256);
    let number = |hasher: &mut Context, number: usize| hasher.update(&(number as u64).to_le_bytes());
    for input in inputs {
        number(&mut hasher, input.shape.len());
        for size in &input.shape {
            hasher.update(&size.to_le_bytes());
        }
        match &input.data {
            TensorData::Fixed(bytes) => {
                number(&mut hasher, bytes.len());
                hasher.update(bytes);
            }
            TensorData::Strings(strings) => {
                number(&mut hasher, strings.len());
                for string in strings {
                    number(&mut hasher, string.len());
                    hasher.update(string);
                }
            }
        }
    }
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(hasher.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn strings(strings: &[&'static str]) -> JobInput {
        JobInput {
            shape: vec![strings.len() as i64],
            data: TensorData::Strings(
                strings
                    .iter()
                    .map(|string| Bytes::from_static(string.as_bytes()))
                    .collect(),
            ),
        }
    }

    #[test]
    fn what_differs_in_shape_or_elements_has_another_key() {
        let fixed = |shape: &[i64], bytes: &'static [u8]| JobInput {
            shape: shape.to_vec(),
            data: TensorData::Fixed(Bytes::from_static(bytes)),
        };
        let all = [
            vec![fixed(&[1, 2], b"ab")],
            vec![fixed(&[2, 1], b"ab")],
            vec![fixed(&[1, 2], b"ac")],
            vec![fixed(&[2], b"ab")],
            vec![fixed(&[1], b"a"), fixed(&[1], b"b")],
            vec![fixed(&[1], b"b"), fixed(&[1], b"a")],
            vec![strings(&["ab", ""])],
            vec![strings(&["a", "b"])],
            vec![strings(&["ab"])],
        ];
        for (index, one) in all.iter().enumerate() {
            assert_eq!(hash(one), hash(&one.clone()));
            for other in &all[index + 1..] {
                assert_ne!(hash(one), hash(other), "{one:?} {other:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn one_changed_byte_changes_the_key(mut bytes in proptest::collection::vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>()) {
            let input = |bytes: &[u8]| [JobInput {
                shape: vec![bytes.len() as i64],
                data: TensorData::Fixed(Bytes::copy_from_slice(bytes)),
            }];
            let before = hash(&input(&bytes));
            let at = at.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert_ne!(before, hash(&input(&bytes)));
        }
    }
}
