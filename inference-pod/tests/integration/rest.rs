//! REST on port 8080: rows in, predictions out.

use serde_json::{Value, json};

use crate::support::{Repository, Server, client, post, publish_into};

async fn predict(server: &Server, model: &str, instances: Value) -> (u16, Value) {
    post(
        &format!("{}/v1/models/{model}:predict", server.rest),
        &json!({"instances": instances}),
    )
    .await
}

#[tokio::test]
async fn rows_get_labels_and_probabilities() {
    let repository = Repository::new();
    publish_into(&repository, "iris", "iris", 1);
    let server = Server::start(&repository.uri(), &[]).await;
    let named = json!({"petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4});
    let (status, answer) = predict(&server, "iris", json!([named, [6.7, 3, 5.2, 2.3]])).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["model"], &answer["version"]),
        (&json!("iris"), &json!(1))
    );
    assert_eq!(answer["predictions"][0]["label"], "setosa");
    assert_eq!(answer["predictions"][1]["label"], "virginica");
    let probabilities = answer["predictions"][0]["probabilities"].as_object().unwrap();
    let sum: f64 = probabilities.values().map(|value| value.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5 && probabilities["setosa"].as_f64().unwrap() > 0.9);
    let (_, same) = post(
        &format!("{}/predict/iris", server.rest),
        &json!({"instances": [named]}),
    )
    .await;
    let share = |answer: &Value| {
        answer["predictions"][0]["probabilities"]["setosa"]
            .as_f64()
            .unwrap()
    };
    assert!((share(&same) - share(&answer)).abs() < 1e-6, "{same}");
}

#[tokio::test]
async fn more_rows_than_a_batch_are_cut_and_put_together_again() {
    let repository = Repository::new();
    publish_into(&repository, "diabetes", "diabetes", 1);
    let server = Server::start(&repository.uri(), &[]).await;
    let rows: Vec<_> = (0..200)
        .map(|row| json!([f64::from(row) / 1000.0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
        .collect();
    let (status, answer) = predict(&server, "diabetes", json!(rows)).await;
    assert_eq!(status, 200, "{answer}");
    let predictions = answer["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 200);
    for row in [0, 63, 64, 199] {
        let (_, alone) = predict(&server, "diabetes", json!([rows[row]])).await;
        let difference =
            alone["predictions"][0]["value"].as_f64().unwrap() - predictions[row]["value"].as_f64().unwrap();
        assert!(difference.abs() < 1e-3, "row {row}: {difference}");
    }
}

#[tokio::test]
async fn a_batch_larger_than_the_queue_is_answered() {
    let repository = Repository::of(&["dense_1"]);
    repository.config(
        "dense_1",
        "max_batch_size: 1 dynamic_batching { default_queue_policy { max_queue_size: 2 } }",
    );
    let server = Server::start(&repository.uri(), &[]).await;
    let rows: Vec<_> = (0..500).map(|row| json!([row, 0, 0, 0])).collect();
    let (status, answer) = predict(&server, "dense_1", json!(rows)).await;
    assert_eq!(status, 200, "{answer}");
    let predictions = answer["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 500);
    assert_eq!(predictions[499], json!({"y": [500.0, 1.0, 1.0]}));
}

#[tokio::test]
async fn models_without_a_manifest_answer_tensors_by_name() {
    let repository = Repository::of(&["dense_1", "ratio", "fixed"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let (_, answer) = predict(&server, "dense_1", json!([[1, 2, 3, 4], {"x": [5, 6, 7, 8]}])).await;
    assert_eq!(
        answer["predictions"],
        json!([{"y": [2.0, 3.0, 4.0]}, {"y": [6.0, 7.0, 8.0]}])
    );
    let (_, answer) = predict(&server, "ratio", json!([{"x": 6, "divisor": 2}])).await;
    assert_eq!(answer["predictions"], json!([{"y": [3.0]}]));
    let (_, answer) = predict(&server, "fixed", json!([[[1, 2, 3]], [[4, 5, 6]]])).await;
    assert_eq!(
        answer["predictions"],
        json!([{"y": [[-1.0, -2.0, -3.0]]}, {"y": [[-4.0, -5.0, -6.0]]}])
    );
}

#[tokio::test]
async fn errors_name_row_and_field() {
    let repository = Repository::of(&["dense_1"]);
    publish_into(&repository, "iris", "iris", 1);
    let server = Server::start(&repository.uri(), &[]).await;
    let good = json!([5.1, 3.5, 1.4, 0.2]);
    for (model, instances, part) in [
        (
            "iris",
            json!([good, {"sepal_length": 1}]),
            "instances[1]: lacks the field \"sepal_width\"",
        ),
        (
            "iris",
            json!([{"sepal_length": "x", "sepal_width": 1, "petal_length": 1, "petal_width": 1}]),
            "\"sepal_length\" must be a number, not \"x\"",
        ),
        ("iris", json!([{"sepal": 1}]), "unknown field \"sepal\""),
        (
            "iris",
            json!([[1, 2, 3]]),
            "has 3 values, but there are 4 features",
        ),
        (
            "iris",
            json!([good, 5]),
            "instances[1]: must be a list or an object",
        ),
        (
            "iris",
            json!([[1, 2, null, 4]]),
            "field \"petal_length\" must be a number, not null",
        ),
        ("iris", json!([]), "is empty"),
        (
            "dense_1",
            json!([[1, 2, 3]]),
            "instances[0]: input \"x\" must have shape [4], not [3]",
        ),
        (
            "dense_1",
            json!([[1, 2, 3, "x"]]),
            "instances[0]: Unable to parse",
        ),
        ("dense_1", json!([{"y": 1}]), "unknown field \"y\""),
    ] {
        let (status, answer) = predict(&server, model, instances.clone()).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(
            status == 400 && error.contains(part),
            "{instances}: {status} {answer}"
        );
    }
    let (status, answer) = predict(&server, "absent", json!([[1]])).await;
    assert_eq!(
        (status, &answer["error"]),
        (404, &json!("Request for unknown model: 'absent' is not found"))
    );
    let broken = client()
        .post(format!("{}/predict/iris", server.rest))
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(broken.status(), 400);
    let (status, _) = post(&format!("{}/v1/models/iris", server.rest), &json!({})).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_models_are_listed() {
    let repository = Repository::of(&["dense_1"]);
    publish_into(&repository, "iris", "iris", 4);
    let server = Server::start(&repository.uri(), &[]).await;
    let models = server.get(format!("{}/v1/models", server.rest)).await;
    assert_eq!(models, json!({"models": ["dense_1", "iris"]}));
    let iris = server.get(format!("{}/v1/models/iris", server.rest)).await;
    assert_eq!(
        (&iris["version"], &iris["task"]),
        (&json!(4), &json!("Classification"))
    );
    assert_eq!(iris["classLabels"], json!(["setosa", "versicolor", "virginica"]));
    let health = server.get(format!("{}/health", server.rest)).await;
    assert_eq!(health, json!({"status": "ready"}));
}
