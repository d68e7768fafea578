//! A door for `bench/instructions`: what workers do, on the thread that asks for it, with a model that costs nothing.

use std::sync::Arc;

use bytes::Bytes;

use super::job::JobInput;
use super::worker::{self, Execute, Executed, Surroundings};
use super::{Scheduler, batch};
use crate::runtime::{OutputTensor, gathered};
use crate::statistics::{Phases, Statistics};
use crate::tensor::TensorData;

/// A model of FP32 that answers its inputs.
pub struct Identity;

impl Execute for Identity {
    fn execute(&mut self, members: &[&[JobInput]], rows: &[usize]) -> Result<Executed, String> {
        let inputs = batch::join(members);
        let outputs = inputs.iter().map(|input| {
            let elements: Vec<f32> = gathered(&input.parts);
            OutputTensor {
                shape: input.shape.clone(),
                data: TensorData::Fixed(Bytes::copy_from_slice(bytemuck::cast_slice(&elements))),
            }
        });
        Ok(Executed {
            shares: batch::split(outputs.collect(), rows)?,
            phases: Phases::default(),
        })
    }
}

impl Scheduler {
    /// Takes a batch and answers it. Waits where no request does.
    pub(crate) fn serve_one_batch(&self, session: &mut impl Execute, statistics: &Arc<Statistics>) {
        let surroundings = Surroundings {
            statistics: Arc::clone(statistics),
            network: None,
        };
        if let Some(batch) = self.queue.take() {
            worker::serve(session, batch, &surroundings);
        }
    }
}
