//! Documents of JSON around tensors.

use super::http::{Row, row};

/// A request with more than its input.
fn with(name: &'static str, more: &str, says: &'static str) -> Row {
    let body =
        format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}}],{more}}}"#);
    row(name, body, says)
}

pub(super) fn documents() -> Vec<Row> {
    vec![
        row(
            "no body",
            "",
            "failed to parse the request JSON buffer: EOF while parsing a value at line 1 column 0",
        ),
        row(
            "a list",
            "[]",
            "failed to parse the request JSON buffer: invalid length 2, expected an object with \"inputs\" at line 1 column 2",
        ),
        row(
            "an object without inputs",
            "{}",
            "failed to parse the request JSON buffer: missing field `inputs` at line 1 column 2",
        ),
        row(
            "a document that breaks off",
            "{\"inputs\": [",
            "failed to parse the request JSON buffer: EOF while parsing a list at line 1 column 12",
        ),
        row(
            "inputs of null",
            r#"{"inputs":null}"#,
            "failed to parse the request JSON buffer: invalid type: null, expected a sequence at line 1 column 14",
        ),
        row(
            "inputs twice",
            r#"{"inputs":[],"inputs":[]}"#,
            "failed to parse the request JSON buffer: duplicate field `inputs` at line 1 column 21",
        ),
        row(
            "bytes that are not UTF-8",
            b"{\"inputs\":[{\"name\":\"\xff\"}]}".to_vec(),
            "failed to parse the request JSON buffer: invalid unicode code point at line 1 column 21",
        ),
        row(
            "a byte order mark",
            "\u{feff}{\"inputs\":[]}",
            "failed to parse the request JSON buffer: expected value at line 1 column 1",
        ),
        row(
            "something behind the document",
            "{\"inputs\":[]} {}",
            "failed to parse the request JSON buffer: trailing characters at line 1 column 15",
        ),
        row(
            "a shape of texts",
            r#"{"inputs":[{"name":"x","datatype":"FP32","shape":["1"],"data":[1]}]}"#,
            "failed to parse the request JSON buffer: invalid type: string \"1\", expected i64 at line 1 column 53",
        ),
        row(
            "a shape of fractions",
            r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1.5],"data":[1]}]}"#,
            "failed to parse the request JSON buffer: invalid type: floating point `1.5`, expected i64 at line 1 column 53",
        ),
        row(
            "a shape beyond 64 bits",
            r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[9223372036854775808],"data":[1]}]}"#,
            "failed to parse the request JSON buffer: invalid value: integer `9223372036854775808`, expected i64 at line 1 column 69",
        ),
        row(
            "an input without a shape",
            r#"{"inputs":[{"name":"x","datatype":"FP32","data":[1]}]}"#,
            "failed to parse the request JSON buffer: missing field `shape` at line 1 column 52",
        ),
        row(
            "an input without data",
            r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4]}]}"#,
            "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', 'shared_memory_region' in 'parameters'. But no field is set",
        ),
        row(
            "data in two places",
            r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4],"parameters":{"binary_data_size":16}}]}"#,
            "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', 'shared_memory_region' in 'parameters'. But set 'data' 'binary_data_size'",
        ),
        with(
            "an id that is a number",
            r#""id":7"#,
            "failed to parse the request JSON buffer: invalid type: integer `7`, expected a string at line 1 column 80",
        ),
        with(
            "outputs that are a text",
            r#""outputs":"y""#,
            "failed to parse the request JSON buffer: outputs: invalid type: string \"y\", expected a list of outputs at line 1 column 3",
        ),
        with(
            "an output without a name",
            r#""outputs":[{}]"#,
            "failed to parse the request JSON buffer: outputs: missing field `name` at line 1 column 3",
        ),
        with(
            "fewer than no classes",
            r#""outputs":[{"name":"y","parameters":{"classification":-1}}]"#,
            "parameter 'classification' must be an integer that is not negative",
        ),
        with(
            "classes in words",
            r#""outputs":[{"name":"y","parameters":{"classification":"all"}}]"#,
            "parameter 'classification' must be an integer that is not negative",
        ),
        with(
            "half a class",
            r#""outputs":[{"name":"y","parameters":{"classification":1.5}}]"#,
            "parameter 'classification' must be an integer that is not negative",
        ),
        with(
            "more classes than numbers",
            r#""outputs":[{"name":"y","parameters":{"classification":1e30}}]"#,
            "parameter 'classification' must be an integer that is not negative",
        ),
        with(
            "binary data of \"yes\"",
            r#""outputs":[{"name":"y","parameters":{"binary_data":"yes"}}]"#,
            "parameter 'binary_data' must be true or false",
        ),
        with(
            "binary output of 1",
            r#""parameters":{"binary_data_output":1}"#,
            "parameter 'binary_data_output' must be true or false",
        ),
        with(
            "a timeout in words",
            r#""parameters":{"timeout":"soon"}"#,
            "parameter 'timeout' must be an integer that is not negative",
        ),
        with(
            "a negative timeout",
            r#""parameters":{"timeout":-1}"#,
            "parameter 'timeout' must be an integer that is not negative",
        ),
        with(
            "a priority with a fraction",
            r#""parameters":{"priority":1.5}"#,
            "parameter 'priority' must be an integer that is not negative",
        ),
        with(
            "a parameter that is a list",
            r#""parameters":{"mine":[1]}"#,
            "parameter 'mine' has invalid type. It should be either 'int', 'bool', or 'string'.",
        ),
        with(
            "parameters that are a list",
            r#""parameters":[1]"#,
            "failed to parse the request JSON buffer: invalid type: sequence, expected a map at line 1 column 87",
        ),
        with(
            "a parameter of Triton's",
            r#""parameters":{"triton_mine":1}"#,
            "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified.",
        ),
        Row {
            status: 501,
            ..with(
                "a sequence",
                r#""parameters":{"sequence_id":1}"#,
                "parameter 'sequence_id' is not supported: this server keeps no state between requests",
            )
        },
    ]
}
