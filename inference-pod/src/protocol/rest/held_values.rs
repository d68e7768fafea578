//! Values of JSON that take their share of the memory as they come: a small object takes a hundred times its text.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{InferenceError, Result};
use crate::memory::Reservation;

/// A node of a map, which has room for eleven fields and is split when they are more.
const NODE_BYTES: usize = 640;
const FIELDS_OF_A_NODE: usize = 6;
/// The room that a list with anything in it has at least.
const LIST_BYTES: usize = 128;
/// What is asked for at once.
const STEP_BYTES: usize = 64 << 10;

/// What the values of one body take beyond its size.
pub(super) struct Counter<'m> {
    memory: &'m Reservation,
    owed: Cell<usize>,
    refusal: RefCell<Option<InferenceError>>,
}

impl<'m> Counter<'m> {
    pub(super) fn new(memory: &'m Reservation) -> Self {
        Self {
            memory,
            owed: Cell::new(0),
            refusal: RefCell::new(None),
        }
    }

    /// Takes the rest.
    pub(super) fn end(&self) -> Result<()> {
        self.memory.grow_beyond(0, self.owed.take())
    }

    /// Why there was no memory, if that was it.
    pub(super) fn refusal(&self) -> Option<InferenceError> {
        self.refusal.take()
    }

    fn take(&self, bytes: usize) -> Result<(), &'static str> {
        self.owed.set(self.owed.get() + bytes);
        if self.owed.get() < STEP_BYTES {
            return Ok(());
        }
        self.end().map_err(|refusal| {
            *self.refusal.borrow_mut() = Some(refusal);
            "there is no memory for more values"
        })
    }
}

/// Reads a value.
#[derive(Clone, Copy)]
pub(super) struct Counted<'c, 'm>(pub(super) &'c Counter<'m>);

impl<'de> DeserializeSeed<'de> for Counted<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_, '_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any valid JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            if values.is_empty() {
                self.0.take(LIST_BYTES).map_err(A::Error::custom)?;
            }
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            if fields.len().is_multiple_of(FIELDS_OF_A_NODE) {
                self.0.take(NODE_BYTES).map_err(A::Error::custom)?;
            }
            fields.insert(name, object.next_value_seed(self)?);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::Budget;

    fn read(json: &str, memory: &Reservation) -> Result<Value, String> {
        let counter = Counter::new(memory);
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let value = Counted(&counter).deserialize(&mut deserializer);
        let value = value.map_err(|error| {
            counter
                .refusal()
                .map_or(error.to_string(), |refusal| refusal.message)
        })?;
        counter.end().map_err(|refusal| refusal.message)?;
        Ok(value)
    }

    #[test]
    fn small_objects_and_lists_take_what_they_are_made_of() {
        let budget = Budget::of(Some(1 << 20));
        let memory = budget.reserve(1);
        read(r#"[{"": 0}, [1], [], {}]"#, &memory).unwrap();
        assert_eq!(budget.taken(), NODE_BYTES + 2 * LIST_BYTES);
        let rows = vec![r#"{"":0}"#; 2000].join(",");
        let refused = read(&format!("[{rows}]"), &memory).unwrap_err();
        assert!(refused.contains("--max-request-memory"), "{refused}");
    }

    proptest! {
        #[test]
        fn values_are_those_that_serde_reads(
            json in r#"\[(-?[0-9]{1,20}(\.[0-9]{1,3}(e-?[0-9])?)?|true|null|"(a|\\n|\\u00e9){0,3}"|\{"a":\[1\],"b":\{\}\}|\{"a":1,"a":2\})\]"#
        ) {
            let memory = Budget::of(None).reserve(1);
            let expected: Result<Value, _> = serde_json::from_str(&json);
            prop_assert_eq!(read(&json, &memory).ok(), expected.ok());
        }
    }
}
