//! The classification extension: of an output, the greatest values of each row as `value:index` or `value:index:label`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::parameters::Parameter;
use crate::configuration::ModelConfig;
use crate::error::{InferenceError, Result};
use crate::models::ModelVersion;
use crate::tensor::{DataType, InferenceResponse, Tensor, TensorData};

/// How many classes are wanted of each output.
pub(super) type Classes = BTreeMap<String, usize>;

/// Notes what a request wants of an output; 0 classes are none, as in Triton.
pub(super) fn want(classes: &mut Classes, output: &str, value: &Parameter) -> Result<()> {
    let count = usize::try_from(value.as_unsigned("classification")?).unwrap_or(usize::MAX);
    if count > 0 {
        classes.insert(output.to_owned(), count);
    }
    Ok(())
}

/// Refuses what cannot be classified, before the model runs for it.
pub(super) fn check(model: &ModelConfig, classes: &Classes) -> Result<()> {
    let outputs = model.outputs.iter();
    match outputs
        .filter(|output| classes.contains_key(&output.name))
        .find(|output| !has_order(output.datatype))
    {
        Some(output) => Err(InferenceError::invalid(format!(
            "class result not available for output due to unsupported type '{}': output '{}'",
            output.datatype, output.name
        ))),
        None => Ok(()),
    }
}

/// Refuses classes of an output that is wanted in shared memory: their size is not known before.
pub(super) fn check_place(classes: &Classes, output: &str) -> Result<()> {
    if classes.contains_key(output) {
        return Err(InferenceError::invalid(
            "Output can't set both 'shared_memory_region' and 'classification'",
        ));
    }
    Ok(())
}

fn has_order(datatype: DataType) -> bool {
    !matches!(
        datatype,
        DataType::Bool | DataType::Fp16 | DataType::Bf16 | DataType::Bytes
    )
}

/// Puts classes in the place of the outputs that they are wanted of.
pub(super) fn apply(model: &ModelVersion, answer: &mut InferenceResponse, classes: &Classes) {
    for output in &mut answer.outputs {
        if let Some(count) = classes.get(&output.name) {
            let labels = model.labels.get(&output.name).map_or(&[][..], Vec::as_slice);
            classify(output, model.config.max_batch_size > 0, *count, labels);
        }
    }
}

fn classify(output: &mut Tensor, batched: bool, count: usize, labels: &[String]) {
    let TensorData::Fixed(bytes) = &output.data else {
        return;
    };
    let batch = output.shape.first().copied().filter(|_| batched);
    let rows = usize::try_from(batch.unwrap_or(1)).unwrap_or(0);
    let elements = bytes.len() / output.datatype.size().unwrap_or(1) / rows.max(1);
    let count = count.min(elements);
    let mut strings = Vec::with_capacity(rows * count);
    macro_rules! top {
        ($type:ty, $write:expr) => {
            for row in bytes.as_chunks().0.chunks(elements.max(1)) {
                strings.extend(top(row, <$type>::from_le_bytes, $write, count, labels));
            }
        };
    }
    match output.datatype {
        DataType::Uint8 => top!(u8, |value| value.to_string()),
        DataType::Uint16 => top!(u16, |value| value.to_string()),
        DataType::Uint32 => top!(u32, |value| value.to_string()),
        DataType::Uint64 => top!(u64, |value| value.to_string()),
        DataType::Int8 => top!(i8, |value| value.to_string()),
        DataType::Int16 => top!(i16, |value| value.to_string()),
        DataType::Int32 => top!(i32, |value| value.to_string()),
        DataType::Int64 => top!(i64, |value| value.to_string()),
        DataType::Fp32 => top!(f32, |value| float(value.into())),
        DataType::Fp64 => top!(f64, float),
        DataType::Bool | DataType::Fp16 | DataType::Bf16 | DataType::Bytes => return,
    }
    output.datatype = DataType::Bytes;
    output.shape = batch.into_iter().chain(i64::try_from(count)).collect();
    output.data = TensorData::Strings(strings);
}

/// As C writes `%f`, which is what clients know.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    format!("{value:.6}")
}

/// The greatest `count` elements of a row, in falling order, the first of equals first; what is no number comes last.
fn top<const N: usize, T: PartialOrd + Copy>(
    row: &[[u8; N]],
    read: fn([u8; N]) -> T,
    write: fn(T) -> String,
    count: usize,
    labels: &[String],
) -> Vec<Bytes> {
    let no_number = |value: &T| value.partial_cmp(value).is_none();
    let order = |one: &usize, other: &usize| -> Ordering {
        let (one_value, other_value) = (read(row[*one]), read(row[*other]));
        other_value
            .partial_cmp(&one_value)
            .unwrap_or_else(|| no_number(&one_value).cmp(&no_number(&other_value)))
            .then(one.cmp(other))
    };
    let mut places: Vec<usize> = (0..row.len()).collect();
    if count < places.len() {
        places.select_nth_unstable_by(count, order);
        places.truncate(count);
    }
    places.sort_unstable_by(order);
    let describe = |place: usize| {
        let value = write(read(row[place]));
        Bytes::from(match labels.get(place) {
            Some(label) => format!("{value}:{place}:{label}"),
            None => format!("{value}:{place}"),
        })
    };
    places.into_iter().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(
        datatype: DataType,
        shape: &[i64],
        bytes: Vec<u8>,
        batched: bool,
        count: usize,
    ) -> (Vec<i64>, Vec<String>) {
        let data = TensorData::Fixed(bytes.into());
        let mut output = Tensor::new("y".into(), datatype, shape.to_vec(), data).unwrap();
        classify(&mut output, batched, count, &["cat".to_owned(), "dog".to_owned()]);
        assert_eq!(output.datatype, DataType::Bytes);
        let TensorData::Strings(strings) = output.data else {
            panic!("strings")
        };
        let text = |string: &Bytes| String::from_utf8(string.to_vec()).unwrap();
        (output.shape, strings.iter().map(text).collect())
    }

    #[test]
    fn the_greatest_of_each_row_come_first() {
        let bytes = |values: &[f32]| {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect::<Vec<_>>()
        };
        let values = bytes(&[0.25, 0.5, 0.25, f32::NAN, f32::INFINITY, -1.0]);
        let (shape, strings) = classified(DataType::Fp32, &[2, 3], values.clone(), true, 2);
        assert_eq!(shape, [2, 2]);
        assert_eq!(
            strings,
            ["0.500000:1:dog", "0.250000:0:cat", "inf:1:dog", "-1.000000:2"]
        );
        let (shape, strings) = classified(DataType::Fp32, &[2, 3], values, false, 99);
        assert_eq!(shape, [6], "without rows all elements are classes of one");
        assert_eq!((strings[0].as_str(), strings[5].as_str()), ("inf:4", "nan:3"));
    }

    #[test]
    fn whole_numbers_are_written_whole_and_nothing_has_no_classes() {
        let (_, strings) = classified(DataType::Int8, &[3], vec![1, 0xff, 7], false, 3);
        assert_eq!(strings, ["7:2", "1:0:cat", "-1:1:dog"]);
        assert_eq!(
            classified(DataType::Int8, &[0, 3], vec![], true, 3),
            (vec![0, 0], vec![])
        );
    }
}
