//! Putting the inputs of several requests together, and taking the outputs apart again.

use super::job::JobInput;
use crate::runtime::{OutputTensor, RunInput};
use crate::tensor::TensorData;

/// The inputs of all members as one run takes them. All members have the same sizes but for their rows.
pub(super) fn join<'a>(members: &'a [&'a [JobInput]]) -> Vec<RunInput<'a>> {
    let Some(first) = members.first() else {
        return Vec::new();
    };
    (0..first.len())
        .map(|index| {
            let mut shape = first[index].shape.clone();
            if members.len() > 1 {
                shape[0] = members.iter().map(|member| member[index].shape[0]).sum();
            }
            RunInput {
                shape,
                parts: members.iter().map(|member| &member[index].data).collect(),
            }
        })
        .collect()
}

/// Each member's share of the outputs. An output without a row for every row of input cannot be shared out.
pub(super) fn split(
    outputs: Vec<OutputTensor>,
    member_rows: &[usize],
) -> Result<Vec<Vec<OutputTensor>>, String> {
    if member_rows.len() == 1 {
        return Ok(vec![outputs]);
    }
    let total: usize = member_rows.iter().sum();
    let mut members: Vec<Vec<OutputTensor>> = member_rows
        .iter()
        .map(|_| Vec::with_capacity(outputs.len()))
        .collect();
    for (index, output) in outputs.into_iter().enumerate() {
        if output.shape.first() != i64::try_from(total).ok().as_ref() {
            return Err(format!(
                "output {index} has shape {:?} for a batch of {total} rows; set max_batch_size to 0 for this model",
                output.shape
            ));
        }
        let mut start = 0;
        for (member, rows) in members.iter_mut().zip(member_rows) {
            let mut shape = output.shape.clone();
            shape[0] = *rows as i64;
            member.push(OutputTensor {
                shape,
                data: rows_of(&output.data, start, *rows, total),
            });
            start += rows;
        }
    }
    Ok(members)
}

/// `rows` rows from `start` on; the bytes are shared, not copied.
fn rows_of(data: &TensorData, start: usize, rows: usize, total: usize) -> TensorData {
    match data {
        TensorData::Fixed(bytes) => {
            let row = bytes.len() / total;
            TensorData::Fixed(bytes.slice(start * row..(start + rows) * row))
        }
        TensorData::Strings(strings) => {
            let row = strings.len() / total;
            TensorData::Strings(strings[start * row..(start + rows) * row].to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_was_joined_is_split_into_the_same_pieces() {
        let input = |rows: i64, bytes: &'static [u8]| JobInput {
            shape: vec![rows, 2],
            data: TensorData::Fixed(Bytes::from_static(bytes)),
        };
        let (one, two) = ([input(1, b"ab")], [input(2, b"cdef")]);
        let members = [&one[..], &two[..]];
        let joined = join(&members);
        assert_eq!(joined[0].shape, [3, 2]);
        let outputs = vec![
            OutputTensor {
                shape: vec![3, 2],
                data: TensorData::Fixed(Bytes::from_static(b"abcdef")),
            },
            OutputTensor {
                shape: vec![3],
                data: TensorData::Strings(["x", "y", "z"].map(Bytes::from).to_vec()),
            },
        ];
        let split = split(outputs, &[1, 2]).unwrap();
        assert_eq!(
            split[0][0],
            OutputTensor {
                shape: vec![1, 2],
                data: TensorData::Fixed(Bytes::from_static(b"ab"))
            }
        );
        assert_eq!(split[1][0].data, TensorData::Fixed(Bytes::from_static(b"cdef")));
        assert_eq!(split[1][1].shape, [2]);
        assert_eq!(
            split[1][1].data,
            TensorData::Strings(["y", "z"].map(Bytes::from).to_vec())
        );
    }

    #[test]
    fn an_output_without_rows_is_an_error() {
        let output = OutputTensor {
            shape: vec![1],
            data: TensorData::Fixed(Bytes::from_static(b"x")),
        };
        assert!(
            split(vec![output], &[1, 1])
                .unwrap_err()
                .contains("max_batch_size")
        );
    }
}
