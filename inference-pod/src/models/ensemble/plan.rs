//! The data flow of an ensemble: its tensors by number, which step writes and which steps read each of them.

use std::collections::HashMap;

use crate::configuration::{EnsembleScheduling, TensorConfig};

/// Steps and tensors by their positions.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// The tensor of each configured input.
    pub(super) inputs: Vec<usize>,
    /// The tensor of each configured output.
    pub(super) outputs: Vec<usize>,
    /// The step that writes each tensor; none for the ensemble's inputs.
    writers: Vec<Option<usize>>,
}

/// One call of a model.
pub(super) struct Step {
    pub(super) model: String,
    pub(super) version: Option<u64>,
    /// Inputs of the model, each with the tensor that it gets.
    pub(super) inputs: Vec<(String, usize)>,
    /// Outputs of the model that are used, each with the tensor that it becomes.
    pub(super) outputs: Vec<(String, usize)>,
}

impl Plan {
    /// Of scheduling that was checked.
    pub(super) fn new(
        scheduling: &EnsembleScheduling,
        inputs: &[TensorConfig],
        outputs: &[TensorConfig],
    ) -> Self {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut number = |name: &str| {
            let next = numbers.len();
            *numbers.entry(name.to_owned()).or_insert(next)
        };
        let inputs: Vec<_> = inputs.iter().map(|input| number(&input.name)).collect();
        let steps: Vec<_> = scheduling
            .steps
            .iter()
            .map(|step| {
                let mut numbered = |map: &std::collections::BTreeMap<String, String>| {
                    map.iter()
                        .map(|(key, tensor)| (key.clone(), number(tensor)))
                        .collect()
                };
                Step {
                    model: step.model.clone(),
                    version: step.version,
                    inputs: numbered(&step.inputs),
                    outputs: numbered(&step.outputs),
                }
            })
            .collect();
        let outputs = outputs.iter().map(|output| number(&output.name)).collect();
        let mut writers = vec![None; numbers.len()];
        for (index, step) in steps.iter().enumerate() {
            for (_, tensor) in &step.outputs {
                writers[*tensor] = Some(index);
            }
        }
        Self {
            steps,
            inputs,
            outputs,
            writers,
        }
    }

    pub(super) fn tensors(&self) -> usize {
        self.writers.len()
    }

    /// Steps that have to run for these outputs, which are positions in the configuration. Triton leaves out the others too.
    pub(super) fn needed(&self, wanted: &[usize]) -> Vec<usize> {
        let mut is_needed = vec![false; self.steps.len()];
        let mut tensors: Vec<_> = wanted.iter().map(|output| self.outputs[*output]).collect();
        while let Some(tensor) = tensors.pop() {
            if let Some(step) = self.writers[tensor]
                && !std::mem::replace(&mut is_needed[step], true)
            {
                tensors.extend(self.steps[step].inputs.iter().map(|(_, tensor)| *tensor));
            }
        }
        (0..is_needed.len()).filter(|step| is_needed[*step]).collect()
    }

    /// How often each tensor is read by these steps and as a wanted output, so that it can be let go after the last time.
    pub(super) fn readers(&self, steps: &[usize], wanted: &[usize]) -> Vec<usize> {
        let mut readers = vec![0; self.tensors()];
        let by_steps = steps.iter().flat_map(|step| &self.steps[*step].inputs);
        for tensor in by_steps
            .map(|(_, tensor)| *tensor)
            .chain(wanted.iter().map(|output| self.outputs[*output]))
        {
            readers[tensor] += 1;
        }
        readers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::{complete_ensemble, read};

    #[test]
    fn only_steps_that_lead_to_a_wanted_output_are_needed() {
        let step = |model: &str, inputs: &[&str], output: &str| {
            let inputs: String = inputs
                .iter()
                .enumerate()
                .map(|(index, tensor)| format!("input_map {{ key: \"x{index}\" value: \"{tensor}\" }} "))
                .collect();
            format!(
                "step {{ model_name: \"{model}\" model_version: -1 {inputs}
                 output_map {{ key: \"y\" value: \"{output}\" }} }}"
            )
        };
        let tensor =
            |role: &str, name: &str| format!("{role} {{ name: \"{name}\" data_type: TYPE_FP32 dims: 1 }}\n");
        let text = [
            "platform: \"ensemble\"\n".to_owned(),
            tensor("input", "IN"),
            tensor("output", "LEFT"),
            tensor("output", "RIGHT"),
            "ensemble_scheduling {".to_owned(),
            step("left", &["common", "IN"], "LEFT"),
            step("right", &["common", "common"], "RIGHT"),
            step("first", &["IN"], "common"),
            "}".to_owned(),
        ]
        .concat();
        let config = complete_ensemble(read(&text).unwrap(), "e").unwrap();
        let plan = Plan::new(config.ensemble.as_ref().unwrap(), &config.inputs, &config.outputs);
        assert_eq!(plan.tensors(), 4);
        assert_eq!(plan.needed(&[0, 1]), [0, 1, 2]);
        assert_eq!(plan.needed(&[1]), [1, 2]);
        let common = plan.steps[2].outputs[0].1;
        assert_eq!(plan.readers(&[0, 1, 2], &[0, 1])[common], 3);
        assert_eq!(plan.readers(&[1, 2], &[1])[plan.inputs[0]], 1);
    }
}
