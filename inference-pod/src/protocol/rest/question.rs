//! The body of a prediction: rows, or columns of rows. Its outer form is read here, the values by `rows`.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::held_values::{Counted, Counter};
use super::problems::quoted;
use super::suggest::nearest;
use crate::error::{InferenceError, Result};
use crate::memory::Reservation;

const INSTANCES: &str = "instances";
const INPUTS: &str = "inputs";
/// TensorFlow Serving's; a model has one signature here, with the name that is the default there.
const SIGNATURE_NAME: &str = "signature_name";
const DEFAULT_SIGNATURE: &str = "serving_default";

/// What a body asks.
#[derive(Debug, PartialEq)]
pub(super) enum Question {
    /// One value a row. `key` is where the body has them.
    Rows { key: &'static str, rows: Vec<Value> },
    /// One list a field, as long as there are rows.
    Columns(Map<String, Value>),
}

impl Question {
    /// Where the body has its rows.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Rows { key, .. } => key,
            Self::Columns(_) => INPUTS,
        }
    }
}

/// The question in a body; an error says where the body is not what it should be. Its values take their share of the memory.
pub(super) fn read(body: &[u8], memory: &Reservation) -> Result<Question> {
    let (place, counter) = (Cell::new(None), Counter::new(memory));
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let outer = Outer {
        place: &place,
        counter: &counter,
    };
    let read = outer
        .deserialize(&mut deserializer)
        .and_then(|question| deserializer.end().map(|()| question));
    if let Some(refusal) = counter.refusal() {
        return Err(refusal);
    }
    counter.end()?;
    read.map_err(|error| {
        let place = place.get().map(|(key, row)| format!(" in {key}[{row}]")).unwrap_or_default();
        InferenceError::invalid(format!(
            "the body is not JSON of the form {{\"{INSTANCES}\": [row, …]}} with a list or an object as each row: {error}{place}{}",
            hint(body, &error)
        ))
    })
}

/// What to do about what other languages write and JSON does not have.
fn hint(body: &[u8], error: &serde_json::Error) -> &'static str {
    if error.to_string().starts_with("number out of range") {
        return ": no number is larger than 1.8e308";
    }
    let mut lines = body.split(|byte| *byte == b'\n');
    let line = lines.nth(error.line().saturating_sub(1)).unwrap_or_default();
    let start = error.column().saturating_sub(2).min(line.len());
    let near = &line[start..line.len().min(start + 10)];
    let is_near = |word: &[u8]| {
        near.windows(word.len())
            .any(|window| window.eq_ignore_ascii_case(word))
    };
    if is_near(b"nan") || is_near(b"inf") {
        return ": JSON has no NaN and no Infinity; leave the row out, or send null where the model takes missing values";
    }
    if is_near(b"'") {
        return ": JSON has its texts between \", not between '";
    }
    ""
}

type Place = Cell<Option<(&'static str, usize)>>;

struct Outer<'a> {
    place: &'a Place,
    counter: &'a Counter<'a>,
}

impl<'de> DeserializeSeed<'de> for Outer<'_> {
    type Value = Question;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Question, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Outer<'_> {
    type Value = Question;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with \"{INSTANCES}\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut body: A) -> Result<Question, A::Error> {
        let mut question = None;
        while let Some(name) = body.next_key::<String>()? {
            let key = match name.as_str() {
                INSTANCES => INSTANCES,
                INPUTS => INPUTS,
                SIGNATURE_NAME => {
                    check_signature(&body.next_value::<String>()?).map_err(A::Error::custom)?;
                    continue;
                }
                other => return Err(A::Error::custom(unknown(other))),
            };
            if question.is_some() {
                return Err(A::Error::custom(format!(
                    "\"{INSTANCES}\" or \"{INPUTS}\" may be there once, and not both"
                )));
            }
            question = Some(body.next_value_seed(Inner { key, outer: &self })?);
        }
        question.ok_or_else(|| A::Error::custom(format!("\"{INSTANCES}\" is missing")))
    }
}

fn check_signature(name: &str) -> Result<(), String> {
    if name.is_empty() || name == DEFAULT_SIGNATURE {
        return Ok(());
    }
    Err(format!(
        "\"{SIGNATURE_NAME}\" {} is not known: models have one signature, leave it out",
        quoted(name)
    ))
}

fn unknown(name: &str) -> String {
    let meant = nearest(name, [INSTANCES, INPUTS, SIGNATURE_NAME].into_iter());
    let meant = meant
        .map(|meant| format!(", did you mean \"{meant}\"?"))
        .unwrap_or_default();
    format!("unknown field {}{meant}", quoted(name))
}

/// What stands under `instances` or `inputs`.
struct Inner<'a> {
    key: &'static str,
    outer: &'a Outer<'a>,
}

impl<'de> DeserializeSeed<'de> for Inner<'_> {
    type Value = Question;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Question, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inner<'_> {
    type Value = Question;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = if self.key == INPUTS {
            ", or an object with a list of values for each field"
        } else {
            ""
        };
        write!(formatter, "a list of rows as \"{}\"{or}", self.key)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Question, A::Error> {
        let mut rows = Vec::new();
        let place = self.outer.place;
        place.set(Some((self.key, 0)));
        while let Some(row) = list.next_element_seed(Counted(self.outer.counter))? {
            rows.push(row);
            place.set(Some((self.key, rows.len())));
        }
        place.set(None);
        Ok(Question::Rows { key: self.key, rows })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Question, A::Error> {
        if self.key != INPUTS {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        }
        let mut columns = Map::new();
        while let Some(name) = fields.next_key()? {
            let column = fields.next_value_seed(Counted(self.outer.counter))?;
            columns.insert(name, column);
        }
        Ok(Question::Columns(columns))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::memory::Budget;

    fn read(body: &[u8]) -> Result<Question> {
        super::read(body, &Budget::of(None).reserve(1))
    }

    #[test]
    fn rows_that_take_too_much_are_refused_for_memory_and_not_as_bad_json() {
        let budget = Budget::of(Some(1 << 20));
        let body = format!(r#"{{"instances": [{}]}}"#, vec![r#"{"":0}"#; 2000].join(","));
        let error = super::read(body.as_bytes(), &budget.reserve(16)).unwrap_err();
        assert_eq!(error.kind, crate::error::ErrorKind::TooLarge, "{error}");
    }

    #[test]
    fn rows_and_columns_are_told_apart() {
        for (body, expected) in [
            (
                r#"{"instances": [[1, 2], {"a": 3}]}"#,
                Question::Rows {
                    key: INSTANCES,
                    rows: vec![json!([1, 2]), json!({"a": 3})],
                },
            ),
            (
                r#"{"signature_name": "serving_default", "inputs": [5]}"#,
                Question::Rows {
                    key: INPUTS,
                    rows: vec![json!(5)],
                },
            ),
            (
                r#"{"inputs": {"a": [1, 2]}}"#,
                Question::Columns(json!({"a": [1, 2]}).as_object().unwrap().clone()),
            ),
        ] {
            assert_eq!(read(body.as_bytes()).unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said_with_its_place_and_what_to_do() {
        let deep = format!("{{\"instances\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        for (body, part) in [
            ("", "EOF while parsing"),
            ("[1]", "expected an object with \"instances\""),
            ("{}", "\"instances\" is missing"),
            (
                r#"{"instance": []}"#,
                "unknown field \"instance\", did you mean \"instances\"?",
            ),
            (r#"{"rows": []}"#, "unknown field \"rows\""),
            (r#"{"instances": 1}"#, "expected a list of rows as \"instances\""),
            (
                r#"{"instances": {"a": 1}}"#,
                "expected a list of rows as \"instances\"",
            ),
            (r#"{"instances": [], "inputs": []}"#, "not both"),
            (r#"{"signature_name": "x"}"#, "models have one signature"),
            (
                r#"{"instances": [[1], [NaN]]}"#,
                "in instances[1]: JSON has no NaN",
            ),
            (
                r#"{"instances": [[-Infinity]]}"#,
                "in instances[0]: JSON has no NaN",
            ),
            (
                "{\"instances\":\n [[1],\n [2], [1e999]]}",
                "line 3 column 12 in instances[2]: no number is larger",
            ),
            ("{'instances': []}", "not between '"),
            (r#"{"instances": [[1]"#, "EOF while parsing"),
            (r#"{"instances": []} x"#, "trailing characters"),
            (&deep, "recursion limit exceeded"),
        ] {
            let error = read(body.as_bytes()).unwrap_err();
            assert!(error.message.contains(part), "{body:.40}: {error}");
        }
    }
}
