//! The batcher: requests are checked, wait together, are put together, taken apart and answered.

use std::hint::black_box;
use std::sync::Arc;

use aiops_inference_pod::error::Result;
use aiops_inference_pod::models::ModelVersion;
use aiops_inference_pod::tensor::{DataType, InferenceRequest, InferenceResponse, Tensor, TensorData};

use super::waiting::Waiting;
use super::{Prepare, models};

/// Four batches of the largest size.
const REQUESTS: usize = 64;
const BATCHES: usize = 4;

fn request(width: usize) -> anyhow::Result<InferenceRequest> {
    let data = TensorData::Fixed(models::values(width));
    let input = Tensor::new("x".to_owned(), DataType::Fp32, vec![1, width as i64], data)?;
    Ok(InferenceRequest {
        inputs: vec![input],
        ..InferenceRequest::default()
    })
}

type Caller = Waiting<Result<InferenceResponse>>;

fn caller(model: &Arc<ModelVersion>, width: usize) -> anyhow::Result<Caller> {
    let (model, memory, request) = (Arc::clone(model), models::memory(), request(width)?);
    Ok(Waiting::new(async move { model.infer(request, &memory).await }))
}

fn callers(model: &Arc<ModelVersion>, width: impl Fn(usize) -> usize) -> anyhow::Result<Vec<Caller>> {
    (0..REQUESTS).map(|index| caller(model, width(index))).collect()
}

/// Requests enter one after the other, run together and are answered.
fn batches(model: Arc<ModelVersion>, width: fn(usize) -> usize) -> anyhow::Result<Prepare> {
    Ok(Box::new(move || {
        let model = Arc::clone(&model);
        let mut callers = callers(&model, width)?;
        Ok(Box::new(move || {
            callers.iter_mut().try_for_each(Waiting::begin)?;
            for _ in 0..BATCHES {
                model.answer_one_batch();
            }
            for caller in callers {
                black_box(caller.end()??);
            }
            Ok(())
        }))
    }))
}

pub fn same_shape() -> anyhow::Result<Prepare> {
    batches(models::numbers()?, |_| models::WIDTH)
}

/// Of four lengths by turns, each of which fills a batch.
pub fn mixed_shapes() -> anyhow::Result<Prepare> {
    batches(models::series()?, |index| 32 + 32 * (index % BATCHES))
}

/// Every second one leaves before a batch is taken.
pub fn callers_that_leave() -> anyhow::Result<Prepare> {
    let model = models::numbers()?;
    Ok(Box::new(move || {
        let model = Arc::clone(&model);
        let mut stay = callers(&model, |_| models::WIDTH)?;
        Ok(Box::new(move || {
            stay.iter_mut().try_for_each(Waiting::begin)?;
            let mut index = 0;
            stay.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            for _ in 0..BATCHES / 2 {
                model.answer_one_batch();
            }
            for caller in stay {
                black_box(caller.end()??);
            }
            Ok(())
        }))
    }))
}
