//! What a row of a model is: its fields, in order, by name.

use crate::configuration::TensorConfig;
use crate::models::ModelVersion;
use crate::tensor::DataType;

/// The parameter of a configuration that lets null stand for a number; its only value is `NaN`.
const MISSING_VALUES: &str = "missing_values";

/// A named value of a row.
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) datatype: DataType,
    /// Sizes of its lists, -1 where any size goes; none for a single value.
    pub(super) dims: &'a [i64],
    /// Whether a list of one may be left out around its value.
    pub(super) unwraps: bool,
    /// Whether null may stand for a number, which is then NaN.
    pub(super) nullable: bool,
}

/// How the fields of a row become tensors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// They are the elements of the only input, in order.
    Features,
    /// Each is an input.
    Inputs,
}

/// A row of a model.
pub(super) struct Signature<'a> {
    pub(super) fields: Vec<Field<'a>>,
    pub(super) layout: Layout,
    /// Whether rows are put together; else each is a request of its own.
    pub(super) batched: bool,
}

impl<'a> Signature<'a> {
    pub(super) fn of(model: &'a ModelVersion) -> Self {
        let config = &model.config;
        let batched = config.max_batch_size > 0;
        let missing_values = config.parameters.contains_key(MISSING_VALUES);
        let nullable = |datatype| missing_values && is_float(datatype);
        if let ([input], Some(names)) = (config.inputs.as_slice(), feature_names(model)) {
            let feature = |name: &'a String| Field {
                name,
                datatype: input.datatype,
                dims: &[],
                unwraps: false,
                nullable: nullable(input.datatype),
            };
            return Self {
                fields: names.iter().map(feature).collect(),
                layout: Layout::Features,
                batched,
            };
        }
        let field = |input: &'a TensorConfig| Field {
            name: &input.name,
            datatype: input.datatype,
            dims: &input.dims,
            unwraps: batched && input.dims == [1],
            nullable: nullable(input.datatype),
        };
        Self {
            fields: config.inputs.iter().map(field).collect(),
            layout: Layout::Inputs,
            batched,
        }
    }

    /// Whether a row may be the value of its only field, without the field's name.
    pub(super) fn has_bare_rows(&self) -> bool {
        self.layout == Layout::Inputs && self.fields.len() == 1
    }

    /// Whether a row may be a list of its fields' values.
    pub(super) fn has_list_rows(&self) -> bool {
        self.layout == Layout::Features
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.fields.iter().map(|field| field.name)
    }
}

pub(super) fn is_float(datatype: DataType) -> bool {
    matches!(
        datatype,
        DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64
    )
}

/// Names of the columns of the only input, where the publisher knew them and they are as many as it has.
fn feature_names(model: &ModelVersion) -> Option<&[String]> {
    let names = model.manifest.as_ref()?.feature_names.as_slice();
    let [width] = model.config.inputs.first()?.dims.as_slice() else {
        return None;
    };
    let fits = *width == -1 || usize::try_from(*width) == Ok(names.len());
    (fits && !names.is_empty()).then_some(names)
}
