//! The trace of one request: begun by the front that takes it in, told of the queue and the batch by the worker that ran it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{
    Event, Span as _, SpanBuilder, SpanContext, Status, TraceContextExt as _, TraceId, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use super::attribute;
use super::file::{FileTrace, TraceFile};
use crate::statistics::{Execution, Member, Phases};

/// A batch may have thousands of members; links to some of them do.
const MOST_LINKS: usize = 32;

/// One request that is traced.
pub struct RequestTrace {
    trace_id: Option<TraceId>,
    /// The same moment by both clocks: intervals are measured by one, and told by the other.
    began: (Instant, SystemTime),
    sink: Sink,
}

enum Sink {
    /// The caller traces, this process does not: metrics and log lines name the caller's trace.
    Caller,
    Spans {
        tracer: SdkTracer,
        context: SpanContext,
        span: Box<Mutex<Span>>,
    },
    File(FileTrace),
}

/// How a request ended.
pub struct Outcome {
    /// What is known of it.
    pub attributes: Vec<KeyValue>,
    /// What went wrong, where it is the server's fault.
    pub error: Option<String>,
    /// Name and version of the model that answered, and the request's id.
    pub answered: Option<(String, u64, String)>,
}

impl RequestTrace {
    fn new(trace_id: Option<TraceId>, sink: Sink) -> Self {
        Self {
            trace_id,
            began: (Instant::now(), SystemTime::now()),
            sink,
        }
    }

    pub(super) fn of_caller(trace_id: TraceId) -> Self {
        Self::new(Some(trace_id), Sink::Caller)
    }

    pub(super) fn in_spans(tracer: SdkTracer, span: Span) -> Self {
        let context = span.span_context().clone();
        let sink = Sink::Spans {
            tracer,
            context,
            span: Box::new(Mutex::new(span)),
        };
        let trace_id = match &sink {
            Sink::Spans { context, .. } => Some(context.trace_id()),
            Sink::Caller | Sink::File(_) => None,
        };
        Self::new(trace_id, sink)
    }

    pub(super) fn in_file(file: &Arc<TraceFile>, frequency: usize, caller: Option<&Self>) -> Self {
        let trace_id = caller.and_then(|caller| caller.trace_id);
        Self::new(trace_id, Sink::File(FileTrace::new(Arc::clone(file), frequency)))
    }

    /// The trace that it belongs to, where there is one that is kept.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.trace_id
    }

    /// Something happened now; known to files of Triton's form.
    pub fn stamp(&self, name: &'static str) {
        if let Sink::File(file) = &self.sink {
            file.stamp(name, self.at(Instant::now()));
        }
    }

    /// The response cache, which was asked at `since`, has answered. Triton's traces tell of the queue and the answer then.
    pub(crate) fn answered_by_cache(&self, since: Instant) {
        if let Sink::File(file) = &self.sink {
            file.stamp_once("QUEUE_START", self.at(since));
            file.stamp("INFER_RESPONSE_COMPLETE", self.at(Instant::now()));
        }
    }

    /// The answer, or why there is none, has been written.
    pub fn end(&self, outcome: Outcome) {
        match &self.sink {
            Sink::Caller => {}
            Sink::Spans { span, .. } => {
                let mut span = span.lock().unwrap_or_else(PoisonError::into_inner);
                span.set_attributes(outcome.attributes);
                if let Some(error) = outcome.error {
                    span.set_status(Status::error(error));
                }
                span.end_with_timestamp(self.at(Instant::now()));
            }
            Sink::File(file) => {
                if let Some((model, version, id)) = outcome.answered {
                    file.write(&model, version, &id);
                }
            }
        }
    }

    fn at(&self, instant: Instant) -> SystemTime {
        let (began, began_at) = self.began;
        match instant.checked_duration_since(began) {
            Some(later) => began_at + later,
            None => began_at - began.saturating_duration_since(instant),
        }
    }

    /// The span of the queue, whole, and that of the batch, which has not ended yet.
    fn executed(&self, model: &str, execution: &Execution, moments: &Moments) -> Option<Span> {
        let times = moments.0.map(|instant| self.at(instant));
        let [queued, started, input_end, output_start, end] = times;
        match &self.sink {
            Sink::Caller => None,
            Sink::File(file) => {
                for (name, time) in Moments::NAMES.into_iter().zip(times) {
                    file.stamp(name, time);
                }
                // Between the last of the batch and the answer of the front.
                file.stamp("INFER_RESPONSE_COMPLETE", end);
                None
            }
            Sink::Spans { tracer, context, .. } => {
                let parent = Context::new().with_remote_span_context(context.clone());
                let of_model = || attribute("triton.model_name", model.to_owned());
                let queue = SpanBuilder::from_name("queue")
                    .with_start_time(queued)
                    .with_attributes([of_model()]);
                tracer
                    .build_with_context(queue, &parent)
                    .end_with_timestamp(started);
                let event = |name: &'static str, time| Event::new(name, time, Vec::new(), 0);
                let compute = SpanBuilder::from_name("compute")
                    .with_start_time(started)
                    .with_attributes([
                        of_model(),
                        attribute("aiops.batch.rows", as_integer(execution.rows)),
                        attribute("aiops.batch.requests", as_integer(execution.members.len() as u64)),
                    ])
                    .with_events(vec![
                        event("COMPUTE_INPUT_END", input_end),
                        event("COMPUTE_OUTPUT_START", output_start),
                    ]);
                Some(tracer.build_with_context(compute, &parent))
            }
        }
    }
}

/// When a request entered the queue, and the ends of what followed.
struct Moments([Instant; 5]);

impl Moments {
    const NAMES: [&str; 5] = [
        "QUEUE_START",
        "COMPUTE_START",
        "COMPUTE_INPUT_END",
        "COMPUTE_OUTPUT_START",
        "COMPUTE_END",
    ];

    fn of(member: &Member, started: Instant, phases: Phases<Duration>) -> Self {
        let before = |instant: Instant, time: Duration| instant.checked_sub(time).unwrap_or(instant);
        Self([
            before(started, member.queued),
            started,
            started + phases.input,
            started + phases.input + phases.infer,
            started + phases.input + phases.infer + phases.output,
        ])
    }
}

/// Tells of a batch in the traces of its members. Those that ran together are linked.
pub(crate) fn record(execution: &Execution, model: &str) {
    let Some(started) = execution.started else { return };
    let mut spans: Vec<(Span, SystemTime)> = Vec::new();
    for member in &execution.members {
        let Some(trace) = &member.trace else { continue };
        let moments = Moments::of(member, started, execution.phases);
        if let Some(span) = trace.executed(model, execution, &moments) {
            let [.., end] = moments.0;
            spans.push((span, trace.at(end)));
        }
    }
    let contexts: Vec<SpanContext> = spans
        .iter()
        .take(MOST_LINKS + 1)
        .map(|(span, _)| span.span_context().clone())
        .collect();
    for (mut span, end) in spans {
        let own = span.span_context().span_id();
        let others = contexts.iter().filter(|context| context.span_id() != own);
        for other in others.take(MOST_LINKS) {
            span.add_link(other.clone(), Vec::new());
        }
        span.end_with_timestamp(end);
    }
}

fn as_integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl std::fmt::Debug for RequestTrace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RequestTrace")
            .field("trace_id", &self.trace_id)
            .finish_non_exhaustive()
    }
}
