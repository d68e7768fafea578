//! What only HTTP can get wrong: its JSON, its headers, its bodies.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Table, bytes_of, http_error};
use crate::support::{Repository, Server, client};

const LENGTH: &str = "Inference-Header-Content-Length";
const SIXTY_FOUR_MEBIBYTES: usize = 64 << 20;

type Headers = &'static [(&'static str, &'static str)];

struct Row {
    name: &'static str,
    model: &'static str,
    headers: Headers,
    body: Vec<u8>,
    status: u16,
    says: &'static str,
}

fn row(name: &'static str, body: impl Into<Vec<u8>>, says: &'static str) -> Row {
    Row {
        name,
        model: "dense_1",
        headers: &[],
        body: body.into(),
        status: 400,
        says,
    }
}

fn headed(name: &'static str, headers: Headers, body: impl Into<Vec<u8>>, says: &'static str) -> Row {
    Row {
        headers,
        ..row(name, body, says)
    }
}

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

/// A request with more than its input.
fn with(name: &'static str, more: &str, says: &'static str) -> Row {
    let body =
        format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}}],{more}}}"#);
    row(name, body, says)
}

fn elements() -> Vec<Row> {
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
            "Unable to parse 'data': input 'x': 1000000000000000000000000000000000000000 does not fit FP32 at line 1 column 5",
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
            "Unable to parse 'data': input 'UINT64': 18446744073709552000 does not fit UINT64 at line 1 column 21",
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

fn documents() -> Vec<Row> {
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

fn binary(size: &str) -> Vec<u8> {
    format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,4],"parameters":{{"binary_data_size":{size}}}}}]}}"#
    )
    .into_bytes()
}

fn lengths() -> Vec<Row> {
    // The JSON has 94 bytes with sizes of two digits.
    let whole = [binary("16"), vec![0; 16]].concat();
    assert_eq!(binary("16").len(), 94);
    vec![
        headed(
            "a length beyond the body",
            &[(LENGTH, "1000")],
            whole.clone(),
            "inference header size should be in range (0, 110), got: 1000",
        ),
        headed(
            "a negative length",
            &[(LENGTH, "-1")],
            whole.clone(),
            "inference header size should be in range (0, 110), got: -1",
        ),
        headed(
            "a length in words",
            &[(LENGTH, "many")],
            whole.clone(),
            "Unable to parse Inference-Header-Content-Length, got: \"many\"",
        ),
        headed(
            "an empty length",
            &[(LENGTH, "")],
            whole.clone(),
            "Unable to parse Inference-Header-Content-Length, got: \"\"",
        ),
        headed(
            "a length beyond 64 bits",
            &[(LENGTH, "99999999999999999999")],
            whole.clone(),
            "Unable to parse Inference-Header-Content-Length, got: \"99999999999999999999\"",
        ),
        headed(
            "two lengths",
            &[(LENGTH, "94"), (LENGTH, "93")],
            whole.clone(),
            "Inference-Header-Content-Length is there more than once with different values: send it once",
        ),
        headed(
            "a length of one byte less",
            &[(LENGTH, "93")],
            whole.clone(),
            "failed to parse the request JSON buffer: EOF while parsing an object at line 1 column 93",
        ),
        headed(
            "a length of one byte more",
            &[(LENGTH, "95")],
            whole.clone(),
            "failed to parse the request JSON buffer: trailing characters at line 1 column 95",
        ),
        row(
            "binary data without a length",
            whole.clone(),
            "failed to parse the request JSON buffer: trailing characters at line 1 column 95",
        ),
        headed(
            "tensors that break off",
            &[(LENGTH, "94")],
            whole[..100].to_vec(),
            "unexpected size for input 'x', expecting 10 additional bytes for model 'dense_1'",
        ),
        headed(
            "bytes of no tensor",
            &[(LENGTH, "94")],
            [whole, vec![0]].concat(),
            "unexpected additional input data for model 'dense_1': 1 bytes belong to no input",
        ),
        headed(
            "a size that is no tensor's",
            &[(LENGTH, "94")],
            [binary("15"), vec![0; 15]].concat(),
            "input byte size mismatch for input 'x' for model 'dense_1'. Expected 16, got 15",
        ),
        headed(
            "a negative size",
            &[(LENGTH, "94")],
            [binary("-1"), vec![0; 16]].concat(),
            "parameter 'binary_data_size' must be an integer that is not negative",
        ),
        headed(
            "a size in quotes",
            &[(LENGTH, "96")],
            [binary("\"16\""), vec![0; 16]].concat(),
            "parameter 'binary_data_size' must be an integer that is not negative",
        ),
        headed(
            "a size beyond memory",
            &[(LENGTH, "112")],
            binary("18446744073709551615"),
            "unexpected size for input 'x', expecting 18446744073709551615 additional bytes for model 'dense_1'",
        ),
        headed(
            "raw bytes of half an element",
            &[(LENGTH, "0")],
            vec![0; 15],
            "input byte size mismatch for input 'x' for model 'dense_1'. Expected 16, got 15",
        ),
        Row {
            model: "ratio",
            ..headed(
                "raw bytes for two inputs",
                &[(LENGTH, "0")],
                vec![0; 4],
                "Raw request must only have 1 input (found 1) to be deduced but got 2 inputs in 'ratio' model configuration",
            )
        },
    ]
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn encodings() -> Vec<Row> {
    const GZIP: Headers = &[("Content-Encoding", "gzip")];
    const DEFLATE: Headers = &[("Content-Encoding", "deflate")];
    let cut = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() - 6);
        bytes
    };
    let mut damaged = gzip(b"{\"inputs\":[]}");
    let last = damaged.len() - 5;
    damaged[last] ^= 1;
    let bomb = vec![b' '; SIXTY_FOUR_MEBIBYTES + 1];
    vec![
        headed(
            "gzip that is none",
            GZIP,
            "nonsense",
            "the body is not gzip, as its encoding says: unexpected end of file",
        ),
        headed(
            "deflate that is none",
            DEFLATE,
            "nonsense",
            "the body is not deflate, as its encoding says: deflate decompression error",
        ),
        headed(
            "gzip that breaks off",
            GZIP,
            cut(gzip(b"{\"inputs\":[]}")),
            "the body is not gzip, as its encoding says: unexpected end of file",
        ),
        headed(
            "deflate that breaks off",
            DEFLATE,
            cut(zlib(b"{\"inputs\":[]}")),
            "the body is not deflate, as its encoding says: it breaks off",
        ),
        headed(
            "gzip with another checksum",
            GZIP,
            damaged,
            "the body is not gzip, as its encoding says: corrupt gzip stream does not have a matching checksum",
        ),
        headed(
            "no gzip at all",
            GZIP,
            "",
            "the body is not gzip, as its encoding says: unexpected end of file",
        ),
        Row {
            status: 415,
            ..headed(
                "an encoding that is not there",
                &[("Content-Encoding", "br")],
                "{}",
                "Content-Encoding \"br\" is not supported, send gzip, deflate or the body as it is",
            )
        },
        Row {
            status: 415,
            ..headed(
                "two encodings",
                &[("Content-Encoding", "gzip, gzip")],
                "{}",
                "Content-Encoding \"gzip, gzip\" is not supported, send gzip, deflate or the body as it is",
            )
        },
        Row {
            status: 413,
            ..headed(
                "gzip that becomes too large",
                GZIP,
                gzip(&bomb),
                "the request is larger than the 67108864 bytes of --http-max-input-size",
            )
        },
        Row {
            status: 413,
            ..headed(
                "deflate that becomes too large",
                DEFLATE,
                zlib(&bomb),
                "the request is larger than the 67108864 bytes of --http-max-input-size",
            )
        },
        Row {
            status: 413,
            ..row(
                "a body that is one byte too large",
                bomb,
                "the request is larger than the 67108864 bytes of --http-max-input-size",
            )
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_headers_that_are_wrong_are_refused_in_one_sentence() {
    let repository = Repository::of(&["dense_1", "ratio", "every_datatype"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut table = Table::of(&server);
    for row in elements()
        .into_iter()
        .chain(documents())
        .chain(lengths())
        .chain(encodings())
    {
        let url = format!("{}/v2/models/{}/infer", server.http, row.model);
        let request = client().post(url).body(row.body);
        let request = row
            .headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value));
        let got = http_error(request.send().await.unwrap()).await;
        table.row(row.name, got, (row.status, row.says)).await;
    }
    table.end();
}

#[tokio::test]
async fn models_and_versions_that_are_not_there_are_told_for_every_call() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut table = Table::of(&server);
    let long = "m".repeat(10_000);
    for (name, path, status, says) in [
        (
            "metadata",
            "absent",
            404,
            "Request for unknown model: 'absent' is not found",
        ),
        (
            "its version",
            "dense_1/versions/9",
            404,
            "Request for unknown model: 'dense_1' version 9 is not found",
        ),
        (
            "configuration",
            "absent/config",
            404,
            "Request for unknown model: 'absent' is not found",
        ),
        (
            "statistics",
            "absent/stats",
            400,
            "requested model 'absent' is not available",
        ),
        (
            "statistics of a version",
            "dense_1/versions/9/stats",
            400,
            "requested model version is not available for model 'dense_1'",
        ),
        (
            "readiness",
            "absent/ready",
            400,
            "Model version not ready: Request for unknown model: 'absent' is not found",
        ),
        (
            "a version in words",
            "dense_1/versions/x",
            400,
            "failed to get model version from specified version string 'x' (details: stol), version should be an integral value > 0",
        ),
        (
            "another folder",
            "..%2Fdense_1",
            404,
            "Request for unknown model: '../dense_1' is not found",
        ),
        (
            "a name with a zero byte",
            "a%00b",
            404,
            "Request for unknown model: 'a\0b' is not found",
        ),
        (
            "a name that is not UTF-8",
            "%ff",
            400,
            "Invalid URL: Invalid UTF-8 in `model`",
        ),
        (
            "a long name",
            &long,
            404,
            "Request for unknown model: '…' is not found",
        ),
    ] {
        let answer = client().get(format!("{}/v2/models/{path}", server.http)).send();
        let (code, message) = http_error(answer.await.unwrap()).await;
        table
            .row(name, (code, message.replace(&long, "…")), (status, says))
            .await;
    }
    table.end();
}

/// Sends bytes, ends its side of the connection, and reads what comes: the first line and the body.
async fn exchange(server: &Server, bytes: &[u8]) -> (String, String) {
    let address = server.http.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    let _ = reading
        .await
        .expect("the server ends a connection whose client has ended its side");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (
        head.lines().next().unwrap_or_default().to_owned(),
        body.to_owned(),
    )
}

#[tokio::test]
async fn connections_that_lie_about_their_length_are_ended_and_hold_up_nobody() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut table = Table::of(&server);
    for (name, rest, line, body) in [
        (
            "more than comes",
            "Content-Length: 1000\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request",
            r#"{"error":"the body of the request could not be read: error reading a body from connection"}"#,
        ),
        (
            "a negative length",
            "Content-Length: -1\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request",
            "",
        ),
        (
            "a length in words",
            "Content-Length: two\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request",
            "",
        ),
        (
            "a length beyond 64 bits",
            "Content-Length: 99999999999999999999\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request",
            "",
        ),
        (
            "two lengths",
            "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request",
            "",
        ),
        (
            "a length and pieces",
            "Content-Length: 2\r\nTransfer-Encoding: nonsense\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request",
            "",
        ),
        (
            "a piece without a size",
            "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
            "HTTP/1.1 400 Bad Request",
            r#"{"error":"the body of the request could not be read: error reading a body from connection"}"#,
        ),
        (
            "a piece that is not all there",
            "Transfer-Encoding: chunked\r\n\r\nff\r\n{}\r\n",
            "HTTP/1.1 400 Bad Request",
            r#"{"error":"the body of the request could not be read: error reading a body from connection"}"#,
        ),
        (
            "a size beyond 64 bits",
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n",
            "HTTP/1.1 400 Bad Request",
            r#"{"error":"the body of the request could not be read: error reading a body from connection"}"#,
        ),
        (
            "over the limit, and nothing of it",
            "Content-Length: 9999999999\r\n\r\n",
            "HTTP/1.1 413 Payload Too Large",
            r#"{"error":"the request is larger than the 67108864 bytes of --http-max-input-size"}"#,
        ),
    ] {
        let request = format!("POST /v2/models/dense_1/infer HTTP/1.1\r\nHost: x\r\n{rest}");
        let got = exchange(&server, request.as_bytes()).await;
        table.row(name, got, (line.to_owned(), body)).await;
    }
    table.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_of_64_mebibytes_are_answered_over_both_protocols() {
    let repository = Repository::of(&["every_datatype", "dense_1"]);
    repository.add("large", 1, "centred");
    repository.config("large", "max_batch_size: 10000000");
    let server = Server::start(&repository.uri(), &["--http-max-input-size=100000000"]).await;
    let (rows, size) = ((SIXTY_FOUR_MEBIBYTES / 8) as i64, SIXTY_FOUR_MEBIBYTES);
    let content = bytes_of(&[1.0, 2.0]).repeat(size / 8);
    let header = json!({
        "inputs": [{"name": "x", "shape": [rows, 2], "datatype": "FP32", "parameters": {"binary_data_size": size}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": true}}],
    })
    .to_string();
    let answer = client()
        .post(format!("{}/v2/models/large/infer", server.http))
        .header(LENGTH, header.len())
        .body([header.into_bytes(), content.clone()].concat())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    // Every column is the same number, and its mean is taken from it.
    let body = answer.bytes().await.unwrap();
    assert!(body[body.len() - size..].iter().all(|byte| *byte == 0));
    let message = super::message("large", &[("x", "FP32", &[rows, 2], content)]);
    let mut grpc = server.grpc().await.max_decoding_message_size(usize::MAX);
    let answer = grpc.model_infer(message).await.unwrap().into_inner();
    assert!(
        answer.raw_output_contents[0].len() == size
            && answer.raw_output_contents[0].iter().all(|byte| *byte == 0)
    );
    super::still_serves(&server).await.unwrap();
}
