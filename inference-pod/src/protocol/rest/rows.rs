//! Rows of JSON to tensors. Everything that is wrong with them is found, with row, field and what was expected.

use serde_json::{Map, Value};

use super::elements::{Elements, wanted};
use super::problems::{Problem, Problems, RefusedRows, quoted, quoted_all, shown};
use super::question::Question;
use super::signature::{Field, Layout, Signature};
use super::suggest::nearest;
use crate::error::InferenceError;
use crate::models::ModelVersion;
use crate::tensor::{InferenceRequest, Tensor};

/// Why rows are not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    Rows(RefusedRows),
    Request(InferenceError),
}

impl From<InferenceError> for Refusal {
    fn from(error: InferenceError) -> Self {
        Self::Request(error)
    }
}

/// Requests that together hold all rows, in order, none larger than the model takes.
pub(super) fn decode(model: &ModelVersion, question: &Question) -> Result<Vec<InferenceRequest>, Refusal> {
    let signature = Signature::of(model);
    let mut decoder = Decoder {
        most_rows: (model.config.max_batch_size as usize).max(1),
        input: model.config.inputs.first().map_or("", |input| &input.name),
        signature: &signature,
        problems: Problems::default(),
        groups: Vec::new(),
    };
    let key = question.key();
    let empty = || InferenceError::invalid(format!("\"{key}\" is empty: send at least one row"));
    match question {
        Question::Rows { rows, .. } if rows.is_empty() => return Err(empty().into()),
        Question::Rows { rows, .. } => {
            for (number, row) in rows.iter().enumerate() {
                if let Some(values) = decoder.values(number, row) {
                    decoder.append(number, &values);
                }
            }
        }
        Question::Columns(columns) => {
            if decoder.append_columns(columns) == Some(0) {
                return Err(empty().into());
            }
        }
    }
    if !decoder.problems.is_empty() {
        return Err(Refusal::Rows(decoder.problems.into_refusal(key)));
    }
    Ok(decoder.requests()?)
}

/// Rows whose lists have the same sizes: one request.
struct Group {
    /// Sizes of the lists of each field.
    shapes: Vec<Vec<i64>>,
    /// Elements of each tensor.
    elements: Vec<Elements>,
    rows: usize,
}

struct Decoder<'a> {
    signature: &'a Signature<'a>,
    /// Name of the first input, which holds the features where they have names.
    input: &'a str,
    most_rows: usize,
    problems: Problems,
    groups: Vec<Group>,
}

impl Decoder<'_> {
    /// The values of a row in the order of the fields; nothing when some are not there.
    fn values<'v>(&mut self, number: usize, row: &'v Value) -> Option<Vec<&'v Value>> {
        match row {
            Value::Object(fields) => self.values_by_name(Some(number), fields),
            Value::Array(list) if self.signature.has_list_rows() => {
                let count = self.signature.fields.len();
                if list.len() == count {
                    return Some(list.iter().collect());
                }
                let names = self.signature.names();
                self.problems.add(|| Problem {
                    row: Some(number),
                    field: None,
                    expected: format!("{count} values"),
                    got: shown(row),
                    message: format!(
                        "has {} values, but there are {count} features: {}",
                        list.len(),
                        quoted_all(names.collect::<Vec<_>>().into_iter())
                    ),
                });
                None
            }
            value if self.signature.has_bare_rows() => Some(vec![value]),
            other => {
                let what = if self.signature.has_list_rows() {
                    "a list or an object"
                } else {
                    "an object"
                };
                let names = self.names();
                self.problems.add(|| Problem {
                    row: Some(number),
                    field: None,
                    expected: what.to_owned(),
                    got: shown(other),
                    message: format!("must be {what} with the fields {names}, not {}", shown(other)),
                });
                None
            }
        }
    }

    /// The same from an object, which may be a row or hold the columns.
    fn values_by_name<'v>(
        &mut self,
        row: Option<usize>,
        given: &'v Map<String, Value>,
    ) -> Option<Vec<&'v Value>> {
        for (stray, value) in given {
            if self.signature.position(stray).is_some() {
                continue;
            }
            let signature = self.signature;
            self.problems.add(|| {
                let meant = nearest(stray, signature.names());
                let meant = meant
                    .map(|meant| format!(", did you mean \"{meant}\"?"))
                    .unwrap_or_default();
                let names = quoted_all(signature.names().collect::<Vec<_>>().into_iter());
                Problem {
                    row,
                    field: Some(stray.chars().take(100).collect()),
                    expected: format!("one of {names}"),
                    got: shown(value),
                    message: format!(
                        "has an unknown field {}{meant}; its fields are {names}",
                        quoted(stray)
                    ),
                }
            });
        }
        let mut values = Vec::with_capacity(self.signature.fields.len());
        for field in &self.signature.fields {
            match given.get(field.name) {
                Some(value) => values.push(value),
                None => self.problems.add(|| {
                    let expected = described(field);
                    Problem {
                        row,
                        field: Some(field.name.to_owned()),
                        message: format!("lacks the field \"{}\", which must be {expected}", field.name),
                        expected,
                        got: "nothing".to_owned(),
                    }
                }),
            }
        }
        (values.len() == self.signature.fields.len()).then_some(values)
    }

    /// Columns, a row at a time; answers how many rows there are. The columns of a model without rows are its one row.
    fn append_columns(&mut self, columns: &Map<String, Value>) -> Option<usize> {
        let values = self.values_by_name(None, columns)?;
        if !self.signature.batched {
            self.append(0, &values);
            return Some(1);
        }
        let mut lists = Vec::with_capacity(values.len());
        for (field, value) in self.signature.fields.iter().zip(values) {
            let first: Option<&Vec<Value>> = lists.first().copied();
            let expected = match (value, first) {
                (Value::Array(list), Some(first)) if list.len() != first.len() => {
                    let first_name = self.signature.fields[0].name;
                    format!("as long as that of \"{first_name}\", which has {}", first.len())
                }
                (Value::Array(list), _) => {
                    lists.push(list);
                    continue;
                }
                _ => "a list with a value for each row".to_owned(),
            };
            self.problems.add(|| Problem {
                row: None,
                field: Some(field.name.to_owned()),
                message: format!(
                    "the column \"{}\" must be {expected}, not {}",
                    field.name,
                    shown(value)
                ),
                expected,
                got: shown(value),
            });
        }
        if lists.len() < self.signature.fields.len() {
            return None;
        }
        let rows = lists.first().map_or(0, |list| list.len());
        for number in 0..rows {
            let row: Vec<_> = lists.iter().map(|list| &list[number]).collect();
            self.append(number, &row);
        }
        Some(rows)
    }

    /// Adds a row to those with lists of its sizes.
    fn append(&mut self, number: usize, values: &[&Value]) {
        let signature = self.signature;
        let Some(shapes) = self.shapes(number, values) else {
            return;
        };
        if self
            .groups
            .last()
            .is_none_or(|group| group.rows == self.most_rows || group.shapes != shapes)
        {
            let tensors = match signature.layout {
                Layout::Features => 1,
                Layout::Inputs => signature.fields.len(),
            };
            self.groups.push(Group {
                shapes,
                elements: (0..tensors).map(|_| Elements::default()).collect(),
                rows: 0,
            });
        }
        let Some(group) = self.groups.last_mut() else {
            return;
        };
        group.rows += 1;
        for (index, (field, value)) in signature.fields.iter().zip(values).enumerate() {
            let (elements, shape): (_, &[i64]) = match signature.layout {
                Layout::Features => (&mut group.elements[0], &[]),
                Layout::Inputs => (&mut group.elements[index], &group.shapes[index]),
            };
            Walk::new(number, field, elements, &mut self.problems).take(value, shape);
        }
    }

    /// Sizes of a row's lists, where fields have lists; nothing where one does not fit.
    fn shapes(&mut self, number: usize, values: &[&Value]) -> Option<Vec<Vec<i64>>> {
        if self.signature.layout == Layout::Features {
            return Some(Vec::new());
        }
        let signature = self.signature;
        let fields = || signature.fields.iter().zip(values);
        let shapes: Vec<_> = fields().map(|(field, value)| shape_of(field, value)).collect();
        if fields()
            .zip(&shapes)
            .all(|((field, _), shape)| fits(field.dims, shape))
        {
            return Some(shapes);
        }
        // What else is wrong with the row is found all the same.
        for ((field, value), shape) in fields().zip(&shapes) {
            if fits(field.dims, shape) {
                let mut nowhere = Elements::default();
                Walk::new(number, field, &mut nowhere, &mut self.problems).take(value, shape);
            } else {
                self.problems.add(|| misshapen(number, field, value, shape));
            }
        }
        None
    }

    fn names(&self) -> String {
        quoted_all(self.signature.names().collect::<Vec<_>>().into_iter())
    }

    fn requests(self) -> Result<Vec<InferenceRequest>, InferenceError> {
        let Self {
            signature,
            groups,
            input,
            ..
        } = self;
        let request = |group: Group| {
            let batch = signature.batched.then(|| size(group.rows));
            let tensors = group.elements.into_iter().enumerate().map(|(index, elements)| {
                let (name, shape) = match signature.layout {
                    Layout::Features => (input, vec![size(signature.fields.len())]),
                    Layout::Inputs => (signature.fields[index].name, group.shapes[index].clone()),
                };
                let datatype = signature.fields[index].datatype;
                let shape = batch.into_iter().chain(shape).collect();
                Tensor::new(name.to_owned(), datatype, shape, elements.into_data(datatype))
            });
            Ok(InferenceRequest {
                inputs: tensors.collect::<Result<_, InferenceError>>()?,
                ..InferenceRequest::default()
            })
        };
        groups.into_iter().map(request).collect()
    }
}

/// Goes through the lists of a field's value.
struct Walk<'a> {
    row: usize,
    field: &'a Field<'a>,
    path: Vec<usize>,
    elements: &'a mut Elements,
    problems: &'a mut Problems,
}

impl<'a> Walk<'a> {
    fn new(row: usize, field: &'a Field<'a>, elements: &'a mut Elements, problems: &'a mut Problems) -> Self {
        Self {
            row,
            field,
            path: Vec::new(),
            elements,
            problems,
        }
    }

    fn take(&mut self, value: &Value, shape: &[i64]) {
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
fn described(field: &Field<'_>) -> String {
    let element = wanted(field, None);
    if field.dims.is_empty() || field.unwraps {
        return element;
    }
    format!(
        "lists of the shape {:?}, with {element} as each value",
        field.dims
    )
}

fn misshapen(row: usize, field: &Field<'_>, value: &Value, shape: &[i64]) -> Problem {
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
fn shape_of(field: &Field<'_>, value: &Value) -> Vec<i64> {
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
fn fits(dims: &[i64], shape: &[i64]) -> bool {
    let fit = |(wanted, given): (&i64, &i64)| {
        if *wanted == -1 {
            *given > 0
        } else {
            wanted == given
        }
    };
    dims.len() == shape.len() && dims.iter().zip(shape).all(fit)
}

fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
