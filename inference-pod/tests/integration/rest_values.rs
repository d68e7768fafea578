//! Values of rows over REST: every datatype, numbers to their last digit, what is missing, lists of any size.

use serde_json::json;

use crate::rest::predict;
use crate::support::{Repository, Server, client};

#[tokio::test]
async fn every_datatype_is_numbers_texts_and_truth_values() {
    let repository = Repository::of(&["every_datatype"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let row = json!({
        "BOOL": [true, false], "UINT8": [0, 255], "UINT16": [1, 65535], "UINT32": [1], "UINT64": [u64::MAX],
        "INT8": [-128], "INT16": [-1], "INT32": [2.0], "INT64": [i64::MIN], "FP16": [0.5, 1.5], "BF16": [-2.0],
        "FP32": [0.1], "FP64": [1e300], "BYTES": ["é", "", "a\u{0}b"],
    });
    let (status, answer) = predict(&server, "every_datatype", json!([row])).await;
    assert_eq!(status, 200, "{answer}");
    for (name, sent) in row.as_object().unwrap() {
        let got = &answer["predictions"][0][format!("out_{name}")];
        assert!(got == sent || *got == json!([2]), "{name}: {got}");
    }
}

#[tokio::test]
async fn numbers_are_read_to_their_last_digit() {
    let repository = Repository::of(&["every_datatype"]);
    let server = Server::start(&repository.uri(), &[]).await;
    // Each is one off when the last digits are read by rounding as one goes.
    for number in [
        "3.4028234663852886e38",
        "-1.7976931348623157e308",
        "2.2250738585072014e-308",
        "0.30000000000000004",
    ] {
        let others = [
            "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16",
            "FP32",
        ];
        let mut row: serde_json::Map<_, _> = others
            .iter()
            .map(|name| ((*name).to_owned(), json!([0])))
            .collect();
        row.insert("BYTES".to_owned(), json!([""]));
        row.insert("FP64".to_owned(), json!(["NUMBER"]));
        let body = json!({"instances": [row]})
            .to_string()
            .replace("\"NUMBER\"", number);
        let sent = client()
            .post(format!("{}/predict/every_datatype", server.rest))
            .body(body);
        let answer = sent.send().await.unwrap().text().await.unwrap();
        let exact: f64 = number.parse().unwrap();
        let expected = format!("\"out_FP64\":[{}]", json!(exact));
        assert!(answer.contains(&expected), "{expected} in {answer}");
    }
}

#[tokio::test]
async fn what_json_cannot_express_is_null_both_ways() {
    let repository = Repository::of(&["ratio"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let rows = json!([{"x": 0, "divisor": 0}, {"x": 1, "divisor": 0}, {"x": 1, "divisor": 2}]);
    let (_, answer) = predict(&server, "ratio", rows).await;
    assert_eq!(
        answer["predictions"],
        json!([{"y": [null]}, {"y": [null]}, {"y": [0.5]}])
    );
    let missing = json!([{"x": null, "divisor": 1}]);
    let (status, answer) = predict(&server, "ratio", missing.clone()).await;
    assert!(
        status == 400
            && answer["error"]
                .as_str()
                .unwrap()
                .contains("takes no missing values"),
        "{answer}"
    );
    drop(server);
    repository.config(
        "ratio",
        "max_batch_size: 8 parameters { key: \"missing_values\" value { string_value: \"NaN\" } }",
    );
    let server = Server::start(&repository.uri(), &[]).await;
    let (status, answer) = predict(&server, "ratio", missing).await;
    assert_eq!((status, &answer["predictions"]), (200, &json!([{"y": [null]}])));
}

#[tokio::test]
async fn rows_of_different_sizes_are_answered_in_their_order() {
    let repository = Repository::of(&["convolution"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let image = |size: usize| json!([vec![vec![1.0; size]; size]]);
    let (status, answer) = predict(
        &server,
        "convolution",
        json!([image(3), image(4), image(4), image(3)]),
    )
    .await;
    assert_eq!(status, 200, "{answer}");
    let predictions = answer["predictions"].as_array().unwrap().iter();
    let widths: Vec<_> = predictions
        .map(|prediction| prediction["y"][0].as_array().unwrap().len())
        .collect();
    assert_eq!(widths, [1, 2, 2, 1]);
    let (_, answer) = predict(&server, "convolution", json!([[[[1, 2, 3], [1, 2], [1, 2, 3]]]])).await;
    let error = answer["error"].as_str().unwrap();
    assert!(
        error.contains("instances[0]: field \"x[0][1]\" must be a list of 3, as its neighbours are"),
        "{error}"
    );
}
