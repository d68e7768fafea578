//! The name of a request, by which its answer, its error and its log lines are found again.

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::Instrument as _;

/// The header that carries it, in the request and in the answer.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

const MOST_CHARACTERS: usize = 128;

/// Between 1 and 128 visible ASCII characters: what can be logged and searched for as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The one that the client gave, else a new one: also for a client that sent something which is none.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let usable = |text: &&str| {
            (1..=MOST_CHARACTERS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        match given.filter(usable) {
            Some(text) => Self(text.into()),
            None => Self(uuid::Uuid::new_v4().to_string().into()),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Gives each request its id: among its extensions, in the span of its log lines, and in the header of its answer.
pub async fn attach(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let span = tracing::info_span!("request", request_id = id.as_str());
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(given: &[u8]) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(given).unwrap());
        RequestId::of(&headers)
    }

    #[test]
    fn a_usable_id_is_kept_and_anything_else_replaced_by_a_new_one() {
        let longest = "x".repeat(MOST_CHARACTERS);
        for kept in ["1", "a-b_c/d:e=~", longest.as_str()] {
            assert_eq!(id_for(kept.as_bytes()).as_str(), kept);
        }
        let too_long = "x".repeat(MOST_CHARACTERS + 1);
        for replaced in [
            &b""[..],
            b"two words",
            b"tab\tbed",
            "é".as_bytes(),
            too_long.as_bytes(),
        ] {
            let id = id_for(replaced);
            assert!(uuid::Uuid::parse_str(id.as_str()).is_ok(), "{id:?}");
            assert_ne!(id, id_for(replaced));
        }
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }
}
