//! What is wrong with the rows of a request: counted all, told as far as anybody reads.

use std::fmt::Write as _;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

/// Problems that an answer lists.
pub(super) const MOST_LISTED: usize = 20;
/// Problems in the one sentence.
const MOST_IN_SENTENCE: usize = 3;
const MOST_SHOWN_CHARACTERS: usize = 60;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// The row's number, from 0; none for what is wrong with all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) row: Option<usize>,
    /// The field, with the place in it where it holds lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    pub(super) expected: String,
    pub(super) got: String,
    pub(super) message: String,
}

/// All problems of a request.
#[derive(Debug, Default)]
pub(super) struct Problems {
    listed: Vec<Problem>,
    count: usize,
}

impl Problems {
    /// Notes one; it is put into words only where it will be listed.
    pub(super) fn add(&mut self, problem: impl FnOnce() -> Problem) {
        self.count += 1;
        if self.listed.len() < MOST_LISTED {
            self.listed.push(problem());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The answer, in which `key` is where the request has its rows.
    pub(super) fn into_refusal(self, key: &str) -> RefusedRows {
        let mut sentence = String::new();
        for (index, problem) in self.listed.iter().take(MOST_IN_SENTENCE).enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            let place = problem.row.map(|row| format!("[{row}]")).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(sentence, "{separator}{key}{place}: {}", problem.message);
        }
        if self.count > MOST_IN_SENTENCE {
            let _ = write!(sentence, "; and {} more", self.count - MOST_IN_SENTENCE);
        }
        RefusedRows {
            error: sentence,
            errors: self.listed,
            error_count: self.count,
        }
    }
}

/// Rows that a model cannot take: 400.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefusedRows {
    error: String,
    errors: Vec<Problem>,
    error_count: usize,
}

impl RefusedRows {
    /// All of it in short.
    pub(super) fn sentence(&self) -> &str {
        &self.error
    }
}

impl IntoResponse for RefusedRows {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(self)).into_response()
    }
}

/// A value in a sentence: short, whatever was sent.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(list) => match list.len() {
            0 => "an empty list".to_owned(),
            1 => "a list of one value".to_owned(),
            count => format!("a list of {count} values"),
        },
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A text as JSON writes it, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let mut characters = text.chars();
    let mut start: String = characters.by_ref().take(MOST_SHOWN_CHARACTERS).collect();
    if characters.next().is_some() {
        start.push('…');
    }
    Value::String(start).to_string()
}

/// Names, as many as anybody reads.
pub(super) fn quoted_all<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const MOST_NAMES: usize = 40;
    let more = names.len().saturating_sub(MOST_NAMES);
    let shown: Vec<_> = names.take(MOST_NAMES).map(quoted).collect();
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    shown.join(", ") + &rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(row: usize) -> Problem {
        Problem {
            row: Some(row),
            field: Some("age".to_owned()),
            expected: "a number".to_owned(),
            got: "null".to_owned(),
            message: "field \"age\" must be a number, not null".to_owned(),
        }
    }

    #[test]
    fn all_problems_are_counted_some_listed_and_few_in_the_sentence() {
        let mut problems = Problems::default();
        for row in 0..MOST_LISTED + 5 {
            problems.add(|| problem(row));
        }
        let refusal = problems.into_refusal("instances");
        assert_eq!(
            (refusal.errors.len(), refusal.error_count),
            (MOST_LISTED, MOST_LISTED + 5)
        );
        assert!(refusal.error.starts_with("instances[0]: field \"age\""));
        assert!(refusal.error.ends_with("; and 22 more"), "{}", refusal.error);
    }

    #[test]
    fn what_was_sent_is_shown_short() {
        for (value, expected) in [
            (json!("5.1"), "\"5.1\""),
            (json!("a\"b\n"), "\"a\\\"b\\n\""),
            (json!([1, 2, 3]), "a list of 3 values"),
            (json!({"a": 1}), "an object"),
            (json!(1e300), "1e+300"),
            (json!(null), "null"),
        ] {
            assert_eq!(shown(&value), expected);
        }
        assert!(shown(&json!("é".repeat(1000))).len() < 200);
    }
}
