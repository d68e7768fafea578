//! Requests that are made up and run before a version answers.

use std::collections::BTreeMap;

use crate::tensor::DataType;

/// A sample of `model_warmup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmUp {
    /// For messages.
    pub name: String,
    /// Rows; 1 where the model has none.
    pub batch_size: u32,
    /// By the inputs' names.
    pub inputs: BTreeMap<String, WarmUpInput>,
    /// How often it runs, at least once.
    pub count: u32,
}

/// One input of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmUpInput {
    /// Element type.
    pub datatype: DataType,
    /// Sizes without the batch dimension, none of them open.
    pub dims: Vec<i64>,
    /// What it holds.
    pub data: WarmUpData,
}

/// Where the elements of an input come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarmUpData {
    /// Zeros, or empty strings.
    Zero,
    /// Random elements, or empty strings.
    Random,
    /// A file in the folder `warmup`: one row, as raw binary data.
    File(String),
}
