//! Which version a call is about: that of its path or message, that of its header, or none, which leaves it to the server.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{InferenceError, Result};
use crate::models::ModelVersion;

/// The header, and the key of metadata over gRPC, that names a version where the path or the message names none.
pub(super) const HEADER: HeaderName = HeaderName::from_static("aiops-model-version");

/// The version that a call names by its path or message, or by its headers; both have to be the same.
pub(super) fn of_call(named: Option<u64>, headers: &HeaderMap) -> Result<Option<u64>> {
    let mut version = named;
    for value in headers.get_all(HEADER) {
        let pinned = number(value)?;
        match version {
            Some(version) if version != pinned => return Err(contradiction(named, version, pinned)),
            _ => version = Some(pinned),
        }
    }
    Ok(version)
}

/// Headers of a request that its model needs: an ensemble passes them on to its models.
pub(super) fn headers_for(model: &ModelVersion, headers: &HeaderMap) -> Option<Arc<HeaderMap>> {
    let is_ensemble = model.config.ensemble.is_some();
    is_ensemble.then(|| Arc::new(headers.clone()))
}

fn number(value: &HeaderValue) -> Result<u64> {
    let text = value.to_str().ok();
    // One way to write each number.
    let number = text.filter(|text| text.starts_with(|first: char| first.is_ascii_digit() && first != '0'));
    number.and_then(|number| number.parse().ok()).ok_or_else(|| {
        InferenceError::invalid(format!(
            "header '{HEADER}' must be the number of a version, such as 3, and is {value:?}"
        ))
    })
}

fn contradiction(named: Option<u64>, version: u64, pinned: u64) -> InferenceError {
    InferenceError::invalid(match named {
        Some(_) => format!(
            "the request names version {version}, and its header '{HEADER}' version {pinned}; leave one of them out"
        ),
        None => format!("header '{HEADER}' is there twice, with {version} and {pinned}; send it once"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(named: Option<u64>, values: &[&str]) -> Result<Option<u64>, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        of_call(named, &headers).map_err(|error| error.message)
    }

    #[test]
    fn the_header_counts_where_nothing_else_names_a_version() {
        assert_eq!(of(None, &[]), Ok(None));
        assert_eq!(of(Some(2), &[]), Ok(Some(2)));
        assert_eq!(of(None, &["3"]), Ok(Some(3)));
        assert_eq!(of(Some(3), &["3"]), Ok(Some(3)));
        assert_eq!(of(None, &["3", "3"]), Ok(Some(3)));
    }

    #[test]
    fn what_contradicts_itself_or_is_no_number_is_refused() {
        for (named, values, part) in [
            (
                Some(2),
                &["3"][..],
                "names version 2, and its header 'aiops-model-version' version 3",
            ),
            (None, &["2", "3"], "twice, with 2 and 3"),
            (
                None,
                &[""],
                "must be the number of a version, such as 3, and is \"\"",
            ),
            (None, &["canary"], "is \"canary\""),
            (None, &["1, 2"], "is \"1, 2\""),
            (None, &["-1"], "is \"-1\""),
            (None, &["+1"], "is \"+1\""),
            (None, &["0"], "is \"0\""),
            (None, &["01"], "is \"01\""),
            (None, &["3.0"], "is \"3.0\""),
            (None, &["18446744073709551616"], "is \"18446744073709551616\""),
            (None, &["é"], "must be the number"),
        ] {
            let error = of(named, values).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
