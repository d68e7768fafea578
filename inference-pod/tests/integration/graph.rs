//! ONNX files that are made here, as they are too large to be kept: a product with one square matrix.

use crate::support::Repository;

fn varint(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn number(field: u64, value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(field << 3, &mut bytes);
    varint(value, &mut bytes);
    bytes
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(field << 3 | 2, &mut bytes);
    varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

fn message(field: u64, fields: &[Vec<u8>]) -> Vec<u8> {
    bytes(field, &fields.concat())
}

const FLOAT: u64 = 1;

/// ValueInfoProto of a matrix of floats with any number of rows.
fn value(field: u64, name: &str, columns: u64) -> Vec<u8> {
    let shape = message(
        2,
        &[
            message(1, &[bytes(2, b"rows")]),
            message(1, &[number(1, columns)]),
        ],
    );
    let tensor = message(1, &[number(1, FLOAT), shape]);
    message(field, &[bytes(1, name.as_bytes()), message(2, &[tensor])])
}

/// y = x · W, with W of `side` rows and columns. Field numbers are those of onnx.proto3.
fn matrix(side: usize) -> Vec<u8> {
    let weights: Vec<u8> = (0..side * side)
        .flat_map(|index| ((index % 251) as f32 / 251.0).to_le_bytes())
        .collect();
    let node = message(
        1,
        &[
            bytes(1, b"x"),
            bytes(1, b"w"),
            bytes(2, b"y"),
            bytes(4, b"MatMul"),
        ],
    );
    let side = side as u64;
    let initializer = message(
        5,
        &[
            number(1, side),
            number(1, side),
            number(2, FLOAT),
            bytes(8, b"w"),
            bytes(9, &weights),
        ],
    );
    let (input, output) = (value(11, "x", side), value(12, "y", side));
    let graph = message(7, &[node, bytes(2, b"graph"), initializer, input, output]);
    [number(1, 8), graph, message(8, &[number(2, 17)])].concat()
}

/// Adds version 1 of a model whose weights are such a matrix.
pub fn add_matrix(repository: &Repository, model: &str, side: usize) {
    let folder = repository.path().join(model).join("1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("model.onnx"), matrix(side)).unwrap();
}
