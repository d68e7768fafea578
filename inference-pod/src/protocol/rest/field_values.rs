//! The values of a field: lists of what sizes they are, whether they fit, and their elements.

use serde_json::Value;

use super::elements::{Elements, wanted};
use super::problems::{Problem, Problems, shown};
use super::signature::Field;

/// Goes through the lists of a field's value.
pub(super) struct Walk<'a> {
    row: usize,
    field: &'a Field<'a>,
    path: Vec<usize>,
    elements: &'a mut Elements,
    problems: &'a mut Problems,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        row: usize,
        field: &'a Field<'a>,
        elements: &'a mut Elements,
        problems: &'a mut Problems,
    ) -> Self {
        Self {
            row,
            field,
            path: Vec::new(),
            elements,
            problems,
        }
    }

    pub(super) fn take(&mut self, value: &Value, shape: &[i64]) {
        match (value, shape) {
            (Value::Array(list), [count, inner @ ..]) if size(list.len()) == *count => {
                for (index, value) in list.iter().enumerate() {
                    self.path.push(index);
                    self.take(value, inner);
                    self.path.pop();
                }
            }
            // A list of one that was left out, which only whole values can be.
            (value, [1]) if self.field.unwraps && self.path.is_empty() => self.take(value, &[]),
            (value, [count, ..]) => {
                let expected = format!("a list of {count}, as its neighbours are");
                self.wrong(value, expected);
            }
            (value, []) => {
                if self.elements.push(self.field, value).is_none() {
                    self.wrong(value, wanted(self.field, Some(value)));
                }
            }
        }
    }

    fn wrong(&mut self, value: &Value, expected: String) {
        let place: String = self.path.iter().map(|index| format!("[{index}]")).collect();
        let (row, name) = (self.row, format!("{}{place}", self.field.name));
        self.problems.add(|| Problem {
            row: Some(row),
            message: format!(
                "field \"{name}\" must be {expected}, not {}{}",
                shown(value),
                advice(value)
            ),
            field: Some(name),
            expected,
            got: shown(value),
        });
    }
}

/// What to do about what people send most often by mistake.
fn advice(value: &Value) -> &'static str {
    match value {
        Value::String(text) if text.trim().parse::<f64>().is_ok() => ": leave out the quotes",
        Value::Null => ": this model takes no missing values here",
        _ => "",
    }
}

/// What a field takes, lists included.
pub(super) fn described(field: &Field<'_>) -> String {
    let element = wanted(field, None);
    if field.dims.is_empty() || field.unwraps {
        return element;
    }
    format!(
        "lists of the shape {:?}, with {element} as each value",
        field.dims
    )
}

pub(super) fn misshapen(row: usize, field: &Field<'_>, value: &Value, shape: &[i64]) -> Problem {
    // A list where one value is wanted, or the other way round, is told in the words of values.
    let message = if field.dims.is_empty() {
        format!(
            "field \"{}\" must be {}, not {}",
            field.name,
            wanted(field, None),
            shown(value)
        )
    } else {
        format!(
            "input \"{}\" must have shape {:?}, not {shape:?}",
            field.name, field.dims
        )
    };
    Problem {
        row: Some(row),
        field: Some(field.name.to_owned()),
        expected: described(field),
        got: shown(value),
        message,
    }
}

/// Sizes of nested lists, following the first element of each.
pub(super) fn shape_of(field: &Field<'_>, value: &Value) -> Vec<i64> {
    let mut shape = Vec::new();
    let mut inner = value;
    while let Value::Array(list) = inner {
        shape.push(size(list.len()));
        match list.first() {
            Some(first) => inner = first,
            None => break,
        }
    }
    if shape.is_empty() && field.unwraps {
        shape.push(1);
    }
    shape
}

/// Where any size goes, nothing is none.
pub(super) fn fits(dims: &[i64], shape: &[i64]) -> bool {
    let fit = |(wanted, given): (&i64, &i64)| {
        if *wanted == -1 {
            *given > 0
        } else {
            wanted == given
        }
    };
    dims.len() == shape.len() && dims.iter().zip(shape).all(fit)
}

pub(super) fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
