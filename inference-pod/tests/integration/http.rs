//! Open Inference Protocol v2 over HTTP.

use serde_json::{Value, json};

use crate::support::{Repository, Server, binary_row, client, publish_into};

fn dense_request() -> Value {
    json!({"id": "42", "inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [[1, 2, 3, 4], [5, 6, 7, 8]]}]})
}

#[tokio::test]
async fn json_goes_in_and_comes_out() {
    let repository = Repository::of(&["dense_1"]);
    repository.add("dense_1", 3, "dense_2");
    repository.config(
        "dense_1",
        "max_batch_size: 8 dynamic_batching { } version_policy { all { } }",
    );
    let server = Server::start(&repository.uri(), &[]).await;
    let (status, answer) = server.infer("dense_1", &dense_request()).await;
    assert_eq!(status, 200, "{answer}");
    let expected = json!({
        "model_name": "dense_1", "model_version": "3", "id": "42",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 3], "data": [3.0, 4.0, 5.0, 7.0, 8.0, 9.0]}],
    });
    assert_eq!(answer, expected, "the highest version answers");
    let (_, answer) = server.infer("dense_1/versions/1", &dense_request()).await;
    assert_eq!(answer["outputs"][0]["data"][0], 2.0);
}

#[tokio::test]
async fn binary_tensors_go_both_ways() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let url = format!("{}/v2/models/dense_1/infer", server.http);
    let (header, row) = binary_row();
    let body = [header.as_bytes(), &row].concat();
    let request = client()
        .post(&url)
        .header("Inference-Header-Content-Length", header.len())
        .body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    let length: usize = answer.headers()["inference-header-content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let body = answer.bytes().await.unwrap();
    let json: Value = serde_json::from_slice(&body[..length]).unwrap();
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 12);
    let values: Vec<f32> = body[length..]
        .chunks(4)
        .map(|raw| f32::from_le_bytes(raw.try_into().unwrap()))
        .collect();
    assert_eq!(values, [2.0, 3.0, 4.0]);

    // Nothing but the bytes of the only input.
    let answer = client()
        .post(&url)
        .header("Inference-Header-Content-Length", 0)
        .body(row)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("inference-header-content-length"));
}

#[tokio::test]
async fn every_datatype_survives_the_way_through() {
    let repository = Repository::of(&["every_datatype"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let data = |datatype: &str| match datatype {
        "BOOL" => json!([true, false, true, true]),
        "BYTES" => json!(["", "ü", "a longer one", "\n"]),
        "FP32" | "FP64" => json!([0.5, -1.25, 1e10, 3.0]),
        "UINT64" => json!([0, 1, 2, u64::MAX]),
        "INT64" => json!([i64::MIN, -1, 2, i64::MAX]),
        unsigned if unsigned.starts_with('U') => json!([0, 1, 2, 255]),
        _ => json!([-128, 0, 1, 127]),
    };
    let plain = [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64",
        "BYTES",
    ];
    let mut inputs: Vec<_> = plain
        .iter()
        .map(|name| json!({"name": name, "shape": [2, 2], "datatype": name, "data": data(name)}))
        .collect();
    for name in ["FP16", "BF16"] {
        inputs.push(
            json!({"name": name, "shape": [2, 2], "datatype": name, "parameters": {"binary_data_size": 8}}),
        );
    }
    let outputs: Vec<_> = plain
        .iter()
        .map(|name| json!({"name": format!("out_{name}")}))
        .collect();
    let halves = [
        json!({"name": "out_FP16", "parameters": {"binary_data": true}}),
        json!({"name": "out_BF16", "parameters": {"binary_data": true}}),
    ];
    let outputs = [outputs, halves.to_vec()].concat();
    let header = json!({"inputs": inputs, "outputs": outputs}).to_string();
    let binary: Vec<u8> = (0..16).collect();
    let answer = client()
        .post(format!("{}/v2/models/every_datatype/infer", server.http))
        .header("Inference-Header-Content-Length", header.len())
        .body([header.as_bytes(), &binary].concat())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    let length: usize = answer.headers()["inference-header-content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let body = answer.bytes().await.unwrap();
    assert_eq!(&body[length..], binary);
    let json: Value = serde_json::from_slice(&body[..length]).unwrap();
    for (output, name) in json["outputs"].as_array().unwrap().iter().zip(plain) {
        assert_eq!(
            (&output["datatype"], &output["data"]),
            (&json!(name), &data(name))
        );
    }
}

#[tokio::test]
async fn a_model_is_described() {
    let repository = Repository::of(&["dense_1"]);
    publish_into(&repository, "iris", "iris", 7);
    let server = Server::start(&repository.uri(), &[]).await;
    let metadata = server.get(format!("{}/v2/models/iris", server.http)).await;
    assert_eq!(
        metadata,
        json!({
            "name": "iris", "versions": ["7"], "platform": "onnxruntime_onnx",
            "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}],
            "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1, 1]},
                        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}],
        })
    );
    let config = server
        .get(format!("{}/v2/models/iris/versions/7/config", server.http))
        .await;
    assert_eq!(
        config["output"][0],
        json!({"name": "label", "data_type": "TYPE_INT64", "dims": [1], "reshape": {"shape": []}, "label_filename": "",
               "is_shape_tensor": false, "is_non_linear_format_io": false})
    );
    assert_eq!(config["max_batch_size"], 64);
    let server_metadata = server.get(format!("{}/v2", server.http)).await;
    assert!(
        server_metadata["extensions"]
            .as_array()
            .unwrap()
            .contains(&json!("binary_tensor_data"))
    );
    let index: Value = client()
        .post(format!("{}/v2/repository/index", server.http))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        index[1],
        json!({"name": "iris", "version": "7", "state": "READY"})
    );
    let ready = client()
        .get(format!("{}/v2/models/iris/ready", server.http))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 200);
    let ready = client()
        .get(format!("{}/v2/models/absent/ready", server.http))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 400);
}

#[tokio::test]
async fn labels_have_a_column_of_their_own() {
    let repository = Repository::new();
    publish_into(&repository, "iris_names", "iris", 1);
    let server = Server::start(&repository.uri(), &[]).await;
    let request = json!({"inputs": [{"name": "features", "shape": [2, 4], "datatype": "FP32",
                                     "data": [5.1, 3.5, 1.4, 0.2, 6.7, 3.0, 5.2, 2.3]}],
                         "outputs": [{"name": "label"}]});
    let (_, answer) = server.infer("iris", &request).await;
    let expected =
        json!([{"name": "label", "datatype": "BYTES", "shape": [2, 1], "data": ["setosa", "virginica"]}]);
    assert_eq!(answer["outputs"], expected);
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    for _ in 0..3 {
        assert_eq!(server.infer("dense_1", &dense_request()).await.0, 200);
    }
    let wrong = json!({"inputs": [{"name": "z", "shape": [1], "datatype": "FP32", "data": [1]}]});
    assert_eq!(server.infer("dense_1", &wrong).await.0, 400);
    let labels = "{model=\"dense_1\",version=\"1\"}";
    assert_eq!(
        server
            .metric(&format!("nv_inference_request_success{labels}"))
            .await,
        3.0
    );
    assert_eq!(server.metric(&format!("nv_inference_count{labels}")).await, 6.0);
    assert!(
        server
            .metric(&format!("nv_inference_request_duration_us{labels}"))
            .await
            > 0.0
    );
    assert_eq!(
        server
            .metric("nv_inference_request_failure{model=\"dense_1\",version=\"1\",reason=\"OTHER\"}")
            .await,
        1.0
    );
    let statistics = server
        .get(format!("{}/v2/models/dense_1/stats", server.http))
        .await;
    let statistics = &statistics["model_stats"][0];
    assert_eq!(
        (&statistics["inference_count"], &statistics["execution_count"]),
        (&json!(6), &json!(3))
    );
    assert_eq!(statistics["inference_stats"]["success"]["count"], 3);
    assert_eq!(statistics["inference_stats"]["fail"]["count"], 1);
    assert_eq!(statistics["batch_stats"][0]["batch_size"], 2);
}
