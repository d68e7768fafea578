//! Specs that several scenarios use.

use serde_json::{Value, json};

/// Resources of trainers here: small requests, so that several fit a node of two cores.
fn trainer_resources() -> Value {
    json!({"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}})
}

/// A training on a built-in dataset that takes a few seconds.
pub fn quick_training(estimator: &str, dataset: &str) -> Value {
    json!({
        "trainer": {"type": "Sklearn", "estimator": estimator, "dataset": {"builtin": dataset}},
        "resources": trainer_resources(),
    })
}

/// A training on breast-cancer that takes about 2.5 ms of a core for each round of boosting.
pub fn long_training(rounds: u32) -> Value {
    json!({
        "trainer": {
            "type": "Sklearn",
            "estimator": "GradientBoostingClassifier",
            "dataset": {"builtin": "breast-cancer"},
            "parameters": {"n_estimators": rounds.to_string()},
        },
        "resources": trainer_resources(),
    })
}

/// A training on a file in the object store.
pub fn file_training(uri: &str, target: &str) -> Value {
    json!({
        "trainer": {"type": "Sklearn", "estimator": "LogisticRegression", "dataset": {"uri": uri, "target": target}},
        "resources": trainer_resources(),
    })
}

/// A version out of an ONNX file.
pub fn onnx_version(model: &str, uri: &str) -> Value {
    json!({"model": model, "source": {"uri": uri}})
}

/// A service with one small pod.
pub fn service(model: &str, version: &Value) -> Value {
    json!({
        "models": [{"name": model, "version": version}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
    })
}

/// Rows of a table with two classes that one of its two features tells apart.
pub fn small_table() -> String {
    let rows = (0..60).map(|row| format!("{row},{},{}\n", (row * 7) % 11, u8::from(row >= 30)));
    std::iter::once("size,weight,kind\n".to_owned())
        .chain(rows)
        .collect()
}
