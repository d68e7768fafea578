//! A request for inference and its answer as they look from outside: the span, and the lines in the log.
//!
//! While nothing is traced and details are not logged, it costs two looks at the clock and one at the headers.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use opentelemetry::KeyValue;
use tonic::Code;

use super::{Service, status};
use crate::error::InferenceError;
use crate::traces::{Call, Outcome, RequestTrace, attribute};

/// Target of the lines, for filters.
const TARGET: &str = "aiops_inference_pod::requests";
/// Failures of the server that are logged in a second. Overload would fill the disk otherwise.
const MOST_FAILURES_A_SECOND: u32 = 10;
/// What nginx logs for a client that left.
const CLIENT_LEFT: u16 = 499;

static FAILURES: Limiter = Limiter::new();

/// Where requests come in.
pub(super) struct Front {
    /// Name of the span.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// The route.
    Http(&'static str),
    Rest(&'static str),
    /// The method.
    Grpc(&'static str),
}

impl Kind {
    fn protocol(self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Rest(_) => "rest",
            Self::Grpc(_) => "grpc",
        }
    }

    /// Names of moments in files of Triton's form.
    fn stamps(self) -> [&'static str; 4] {
        match self {
            Self::Http(_) | Self::Rest(_) => [
                "HTTP_RECV_START",
                "HTTP_RECV_END",
                "HTTP_SEND_START",
                "HTTP_SEND_END",
            ],
            Self::Grpc(_) => [
                "GRPC_WAITREAD_START",
                "GRPC_WAITREAD_END",
                "GRPC_SEND_START",
                "GRPC_SEND_END",
            ],
        }
    }
}

/// One request, from its first byte to its answer. Dropped before it ended, its client has left.
pub(super) struct Exchange<'a> {
    front: &'static Front,
    scheme: &'static str,
    headers: &'a HeaderMap,
    began: Instant,
    model: String,
    version: Option<u64>,
    id: String,
    trace: Option<Arc<RequestTrace>>,
    has_ended: bool,
}

/// What a client is told of a failure.
pub(super) struct Told<'a> {
    pub(super) http: StatusCode,
    pub(super) grpc: Code,
    pub(super) message: Cow<'a, str>,
}

/// What a request can fail with.
pub(super) trait Failure {
    fn told(&self) -> Told<'_>;
}

impl Failure for InferenceError {
    fn told(&self) -> Told<'_> {
        let (http, grpc) = status::row(self.kind);
        Told {
            http,
            grpc,
            message: Cow::Borrowed(&self.message),
        }
    }
}

enum End<'a> {
    Answered,
    Failed(Told<'a>),
    Left,
}

impl<'a> Exchange<'a> {
    pub(super) fn begin(
        service: &Service,
        front: &'static Front,
        headers: &'a HeaderMap,
        model: &str,
    ) -> Self {
        let trace = service.trace.begin(&Call {
            name: front.name,
            model,
            headers,
        });
        if let Some(trace) = &trace {
            trace.stamp(front.kind.stamps()[0]);
        }
        Self {
            front,
            scheme: service.http_scheme,
            headers,
            began: Instant::now(),
            model: model.to_owned(),
            version: None,
            id: String::new(),
            trace: trace.map(Arc::new),
            has_ended: false,
        }
    }

    pub(super) fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The front has given it a name, which a request that is refused has too.
    pub(super) fn named(&mut self, id: &str) {
        id.clone_into(&mut self.id);
    }

    /// The request is whole, and this version answers it.
    pub(super) fn received(&mut self, version: u64, id: &str) -> Option<Arc<RequestTrace>> {
        self.version = Some(version);
        id.clone_into(&mut self.id);
        if let Some(trace) = &self.trace {
            trace.stamp(self.front.kind.stamps()[1]);
            trace.stamp("REQUEST_START");
        }
        self.trace.clone()
    }

    /// The model has answered; the answer is still to be written.
    pub(super) fn computed(&self) {
        if let Some(trace) = &self.trace {
            trace.stamp("REQUEST_END");
            trace.stamp(self.front.kind.stamps()[2]);
        }
    }

    /// The answer, or why there is none.
    pub(super) fn end<T, E: Failure>(mut self, answer: Result<T, E>) -> Result<T, E> {
        match &answer {
            Ok(_) => self.finish(&End::Answered),
            Err(error) => self.finish(&End::Failed(error.told())),
        }
        answer
    }

    fn finish(&mut self, end: &End<'_>) {
        self.has_ended = true;
        let status = Status::of(self.front.kind, end);
        let is_detailed = tracing::enabled!(target: TARGET, tracing::Level::DEBUG);
        if status.is_fault || is_detailed {
            self.log(&status, end);
        }
        if let Some(trace) = self.trace.take() {
            trace.stamp(self.front.kind.stamps()[3]);
            let is_answered = matches!(end, End::Answered);
            trace.end(Outcome {
                attributes: self.attributes(&status),
                error: status.is_fault.then(|| status.text.clone()),
                answered: self
                    .version
                    .filter(|_| is_answered)
                    .map(|version| (self.model.clone(), version, self.request_id().to_owned())),
            });
        }
    }

    /// The protocol's, or that of the header.
    fn request_id(&self) -> &str {
        if !self.id.is_empty() {
            return &self.id;
        }
        let header = self.headers.get("x-request-id");
        header.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn log(&self, status: &Status, end: &End<'_>) {
        let suppressed = if status.is_fault {
            let Some(suppressed) = FAILURES.permit(Instant::now()) else {
                return;
            };
            (suppressed > 0).then_some(suppressed)
        } else {
            None
        };
        let (Kind::Http(operation) | Kind::Rest(operation) | Kind::Grpc(operation)) = self.front.kind;
        let trace_id = self.trace.as_ref().and_then(|trace| trace.trace_id());
        let error = match end {
            End::Answered => None,
            End::Failed(told) => Some(&*told.message),
            End::Left => Some("the client left before the answer"),
        };
        macro_rules! line {
            ($level:expr, $message:literal) => {
                tracing::event!(
                    target: TARGET,
                    $level,
                    protocol = self.front.kind.protocol(),
                    operation,
                    model = self.model,
                    version = self.version,
                    request_id = self.request_id(),
                    status = status.text,
                    milliseconds = self.began.elapsed().as_secs_f64() * 1000.0,
                    trace_id = trace_id.map(tracing::field::display),
                    error,
                    suppressed,
                    $message
                )
            };
        }
        match (status.is_fault, status.is_broken) {
            (true, true) => line!(tracing::Level::ERROR, "request failed"),
            (true, false) => line!(tracing::Level::WARN, "request refused"),
            (false, _) => line!(tracing::Level::DEBUG, "request"),
        }
    }

    /// By OpenTelemetry's semantic conventions, and what Triton adds.
    fn attributes(&self, status: &Status) -> Vec<KeyValue> {
        let mut attributes = vec![attribute("triton.model_name", self.model.clone())];
        if let Some(version) = self.version {
            let version = i64::try_from(version).unwrap_or(i64::MAX);
            attributes.push(attribute("triton.model_version", version));
        }
        if !self.request_id().is_empty() {
            attributes.push(attribute("triton.request_id", self.request_id().to_owned()));
        }
        match self.front.kind {
            Kind::Grpc(method) => attributes.extend([
                attribute("rpc.system", "grpc"),
                attribute("rpc.service", "inference.GRPCInferenceService"),
                attribute("rpc.method", method),
                attribute("rpc.grpc.status_code", status.code),
            ]),
            Kind::Http(route) | Kind::Rest(route) => {
                let version = self.version.unwrap_or_default().to_string();
                let path = route
                    .replace("{model}", &self.model)
                    .replace("{version}", &version);
                attributes.extend([
                    attribute("http.request.method", "POST"),
                    attribute("url.scheme", self.scheme),
                    attribute("url.path", path),
                    attribute("http.route", route),
                    attribute("http.response.status_code", status.code),
                ]);
            }
        }
        let agent = self.headers.get(http::header::USER_AGENT);
        if let Some(agent) = agent.and_then(|value| value.to_str().ok()) {
            attributes.push(attribute("user_agent.original", agent.to_owned()));
        }
        if status.is_fault {
            attributes.push(attribute("error.type", status.text.clone()));
        }
        attributes
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.finish(&End::Left);
        }
    }
}

/// What the client was told, by its protocol.
struct Status {
    code: i64,
    text: String,
    /// Whether it is the server's.
    is_fault: bool,
    /// Whether it is more than a refusal.
    is_broken: bool,
}

impl Status {
    fn of(kind: Kind, end: &End<'_>) -> Self {
        let (http, grpc) = match end {
            End::Answered => (StatusCode::OK, Code::Ok),
            End::Failed(told) => (told.http, told.grpc),
            End::Left => (
                StatusCode::from_u16(CLIENT_LEFT).unwrap_or(StatusCode::BAD_REQUEST),
                Code::Cancelled,
            ),
        };
        let (code, text) = match kind {
            Kind::Grpc(_) => (i64::from(grpc as i32), format!("{grpc:?}")),
            Kind::Http(_) | Kind::Rest(_) => (i64::from(http.as_u16()), http.as_u16().to_string()),
        };
        Self {
            code,
            text,
            is_fault: http.is_server_error(),
            is_broken: http == StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// So many lines a second, and how many there were between.
struct Limiter(Mutex<Option<Window>>);

struct Window {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

impl Limiter {
    const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Nothing when there were enough; else how many were suppressed since the last.
    fn permit(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = window.get_or_insert(Window {
            since: now,
            lines: 0,
            suppressed: 0,
        });
        if now.saturating_duration_since(window.since) >= Duration::from_secs(1) {
            (window.since, window.lines) = (now, 0);
        }
        if window.lines == MOST_FAILURES_A_SECOND {
            window.suppressed += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_logged_so_often_a_second_and_the_others_counted() {
        let limiter = Limiter::new();
        let start = Instant::now();
        let logged = (0..100).filter(|_| limiter.permit(start).is_some()).count();
        assert_eq!(logged, MOST_FAILURES_A_SECOND as usize);
        let later = start + Duration::from_secs(1);
        assert_eq!(limiter.permit(later), Some(90));
        assert_eq!(limiter.permit(later), Some(0));
    }
}
