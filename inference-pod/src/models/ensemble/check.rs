//! An ensemble against the models of its steps: all there, none in a circle, tensors of the same type and shape. The checks
//! and their words are Triton's (`ValidateEnsembleConfig`), with what to do.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::shape::fit;
use crate::configuration::{ConfigError, EnsembleScheduling, EnsembleStep, TensorConfig, datatype_name};
use crate::models::registry::Registry;
use crate::models::version::ModelVersion;
use crate::tensor::DataType;

type Result<T> = std::result::Result<T, ConfigError>;

/// Checks an ensemble against the models that answer now; anything else fits always.
pub(in crate::models) fn check(ensemble: &ModelVersion, registry: &Registry) -> Result<()> {
    let Some(scheduling) = &ensemble.config.ensemble else {
        return Ok(());
    };
    let name = &ensemble.name;
    check_present(name, scheduling, registry)?;
    if let Some(last) = circle(name, scheduling, registry) {
        return Err(ConfigError {
            line: scheduling.steps.first().map_or(0, |step| step.line),
            message: circular(name, &last),
        });
    }
    let mut tensors = Tensors::new(ensemble);
    for (index, step) in scheduling.steps.iter().enumerate() {
        for model in registry.candidates(&step.model, step.version) {
            check(&model, registry)?;
            check_rows(ensemble, &model, step)?;
            tensors.check_step(index, step, &model)?;
        }
    }
    Ok(())
}

/// What is said of ensembles that are made of each other.
pub(super) fn circular(name: &str, last: &str) -> String {
    format!(
        "circular dependency between ensembles: {name} -> ... -> {last} -> {name}; take one of the steps out"
    )
}

fn check_present(name: &str, scheduling: &EnsembleScheduling, registry: &Registry) -> Result<()> {
    let steps = scheduling.steps.iter();
    let missing: Vec<_> = steps
        .filter(|step| registry.candidates(&step.model, step.version).is_empty())
        .collect();
    let Some(first) = missing.first() else {
        return Ok(());
    };
    let names: BTreeSet<_> = missing
        .iter()
        .map(|step| match step.version {
            Some(version) => format!("{} version {version}", step.model),
            None => step.model.clone(),
        })
        .collect();
    let names: Vec<_> = names.into_iter().collect();
    Err(ConfigError {
        line: first.line,
        message: format!(
            "ensemble {name} contains models that are not available or ambiguous: {}; an ensemble needs the models of its steps served \
             beside it",
            names.join(", ")
        ),
    })
}

/// The ensemble that leads back to this one, where there is one.
fn circle(name: &str, scheduling: &EnsembleScheduling, registry: &Registry) -> Option<String> {
    let mut seen = BTreeSet::new();
    let models = |from: &str, scheduling: &EnsembleScheduling| -> Vec<(String, String)> {
        let steps = scheduling.steps.iter();
        steps.map(|step| (from.to_owned(), step.model.clone())).collect()
    };
    let mut ahead = models(name, scheduling);
    while let Some((from, model)) = ahead.pop() {
        if model == name {
            return Some(from);
        }
        if !seen.insert(model.clone()) {
            continue;
        }
        for version in registry.versions(&model).unwrap_or_default() {
            if let Some(scheduling) = &version.config.ensemble {
                ahead.extend(models(&model, scheduling));
            }
        }
    }
    None
}

/// A model without rows may be a step of an ensemble with rows.
fn check_rows(ensemble: &ModelVersion, model: &ModelVersion, step: &EnsembleStep) -> Result<()> {
    let (most, takes) = (ensemble.config.max_batch_size, model.config.max_batch_size);
    if takes == 0 || takes >= most {
        return Ok(());
    }
    Err(ConfigError {
        line: step.line,
        message: format!(
            "ensemble {} allows maximum batch size {most}, but it contains model {} which only allows maximum batch size to \
             be {takes}; lower max_batch_size of the ensemble or raise that of the model",
            ensemble.name, model.name
        ),
    })
}

/// What is known of a tensor, and from which model.
struct Known {
    from: String,
    datatype: DataType,
    dims: Vec<i64>,
    with_rows: Vec<i64>,
}

struct Tensors<'a> {
    ensemble: &'a str,
    known: HashMap<String, Known>,
}

impl<'a> Tensors<'a> {
    /// Those that the ensemble itself states.
    fn new(ensemble: &'a ModelVersion) -> Self {
        let config = &ensemble.config;
        let tensors = config.inputs.iter().chain(&config.outputs);
        let known = tensors.map(|tensor| {
            let dims = tensor.reshape.as_ref().unwrap_or(&tensor.dims);
            (tensor.name.clone(), Known::new(ensemble, tensor, dims))
        });
        Self {
            ensemble: &ensemble.name,
            known: known.collect(),
        }
    }

    fn check_step(&mut self, index: usize, step: &EnsembleStep, model: &Arc<ModelVersion>) -> Result<()> {
        let (ensemble, name) = (self.ensemble, &model.name);
        let wrong = |message: String| ConfigError {
            line: step.line,
            message: format!("in ensemble {ensemble}, {message}"),
        };
        let (inputs, outputs) = (&model.config.inputs, &model.config.outputs);
        for (input, tensor) in &step.inputs {
            let config = find(inputs, input).ok_or_else(|| {
                wrong(format!(
                    "ensemble tensor {tensor} is mapping to non-existing input {input} in model {name}, which takes {}",
                    names(inputs)
                ))
            })?;
            self.check_tensor(tensor, model, config).map_err(wrong)?;
        }
        if let Some(missing) = inputs.iter().find(|input| !step.inputs.contains_key(&input.name)) {
            return Err(wrong(format!(
                "input {} in model {name} is not mapped to any ensemble tensors; add it to the input_map of step {index}",
                missing.name
            )));
        }
        for (output, tensor) in &step.outputs {
            let config = find(outputs, output).ok_or_else(|| {
                wrong(format!(
                    "ensemble tensor {tensor} is mapped from non-existing output {output} in model {name}, which answers {}",
                    names(outputs)
                ))
            })?;
            self.check_tensor(tensor, model, config).map_err(wrong)?;
        }
        Ok(())
    }

    /// Every model that writes or reads a tensor has to mean the same by it. Where a size is open, requests will tell.
    fn check_tensor(
        &mut self,
        tensor: &str,
        model: &ModelVersion,
        config: &TensorConfig,
    ) -> std::result::Result<(), String> {
        let here = Known::new(model, config, &config.dims);
        let Some(known) = self.known.get(tensor) else {
            self.known.insert(tensor.to_owned(), here);
            return Ok(());
        };
        if known.datatype != here.datatype {
            return Err(format!(
                "ensemble tensor {tensor}: inconsistent data type: {} is inferred from model {} while {} is inferred from model {}",
                datatype_name(known.datatype),
                known.from,
                datatype_name(here.datatype),
                here.from
            ));
        }
        if !fit(&known.dims, &here.dims) && !fit(&known.with_rows, &here.with_rows) {
            return Err(format!(
                "ensemble tensor {tensor}: inconsistent shape: {} is inferred from model {} while {} is inferred from model {}",
                written(&known.with_rows),
                known.from,
                written(&here.with_rows),
                here.from
            ));
        }
        Ok(())
    }
}

impl Known {
    fn new(model: &ModelVersion, tensor: &TensorConfig, dims: &[i64]) -> Self {
        let rows = (model.config.max_batch_size > 0).then_some(-1);
        Self {
            from: model.name.clone(),
            datatype: tensor.datatype,
            dims: dims.to_vec(),
            with_rows: rows.into_iter().chain(dims.iter().copied()).collect(),
        }
    }
}

fn find<'a>(tensors: &'a [TensorConfig], name: &str) -> Option<&'a TensorConfig> {
    tensors.iter().find(|tensor| tensor.name == name)
}

fn names(tensors: &[TensorConfig]) -> String {
    let names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.join(", ")
}

fn written(shape: &[i64]) -> String {
    let sizes: Vec<_> = shape.iter().map(i64::to_string).collect();
    format!("[{}]", sizes.join(","))
}
