//! Rows of JSON to tensors. Everything that is wrong with them is found, with row, field and what was expected.

use serde_json::{Map, Value};

use super::elements::Elements;
use super::field_values::{Walk, described, fits, misshapen, shape_of, size};
use super::problems::{Problem, Problems, RefusedRows, quoted, quoted_all, shown};
use super::question::Question;
use super::signature::{Field, Layout, Signature};
use super::suggest::nearest;
use crate::error::InferenceError;
use crate::memory::Reservation;
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
pub(super) fn decode(
    model: &ModelVersion,
    question: &Question,
    memory: &Reservation,
) -> Result<Vec<InferenceRequest>, Refusal> {
    let signature = Signature::of(model);
    let mut decoder = Decoder {
        most_rows: (model.config.max_batch_size as usize).max(1),
        input: model.config.inputs.first().map_or("", |input| &input.name),
        signature: &signature,
        problems: Problems::default(),
        groups: Vec::new(),
        memory,
        refusal: None,
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
    if let Some(refusal) = decoder.refusal {
        return Err(refusal.into());
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
    memory: &'a Reservation,
    /// Why there is no memory for more groups.
    refusal: Option<InferenceError>,
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
        let signature = self.signature;
        let known = signature.names().filter(|name| given.contains_key(*name)).count();
        let strays = given.iter().filter(|(name, _)| !signature.has(name));
        // Most rows have none, and to look for them takes the fields squared.
        for (stray, value) in strays.take(given.len().saturating_sub(known)) {
            self.problems.add(|| unknown_field(signature, row, stray, value));
        }
        let mut values = Vec::with_capacity(signature.fields.len());
        for field in &signature.fields {
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
        if values.len() == signature.fields.len() {
            return Some(values);
        }
        // What else is wrong with the row is found all the same.
        if let Some(number) = row {
            for field in &signature.fields {
                if let Some(value) = given.get(field.name) {
                    self.check(number, field, value);
                }
            }
        }
        None
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
            if !self.has_room(tensors) {
                return;
            }
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

    /// Takes the memory of one more group: of rows with little in them, each of which becomes a request, that is most of it.
    fn has_room(&mut self, tensors: usize) -> bool {
        const TENSOR_BYTES: usize = 512;
        if self.groups.is_empty() || self.refusal.is_some() {
            return self.refusal.is_none();
        }
        let more = (1 + tensors) * TENSOR_BYTES;
        self.refusal = self.memory.grow_beyond(0, more).err();
        self.refusal.is_none()
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
        for (field, value) in fields() {
            self.check(number, field, value);
        }
        None
    }

    /// Finds what is wrong with a value of a row that is not taken anyway.
    fn check(&mut self, number: usize, field: &Field<'_>, value: &Value) {
        let shape = shape_of(field, value);
        if self.signature.layout == Layout::Inputs && !fits(field.dims, &shape) {
            self.problems.add(|| misshapen(number, field, value, &shape));
            return;
        }
        let shape = match self.signature.layout {
            Layout::Features => &[],
            Layout::Inputs => shape.as_slice(),
        };
        let mut nowhere = Elements::default();
        Walk::new(number, field, &mut nowhere, &mut self.problems).take(value, shape);
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

fn unknown_field(signature: &Signature<'_>, row: Option<usize>, name: &str, value: &Value) -> Problem {
    const MOST_CHARACTERS: usize = 100;
    let meant = nearest(name, signature.names());
    let meant = meant
        .map(|meant| format!(", did you mean \"{meant}\"?"))
        .unwrap_or_default();
    let known = quoted_all(signature.names().collect::<Vec<_>>().into_iter());
    Problem {
        row,
        field: Some(name.chars().take(MOST_CHARACTERS).collect()),
        expected: format!("one of {known}"),
        got: shown(value),
        message: format!(
            "has an unknown field {}{meant}; its fields are {known}",
            quoted(name)
        ),
    }
}
