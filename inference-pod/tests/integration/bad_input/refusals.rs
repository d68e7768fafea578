//! Wrong requests and models by the part of the answer that matters, under limits that are not the default's.

use serde_json::{Value, json};

use crate::support::{Repository, Server, client};

fn input(name: &str, datatype: &str, shape: Value, data: Value) -> Value {
    json!({"inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]})
}

#[tokio::test]
async fn wrong_json_requests_are_refused_in_words() {
    let repository = Repository::of(&["dense_1", "ratio"]);
    let server = Server::start(&repository.uri(), &["--http-max-input-size=100000"]).await;
    let row = json!([1, 2, 3, 4]);
    let rows = |count: usize| json!(vec![0; count * 4]);
    let cases = [
        (
            input("x", "FP32", json!([1, 4]), json!([1, 2, 3])),
            400,
            "Unable to parse 'data': Shape does not match true shape of 'data' field",
        ),
        (
            input("x", "FP32", json!([4]), row.clone()),
            400,
            "unexpected shape for input 'x' for model 'dense_1'. Expected [-1,4], got [4]",
        ),
        (
            input("x", "FP32", json!([1, 5]), json!([1, 2, 3, 4, 5])),
            400,
            "Expected [-1,4], got [1,5]",
        ),
        (
            input("x", "FP32", json!([-1, 4]), row.clone()),
            400,
            "negative size",
        ),
        (
            input(
                "x",
                "FP32",
                json!([4_611_686_018_427_387_904_i64, 4]),
                row.clone(),
            ),
            400,
            "too large",
        ),
        (
            input("x", "FP32", json!([0, 4]), json!([])),
            400,
            "batch-size must be >= 1 for 'dense_1', got 0",
        ),
        (
            input("x", "FP32", json!([65, 4]), rows(65)),
            400,
            "batch-size must be <= 64 for 'dense_1', got 65",
        ),
        (
            input("x", "FP64", json!([1, 4]), row.clone()),
            400,
            "data-type is 'FP64', but model 'dense_1' expects 'FP32'",
        ),
        (
            input("x", "FP31", json!([1, 4]), row.clone()),
            400,
            "invalid datatype for input x: 'FP31'",
        ),
        (
            input("z", "FP32", json!([1, 4]), row.clone()),
            400,
            "unexpected inference input 'z' for model 'dense_1'",
        ),
        (
            input("x", "FP32", json!([1, 4]), json!(["a", 2, 3, 4])),
            400,
            "Unable to parse 'data': input 'x'",
        ),
        (
            input("x", "FP32", json!([1, 4]), json!([null, 2, 3, 4])),
            400,
            "invalid type: null",
        ),
        (
            json!({"inputs": []}),
            400,
            "expected 1 inputs but got 0 inputs for model 'dense_1'",
        ),
        (json!({}), 400, "missing field `inputs`"),
        (
            json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4]}]}),
            400,
            "But no field is set",
        ),
        (
            json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row, "parameters": {"shared_memory_region": "r"}}]}),
            400,
            "But set 'data' 'shared_memory_region'",
        ),
        (
            json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"shared_memory_region": "r"}}]}),
            501,
            "--allow-client-shm=true",
        ),
        (
            json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row}], "outputs": [{"name": "q"}]}),
            400,
            "unexpected inference output 'q' for model 'dense_1'",
        ),
        (
            json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row}], "outputs": [{"name": "y", "parameters": {"classification": "all"}}]}),
            400,
            "'classification' must be an integer",
        ),
        (
            json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row}], "parameters": {"sequence_id": 1}}),
            501,
            "sequence_id",
        ),
    ];
    for (request, expected, part) in cases {
        let (status, answer) = server.infer("dense_1", &request).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(
            status == expected && error.contains(part),
            "{request}: {status} {answer}"
        );
    }
    let twice = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]},
                                  {"name": "divisor", "datatype": "FP32", "shape": [2, 1], "data": [1, 1]}]});
    let (_, answer) = server.infer("ratio", &twice).await;
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("batch size does not match other inputs"),
        "{answer}"
    );
    assert!(server.is_ready().await);
}

#[tokio::test]
async fn wrong_bodies_are_refused() {
    let repository = Repository::of(&["dense_1", "ratio"]);
    let server = Server::start(&repository.uri(), &["--http-max-input-size=100000"]).await;
    let url = format!("{}/v2/models/dense_1/infer", server.http);
    let tensor = |size: usize| {
        json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": size}}]})
            .to_string()
            .into_bytes()
    };
    let deep = [
        b"{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,4],\"data\":".to_vec(),
        b"[".repeat(10_000),
        b"]".repeat(10_000),
        b"}]}".to_vec(),
    ]
    .concat();
    let nan = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[NaN,1,2,3]}]}"#.to_vec();
    let infinite =
        br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1e999,1,2,3]}]}"#.to_vec();
    let cases = [
        (
            tensor(16),
            Some(tensor(16).len()),
            400,
            "unexpected size for input 'x', expecting 16 additional bytes for model 'dense_1'",
        ),
        (
            [tensor(16), vec![0; 15]].concat(),
            Some(tensor(16).len()),
            400,
            "expecting 1 additional bytes for model 'dense_1'",
        ),
        (
            [tensor(16), vec![0; 17]].concat(),
            Some(tensor(16).len()),
            400,
            "unexpected additional input data",
        ),
        (
            [tensor(12), vec![0; 12]].concat(),
            Some(tensor(12).len()),
            400,
            "input byte size mismatch for input 'x' for model 'dense_1'. Expected 16, got 12",
        ),
        (
            tensor(16),
            Some(1_000_000),
            400,
            "inference header size should be in range (0, ",
        ),
        (vec![0; 15], Some(0), 400, "Expected 16, got 15"),
        (deep, None, 400, "recursion limit"),
        (nan, None, 400, "expected value"),
        (infinite, None, 400, "out of range"),
        (
            b"{\"inputs\": [".to_vec(),
            None,
            400,
            "failed to parse the request JSON",
        ),
        (vec![b' '; 100_001], None, 413, "--http-max-input-size"),
    ];
    for (body, length, expected, part) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let mut request = client().post(&url).body(body);
        if let Some(length) = length {
            request = request.header("Inference-Header-Content-Length", length);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let answer: Value = answer.json().await.unwrap();
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(
            status == expected && error.contains(part),
            "{shown}: {status} {answer}"
        );
    }
    let compressed = client()
        .post(&url)
        .header("Content-Encoding", "gzip")
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(compressed.status(), 400);
    let nonsense = client()
        .post(&url)
        .header("Inference-Header-Content-Length", "many")
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(nonsense.status(), 400);
    assert!(server.is_ready().await);
}

#[tokio::test]
async fn paths_and_methods_answer_as_triton_does() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    for (method, path, status, error) in [
        (
            "GET",
            "/v2/models/absent",
            404,
            "Request for unknown model: 'absent' is not found",
        ),
        (
            "GET",
            "/v2/models/dense_1/versions/9",
            404,
            "Request for unknown model: 'dense_1' version 9 is not found",
        ),
        (
            "GET",
            "/v2/models/dense_1/versions/x",
            400,
            "failed to get model version from specified version string 'x' (details: stol), version should be an integral value > 0",
        ),
        ("GET", "/v2/nothing", 404, "Not Found"),
        ("GET", "/v2/models/dense_1/infer", 405, "Method Not Allowed"),
        (
            "POST",
            "/v2/repository/models/dense_1/load",
            503,
            "explicit model load / unload is not allowed if polling is enabled: start the server with --model-control-mode=explicit",
        ),
    ] {
        let method = method.parse().unwrap();
        let answer = client()
            .request(method, format!("{}{path}", server.http))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body, json!({"error": error}), "{path}");
    }
}

#[tokio::test]
async fn answers_that_json_cannot_express_are_errors_and_come_as_binary() {
    let repository = Repository::of(&["ratio"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut request = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0]},
                                        {"name": "divisor", "datatype": "FP32", "shape": [1, 1], "data": [0]}]});
    let (status, answer) = server.infer("ratio", &request).await;
    assert!(
        status == 500 && answer["error"].as_str().unwrap().contains("NaN"),
        "{answer}"
    );
    request["parameters"] = json!({"binary_data_output": true});
    let url = format!("{}/v2/models/ratio/infer", server.http);
    let answer = client().post(url).json(&request).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.bytes().await.unwrap();
    assert!(f32::from_le_bytes(body[body.len() - 4..].try_into().unwrap()).is_nan());
}

#[tokio::test]
async fn models_that_cannot_be_served_end_the_server_with_a_reason_or_leave_the_others_serving() {
    for (break_it, part) in [
        (
            (|repository| std::fs::write(repository.path().join("broken/1/model.onnx"), "garbage").unwrap())
                as fn(&Repository),
            "ONNX Runtime refuses it",
        ),
        (
            |repository| {
                repository.config(
                    "broken",
                    "max_batch_size: 4\ninput { name: \"w\" data_type: TYPE_FP32 dims: 4 }",
                );
            },
            "input 'w' is not in the graph",
        ),
        (
            |repository| repository.config("broken", "max_batch_size: 4\nsequence_batching { }"),
            "config.pbtxt line 2: sequence_batching is not supported",
        ),
        (
            |repository| std::fs::remove_file(repository.path().join("broken/1/model.onnx")).unwrap(),
            "holds no file model.onnx",
        ),
        (
            |repository| {
                std::fs::copy(
                    crate::support::models().join("zipmap.onnx"),
                    repository.path().join("broken/1/model.onnx"),
                )
                .unwrap();
            },
            "only tensors can be served",
        ),
    ] {
        let repository = Repository::of(&["dense_1"]);
        repository.add("broken", 1, "dense_2");
        break_it(&repository);
        let mut server = Server::start_unready(&repository.uri(), &[]);
        let status = server.end().await;
        assert_eq!(status.code(), Some(1));
        assert!(server.log().contains(part), "{part}: {}", server.log());

        let server = Server::start_unready(&repository.uri(), &["--exit-on-error=false"]);
        crate::support::eventually("the plan to fail", || async {
            server.plan().await["state"] == "Failed"
        })
        .await;
        assert!(!server.is_ready().await, "a declared model does not serve");
        let row = input("x", "FP32", json!([1, 4]), json!([1, 2, 3, 4]));
        assert_eq!(server.infer("dense_1", &row).await.0, 200);
        let (status, answer) = server.infer("broken", &row).await;
        assert_eq!(status, 503, "{answer}");
        let plan = server.plan().await;
        let broken = plan["models"]
            .as_array()
            .unwrap()
            .iter()
            .find(|model| model["name"] == "broken")
            .unwrap();
        assert!(
            broken["state"] == "UNAVAILABLE" && broken["reason"].as_str().unwrap().contains(part),
            "{plan}"
        );
    }
}
