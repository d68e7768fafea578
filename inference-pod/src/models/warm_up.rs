//! Running a version before it answers, so that its first client does not wait for lazy initialization.

use std::path::Path;

use bytes::Bytes;

use super::validate::graph_shape;
use crate::configuration::{ModelConfig, WarmUp, WarmUpData, WarmUpInput};
use crate::protocol::binary_tensor;
use crate::runtime::{GraphSession, RunInput, zeros};
use crate::tensor::{DataType, Tensor, TensorData};

/// Folder of the files that `input_data_file` names.
const FOLDER: &str = "warmup";
/// A sample is made up in memory; one that is larger is a mistake.
const LARGEST_INPUT_BYTES: usize = 1 << 30;

/// Runs every sample of the configuration on every session, or one row of zeros where it has none.
pub(super) fn run(sessions: &mut [GraphSession], config: &ModelConfig, folder: &Path) -> Result<(), String> {
    let samples: Vec<_> = config
        .warm_ups
        .iter()
        .map(|sample| Ok((sample, make_up(sample, config, sessions, folder)?)))
        .collect::<Result<_, String>>()?;
    for session in sessions {
        if samples.is_empty() {
            run_zeros(session, &config.name)?;
        }
        for (sample, inputs) in &samples {
            for _ in 0..sample.count {
                run_once(session, inputs).map_err(|error| format!("sample '{}': {error}", sample.name))?;
            }
        }
    }
    Ok(())
}

type Made = (Vec<i64>, TensorData);

fn run_once(session: &mut GraphSession, inputs: &[Made]) -> Result<(), String> {
    let inputs: Vec<_> = inputs
        .iter()
        .map(|(shape, data)| RunInput {
            shape: shape.clone(),
            parts: vec![data],
        })
        .collect();
    let inputs = session.assemble(&inputs)?;
    session.run(inputs).map(|_| ())
}

/// Where a size is open, 1 may be too small for the graph, so a failure counts only when every size but the rows' is
/// fixed.
fn run_zeros(session: &mut GraphSession, name: &str) -> Result<(), String> {
    let inputs = zeros(session.inputs(), 1);
    let fixed = session
        .inputs()
        .iter()
        .all(|input| input.shape.iter().skip(1).all(|size| *size >= 0));
    match run_once(session, &inputs) {
        Err(error) if fixed => Err(error),
        Err(error) => {
            tracing::warn!(
                model = name,
                error,
                "the graph does not take sizes of 1; the first request will be slow"
            );
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The inputs of a sample, in the graph's order and with its shapes.
fn make_up(
    sample: &WarmUp,
    config: &ModelConfig,
    sessions: &[GraphSession],
    folder: &Path,
) -> Result<Vec<Made>, String> {
    let within = |error: String| format!("sample '{}': {error}", sample.name);
    check_names(sample, config).map_err(within)?;
    let graph = sessions.first().map(GraphSession::inputs).unwrap_or_default();
    graph
        .iter()
        .map(|input| {
            let made = &sample.inputs[&input.name];
            self::input(&input.name, made, sample.batch_size, config, folder).map_err(within)
        })
        .collect()
}

/// Every input of the model has to be there, and no other; rows have to be as many as the model takes.
fn check_names(sample: &WarmUp, config: &ModelConfig) -> Result<(), String> {
    let most = config.max_batch_size.max(1);
    if sample.batch_size > most {
        return Err(format!(
            "batch_size {} is more than the {most} that the model takes",
            sample.batch_size
        ));
    }
    let known = |name: &str| config.inputs.iter().any(|input| input.name == name);
    if let Some(stray) = sample.inputs.keys().find(|name| !known(name)) {
        return Err(format!("the model has no input '{stray}'"));
    }
    let missing = config
        .inputs
        .iter()
        .find(|input| !sample.inputs.contains_key(&input.name));
    missing.map_or(Ok(()), |input| Err(format!("input '{}' is missing", input.name)))
}

fn input(
    name: &str,
    made: &WarmUpInput,
    rows: u32,
    config: &ModelConfig,
    folder: &Path,
) -> Result<Made, String> {
    let row = made.dims.iter().try_fold(1_usize, |count, size| {
        count.checked_mul(usize::try_from(*size).ok()?)
    });
    let size = made.datatype.size().unwrap_or(1);
    let row = row
        .filter(|row| {
            row.checked_mul(rows as usize)
                .and_then(|count| count.checked_mul(size))
                .is_some_and(|bytes| bytes <= LARGEST_INPUT_BYTES)
        })
        .ok_or_else(|| format!("input '{name}' takes more than {LARGEST_INPUT_BYTES} bytes"))?;
    let data = match (&made.data, made.datatype) {
        (WarmUpData::File(file), datatype) => read(name, file, datatype, row, folder)?,
        (_, DataType::Bytes) => TensorData::Strings(vec![Bytes::new(); row]),
        (WarmUpData::Zero, _) => TensorData::Fixed(vec![0; row * size].into()),
        (WarmUpData::Random, datatype) => TensorData::Fixed(random(datatype, row).into()),
    };
    let batch = (config.max_batch_size > 0).then_some(i64::from(rows));
    let tensor = Tensor {
        name: name.to_owned(),
        datatype: made.datatype,
        shape: batch.into_iter().chain(made.dims.iter().copied()).collect(),
        data: repeat(data, rows as usize),
    };
    let expected = config.inputs.iter().find(|input| input.name == name);
    let expected = expected.ok_or_else(|| format!("the model has no input '{name}'"))?;
    let shape =
        graph_shape(&config.name, expected, &tensor, config.max_batch_size).map_err(|error| error.message)?;
    Ok((shape, tensor.data))
}

/// The same row, as often as the batch has rows.
fn repeat(row: TensorData, rows: usize) -> TensorData {
    match row {
        TensorData::Fixed(bytes) => TensorData::Fixed(bytes.repeat(rows).into()),
        TensorData::Strings(strings) => {
            let count = strings.len() * rows;
            TensorData::Strings(strings.into_iter().cycle().take(count).collect())
        }
    }
}

/// Random bytes, tamed: the fractions of floating-point types lie in [0, 1), and truth values are 0 or 1.
fn random(datatype: DataType, count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut fraction = move || {
        // xorshift64: any spread of values will do, and the same ones each time make failures repeatable.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u32 << 24) as f32
    };
    (0..count)
        .flat_map(|_| {
            let number = fraction();
            match datatype {
                DataType::Fp64 => f64::from(number).to_le_bytes().to_vec(),
                DataType::Fp32 => number.to_le_bytes().to_vec(),
                DataType::Fp16 => half::f16::from_f32(number).to_le_bytes().to_vec(),
                DataType::Bf16 => half::bf16::from_f32(number).to_le_bytes().to_vec(),
                DataType::Bool => vec![u8::from(number < 0.5)],
                // Small and not negative, since integers are often positions in a table.
                other => {
                    let mut bytes = vec![0; other.size().unwrap_or(1)];
                    bytes[0] = (number * 2.0) as u8;
                    bytes
                }
            }
        })
        .collect()
}

/// One row out of a file: of the version's folder or, where the repository is read in place, of the model's.
fn read(name: &str, file: &str, datatype: DataType, row: usize, folder: &Path) -> Result<TensorData, String> {
    let beside = folder.parent().map(|model| model.join(FOLDER).join(file));
    let path = [Some(folder.join(FOLDER).join(file)), beside]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
        .ok_or_else(|| format!("input '{name}': there is no file {FOLDER}/{file} in the version's folder"))?;
    let bytes =
        std::fs::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let data = binary_tensor::decode(format_args!("'{name}'"), datatype, bytes.into(), None)
        .map_err(|error| error.message)?;
    let (held, needed) = match &data {
        TensorData::Fixed(bytes) => (bytes.len(), row * datatype.size().unwrap_or(1)),
        TensorData::Strings(strings) => (strings.len(), row),
    };
    if held != needed {
        let unit = if datatype == DataType::Bytes {
            "strings"
        } else {
            "bytes"
        };
        return Err(format!(
            "input '{name}': {FOLDER}/{file} holds {held} {unit}, and its dims need {needed}"
        ));
    }
    Ok(data)
}
