//! `samples.safetensors`: rows, and what the original model answers to them.

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

use super::termination::{Failure, Reason};

pub(super) const FILE: &str = "samples.safetensors";

/// Rows with the original's answers.
pub(super) struct Samples {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// `[rows, columns]`, little-endian FP32.
    pub(super) features: Vec<u8>,
    pub(super) answers: Answers,
}

pub(super) enum Answers {
    Classification {
        /// Index into the classes, for each row.
        label: Vec<i64>,
        /// `[rows, classes]`.
        probabilities: Vec<f64>,
    },
    Regression {
        prediction: Vec<f64>,
    },
}

/// Reads them; nothing where there are none.
pub(super) fn read(folder: &Path) -> Result<Option<Samples>, Failure> {
    let bytes = match std::fs::read(folder.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(invalid(&error.to_string())),
    };
    parse(&bytes).map(Some)
}

fn invalid(reason: &str) -> Failure {
    Failure::new(Reason::InvalidModel, format!("{FILE}: {reason}"))
}

fn parse(bytes: &[u8]) -> Result<Samples, Failure> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| invalid(&error.to_string()))?;
    let features = tensor(&file, "features", Dtype::F32)?;
    let [rows, columns] = *features.shape() else {
        return Err(invalid(&format!(
            "features has shape {:?}, not [rows, features]",
            features.shape()
        )));
    };
    if rows == 0 {
        return Err(invalid("it has no rows"));
    }
    let answers = match file.tensor("label") {
        Ok(_) => {
            let label = tensor(&file, "label", Dtype::I64)?;
            let label = label
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|raw| i64::from_le_bytes(*raw))
                .collect();
            Answers::Classification {
                label,
                probabilities: floats(&tensor(&file, "probabilities", Dtype::F64)?),
            }
        }
        Err(SafeTensorError::TensorNotFound(_)) => Answers::Regression {
            prediction: floats(&tensor(&file, "prediction", Dtype::F64)?),
        },
        Err(error) => return Err(invalid(&error.to_string())),
    };
    let answered = match &answers {
        Answers::Classification { label, probabilities } if probabilities.len().is_multiple_of(rows) => {
            label.len()
        }
        Answers::Classification { .. } => 0,
        Answers::Regression { prediction } => prediction.len(),
    };
    if answered != rows {
        return Err(invalid("its tensors have different numbers of rows"));
    }
    Ok(Samples {
        rows,
        columns,
        features: features.data().to_vec(),
        answers,
    })
}

fn tensor<'a>(file: &SafeTensors<'a>, name: &str, dtype: Dtype) -> Result<TensorView<'a>, Failure> {
    let tensor = file
        .tensor(name)
        .map_err(|error| invalid(&format!("tensor {name}: {error}")))?;
    if tensor.dtype() != dtype {
        return Err(invalid(&format!(
            "tensor {name} is {:?}, not {dtype:?}",
            tensor.dtype()
        )));
    }
    Ok(tensor)
}

fn floats(tensor: &TensorView<'_>) -> Vec<f64> {
    tensor
        .data()
        .as_chunks()
        .0
        .iter()
        .map(|raw| f64::from_le_bytes(*raw))
        .collect()
}
