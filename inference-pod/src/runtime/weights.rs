//! Weights that the sessions of one model share, so that four instances need no four copies.
//!
//! ONNX Runtime shares what a kernel made of a weight (`OrtPrepackedWeightsContainer`) only for weights that were lent to
//! the sessions (`AddInitializer`); for all others the container stays empty. So the weights are read from the file first.

use std::collections::BTreeSet;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ort::session::builder::{PrepackedWeights, SessionBuilder};
use ort::value::DynValue;
use prost::Message as _;

use super::values;
use crate::onnx::{Model, Tensor};
use crate::tensor::{DataType, TensorData};

/// Below this a weight is not worth the entry.
const SMALLEST_BYTES: usize = 1024;

/// Weights of one graph. The default shares nothing, and is right for a single session: it keeps only the copy that its
/// kernels made.
#[derive(Default)]
pub struct SharedWeights {
    lent: Vec<(String, Arc<DynValue>)>,
    prepacked: Option<PrepackedWeights>,
}

impl SharedWeights {
    /// The weights of the graph in `path`, once in memory for as many sessions as are opened with them. An error says
    /// what is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let model =
            Model::decode(Bytes::from(bytes)).map_err(|error| format!("it is no ONNX model: {error}"))?;
        let graph = model.graph.unwrap_or_default();
        // A weight that is an input too may be replaced by a request.
        let inputs: BTreeSet<_> = graph.input.iter().map(|input| input.name.as_str()).collect();
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut lent: Vec<(String, Arc<DynValue>)> = Vec::new();
        for tensor in &graph.initializer {
            if inputs.contains(tensor.name.as_str()) {
                continue;
            }
            if let Some(value) = read_tensor(tensor, folder)? {
                lent.push((tensor.name.clone(), Arc::new(value)));
            }
        }
        Ok(Self {
            lent,
            prepacked: Some(PrepackedWeights::new()),
        })
    }

    /// Lends the weights to a session that is about to be opened.
    pub(super) fn lend(&self, mut builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        if let Some(prepacked) = &self.prepacked {
            builder = builder.with_prepacked_weights(prepacked)?;
        }
        for (name, value) in &self.lent {
            builder = builder.with_initializer(name, Arc::clone(value))?;
        }
        Ok(builder)
    }
}

/// A weight's value; nothing for one that is small or written in another way than as raw bytes, of which each session
/// makes its own.
fn read_tensor(tensor: &Tensor, folder: &Path) -> Result<Option<DynValue>, String> {
    let Some(datatype) = datatype(tensor.data_type) else {
        return Ok(None);
    };
    let elements = tensor.dims.iter().try_fold(1_usize, |count, size| {
        usize::try_from(*size)
            .ok()
            .and_then(|size| count.checked_mul(size))
    });
    let size = elements.and_then(|count| count.checked_mul(datatype.size()?));
    let Some(size) = size.filter(|size| *size >= SMALLEST_BYTES) else {
        return Ok(None);
    };
    let bytes = match tensor.external("location") {
        Some(location) => read_external(tensor, &folder.join(location), size)
            .map_err(|error| format!("weight {} in {location}: {error}", tensor.name))?,
        None => tensor.raw_data.clone(),
    };
    if bytes.len() != size {
        return Ok(None);
    }
    values::assemble(datatype, &tensor.dims, &[&TensorData::Fixed(bytes)])
        .map(Some)
        .map_err(|error| format!("weight {}: {error}", tensor.name))
}

fn read_external(tensor: &Tensor, path: &Path, size: usize) -> Result<Bytes, String> {
    let number = |key: &str| match tensor.external(key) {
        Some(text) => text.parse::<u64>().map_err(|_| format!("{key} is {text:?}")),
        None => Ok(0),
    };
    let mut file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.seek(SeekFrom::Start(number("offset")?))
        .map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    // The file may be shorter than the sizes say: nothing is reserved before it is read.
    file.take(size as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() == size {
        Ok(bytes.into())
    } else {
        Err(format!("{} bytes are there of {size}", bytes.len()))
    }
}

/// `TensorProto.DataType`, where its raw bytes are elements as they are.
fn datatype(code: i32) -> Option<DataType> {
    Some(match code {
        1 => DataType::Fp32,
        2 => DataType::Uint8,
        3 => DataType::Int8,
        4 => DataType::Uint16,
        5 => DataType::Int16,
        6 => DataType::Int32,
        7 => DataType::Int64,
        9 => DataType::Bool,
        10 => DataType::Fp16,
        11 => DataType::Fp64,
        12 => DataType::Uint32,
        13 => DataType::Uint64,
        16 => DataType::Bf16,
        _ => return None,
    })
}
