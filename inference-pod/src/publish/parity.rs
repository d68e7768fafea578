//! Numeric parity: the served model against what the original model answers, on every sample row, in several batch sizes.

use aiops_model_repository::Parity;
use bytes::Bytes;
use serde_json::Value;

use super::batches::BATCH_SIZES;
use super::conversion::Conversion;
use super::samples::{Answers, Samples};
use super::termination::{Failure, Reason};
use crate::runtime::{GraphSession, OutputTensor, RunInput};
use crate::tensor::{DataType, TensorData};

/// Share of rows that must agree.
const SHARE: f64 = 0.999;
/// A regression row agrees when |served - original| <= ABSOLUTE + RELATIVE * |original|.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-4;
/// Originals below this say nothing about relative differences.
const SMALLEST_FOR_RELATIVE: f64 = 1e-6;

/// What was seen so far, over all batch sizes; the worst counts.
#[derive(Default)]
struct Seen {
    worst_share: Option<f64>,
    max_absolute: f64,
    max_relative: f64,
    example: Option<String>,
}

/// Compares, and fails when too many rows disagree.
pub(super) fn compare(
    session: &mut GraphSession,
    conversion: &Conversion,
    samples: &Samples,
) -> Result<Parity, Failure> {
    let mut seen = Seen::default();
    for size in BATCH_SIZES {
        let served = serve(session, samples, size)?;
        let agreeing = match &samples.answers {
            Answers::Classification { label, probabilities } => {
                let labels = class_indices(column(session, &served, "label")?, conversion)?;
                let shares = floats("probabilities", column(session, &served, "probabilities")?)?;
                seen.differences(&shares, probabilities, "probabilities")?;
                seen.equal_labels(&labels, label, conversion, size)
            }
            Answers::Regression { prediction } => {
                let values = floats("prediction", column(session, &served, "prediction")?)?;
                seen.differences(&values, prediction, "prediction")?;
                seen.near_values(&values, prediction, size)
            }
        };
        let share = agreeing as f64 / samples.rows as f64;
        seen.worst_share = Some(seen.worst_share.map_or(share, |worst: f64| worst.min(share)));
    }
    let share = seen.worst_share.unwrap_or_default();
    if share < SHARE {
        return Err(Failure::new(
            Reason::ParityFailed,
            format!(
                "the converted model agrees with the original on {:.2} % of {} rows, at least {:.1} % are needed; {}; \
                 largest absolute difference {:e}, relative {:e}",
                share * 100.0,
                samples.rows,
                SHARE * 100.0,
                seen.example.unwrap_or_default(),
                seen.max_absolute,
                seen.max_relative
            ),
        ));
    }
    let is_classification = matches!(samples.answers, Answers::Classification { .. });
    Ok(Parity {
        rows: samples.rows as u64,
        label_agreement: is_classification.then_some(share),
        max_absolute_difference: seen.max_absolute,
        max_relative_difference: seen.max_relative,
    })
}

impl Seen {
    fn differences(&mut self, served: &[f64], original: &[f64], output: &str) -> Result<(), Failure> {
        if served.len() != original.len() {
            return Err(failed(format!(
                "output '{output}' has {} values, and the original answers {}",
                served.len(),
                original.len()
            )));
        }
        for (index, (served, original)) in served.iter().zip(original).enumerate() {
            let difference = (served - original).abs();
            if !difference.is_finite() {
                return Err(failed(format!(
                    "value {index} of output '{output}' is {served}, and the original answers {original}"
                )));
            }
            self.max_absolute = self.max_absolute.max(difference);
            if original.abs() >= SMALLEST_FOR_RELATIVE {
                self.max_relative = self.max_relative.max(difference / original.abs());
            }
        }
        Ok(())
    }

    fn equal_labels(
        &mut self,
        served: &[i64],
        original: &[i64],
        conversion: &Conversion,
        size: usize,
    ) -> usize {
        let name = |class: i64| {
            let label = usize::try_from(class)
                .ok()
                .and_then(|class| conversion.class_labels.get(class));
            label
                .map_or("a value that is no class", String::as_str)
                .to_owned()
        };
        let differs = served
            .iter()
            .zip(original)
            .position(|(served, original)| served != original);
        if let Some(row) = differs {
            self.example.get_or_insert_with(|| {
                format!(
                    "in batches of {size}, row {row} is {} where the original says {}",
                    name(served[row]),
                    name(original[row])
                )
            });
        }
        served
            .iter()
            .zip(original)
            .filter(|(served, original)| served == original)
            .count()
    }

    fn near_values(&mut self, served: &[f64], original: &[f64], size: usize) -> usize {
        let near = |(served, original): &(&f64, &f64)| {
            (*served - *original).abs() <= ABSOLUTE + RELATIVE * original.abs()
        };
        let pairs = || served.iter().zip(original);
        if let Some(row) = pairs().position(|pair| !near(&pair)) {
            self.example.get_or_insert_with(|| {
                format!(
                    "in batches of {size}, row {row} is {} where the original says {}",
                    served[row], original[row]
                )
            });
        }
        pairs().filter(near).count()
    }
}

fn failed(message: String) -> Failure {
    Failure::new(Reason::ParityFailed, message)
}

/// All rows, in batches of at most `size`: for each batch, the outputs in the graph's order.
fn serve(
    session: &mut GraphSession,
    samples: &Samples,
    size: usize,
) -> Result<Vec<Vec<OutputTensor>>, Failure> {
    let inputs: Vec<_> = session
        .inputs()
        .iter()
        .map(|input| (input.name.clone(), input.datatype))
        .collect();
    let [(_, DataType::Fp32)] = inputs.as_slice() else {
        return Err(Failure::new(
            Reason::UnsupportedModel,
            format!("samples can be compared with a model that has one FP32 input, not with {inputs:?}"),
        ));
    };
    let row_bytes = samples.columns * 4;
    let mut answers = Vec::new();
    for batch in samples.features.chunks(size * row_bytes) {
        let rows = batch.len() / row_bytes;
        let data = TensorData::Fixed(Bytes::copy_from_slice(batch));
        let input = RunInput {
            shape: vec![rows as i64, samples.columns as i64],
            parts: vec![&data],
        };
        let answer = session
            .assemble(&[input])
            .and_then(|inputs| session.run(inputs))
            .map_err(|error| {
                Failure::new(
                    Reason::UnsupportedModel,
                    format!("the model fails on {rows} rows: {error}"),
                )
            })?;
        answers.push(answer.outputs);
    }
    Ok(answers)
}

/// One output of every batch.
fn column<'a>(
    session: &GraphSession,
    batches: &'a [Vec<OutputTensor>],
    name: &str,
) -> Result<(DataType, Vec<&'a TensorData>), Failure> {
    let index = session
        .outputs()
        .iter()
        .position(|output| output.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = session
                .outputs()
                .iter()
                .map(|output| output.name.as_str())
                .collect();
            Failure::new(
                Reason::UnsupportedModel,
                format!("the model has no output '{name}', only {}", names.join(", ")),
            )
        })?;
    Ok((
        session.outputs()[index].datatype,
        batches.iter().map(|outputs| &outputs[index].data).collect(),
    ))
}

fn floats(name: &str, (datatype, parts): (DataType, Vec<&TensorData>)) -> Result<Vec<f64>, Failure> {
    let mut values = Vec::new();
    for part in parts {
        match (datatype, part) {
            (DataType::Fp32, TensorData::Fixed(bytes)) => {
                values.extend(
                    bytes
                        .as_chunks()
                        .0
                        .iter()
                        .map(|raw| f64::from(f32::from_le_bytes(*raw))),
                );
            }
            (DataType::Fp64, TensorData::Fixed(bytes)) => {
                values.extend(bytes.as_chunks().0.iter().map(|raw| f64::from_le_bytes(*raw)));
            }
            _ => {
                return Err(Failure::new(
                    Reason::UnsupportedModel,
                    format!("output '{name}' is {datatype}, not FP32"),
                ));
            }
        }
    }
    Ok(values)
}

/// Labels as indices of classes; -1 for what is no class.
fn class_indices(
    (datatype, parts): (DataType, Vec<&TensorData>),
    conversion: &Conversion,
) -> Result<Vec<i64>, Failure> {
    let index = |value: &Value| {
        let found = conversion.class_values.iter().position(|class| class == value);
        found.and_then(|class| i64::try_from(class).ok()).unwrap_or(-1)
    };
    let mut indices = Vec::new();
    for part in parts {
        match (datatype, part) {
            (DataType::Int64, TensorData::Fixed(bytes)) => {
                indices.extend(
                    bytes
                        .as_chunks()
                        .0
                        .iter()
                        .map(|raw| index(&Value::from(i64::from_le_bytes(*raw)))),
                );
            }
            (_, TensorData::Strings(strings)) => {
                indices.extend(
                    strings
                        .iter()
                        .map(|text| index(&Value::from(String::from_utf8_lossy(text)))),
                );
            }
            _ => {
                return Err(Failure::new(
                    Reason::UnsupportedModel,
                    format!("output 'label' is {datatype}, not INT64 or BYTES"),
                ));
            }
        }
    }
    Ok(indices)
}
