//! Whether a request fits a model, in the words that Triton uses, and its tensors in the graph's terms.

use bytes::Bytes;

use super::version::ModelVersion;
use crate::configuration::{ModelConfig, TensorConfig};
use crate::error::{InferenceError, Result};
use crate::scheduler::JobInput;
use crate::tensor::{InferenceRequest, Tensor, TensorData};

/// A request that fits.
pub(super) struct Accepted {
    /// In the order and with the shapes of the graph.
    pub(super) inputs: Vec<JobInput>,
    pub(super) rows: usize,
    /// Positions of the wanted outputs in the configuration.
    pub(super) outputs: Vec<usize>,
}

/// The elements of its inputs are taken out of the request: a handle for each string is no small copy.
pub(super) fn accept(model: &ModelVersion, request: &mut InferenceRequest) -> Result<Accepted> {
    let name = &model.name;
    let max_batch_size = model.config.max_batch_size;
    let configured = &model.config.inputs;
    for (index, input) in request.inputs.iter().enumerate() {
        if configured.iter().all(|known| known.name != input.name) {
            return Err(InferenceError::invalid(format!(
                "unexpected inference input '{}' for model '{name}', which takes {}",
                input.name,
                names(configured)
            )));
        }
        if request.inputs[..index]
            .iter()
            .any(|earlier| earlier.name == input.name)
        {
            return Err(InferenceError::invalid(format!(
                "input '{}' already exists in request",
                input.name
            )));
        }
    }
    if request.inputs.len() != configured.len() {
        return Err(wrong_number(name, configured, &request.inputs));
    }
    let mut rows = None;
    let mut inputs = Vec::with_capacity(configured.len());
    for graph in model.graph_inputs() {
        let (Some(config), Some(input)) = (
            configured.iter().find(|config| config.name == graph.name),
            request.inputs.iter_mut().find(|input| input.name == graph.name),
        ) else {
            return Err(InferenceError::internal(format!(
                "model '{name}' lost its input '{}'",
                graph.name
            )));
        };
        let shape = graph_shape(name, config, input, max_batch_size)?;
        if max_batch_size > 0 {
            check_rows(name, input, max_batch_size, &mut rows)?;
        }
        inputs.push(JobInput {
            shape,
            data: std::mem::replace(&mut input.data, TensorData::Fixed(Bytes::new())),
        });
    }
    Ok(Accepted {
        inputs,
        rows: rows.unwrap_or(1),
        outputs: wanted_outputs(model, &request.outputs)?,
    })
}

fn wrong_number(model: &str, configured: &[TensorConfig], given: &[Tensor]) -> InferenceError {
    let list = |names: Vec<String>| names.join(",");
    let missing = configured
        .iter()
        .filter(|known| given.iter().all(|input| input.name != known.name));
    InferenceError::invalid(format!(
        "expected {} inputs but got {} inputs for model '{model}'. Got input(s) [{}], but missing required input(s) [{}]. \
         Please provide all required input(s).",
        configured.len(),
        given.len(),
        list(given.iter().map(|input| format!("'{}'", input.name)).collect()),
        list(missing.map(|known| format!("'{}'", known.name)).collect()),
    ))
}

fn names(tensors: &[TensorConfig]) -> String {
    tensors
        .iter()
        .map(|tensor| format!("'{}'", tensor.name))
        .collect::<Vec<_>>()
        .join(", ")
}

fn wanted_outputs(model: &ModelVersion, wanted: &[String]) -> Result<Vec<usize>> {
    let outputs = &model.config.outputs;
    if wanted.is_empty() {
        return Ok((0..outputs.len()).collect());
    }
    let mut positions = Vec::new();
    for name in wanted {
        let position = model.config.output_position(name)?;
        // As Triton does: asking twice for an output is asking for it.
        if !positions.contains(&position) {
            positions.push(position);
        }
    }
    Ok(positions)
}

impl ModelConfig {
    /// Where there is an output that a request asks for.
    pub(crate) fn output_position(&self, name: &str) -> Result<usize> {
        let outputs = &self.outputs;
        outputs
            .iter()
            .position(|output| output.name == *name)
            .ok_or_else(|| {
                InferenceError::invalid(format!(
                    "unexpected inference output '{name}' for model '{}', which answers {}",
                    self.name,
                    names(outputs)
                ))
            })
    }
}

fn check_rows(name: &str, input: &Tensor, max_batch_size: u32, rows: &mut Option<usize>) -> Result<()> {
    let count = usize::try_from(input.shape[0]).unwrap_or_default();
    let bound = match count {
        0 => ">= 1".to_owned(),
        count if count > max_batch_size as usize => format!("<= {max_batch_size}"),
        _ => String::new(),
    };
    if !bound.is_empty() {
        return Err(InferenceError::invalid(format!(
            "inference request batch-size must be {bound} for '{name}', got {count}"
        )));
    }
    if *rows.get_or_insert(count) != count {
        return Err(InferenceError::invalid(format!(
            "input '{}' batch size does not match other inputs for '{name}'",
            input.name
        )));
    }
    Ok(())
}

/// The shape of an input as the graph takes it.
pub(super) fn graph_shape(
    name: &str,
    config: &TensorConfig,
    input: &Tensor,
    max_batch_size: u32,
) -> Result<Vec<i64>> {
    if input.datatype != config.datatype {
        return Err(InferenceError::invalid(format!(
            "inference input '{}' data-type is '{}', but model '{name}' expects '{}'",
            input.name, input.datatype, config.datatype
        )));
    }
    let expected = config.client_shape(max_batch_size);
    let fits = expected.len() == input.shape.len()
        && expected
            .iter()
            .zip(&input.shape)
            .all(|(expected, given)| *expected == -1 || expected == given);
    if !fits {
        let note = if max_batch_size > 0 {
            " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended \
             to each input shape. If you want to specify the full shape including the batch dim in your input dims config, \
             try setting max_batch_size to zero. See the model configuration docs for more info on \
             max_batch_size."
        } else {
            ""
        };
        return Err(InferenceError::invalid(format!(
            "unexpected shape for input '{}' for model '{name}'. Expected {}, got {}.{note}",
            input.name,
            written(&expected),
            written(&input.shape)
        )));
    }
    let Some(reshape) = &config.reshape else {
        return Ok(input.shape.clone());
    };
    let batch = usize::from(max_batch_size > 0);
    let mut open = sizes_of_open(&config.dims, &input.shape[batch..]);
    let inner = reshape.iter().map(|size| {
        if *size == -1 {
            open.next().unwrap_or(1)
        } else {
            *size
        }
    });
    Ok(input.shape[..batch].iter().copied().chain(inner).collect())
}

/// The shape of an output as clients see it.
pub(super) fn client_shape(config: &TensorConfig, shape: &[i64], max_batch_size: u32) -> Vec<i64> {
    let Some(reshape) = &config.reshape else {
        return shape.to_vec();
    };
    let batch = usize::from(max_batch_size > 0).min(shape.len());
    if shape.len() - batch != reshape.len() {
        // The graph leaves even the number of its sizes open, which looks like no sizes at all.
        return shape.to_vec();
    }
    let mut open = sizes_of_open(reshape, &shape[batch..]);
    let inner = config.dims.iter().map(|size| {
        if *size == -1 {
            open.next().unwrap_or(1)
        } else {
            *size
        }
    });
    shape[..batch].iter().copied().chain(inner).collect()
}

/// Real sizes of the dimensions that a configuration leaves open, in order.
fn sizes_of_open(dims: &[i64], shape: &[i64]) -> impl Iterator<Item = i64> {
    dims.iter()
        .zip(shape)
        .filter(|(dim, _)| **dim == -1)
        .map(|(_, size)| *size)
}

fn written(shape: &[i64]) -> String {
    format!(
        "[{}]",
        shape.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
    )
}
