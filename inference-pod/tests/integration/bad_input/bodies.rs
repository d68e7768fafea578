//! Binary data behind JSON whose lengths lie, and compressed bodies.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::http::{Headers, LENGTH, Row, SIXTY_FOUR_MEBIBYTES, headed, row};

fn binary(size: &str) -> Vec<u8> {
    format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,4],"parameters":{{"binary_data_size":{size}}}}}]}}"#
    )
    .into_bytes()
}

pub(super) fn lengths() -> Vec<Row> {
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

pub(super) fn encodings() -> Vec<Row> {
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
