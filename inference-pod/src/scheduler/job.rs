//! A request as the scheduler has it.

use std::sync::Arc;
use std::time::Instant;

use super::departures::Reply;
use crate::memory::Reservation;
use crate::tensor::TensorData;
use crate::traces::RequestTrace;

/// One input of a request: the graph's shape, and the data.
#[derive(Clone, Debug)]
pub struct JobInput {
    /// Sizes, the first that of the rows where the model has rows.
    pub shape: Vec<i64>,
    /// Elements.
    pub data: TensorData,
}

/// A checked request.
pub struct JobRequest {
    /// Inputs in the graph's order and with the graph's shapes.
    pub inputs: Vec<JobInput>,
    /// Rows; 1 where the first dimension is none of rows.
    pub rows: usize,
    /// Its priority level among those of the queue; 0 is the most urgent.
    pub level: usize,
    /// When the request came in.
    pub received: Instant,
    /// When it is no longer wanted.
    pub deadline: Option<Instant>,
    /// Its share of the memory for requests, kept until its inputs are gone.
    pub memory: Arc<Reservation>,
    /// Where it is told of, if it is traced.
    pub trace: Option<Arc<RequestTrace>>,
}

/// A request, and who waits for its answer.
pub(super) struct Job {
    pub(super) inputs: Vec<JobInput>,
    pub(super) rows: usize,
    pub(super) level: usize,
    pub(super) received: Instant,
    pub(super) deadline: Option<Instant>,
    #[expect(dead_code, reason = "held as long as the inputs are")]
    pub(super) memory: Arc<Reservation>,
    pub(super) trace: Option<Arc<RequestTrace>>,
    pub(super) reply: Reply,
}

impl Job {
    pub(super) fn new(request: JobRequest, reply: Reply) -> Self {
        let JobRequest {
            inputs,
            rows,
            level,
            received,
            deadline,
            memory,
            trace,
        } = request;
        Self {
            inputs,
            rows,
            level,
            received,
            deadline,
            memory,
            trace,
            reply,
        }
    }

    pub(super) fn byte_size(&self) -> usize {
        self.inputs.iter().map(|input| input.data.memory_size()).sum()
    }

    /// Writes what requests must have in common to run together: every size but the number of rows. Datatypes are those
    /// of the graph, which no request gets past without.
    pub(super) fn write_key(&self, key: &mut Vec<i64>) {
        for input in &self.inputs {
            key.push(input.shape.len() as i64);
            key.extend(input.shape.iter().skip(1));
        }
    }
}

/// A request in the queue, and when it entered it.
pub(super) struct Queued {
    pub(super) job: Job,
    pub(super) entered: Instant,
    pub(super) bytes: usize,
}
