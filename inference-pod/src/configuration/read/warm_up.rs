//! Samples of `model_warmup`.

use std::collections::BTreeMap;

use super::tensors::data_type;
use super::{Result, error_at, is_file_name};
use crate::configuration::checked::Setting;
use crate::configuration::{WarmUp, WarmUpData, WarmUpInput};

/// More runs of one sample keep a version from answering and teach it nothing.
const MOST_RUNS: u32 = 1000;

pub(super) fn read(setting: &Setting) -> Result<WarmUp> {
    let mut sample = WarmUp {
        name: String::new(),
        batch_size: 0,
        inputs: BTreeMap::new(),
        count: 1,
    };
    for inner in setting.inner() {
        match inner.schema.name {
            "name" => inner.text().clone_into(&mut sample.name),
            "batch_size" => sample.batch_size = inner.whole()?,
            "count" => sample.count = count(inner)?,
            "inputs" => {
                let (name, input) = self::input(inner)?;
                sample.inputs.insert(name, input);
            }
            _ => {}
        }
    }
    if sample.batch_size == 0 {
        return Err(error_at(
            setting.line,
            "batch_size of model_warmup must be at least 1",
        ));
    }
    Ok(sample)
}

fn count(setting: &Setting) -> Result<u32> {
    match setting.whole::<u32>()? {
        count if count <= MOST_RUNS => Ok(count.max(1)),
        count => Err(error_at(
            setting.line,
            format!("count {count} of model_warmup is more than {MOST_RUNS}"),
        )),
    }
}

fn input(setting: &Setting) -> Result<(String, WarmUpInput)> {
    let (name, settings) = setting.entry();
    let lacks = |what: &str| {
        error_at(
            setting.line,
            format!("input \"{name}\" of model_warmup lacks {what}"),
        )
    };
    let (mut datatype, mut dims, mut data) = (None, Vec::new(), None);
    for inner in settings {
        match inner.schema.name {
            "data_type" => datatype = data_type(inner),
            "dims" => dims.push(dimension(inner)?),
            // As in Triton, being set is what counts, not to what.
            "zero_data" => data = Some(WarmUpData::Zero),
            "random_data" => data = Some(WarmUpData::Random),
            "input_data_file" => data = Some(WarmUpData::File(file(inner)?)),
            _ => {}
        }
    }
    if name.is_empty() {
        return Err(error_at(setting.line, "inputs of model_warmup lacks its key"));
    }
    let input = WarmUpInput {
        datatype: datatype.ok_or_else(|| lacks("its data_type"))?,
        dims,
        data: data.ok_or_else(|| lacks("zero_data, random_data or input_data_file"))?,
    };
    Ok((name.to_owned(), input))
}

fn dimension(setting: &Setting) -> Result<i64> {
    match setting.whole::<i64>()? {
        size if size > 0 => Ok(size),
        size => Err(error_at(
            setting.line,
            format!("dims of model_warmup must be positive, not {size}"),
        )),
    }
}

fn file(setting: &Setting) -> Result<String> {
    if is_file_name(setting.text()) {
        return Ok(setting.text().to_owned());
    }
    Err(error_at(
        setting.line,
        "input_data_file must be the name of a file in the folder warmup",
    ))
}
