//! Rows over REST.

use super::{Table, http_error};
use crate::support::{Repository, Server, client};

#[tokio::test]
async fn rows_that_are_wrong_are_refused_with_row_and_field() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut table = Table::of(&server);
    let deep = format!("{{\"instances\":[{}{}]}}", "[".repeat(10_000), "]".repeat(10_000));
    for (name, path, body, status, says) in [
        (
            "no body",
            "predict/dense_1",
            "",
            400,
            "the body is not JSON of the form {\"instances\": [row, …]} with a list or an object as each row: EOF while parsing a value at line 1 column 0",
        ),
        (
            "a text",
            "predict/dense_1",
            "\"x\"",
            400,
            "the body is not JSON of the form {\"instances\": [row, …]} with a list or an object as each row: invalid type: string \"x\", expected an object with \"instances\" at line 1 column 3",
        ),
        (
            "a document that breaks off",
            "predict/dense_1",
            "{\"instances\": [",
            400,
            "the body is not JSON of the form {\"instances\": [row, …]} with a list or an object as each row: EOF while parsing a list at line 1 column 15 in instances[0]",
        ),
        (
            "something behind it",
            "predict/dense_1",
            "{\"instances\":[[1,2,3,4]]} x",
            400,
            "the body is not JSON of the form {\"instances\": [row, …]} with a list or an object as each row: trailing characters at line 1 column 27",
        ),
        (
            "10,000 lists in each other",
            "predict/dense_1",
            &deep,
            400,
            "the body is not JSON of the form {\"instances\": [row, …]} with a list or an object as each row: recursion limit exceeded at line 1 column 140 in instances[0]",
        ),
        (
            "NaN",
            "predict/dense_1",
            "{\"instances\":[[NaN,2,3,4]]}",
            400,
            "the body is not JSON of the form {\"instances\": [row, …]} with a list or an object as each row: expected value at line 1 column 16 in instances[0]: JSON has no NaN and no Infinity; leave the row out, or send null where the model takes missing values",
        ),
        (
            "a number beyond FP64",
            "predict/dense_1",
            "{\"instances\":[[1e999,2,3,4]]}",
            400,
            "the body is not JSON of the form {\"instances\": [row, …]} with a list or an object as each row: number out of range at line 1 column 20 in instances[0]: no number is larger than 1.8e308",
        ),
        (
            "a number beyond FP32",
            "predict/dense_1",
            "{\"instances\":[[1e39,2,3,4]]}",
            400,
            "instances[0]: field \"x[0]\" must be a number from -3.4028234663852886e38 to 3.4028234663852886e38 (FP32), not 1e+39",
        ),
        (
            "a text among numbers",
            "predict/dense_1",
            "{\"instances\":[[1,2,3,4],[1,2,3,\"x\"]]}",
            400,
            "instances[1]: field \"x[3]\" must be a number, not \"x\"",
        ),
        (
            "a truth value among numbers",
            "predict/dense_1",
            "{\"instances\":[[1,2,3,true]]}",
            400,
            "instances[0]: field \"x[3]\" must be a number, not true",
        ),
        (
            "too few numbers",
            "predict/dense_1",
            "{\"instances\":[[1,2,3]]}",
            400,
            "instances[0]: input \"x\" must have shape [4], not [3]",
        ),
        (
            "no rows",
            "predict/dense_1",
            "{\"instances\":[]}",
            400,
            "\"instances\" is empty: send at least one row",
        ),
        (
            "a field that is not there",
            "predict/dense_1",
            "{\"instances\":[{\"z\":1}]}",
            400,
            "instances[0]: has an unknown field \"z\"; its fields are \"x\"; instances[0]: lacks the field \"x\", which must be lists of the shape [4], with a number as each value",
        ),
        (
            "rows and columns",
            "predict/dense_1",
            "{\"instances\":[],\"inputs\":{}}",
            400,
            "the body is not JSON of the form {\"instances\": [row, …]} with a list or an object as each row: \"instances\" or \"inputs\" may be there once, and not both at line 1 column 24",
        ),
        (
            "rows twice",
            "predict/dense_1",
            "{\"instances\":[],\"instances\":[]}",
            400,
            "the body is not JSON of the form {\"instances\": [row, …]} with a list or an object as each row: \"instances\" or \"inputs\" may be there once, and not both at line 1 column 27",
        ),
        (
            "an unknown model",
            "predict/absent",
            "{\"instances\":[[1]]}",
            404,
            "Request for unknown model: 'absent' is not found",
        ),
        (
            "an unknown model of TensorFlow's path",
            "v1/models/absent:predict",
            "{\"instances\":[[1]]}",
            404,
            "Request for unknown model: 'absent' is not found",
        ),
        (
            "an unknown version",
            "v1/models/dense_1/versions/9:predict",
            "{\"instances\":[[1]]}",
            404,
            "Request for unknown model: 'dense_1' version 9 is not found",
        ),
    ] {
        let url = format!("{}/{path}", server.rest);
        let answer = client().post(url).body(body.to_owned()).send().await.unwrap();
        table.row(name, http_error(answer).await, (status, says)).await;
    }
    table.end();
}
