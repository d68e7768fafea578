//! A session of one graph: its signature in the protocol's terms, and running it.

use std::time::{Duration, Instant};

use ort::session::{RunOptions, Session, SessionInputValue};
use ort::value::{DynValue, Outlet, ValueType};

use super::values::{self, OutputTensor};
use crate::configuration::GraphTensor;
use crate::tensor::{DataType, TensorData};

/// Why a graph cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// ONNX Runtime would not take the file.
    #[error("ONNX Runtime refuses it: {0}")]
    Refused(String),
    /// It has inputs or outputs that no protocol can carry.
    #[error("{0}")]
    UnsupportedSignature(String),
}

/// A graph, ready to run. One thread uses it at a time; ONNX Runtime spreads the work over its pool.
pub struct GraphSession {
    session: Session,
    run_options: Option<RunOptions>,
    inputs: Vec<GraphTensor>,
    outputs: Vec<GraphTensor>,
}

/// One input of a run: the shape of the whole batch and the data of its members, in order.
pub struct RunInput<'a> {
    /// Shape of the whole, none of its sizes negative.
    pub shape: Vec<i64>,
    /// Data of each member; their elements together are those of the shape.
    pub parts: Vec<&'a TensorData>,
}

impl GraphSession {
    pub(super) fn new(session: Session, run_options: Option<RunOptions>) -> Result<Self, SessionError> {
        let inputs = session
            .inputs()
            .iter()
            .map(|outlet| signature("input", outlet))
            .collect::<Result<_, _>>()?;
        let outputs = session
            .outputs()
            .iter()
            .map(|outlet| signature("output", outlet))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            session,
            run_options,
            inputs,
            outputs,
        })
    }

    /// Inputs, in the graph's order.
    pub fn inputs(&self) -> &[GraphTensor] {
        &self.inputs
    }

    /// Outputs, in the graph's order.
    pub fn outputs(&self) -> &[GraphTensor] {
        &self.outputs
    }

    /// Version of an operator set the graph imports; the empty domain is `ai.onnx`.
    pub fn opset(&self, domain: &str) -> Option<u32> {
        self.session.opset_for_domain(domain)
    }

    /// Makes the tensors of a batch, in the order of the graph's inputs.
    pub fn assemble(&self, inputs: &[RunInput<'_>]) -> Result<Vec<DynValue>, String> {
        self.inputs
            .iter()
            .zip(inputs)
            .map(|(input, given)| {
                values::assemble(input.datatype, &given.shape, &given.parts)
                    .map_err(|error| format!("input '{}': {error}", input.name))
            })
            .collect()
    }

    /// Runs the graph; answers its outputs, in the graph's order, and how long the run and the copying took.
    pub fn run(&mut self, inputs: Vec<DynValue>) -> Result<Answer, String> {
        let inputs: Vec<SessionInputValue<'_>> = inputs.into_iter().map(Into::into).collect();
        let start = Instant::now();
        let answered = match &self.run_options {
            Some(options) => self.session.run_with_options(inputs.as_slice(), options),
            None => self.session.run(inputs.as_slice()),
        };
        let answered = answered.map_err(|error| super::one_line(&error.to_string()))?;
        let infer = start.elapsed();
        let outputs = self
            .outputs
            .iter()
            .zip(answered.values())
            .map(|(output, value)| {
                values::read(output.datatype, &value)
                    .map_err(|error| format!("output '{}': {error}", output.name))
            })
            .collect::<Result<_, _>>()?;
        Ok(Answer {
            outputs,
            infer,
            copy: start.elapsed() - infer,
        })
    }
}

/// What a run gave.
pub struct Answer {
    /// Outputs, in the graph's order.
    pub outputs: Vec<OutputTensor>,
    /// Time in ONNX Runtime.
    pub infer: Duration,
    /// Time for copying the outputs out of it.
    pub copy: Duration,
}

fn signature(role: &str, outlet: &Outlet) -> Result<GraphTensor, SessionError> {
    let name = outlet.name();
    let unsupported = |what: &str| {
        SessionError::UnsupportedSignature(format!(
            "{role} '{name}' is {what}, and only tensors can be served; convert the model without it (zipmap off in skl2onnx)"
        ))
    };
    match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let datatype = values::datatype(*ty).ok_or_else(|| {
                SessionError::UnsupportedSignature(format!(
                    "{role} '{name}' has element type {ty}, which the protocol lacks"
                ))
            })?;
            Ok(GraphTensor {
                name: name.to_owned(),
                datatype,
                shape: shape.to_vec(),
            })
        }
        ValueType::Sequence(_) => Err(unsupported("a sequence")),
        ValueType::Map { .. } => Err(unsupported("a map")),
        ValueType::Optional(_) => Err(unsupported("optional")),
    }
}

/// Zeros (or empty strings) for every input: one row, and `open_size` wherever another size is open.
pub fn zeros(inputs: &[GraphTensor], open_size: i64) -> Vec<(Vec<i64>, TensorData)> {
    inputs
        .iter()
        .map(|input| {
            let shape: Vec<i64> = input
                .shape
                .iter()
                .enumerate()
                .map(|(axis, size)| match (axis, *size) {
                    (0, ..0) => 1,
                    (_, ..0) => open_size,
                    (_, fixed) => fixed,
                })
                .collect();
            let count = shape.iter().product::<i64>().unsigned_abs() as usize;
            let data = match input.datatype {
                DataType::Bytes => TensorData::Strings(vec![bytes::Bytes::new(); count]),
                fixed => TensorData::Fixed(vec![0; count * fixed.size().unwrap_or(1)].into()),
            };
            (shape, data)
        })
        .collect()
}
