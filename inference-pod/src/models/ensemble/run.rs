//! Answering: each step runs as soon as its tensors are there, and the first failure ends the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use http::HeaderMap;

use super::shape::passed_on;
use super::{Call, Ensemble};
use crate::error::{ErrorKind, InferenceError, Result};
use crate::memory::Reservation;
use crate::metrics::FailureReason;
use crate::models::version::ModelVersion;
use crate::statistics::{Execution, Member, Phases, Statistics};
use crate::tensor::{DataType, InferenceRequest, InferenceResponse, Tensor, TensorData};
use crate::traces::RequestTrace;

/// A tensor between steps.
#[derive(Clone)]
struct Value {
    datatype: DataType,
    shape: Vec<i64>,
    data: TensorData,
    /// Those it was made with; nothing where it comes from a model without rows.
    rows: Option<i64>,
}

/// What a step answered, and its rows.
type Done = (usize, InferenceResponse, Option<i64>);

impl Ensemble {
    /// Answers a request. Dropping the answer takes the requests of its steps back.
    pub(in crate::models) fn answer<'a>(
        &'a self,
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<InferenceResponse>> {
        async move {
            let mut counted = Counted {
                statistics: &call.model.statistics,
                received: call.received,
                started: Instant::now(),
                trace: call.request.trace.clone(),
                is_over: false,
            };
            let rows = call.accepted.rows as u64;
            let name = call.model.name.clone();
            let answered = self.run(call).await;
            counted.end(rows, answered.as_ref().err());
            answered.map_err(|error| InferenceError {
                message: format!("in ensemble '{name}', {}", error.message),
                ..error
            })
        }
        .boxed()
    }

    async fn run(&self, call: Call<'_>) -> Result<InferenceResponse> {
        let targets = self.targets(call.request.headers.as_deref())?;
        let plan = &self.plan;
        let mut waiting = plan.needed(&call.accepted.outputs);
        let mut readers = plan.readers(&waiting, &call.accepted.outputs);
        let mut tensors = self.given(&call);
        let mut running = FuturesUnordered::new();
        loop {
            let (ready, not_yet): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|step| {
                let mut inputs = plan.steps[*step].inputs.iter();
                inputs.all(|(_, tensor)| tensors[*tensor].is_some())
            });
            waiting = not_yet;
            for step in ready {
                let target = Arc::clone(&targets[step]);
                let inputs = self.take_inputs(step, &target, &mut tensors, &mut readers);
                running.push(self.step(step, target, inputs, &call));
            }
            let Some(done) = running.next().await else { break };
            let (step, response, rows) = done?;
            for output in response.outputs {
                let mut names = plan.steps[step].outputs.iter();
                if let Some((_, tensor)) = names.find(|(name, _)| *name == output.name) {
                    tensors[*tensor] = Some(Value {
                        datatype: output.datatype,
                        shape: output.shape,
                        data: output.data,
                        rows,
                    });
                }
            }
        }
        drop(running);
        self.response(call, &tensors)
    }

    /// The model of each step, looked up once: all steps of a request with the same model get the same version of it.
    fn targets(&self, headers: Option<&HeaderMap>) -> Result<Vec<Arc<ModelVersion>>> {
        let registry = self.registry()?;
        let none = HeaderMap::new();
        let headers = headers.unwrap_or(&none);
        let mut known: HashMap<(&str, Option<u64>), Arc<ModelVersion>> = HashMap::new();
        let steps = self.plan.steps.iter();
        steps
            .map(|step| {
                let key = (step.model.as_str(), step.version);
                if let Some(found) = known.get(&key) {
                    return Ok(Arc::clone(found));
                }
                // The ensemble that was asked for is there; that a step's model is not is no fault of the request.
                let found = registry
                    .choose(key.0, key.1, headers)
                    .map_err(|error| InferenceError::unavailable(error.message))?;
                known.insert(key, Arc::clone(&found));
                Ok(found)
            })
            .collect()
    }

    /// The tensors that the request brings.
    fn given(&self, call: &Call<'_>) -> Vec<Option<Value>> {
        let mut tensors = vec![None; self.plan.tensors()];
        let config = &call.model.config;
        let rows = (config.max_batch_size > 0).then_some(call.accepted.rows as i64);
        let given = config.inputs.iter().zip(&call.accepted.inputs);
        for (tensor, (input, given)) in self.plan.inputs.iter().zip(given) {
            tensors[*tensor] = Some(Value {
                datatype: input.datatype,
                shape: given.shape.clone(),
                data: given.data.clone(),
                rows,
            });
        }
        tensors
    }

    /// A step's inputs as its model takes them. What nobody reads after it is let go.
    fn take_inputs(
        &self,
        step: usize,
        target: &ModelVersion,
        tensors: &mut [Option<Value>],
        readers: &mut [usize],
    ) -> Vec<Tensor> {
        let takes_rows = target.config.max_batch_size > 0;
        let mut inputs = Vec::new();
        for (name, tensor) in &self.plan.steps[step].inputs {
            readers[*tensor] -= 1;
            let value = if readers[*tensor] == 0 {
                tensors[*tensor].take()
            } else {
                tensors[*tensor].clone()
            };
            let config = target.config.inputs.iter().find(|input| input.name == *name);
            // A step starts only when all of its inputs are there; an input that its model has no more is refused by it.
            let Some(value) = value else { continue };
            inputs.push(Tensor {
                name: name.clone(),
                datatype: value.datatype,
                shape: match config {
                    Some(config) => passed_on(&value.shape, value.rows, &config.dims, takes_rows),
                    None => value.shape,
                },
                data: value.data,
            });
        }
        inputs
    }

    async fn step(
        &self,
        index: usize,
        target: Arc<ModelVersion>,
        inputs: Vec<Tensor>,
        call: &Call<'_>,
    ) -> Result<Done> {
        let left = || left(call.request.timeout, call.received);
        let _place = match &self.places[index] {
            None => None,
            Some(places) => {
                let place = places.acquire();
                let place = match left()? {
                    None => place.await,
                    Some(left) => tokio::time::timeout(left, place).await.map_err(|_| expired())?,
                };
                Some(place.map_err(|_| InferenceError::internal("the places of a step are gone"))?)
            }
        };
        let outputs = self.plan.steps[index].outputs.iter();
        let request = InferenceRequest {
            inputs,
            outputs: outputs.map(|(name, _)| name.clone()).collect(),
            timeout: left()?,
            ..call.request.clone()
        };
        let takes_rows = target.config.max_batch_size > 0;
        let rows = request
            .inputs
            .first()
            .and_then(|input| input.shape.first().copied());
        let memory: &Arc<Reservation> = call.memory;
        let response = target.infer(request, memory).await?;
        Ok((index, response, rows.filter(|_| takes_rows)))
    }

    fn response(&self, call: Call<'_>, tensors: &[Option<Value>]) -> Result<InferenceResponse> {
        let config = &call.model.config;
        let outputs = call.accepted.outputs.iter().map(|index| {
            let output = &config.outputs[*index];
            let value = tensors[self.plan.outputs[*index]].as_ref().ok_or_else(|| {
                InferenceError::internal(format!(
                    "unexpected deadlock, output '{}' is not set while no more ensemble steps can be made",
                    output.name
                ))
            })?;
            let dims = output.reshape.as_ref().unwrap_or(&output.dims);
            let shape = passed_on(&value.shape, value.rows, dims, config.max_batch_size > 0);
            Ok(Tensor {
                name: output.name.clone(),
                datatype: value.datatype,
                shape: crate::models::validate::client_shape(output, &shape, config.max_batch_size),
                data: value.data.clone(),
            })
        });
        Ok(InferenceResponse {
            model: call.model.name.clone(),
            version: call.model.version,
            id: call.request.id.clone(),
            outputs: outputs.collect::<Result<_>>()?,
        })
    }
}

/// What is left of a request's time, if it has a bound.
fn left(timeout: Option<Duration>, received: Instant) -> Result<Option<Duration>> {
    let Some(timeout) = timeout else { return Ok(None) };
    match timeout.checked_sub(received.elapsed()) {
        Some(left) if !left.is_zero() => Ok(Some(left)),
        _ => Err(expired()),
    }
}

fn expired() -> InferenceError {
    InferenceError::unavailable("Request timeout expired")
}

/// Counts the request with its ensemble, whichever way it ends: dropped before the end, its caller has gone.
struct Counted<'a> {
    statistics: &'a Statistics,
    received: Instant,
    started: Instant,
    trace: Option<Arc<RequestTrace>>,
    is_over: bool,
}

impl Counted<'_> {
    fn end(&mut self, rows: u64, error: Option<&InferenceError>) {
        self.is_over = true;
        let total = self.received.elapsed();
        if let Some(error) = error {
            let reason = match error.kind {
                ErrorKind::Unavailable => FailureReason::Rejected,
                ErrorKind::Internal => FailureReason::Backend,
                _ => FailureReason::Other,
            };
            self.statistics.record_failure(reason, total);
            return;
        }
        self.statistics.record_execution(&Execution {
            rows,
            started: None,
            phases: Phases {
                input: Duration::ZERO,
                infer: self.started.elapsed(),
                output: Duration::ZERO,
            },
            members: vec![Member {
                queued: self.started.saturating_duration_since(self.received),
                total,
                trace: self.trace.take(),
            }],
        });
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.statistics
                .record_failure(FailureReason::Canceled, self.received.elapsed());
        }
    }
}
