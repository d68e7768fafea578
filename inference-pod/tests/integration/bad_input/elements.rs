//! Elements in JSON.

use super::http::{Row, row};

/// A request whose input has this data and otherwise nothing wrong.
fn data(name: &'static str, data: &str, says: &'static str) -> Row {
    let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,4],"data":{data}}}]}}"#);
    row(name, body, says)
}

/// The same for an input of another datatype, of a model that has them all.
fn of_type(name: &'static str, datatype: &str, data: &str, says: &'static str) -> Row {
    let body = format!(
        r#"{{"inputs":[{{"name":"{datatype}","datatype":"{datatype}","shape":[1,1],"data":{data}}}]}}"#
    );
    Row {
        model: "every_datatype",
        ..row(name, body, says)
    }
}

pub(super) fn elements() -> Vec<Row> {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    vec![
        data(
            "10,000 lists in each other",
            &deep,
            "Unable to parse 'data': input 'x': recursion limit exceeded at line 1 column 128",
        ),
        data(
            "10,000 lists without an end",
            &"[".repeat(10_000),
            "failed to parse the request JSON buffer: expected value at line 1 column 10063",
        ),
        data(
            "NaN",
            "[NaN,1,2,3]",
            "failed to parse the request JSON buffer: expected value at line 1 column 64; JSON has no NaN and no Infinity, send such numbers as binary data",
        ),
        data(
            "an infinity by name",
            "[Infinity,1,2,3]",
            "failed to parse the request JSON buffer: expected value at line 1 column 64; JSON has no NaN and no Infinity, send such numbers as binary data",
        ),
        data(
            "a negative infinity by name",
            "[-Infinity,1,2,3]",
            "failed to parse the request JSON buffer: invalid number at line 1 column 65; JSON has no NaN and no Infinity, send such numbers as binary data",
        ),
        data(
            "a number beyond FP64",
            "[1e999,1,2,3]",
            "Unable to parse 'data': input 'x': number out of range at line 1 column 6",
        ),
        data(
            "a number beyond FP32",
            "[1e39,1,2,3]",
            "Unable to parse 'data': input 'x': 1e39 does not fit FP32 at line 1 column 5",
        ),
        data(
            "null",
            "[null,1,2,3]",
            "Unable to parse 'data': input 'x': invalid type: null, expected elements of FP32 at line 1 column 5",
        ),
        data(
            "a truth value among numbers",
            "[true,1,2,3]",
            "Unable to parse 'data': input 'x': true does not fit FP32 at line 1 column 5",
        ),
        data(
            "a text among numbers",
            "[\"1\",1,2,3]",
            "Unable to parse 'data': input 'x': a string does not fit FP32 at line 1 column 4",
        ),
        data(
            "an object",
            "{\"a\":1}",
            "Unable to parse 'data': input 'x': invalid type: map, expected elements of FP32 at line 1 column 1",
        ),
        data(
            "too few elements",
            "[1,2,3]",
            "Unable to parse 'data': Shape does not match true shape of 'data' field: input 'x' has 3 elements, and its shape holds 4",
        ),
        data(
            "too many elements",
            "[1,2,3,4,5]",
            "Unable to parse 'data': Shape does not match true shape of 'data' field: input 'x' has 5 elements, and its shape holds 4",
        ),
        data(
            "no elements",
            "[]",
            "Unable to parse 'data': Shape does not match true shape of 'data' field: input 'x' has 0 elements, and its shape holds 4",
        ),
        data(
            "data of null",
            "null",
            "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', 'shared_memory_region' in 'parameters'. But no field is set",
        ),
        of_type(
            "a truth value of 2",
            "BOOL",
            "[2]",
            "Unable to parse 'data': input 'BOOL': 2 does not fit BOOL at line 1 column 2",
        ),
        of_type(
            "a truth value of one half",
            "BOOL",
            "[0.5]",
            "Unable to parse 'data': input 'BOOL': 0.5 does not fit BOOL at line 1 column 4",
        ),
        of_type(
            "an integer above its datatype",
            "UINT8",
            "[256]",
            "Unable to parse 'data': input 'UINT8': 256 does not fit UINT8 at line 1 column 4",
        ),
        of_type(
            "an integer below its datatype",
            "INT8",
            "[-129]",
            "Unable to parse 'data': input 'INT8': -129 does not fit INT8 at line 1 column 5",
        ),
        of_type(
            "a negative one without a sign",
            "UINT64",
            "[-1]",
            "Unable to parse 'data': input 'UINT64': -1 does not fit UINT64 at line 1 column 3",
        ),
        of_type(
            "an integer beyond 64 bits",
            "UINT64",
            "[18446744073709551616]",
            "Unable to parse 'data': input 'UINT64': 1.8446744073709552e19 does not fit UINT64 at line 1 column 21",
        ),
        of_type(
            "an integer with a fraction",
            "INT32",
            "[1.5]",
            "Unable to parse 'data': input 'INT32': 1.5 does not fit INT32 at line 1 column 4",
        ),
        of_type(
            "FP16 as numbers",
            "FP16",
            "[1]",
            "receiving FP16 data via JSON is not supported. Please use the binary data format for input FP16",
        ),
        of_type(
            "BF16 as numbers",
            "BF16",
            "[1]",
            "receiving BF16 data via JSON is not supported. Please use the binary data format for input BF16",
        ),
        of_type(
            "a number among texts",
            "BYTES",
            "[1]",
            "Unable to parse 'data': input 'BYTES': 1 does not fit BYTES at line 1 column 2",
        ),
        of_type(
            "half a surrogate",
            "BYTES",
            r#"["\ud800"]"#,
            "Unable to parse 'data': input 'BYTES': unexpected end of hex escape at line 1 column 9",
        ),
    ]
}
