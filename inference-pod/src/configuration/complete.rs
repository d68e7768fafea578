//! A configuration against its graph: what is missing is taken from the graph, what contradicts it is refused.

use super::text_format::{ConfigError, error_at};
use super::{DynamicBatching, InstanceGroup, ModelConfig, TensorConfig};
use crate::tensor::DataType;

/// Largest batch of a model that has no `config.pbtxt`.
const DEFAULT_MAX_BATCH_SIZE: u32 = 64;

/// A tensor as the graph declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphTensor {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    pub datatype: DataType,
    /// Sizes; -1 where the graph leaves them open.
    pub shape: Vec<i64>,
}

/// Completes `config`, or makes one where there is none, and checks it against the graph.
pub fn complete(
    config: Option<ModelConfig>,
    model: &str,
    inputs: &[GraphTensor],
    outputs: &[GraphTensor],
) -> Result<ModelConfig, ConfigError> {
    let batches = can_batch(inputs, outputs);
    let mut config = config.unwrap_or_else(|| ModelConfig {
        model_file: super::DEFAULT_MODEL_FILE.to_owned(),
        instance_groups: vec![InstanceGroup::default()],
        max_batch_size: if batches { DEFAULT_MAX_BATCH_SIZE } else { 0 },
        dynamic_batching: batches.then(DynamicBatching::default),
        ..ModelConfig::default()
    });
    name(&mut config, model)?;
    if config.max_batch_size > 0 && !batches {
        return Err(error_at(
            0,
            format!(
                "max_batch_size is {}, but not every input and output of the graph has an open first dimension; set it to 0",
                config.max_batch_size
            ),
        ));
    }
    if config.max_batch_size == 0 && config.dynamic_batching.is_some() {
        return Err(error_at(0, "dynamic_batching needs a max_batch_size above 0"));
    }
    if let Some(batching) = &config.dynamic_batching
        && let Some(size) = batching
            .preferred_batch_sizes
            .iter()
            .find(|size| **size == 0 || **size > config.max_batch_size)
    {
        return Err(error_at(
            0,
            format!("preferred_batch_size {size} is not between 1 and max_batch_size"),
        ));
    }
    config.inputs = tensors(
        "input",
        std::mem::take(&mut config.inputs),
        inputs,
        config.max_batch_size,
    )?;
    config.outputs = tensors(
        "output",
        std::mem::take(&mut config.outputs),
        outputs,
        config.max_batch_size,
    )?;
    Ok(config)
}

/// The name is that of the model's folder.
pub(super) fn name(config: &mut ModelConfig, model: &str) -> Result<(), ConfigError> {
    if config.name.is_empty() {
        model.clone_into(&mut config.name);
    }
    if config.name == model {
        return Ok(());
    }
    Err(error_at(
        0,
        format!(
            "name \"{}\" differs from that of the model's folder, \"{model}\"",
            config.name
        ),
    ))
}

/// Rows can be put together only if every tensor has an open first dimension.
fn can_batch(inputs: &[GraphTensor], outputs: &[GraphTensor]) -> bool {
    inputs
        .iter()
        .chain(outputs)
        .all(|tensor| tensor.shape.first() == Some(&-1))
}

/// Configured tensors in the order of the graph's, each checked; the graph's own where none are configured.
fn tensors(
    role: &str,
    configured: Vec<TensorConfig>,
    graph: &[GraphTensor],
    max_batch_size: u32,
) -> Result<Vec<TensorConfig>, ConfigError> {
    if configured.is_empty() {
        return Ok(graph
            .iter()
            .map(|tensor| from_graph(tensor, max_batch_size))
            .collect());
    }
    let names = || {
        graph
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(stray) = configured
        .iter()
        .find(|tensor| graph.iter().all(|known| known.name != tensor.name))
    {
        return Err(error_at(
            0,
            format!(
                "{role} '{}' is not in the graph, which has {}",
                stray.name,
                names()
            ),
        ));
    }
    // Every input has to be fed; outputs may be left out.
    let missing = graph
        .iter()
        .find(|known| configured.iter().all(|tensor| tensor.name != known.name));
    if let (Some(missing), "input") = (missing, role) {
        return Err(error_at(
            0,
            format!("input '{}' of the graph is not configured", missing.name),
        ));
    }
    for tensor in &configured {
        let known = graph.iter().find(|known| known.name == tensor.name);
        let known = known.expect("strays were refused above");
        check(role, tensor, known, max_batch_size)?;
    }
    Ok(configured)
}

fn from_graph(tensor: &GraphTensor, max_batch_size: u32) -> TensorConfig {
    let dims = if max_batch_size > 0 {
        tensor.shape[1..].to_vec()
    } else {
        tensor.shape.clone()
    };
    // One value a row: clients see [rows, 1], as Triton's do, and the graph keeps its [rows].
    let scalar_rows = dims.is_empty();
    TensorConfig {
        name: tensor.name.clone(),
        datatype: tensor.datatype,
        dims: if scalar_rows { vec![1] } else { dims },
        reshape: scalar_rows.then(Vec::new),
        label_filename: None,
    }
}

fn check(
    role: &str,
    tensor: &TensorConfig,
    known: &GraphTensor,
    max_batch_size: u32,
) -> Result<(), ConfigError> {
    let name = &tensor.name;
    if tensor.datatype != known.datatype {
        return Err(error_at(
            0,
            format!(
                "{role} '{name}' has data type {}, but the graph has {}",
                tensor.datatype, known.datatype
            ),
        ));
    }
    let shape = tensor.graph_shape(max_batch_size);
    let fits = shape.len() == known.shape.len()
        && shape
            .iter()
            .zip(&known.shape)
            .all(|(configured, graph)| *graph == -1 || configured == graph);
    if !fits {
        return Err(error_at(
            0,
            format!(
                "{role} '{name}' has shape {shape:?} with its batch dimension, but the graph has {:?}",
                known.shape
            ),
        ));
    }
    check_reshape(role, tensor)
}

/// A reshape holds as many elements as the dims.
pub(super) fn check_reshape(role: &str, tensor: &TensorConfig) -> Result<(), ConfigError> {
    if let Some(reshape) = &tensor.reshape {
        let open = |dims: &[i64]| dims.iter().filter(|size| **size == -1).count();
        let fixed = |dims: &[i64]| {
            let mut sizes = dims.iter().filter(|size| **size != -1);
            let product = sizes.try_fold(1_i64, |product, size| product.checked_mul(*size));
            product.ok_or_else(|| {
                let name = &tensor.name;
                error_at(
                    0,
                    format!("{role} '{name}': {dims:?} are more elements than can be counted"),
                )
            })
        };
        if open(reshape) != open(&tensor.dims) || fixed(reshape)? != fixed(&tensor.dims)? {
            return Err(error_at(
                0,
                format!(
                    "{role} '{}': reshape {reshape:?} does not hold as many elements as dims {:?}",
                    tensor.name, tensor.dims
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn sizes_whose_product_cannot_be_counted_are_no_reshape() {
        for (dims, reshape) in [
            ("[ 4294967296, 4294967296 ]", "[ 8589934592, 4294967296 ]"),
            ("[ 9223372036854775807, 2 ]", "[ 4 ]"),
        ] {
            let text = format!(
                "input {{ name: 'x' data_type: TYPE_INT8 dims: {dims} reshape {{ shape: {reshape} }} }}"
            );
            let error = check_reshape("input", &read(&text).unwrap().inputs[0]).unwrap_err();
            assert!(
                error.message.ends_with("are more elements than can be counted"),
                "{error}"
            );
        }
    }

    fn graph(name: &str, datatype: DataType, shape: &[i64]) -> GraphTensor {
        GraphTensor {
            name: name.into(),
            datatype,
            shape: shape.to_vec(),
        }
    }

    fn forest() -> (Vec<GraphTensor>, Vec<GraphTensor>) {
        (
            vec![graph("features", DataType::Fp32, &[-1, 30])],
            vec![
                graph("label", DataType::Int64, &[-1]),
                graph("probabilities", DataType::Fp32, &[-1, 2]),
            ],
        )
    }

    #[test]
    fn a_graph_alone_gives_a_configuration_with_batching_and_the_labels_reshaped() {
        let (inputs, outputs) = forest();
        let config = complete(None, "tumour", &inputs, &outputs).unwrap();
        assert_eq!(config.max_batch_size, 64);
        assert!(config.dynamic_batching.is_some());
        assert_eq!(config.inputs[0].dims, [30]);
        assert_eq!(
            (
                config.outputs[0].dims.as_slice(),
                config.outputs[0].reshape.as_deref()
            ),
            (&[1][..], Some(&[][..]))
        );
        assert_eq!(config.outputs[1].dims, [2]);
    }

    #[test]
    fn a_graph_without_open_rows_is_not_batched() {
        let inputs = vec![graph("x", DataType::Fp32, &[1, 3])];
        let outputs = vec![graph("y", DataType::Fp32, &[])];
        let config = complete(None, "fixed", &inputs, &outputs).unwrap();
        assert_eq!(config.max_batch_size, 0);
        assert_eq!(config.inputs[0].dims, [1, 3]);
        assert!(config.dynamic_batching.is_none());
    }

    #[test]
    fn contradictions_are_refused() {
        let (inputs, outputs) = forest();
        for (text, part) in [
            ("name: \"other\"", "differs from that of the model's folder"),
            (
                "max_batch_size: 4 input { name: \"x\" data_type: TYPE_FP32 dims: 30 }",
                "is not in the graph",
            ),
            (
                "max_batch_size: 4 input { name: \"features\" data_type: TYPE_FP64 dims: 30 }",
                "data type FP64",
            ),
            (
                "max_batch_size: 4 input { name: \"features\" data_type: TYPE_FP32 dims: 29 }",
                "has shape [-1, 29]",
            ),
            (
                "input { name: \"features\" data_type: TYPE_FP32 dims: 30 }",
                "has shape [30]",
            ),
            (
                "max_batch_size: 4 output { name: \"label\" data_type: TYPE_INT64 dims: 1 }",
                "has shape [-1, 1]",
            ),
            (
                "max_batch_size: 4 output { name: \"label\" data_type: TYPE_INT64 dims: 2 reshape { } }",
                "as many elements",
            ),
            ("dynamic_batching { }", "max_batch_size above 0"),
            (
                "max_batch_size: 4 dynamic_batching { preferred_batch_size: 8 }",
                "preferred_batch_size 8",
            ),
        ] {
            let error = complete(Some(read(text).unwrap()), "tumour", &inputs, &outputs)
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let fixed = vec![graph("y", DataType::Fp32, &[1])];
        let error = complete(
            Some(read("max_batch_size: 2").unwrap()),
            "tumour",
            &inputs,
            &fixed,
        )
        .unwrap_err();
        assert!(error.message.contains("open first dimension"), "{error}");
    }
}
