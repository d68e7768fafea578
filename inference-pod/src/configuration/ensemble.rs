//! Models that are called one after another as one: the steps of an ensemble, and whether its tensors fit together.
//!
//! Nothing here knows the models of the steps; whether they are there and take these tensors is seen when they are.

use std::collections::{BTreeMap, BTreeSet};

use super::text_format::{ConfigError, error_at};
use super::{ModelConfig, complete};

type Result<T> = std::result::Result<T, ConfigError>;

/// The steps of an ensemble, in any order: what they write and read says which comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnsembleScheduling {
    /// At least one.
    pub steps: Vec<EnsembleStep>,
    /// Most requests that each step may have under way; 0 for any number.
    pub max_inflight_requests: u32,
}

/// One call of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnsembleStep {
    /// Name of the model, which may be an ensemble itself.
    pub model: String,
    /// Its version; absent for the one that a request without a version gets.
    pub version: Option<u64>,
    /// For each input of the model the ensemble's tensor that it gets.
    pub inputs: BTreeMap<String, String>,
    /// For each output of the model that is used the ensemble's tensor that it becomes.
    pub outputs: BTreeMap<String, String>,
    /// Where it is in the text, for messages.
    pub line: usize,
}

/// Completes the configuration of an ensemble, which has no graph to take anything from, and checks its data flow as Triton
/// does (`ValidateEnsembleSchedulingConfig`).
pub fn complete_ensemble(mut config: ModelConfig, model: &str) -> Result<ModelConfig> {
    complete::name(&mut config, model)?;
    let Some(scheduling) = &config.ensemble else {
        return Err(error_at(0, "an ensemble needs ensemble_scheduling"));
    };
    for (role, tensors) in [("input", &config.inputs), ("output", &config.outputs)] {
        if tensors.is_empty() {
            return Err(error_at(
                0,
                format!(
                    "must specify '{role}' for ensemble '{model}': it has no graph from which they could be taken"
                ),
            ));
        }
        if let Some(open) = tensors.iter().find(|tensor| tensor.dims.is_empty()) {
            return Err(error_at(
                0,
                format!("{role} '{}' of ensemble '{model}' must specify 'dims'", open.name),
            ));
        }
        for tensor in tensors {
            complete::check_reshape(role, tensor)?;
        }
    }
    let writers = writers(&config, scheduling)?;
    check_flow(&config, scheduling, &writers)?;
    Ok(config)
}

/// Which step writes each tensor.
fn writers<'a>(config: &ModelConfig, scheduling: &'a EnsembleScheduling) -> Result<BTreeMap<&'a str, usize>> {
    let name = &config.name;
    let mut writers = BTreeMap::new();
    if scheduling.steps.is_empty() {
        return Err(error_at(0, format!("must specify 'step' for ensemble '{name}'")));
    }
    for (index, step) in scheduling.steps.iter().enumerate() {
        for (field, is_missing) in [
            ("model_name", step.model.is_empty()),
            ("input_map", step.inputs.is_empty()),
            ("output_map", step.outputs.is_empty()),
        ] {
            if is_missing {
                return Err(error_at(
                    step.line,
                    format!("must specify '{field}' in step {index} of ensemble '{name}'"),
                ));
            }
        }
        for tensor in step.outputs.values() {
            let is_input = config.inputs.iter().any(|input| input.name == *tensor);
            let earlier = writers.insert(tensor.as_str(), index);
            if !is_input && earlier.is_none() {
                continue;
            }
            let other = match earlier {
                Some(earlier) => format!("step {earlier} writes it"),
                None => "it is an input of the ensemble".to_owned(),
            };
            return Err(error_at(
                step.line,
                format!(
                    "ensemble tensor '{tensor}' can appear in an output map only once for ensemble '{name}' step {index}: \
                     {other} too; give it another name"
                ),
            ));
        }
    }
    Ok(writers)
}

/// Every input is read, every tensor that is read is written before, and every tensor that is written is used.
fn check_flow(
    config: &ModelConfig,
    scheduling: &EnsembleScheduling,
    writers: &BTreeMap<&str, usize>,
) -> Result<()> {
    let name = &config.name;
    let steps = &scheduling.steps;
    let read: BTreeSet<&str> = steps
        .iter()
        .flat_map(|step| step.inputs.values())
        .map(String::as_str)
        .collect();
    if let Some(input) = config
        .inputs
        .iter()
        .find(|input| !read.contains(input.name.as_str()))
    {
        return Err(error_at(
            0,
            format!(
                "ensemble input '{}' for ensemble '{name}' is not used: name it in the input_map of a step, or remove it",
                input.name
            ),
        ));
    }
    let there = reached(config, steps);
    let why = |tensor: &str| match writers.get(tensor) {
        None => "no step's output_map has it and no input of the ensemble is called so",
        Some(_) => "the steps before it wait for each other in a circle, or for what nobody writes",
    };
    for step in steps {
        if let Some(tensor) = step
            .inputs
            .values()
            .find(|tensor| !there.contains(tensor.as_str()))
        {
            return Err(error_at(
                step.line,
                format!(
                    "ensemble tensor '{tensor}' is not written in ensemble '{name}': {}",
                    why(tensor)
                ),
            ));
        }
    }
    if let Some(output) = config
        .outputs
        .iter()
        .find(|output| !there.contains(output.name.as_str()))
    {
        return Err(error_at(
            0,
            format!(
                "output '{}' for ensemble '{name}' is not written: {}",
                output.name,
                why(&output.name)
            ),
        ));
    }
    let is_used =
        |tensor: &str| read.contains(tensor) || config.outputs.iter().any(|output| output.name == tensor);
    match writers.iter().find(|(tensor, _)| !is_used(tensor)) {
        Some((tensor, step)) => Err(error_at(
            steps[*step].line,
            format!(
                "ensemble tensor '{tensor}' is unused in ensemble '{name}': remove it from the output_map, or make it an output"
            ),
        )),
        None => Ok(()),
    }
}

/// Tensors that are there once no more step can run.
fn reached<'a>(config: &'a ModelConfig, steps: &'a [EnsembleStep]) -> BTreeSet<&'a str> {
    let mut there: BTreeSet<_> = config.inputs.iter().map(|input| input.name.as_str()).collect();
    let mut waiting: Vec<_> = steps.iter().collect();
    loop {
        let before = waiting.len();
        waiting.retain(|step| {
            let is_ready = step.inputs.values().all(|tensor| there.contains(tensor.as_str()));
            if is_ready {
                there.extend(step.outputs.values().map(String::as_str));
            }
            !is_ready
        });
        if waiting.is_empty() || waiting.len() == before {
            return there;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    const FRAME: &str = r#"platform: "ensemble"
input { name: "IN" data_type: TYPE_FP32 dims: 4 } output { name: "OUT" data_type: TYPE_FP32 dims: 3 }
"#;

    fn outcome(steps: &str) -> std::result::Result<ModelConfig, String> {
        let config =
            read(&format!("{FRAME}ensemble_scheduling {{ {steps} }}")).map_err(|error| error.to_string())?;
        complete_ensemble(config, "chain").map_err(|error| error.to_string())
    }

    fn step(model: &str, from: &str, to: &str) -> String {
        format!(
            "step {{ model_name: \"{model}\" model_version: -1 input_map {{ key: \"x\" value: \"{from}\" }} \
             output_map {{ key: \"y\" value: \"{to}\" }} }}\n"
        )
    }

    #[test]
    fn steps_are_read_in_any_order() {
        let steps = step("second", "between", "OUT") + &step("first", "IN", "between");
        let config = outcome(&format!("max_inflight_requests: 3 {steps}")).unwrap();
        let ensemble = config.ensemble.unwrap();
        assert_eq!(
            (config.name.as_str(), ensemble.max_inflight_requests),
            ("chain", 3)
        );
        let first = &ensemble.steps[1];
        assert_eq!(
            (first.model.as_str(), first.version, first.line),
            ("first", None, 4)
        );
        assert_eq!(first.inputs["x"], "IN");
        assert_eq!(first.outputs["y"], "between");
    }

    #[test]
    fn tensors_that_do_not_fit_together_are_refused_with_their_line() {
        let one = step("a", "IN", "OUT");
        for (steps, error) in [
            (
                String::new(),
                "config.pbtxt: must specify 'step' for ensemble 'chain'",
            ),
            (
                step("", "IN", "OUT"),
                "config.pbtxt line 3: must specify 'model_name' in step 0 of ensemble 'chain'",
            ),
            (
                r#"step { model_name: "a" model_version: -1 output_map { key: "y" value: "OUT" } }"#
                    .to_owned(),
                "config.pbtxt line 3: must specify 'input_map' in step 0 of ensemble 'chain'",
            ),
            (
                r#"step { model_name: "a" model_version: -1 input_map { key: "x" value: "IN" } }"#.to_owned(),
                "config.pbtxt line 3: must specify 'output_map' in step 0 of ensemble 'chain'",
            ),
            (
                one.clone() + &one,
                "config.pbtxt line 4: ensemble tensor 'OUT' can appear in an output map only once for ensemble 'chain' step 1: \
                 step 0 writes it too; give it another name",
            ),
            (
                step("a", "IN", "IN"),
                "config.pbtxt line 3: ensemble tensor 'IN' can appear in an output map only once for ensemble 'chain' step 0: \
                 it is an input of the ensemble too; give it another name",
            ),
            (
                step("a", "nothing", "OUT"),
                "config.pbtxt: ensemble input 'IN' for ensemble 'chain' is not used: name it in the input_map of a step, or \
                 remove it",
            ),
            (
                one.clone() + &step("b", "nothing", "more"),
                "config.pbtxt line 4: ensemble tensor 'nothing' is not written in ensemble 'chain': no step's output_map has it \
                 and no input of the ensemble is called so",
            ),
            (
                one.clone() + &step("b", "one", "other") + &step("c", "other", "one"),
                "config.pbtxt line 4: ensemble tensor 'one' is not written in ensemble 'chain': the steps before it wait for \
                 each other in a circle, or for what nobody writes",
            ),
            (
                step("a", "IN", "else"),
                "config.pbtxt: output 'OUT' for ensemble 'chain' is not written: no step's output_map has it and no input of \
                 the ensemble is called so",
            ),
            (
                one + &step("b", "IN", "else"),
                "config.pbtxt line 4: ensemble tensor 'else' is unused in ensemble 'chain': remove it from the output_map, or \
                 make it an output",
            ),
        ] {
            assert_eq!(outcome(&steps).unwrap_err(), error, "{steps}");
        }
    }

    #[test]
    fn an_ensemble_s_own_cache_is_warned_of() {
        let text = format!("{FRAME}ensemble_scheduling {{ {} }}", step("a", "IN", "OUT"));
        let config = read(&(text + "response_cache { enable: true }")).unwrap();
        assert!(!config.response_cache);
        assert_eq!(
            config.warnings,
            [
                "config.pbtxt line 4: response_cache has no effect here: enable it for the models of the ensemble's steps"
            ]
        );
    }

    #[test]
    fn an_ensemble_states_its_tensors() {
        let text = format!(
            "platform: \"ensemble\" output {{ name: \"OUT\" data_type: TYPE_FP32 dims: 3 }} ensemble_scheduling {{ {} }}",
            step("a", "IN", "OUT")
        );
        let error = complete_ensemble(read(&text).unwrap(), "chain").unwrap_err();
        assert!(
            error
                .message
                .contains("must specify 'input' for ensemble 'chain'"),
            "{error}"
        );
        let dims = text.replace("dims: 3", "") + "input { name: \"IN\" data_type: TYPE_FP32 dims: 1 }";
        let error = complete_ensemble(read(&dims).unwrap(), "chain").unwrap_err();
        assert_eq!(
            error.message,
            "output 'OUT' of ensemble 'chain' must specify 'dims'"
        );
    }
}
