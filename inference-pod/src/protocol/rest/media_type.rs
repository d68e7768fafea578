//! Whether a body is JSON by its `Content-Type`.

use http::{HeaderMap, header};

use super::errors::RestError;

/// `curl --data` says that it sends a form unless it is told otherwise, and so do many first tries.
const OF_CURL: &str = "application/x-www-form-urlencoded";

/// Refuses what says that it is something else than JSON. What says nothing is taken for JSON.
pub(super) fn check(headers: &HeaderMap) -> Result<(), RestError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    if value.to_str().is_ok_and(is_json) {
        return Ok(());
    }
    Err(RestError::MediaType(format!(
        "Content-Type {value:?} is not supported, send JSON in UTF-8 with Content-Type: application/json"
    )))
}

fn is_json(value: &str) -> bool {
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    let of_json = matches!(
        media_type.as_str(),
        "" | "application/json" | "text/json" | OF_CURL
    ) || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    let in_utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let charset = value.trim().trim_matches('"');
            charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii")
        }
        _ => true,
    };
    of_json && parts.all(in_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_its_names() {
        for json in [
            "application/json",
            "application/json; charset=utf-8",
            "Application/JSON;charset=\"UTF-8\"",
            "application/vnd.api+json",
            "text/json",
            OF_CURL,
            "",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in [
            "text/plain",
            "text/csv",
            "multipart/form-data; boundary=x",
            "application/octet-stream",
            "application/json; charset=latin1",
            "json",
        ] {
            assert!(!is_json(other), "{other}");
        }
    }
}
