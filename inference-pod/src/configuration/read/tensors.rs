//! Inputs and outputs.

use super::{Result, error_at, file_name};
use crate::configuration::checked::Setting;
use crate::configuration::{TensorConfig, datatype_name};
use crate::tensor::DataType;

pub(super) fn tensor(setting: &Setting) -> Result<TensorConfig> {
    let role = setting.schema.name;
    let mut name = String::new();
    let mut datatype = None;
    let mut dims = Vec::new();
    let mut reshape = None;
    let mut label_filename = None;
    for inner in setting.inner() {
        match inner.schema.name {
            "name" => inner.text().clone_into(&mut name),
            "data_type" => datatype = data_type(inner),
            "dims" => dims.push(dimension(inner)?),
            "reshape" => reshape = Some(inner.inner().iter().map(dimension).collect::<Result<_>>()?),
            "label_filename" if !inner.is_default() => label_filename = Some(file_name(inner)?),
            _ => {}
        }
    }
    if name.is_empty() {
        return Err(error_at(setting.line, format!("{role} lacks its name")));
    }
    let datatype =
        datatype.ok_or_else(|| error_at(setting.line, format!("{role} '{name}' lacks its data_type")))?;
    Ok(TensorConfig {
        name,
        datatype,
        dims,
        reshape,
        label_filename,
    })
}

fn dimension(setting: &Setting) -> Result<i64> {
    let size: i64 = setting.whole()?;
    if size == -1 || size > 0 {
        return Ok(size);
    }
    Err(error_at(
        setting.line,
        format!("{} must be -1 or positive, not {size}", setting.schema.name),
    ))
}

/// None for `TYPE_INVALID`, which is what an absent type is.
pub(super) fn data_type(setting: &Setting) -> Option<DataType> {
    DataType::ALL
        .into_iter()
        .find(|datatype| datatype_name(*datatype) == setting.text())
}
