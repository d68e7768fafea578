//! Whether rows of a batch are independent of each other, so that requests may be put together.

use bytes::Bytes;

use super::termination::{Failure, Reason};
use crate::configuration::GraphTensor;
use crate::runtime::{GraphSession, OutputTensor, RunInput, zeros};
use crate::tensor::{DataType, TensorData};

/// Sizes in which a model is tried: alone, smallest batch, and one that fits no vector width.
pub(super) const BATCH_SIZES: [usize; 3] = [1, 2, 33];
const TOLERANCE: f64 = 1e-3;

/// What sizes are open beyond the rows' are tried as, until the model takes one: images and sequences have a least size,
/// and often one that it has to divide.
const OPEN_SIZES: [i64; 12] = [1, 2, 3, 4, 5, 7, 8, 16, 28, 32, 64, 224];
/// Larger rows are not tried: all of them are in memory at once, and again as answers.
const LARGEST_ROW_BYTES: usize = 4 << 20;

/// What became of the trial.
pub(super) enum Rows {
    /// They may be put together.
    Independent,
    /// They may not. A graph that fails on a second row has no batch dimension, whatever it claims.
    Dependent,
    /// Sizes are open that only the model's users know; the last error.
    Unknown(String),
}

/// Runs made-up rows alone and in batches and compares.
pub(super) fn try_rows(session: &mut GraphSession) -> Result<Rows, Failure> {
    let inputs = session.inputs().to_vec();
    let has_open_sizes = inputs
        .iter()
        .any(|input| input.shape.iter().skip(1).any(|size| *size < 0));
    let sizes = if has_open_sizes { &OPEN_SIZES[..] } else { &[1] };
    let mut last_error = "its rows are too large".to_owned();
    for size in sizes {
        let row = zeros(&inputs, *size);
        if has_open_sizes && row.iter().map(|(_, data)| data.byte_size()).sum::<usize>() > LARGEST_ROW_BYTES {
            break;
        }
        let rows = made_up_rows(&inputs, *size);
        match run(session, &rows[..1]) {
            Ok(alone) => return compare(session, &rows, alone),
            Err(error) => last_error = error,
        }
    }
    if has_open_sizes {
        return Ok(Rows::Unknown(last_error));
    }
    Err(Failure::new(
        Reason::UnsupportedModel,
        format!("the model fails on one row: {last_error}"),
    ))
}

fn compare(session: &mut GraphSession, rows: &[Row], alone: Vec<OutputTensor>) -> Result<Rows, Failure> {
    let mut singles = vec![alone];
    for row in &rows[1..] {
        match run(session, std::slice::from_ref(row)) {
            Ok(outputs) => singles.push(outputs),
            Err(_) => return Ok(Rows::Dependent),
        }
    }
    for size in BATCH_SIZES {
        let Ok(outputs) = run(session, &rows[..size]) else {
            return Err(Failure::new(
                Reason::UnsupportedModel,
                format!(
                    "the model's first dimension is open, but it fails on a batch of {size} rows; export it with a real batch dimension, or with a fixed first dimension"
                ),
            ));
        };
        let datatypes: Vec<_> = session.outputs().iter().map(|output| output.datatype).collect();
        if !outputs.iter().enumerate().all(|(index, output)| {
            equal_rows(
                datatypes[index],
                output,
                singles[..size].iter().map(|single| &single[index]),
                size,
            )
        }) {
            return Ok(Rows::Dependent);
        }
    }
    Ok(Rows::Independent)
}

type Row = Vec<(Vec<i64>, TensorData)>;

/// 33 rows: floating-point inputs between 0 and 1, all others zero, as they may be indices.
fn made_up_rows(inputs: &[GraphTensor], open_size: i64) -> Vec<Row> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move || {
        // xorshift64*: the same rows on every machine.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f64 / f64::from(1 << 24)
    };
    let largest = BATCH_SIZES[BATCH_SIZES.len() - 1];
    (0..largest)
        .map(|_| {
            let mut row = zeros(inputs, open_size);
            for ((_, data), input) in row.iter_mut().zip(inputs) {
                let TensorData::Fixed(bytes) = data else { continue };
                *bytes = match input.datatype {
                    DataType::Fp32 => fill(bytes.len() / 4, || (next() as f32).to_le_bytes()),
                    DataType::Fp64 => fill(bytes.len() / 8, || next().to_le_bytes()),
                    _ => continue,
                };
            }
            row
        })
        .collect()
}

fn fill<const N: usize>(count: usize, mut element: impl FnMut() -> [u8; N]) -> Bytes {
    (0..count).flat_map(|_| element()).collect::<Vec<_>>().into()
}

fn run(session: &mut GraphSession, rows: &[Row]) -> Result<Vec<OutputTensor>, String> {
    let Some(first) = rows.first() else {
        return Ok(Vec::new());
    };
    let inputs: Vec<_> = first
        .iter()
        .enumerate()
        .map(|(index, (shape, _))| {
            let mut shape = shape.clone();
            shape[0] = rows.len() as i64;
            RunInput {
                shape,
                parts: rows.iter().map(|row| &row[index].1).collect(),
            }
        })
        .collect();
    let inputs = session.assemble(&inputs)?;
    session.run(inputs).map(|answer| answer.outputs)
}

fn equal_rows<'a>(
    datatype: DataType,
    batch: &OutputTensor,
    singles: impl Iterator<Item = &'a OutputTensor>,
    size: usize,
) -> bool {
    if batch.shape.first() != Some(&(size as i64)) {
        return false;
    }
    let joined: Vec<_> = singles.collect();
    match &batch.data {
        TensorData::Strings(strings) => {
            let alone = joined.iter().filter_map(|single| match &single.data {
                TensorData::Strings(strings) => Some(strings.as_slice()),
                TensorData::Fixed(_) => None,
            });
            *strings == alone.flatten().cloned().collect::<Vec<_>>()
        }
        TensorData::Fixed(bytes) => {
            let alone: Vec<u8> = joined
                .iter()
                .filter_map(|single| match &single.data {
                    TensorData::Fixed(bytes) => Some(bytes.iter().copied()),
                    TensorData::Strings(_) => None,
                })
                .flatten()
                .collect();
            bytes.len() == alone.len() && close(datatype, bytes, &alone)
        }
    }
}

fn close(datatype: DataType, left: &[u8], right: &[u8]) -> bool {
    let near = |left: f64, right: f64| {
        (left.is_nan() && right.is_nan())
            || left == right
            || (left - right).abs() <= TOLERANCE * (1.0 + right.abs())
    };
    let floats = |bytes: &[u8]| -> Option<Vec<f64>> {
        match datatype {
            DataType::Fp32 => Some(
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|raw| f32::from_le_bytes(*raw).into())
                    .collect(),
            ),
            DataType::Fp64 => Some(
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|raw| f64::from_le_bytes(*raw))
                    .collect(),
            ),
            // A made-up row may lie on a boundary between classes; integers are compared by the numeric outputs' side.
            _ => None,
        }
    };
    match (floats(left), floats(right)) {
        (Some(left), Some(right)) => left.iter().zip(&right).all(|(left, right)| near(*left, *right)),
        _ => left == right,
    }
}
