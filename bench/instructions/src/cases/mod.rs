//! What is counted: small, on one thread, without a network, and the same each time.

mod batcher;
mod bodies;
mod codec;
mod models;
mod requests;
mod router;
mod waiting;

/// What is counted of a case, once; what it needs is there already.
pub type Run = Box<dyn FnOnce() -> anyhow::Result<()>>;
/// Makes what one run needs.
pub type Prepare = Box<dyn Fn() -> anyhow::Result<Run>>;

/// Something that is counted.
pub struct Case {
    /// Name in the baseline: the part of the server, and what it does.
    pub name: &'static str,
    /// Makes what all runs share.
    pub prepare: fn() -> anyhow::Result<Prepare>,
}

const fn case(name: &'static str, prepare: fn() -> anyhow::Result<Prepare>) -> Case {
    Case { name, prepare }
}

const CASES: &[Case] = &[
    case("codec/http_json_request", codec::http_json_request),
    case("codec/http_json_texts", codec::http_json_texts),
    case("codec/http_json_answer", codec::http_json_answer),
    case("codec/http_binary_request", codec::http_binary_request),
    case("codec/http_binary_answer", codec::http_binary_answer),
    case("codec/grpc_raw_request", codec::grpc_raw_request),
    case("codec/grpc_typed_request", codec::grpc_typed_request),
    case("codec/grpc_answer", codec::grpc_answer),
    case("codec/rest_rows", codec::rest_rows),
    case("codec/rest_answer", codec::rest_answer),
    case("router/http_model_ready", router::http_model_ready),
    case("router/http_unknown_model", router::http_unknown_model),
    case("router/grpc_model_ready", router::grpc_model_ready),
    case("router/rest_health", router::rest_health),
    case("router/choose_version", router::choose_version),
    case("batcher/same_shape", batcher::same_shape),
    case("batcher/mixed_shapes", batcher::mixed_shapes),
    case("batcher/callers_that_leave", batcher::callers_that_leave),
    case("request/http_json", requests::http_json),
    case("request/http_binary", requests::http_binary),
    case("request/grpc", requests::grpc),
    case("request/rest", requests::rest),
];

/// Names of all cases.
pub fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|case| case.name)
}

impl Case {
    /// The case of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs() {
        // Entered and not run in, as `run` does: a task's budget would end in the middle of a case.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        let _entered = runtime.enter();
        for case in CASES {
            let prepare = (case.prepare)().unwrap();
            for _ in 0..3 {
                prepare().unwrap()().unwrap_or_else(|error| panic!("{}: {error:#}", case.name));
            }
        }
    }
}
