//! Weights that the sessions of one model share, so that four instances need no four copies.
//!
//! ONNX Runtime shares what a kernel made of a weight (`OrtPrepackedWeightsContainer`) only for weights that were lent to
//! the sessions (`AddInitializer`); for all others the container stays empty. So the weights are read from the file first.

use std::collections::BTreeSet;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
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
        let mut lent: Vec<(String, Arc<DynValue>)> = Vec::new();
        for tensor in &graph.initializer {
            if inputs.contains(tensor.name.as_str()) {
                continue;
            }
            if let Some(value) = read_tensor(tensor, path)? {
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
fn read_tensor(tensor: &Tensor, graph: &Path) -> Result<Option<DynValue>, String> {
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
        Some(location) => external_file(graph, location)
            .and_then(|path| read_external(tensor, &path, size))
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

/// The file that a graph names. ONNX Runtime has the same rule, but reads it later than this: whoever wrote the graph must not
/// have the server open what it likes.
fn external_file(graph: &Path, location: &str) -> Result<PathBuf, String> {
    let folder = graph.parent().unwrap_or(Path::new("."));
    let real = |path: &Path| path.canonicalize().map_err(|error| error.to_string());
    let path = real(&folder.join(location))?;
    let mut folders = vec![real(folder)?];
    // Where the graph is a link, its weights may lie beside what it leads to.
    folders.extend(real(graph)?.parent().map(Path::to_owned));
    if !folders.iter().any(|folder| path.starts_with(folder)) {
        return Err(
            "the file is outside of the graph's folder; put it beside the graph and name it by a relative path".to_owned(),
        );
    }
    if !path.is_file() {
        return Err("it is no regular file".to_owned());
    }
    Ok(path)
}

fn read_external(tensor: &Tensor, path: &Path, size: usize) -> Result<Bytes, String> {
    let number = |key: &str| match tensor.external(key) {
        Some(text) => text.parse::<u64>().map_err(|_| format!("{key} is {text:?}")),
        None => Ok(0),
    };
    let (offset, length) = (number("offset")?, number("length")?);
    if length != 0 && length != size as u64 {
        return Err(format!("length is {length} and its dims say {size} bytes"));
    }
    let mut file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let there = file.metadata().map_err(|error| error.to_string())?.len();
    if offset.checked_add(size as u64).is_none_or(|end| end > there) {
        return Err(format!(
            "{} bytes are there of {size}, from offset {offset} on",
            there.saturating_sub(offset)
        ));
    }
    file.seek(SeekFrom::Start(offset))
        .map_err(|error| error.to_string())?;
    let mut bytes = Vec::with_capacity(size);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::Entry;

    /// A weight of 2048 bytes in another file.
    fn weight(location: &str, more: &[(&str, &str)]) -> Tensor {
        let entries = [&[("location", location)], more].concat();
        let entry = |(key, value): &(&str, &str)| Entry {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        Tensor {
            name: "w".to_owned(),
            dims: vec![512],
            data_type: 1,
            external_data: entries.iter().map(entry).collect(),
            ..Tensor::default()
        }
    }

    #[test]
    fn an_external_weight_is_part_of_a_regular_file_beside_its_graph() {
        let world = tempfile::tempdir().unwrap();
        let folder = world.path().join("1");
        let graph = folder.join("model.onnx");
        std::fs::create_dir_all(folder.join("blobs")).unwrap();
        std::fs::write(&graph, "").unwrap();
        std::fs::write(folder.join("blobs/w.bin"), [1; 4096]).unwrap();
        std::fs::write(world.path().join("secret"), [2; 4096]).unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("link_out")).unwrap();
        std::os::unix::fs::symlink("blobs/w.bin", folder.join("link_in")).unwrap();
        let absolute = world.path().join("secret").display().to_string();
        for (location, more, part) in [
            ("../secret", &[][..], "outside of the graph's folder"),
            (&absolute, &[], "outside of the graph's folder"),
            ("/dev/zero", &[], "outside of the graph's folder"),
            ("link_out", &[], "outside of the graph's folder"),
            ("blobs", &[], "no regular file"),
            ("nowhere", &[], "No such file"),
            (
                "blobs/w.bin",
                &[("offset", "2049")],
                "2047 bytes are there of 2048, from offset 2049 on",
            ),
            (
                "blobs/w.bin",
                &[("offset", "18446744073709551615")],
                "0 bytes are there of 2048, from",
            ),
            ("blobs/w.bin", &[("offset", "-1")], "offset is \"-1\""),
            (
                "blobs/w.bin",
                &[("length", "4096")],
                "length is 4096 and its dims say 2048",
            ),
        ] {
            let error = read_tensor(&weight(location, more), &graph).unwrap_err();
            assert!(error.contains(part), "{location}: {error}");
            assert!(error.contains(&format!("weight w in {location}: ")), "{error}");
        }
        for location in ["blobs/w.bin", "link_in", "./blobs/../blobs/w.bin"] {
            let tensor = weight(location, &[("offset", "2048"), ("length", "2048")]);
            let path = external_file(&graph, location).unwrap();
            assert_eq!(read_external(&tensor, &path, 2048).unwrap(), vec![1; 2048]);
        }
    }
}
