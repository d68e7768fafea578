//! Specs that contradict themselves: `kubectl apply` refuses each with a sentence that says what to write instead.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::scenario::{Context, Ended};

/// Kind, spec and a part of the sentence.
type Case = (&'static str, Value, &'static str);

pub async fn run(context: &Context) -> Result<Ended> {
    let mut problems = Vec::new();
    let refused = [experiments(), model_versions(), inference_services()].concat();
    for (kind, spec, sentence) in &refused {
        let manifest = json!({"apiVersion": "aiops.dev/v1alpha1", "kind": kind, "metadata": {"name": "refused"}, "spec": spec});
        let arguments = ["-n", &context.namespace, "apply", "--dry-run=server", "-f", "-"];
        let answer = context
            .programs
            .kubectl_with_input(&arguments, &manifest.to_string())
            .await?;
        if answer.success {
            problems.push(format!("{kind} {spec} is accepted"));
        } else if !answer.stderr.contains(sentence) {
            problems.push(format!(
                "{kind} {spec} is refused without {sentence:?}: {}",
                answer.stderr.trim()
            ));
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    context.progress.say(&format!(
        "{} specs are refused, each with its sentence",
        refused.len()
    ));
    Ok(Ended::Passed)
}

fn experiments() -> Vec<Case> {
    let trainer =
        |dataset: Value| json!({"type": "Sklearn", "estimator": "LogisticRegression", "dataset": dataset});
    let with = |field: &str, value: Value| {
        let mut spec = json!({"trainer": trainer(json!({"builtin": "iris"}))});
        spec[field] = value;
        ("Experiment", spec)
    };
    let of = |(kind, spec): (&'static str, Value), sentence| (kind, spec, sentence);
    let dataset = |dataset: Value| with("trainer", trainer(dataset));
    vec![
        of(dataset(json!({})), "set exactly one of builtin"),
        of(
            dataset(json!({"builtin": "iris", "uri": "s3://d/x.csv", "target": "y"})),
            "set exactly one of builtin",
        ),
        of(
            dataset(json!({"uri": "s3://datasets/x.csv"})),
            "target names the column to predict",
        ),
        of(
            dataset(json!({"uri": "s3://elsewhere:9000/datasets/x.csv", "target": "y"})),
            "no host and port can be named",
        ),
        of(
            dataset(json!({"builtin": "iris", "target": "species"})),
            "must be left out with builtin",
        ),
        of(
            with("validation", json!([{"metric": "accuracy"}])),
            "set min, max or both",
        ),
        of(
            with(
                "validation",
                json!([{"metric": "accuracy", "min": "0.9", "max": "0.1"}]),
            ),
            "min is greater than max",
        ),
        of(
            with("register", json!({"model": "m", "stage": "Production"})),
            "registers into None or Staging",
        ),
        of(
            with("register", json!({"model": "m", "stage": "Archived"})),
            "registers into None or Staging",
        ),
        of(
            with(
                "resources",
                json!({"requests": {"memory": "3Gi"}, "limits": {"memory": "2048Mi"}}),
            ),
            "a request is above the limit of the same resource",
        ),
        of(
            with("resources", json!({"limits": {"x".repeat(318): 1}})),
            "the name of a resource has at most 317 characters",
        ),
    ]
}

fn model_versions() -> Vec<Case> {
    let digest = format!("sha256:{}", "a".repeat(64));
    let archived = json!({"model": "m", "source": {"experiment": "e"}, "stage": "Archived", "approval": {"digest": digest}});
    let kind = "ModelVersion";
    vec![
        (
            kind,
            json!({"model": "m", "source": {}}),
            "set exactly one of experiment, mlflowRun, mlflowVersion and uri",
        ),
        (
            kind,
            json!({"model": "m", "source": {"experiment": "e", "mlflowVersion": "3"}}),
            "set exactly one of experiment",
        ),
        (
            kind,
            json!({"model": "m", "source": {"uri": "s3://http://elsewhere:9000/b/m.onnx"}}),
            "no host and port can be named",
        ),
        (
            kind,
            archived,
            "spec.approval asks for Production while spec.stage is Archived",
        ),
    ]
}

fn inference_services() -> Vec<Case> {
    let kind = "InferenceService";
    let with = |version: Value, field: &str, value: Value| {
        let mut spec = json!({"models": [{"name": "m", "version": version}]});
        spec[field] = value;
        spec
    };
    let staging = json!({"stage": "Staging"});
    let mut both = with(staging.clone(), "replicas", json!(2));
    both["autoscaling"] = json!({"maxReplicas": 3});
    let upside_down = with(
        staging,
        "autoscaling",
        json!({"minReplicas": 4, "maxReplicas": 2}),
    );
    let too_much = with(
        json!({"stage": "Staging"}),
        "resources",
        json!({"requests": {"cpu": 2}, "limits": {"cpu": "500m"}}),
    );
    let version = |version: Value| json!({"models": [{"name": "m", "version": version}]});
    vec![
        (
            kind,
            both,
            "spec.replicas and spec.autoscaling contradict each other",
        ),
        (kind, upside_down, "minReplicas is greater than maxReplicas"),
        (
            kind,
            too_much,
            "a request is above the limit of the same resource",
        ),
        (kind, version(json!({})), "set exactly one of stage"),
        (
            kind,
            version(json!({"stage": "Staging", "ref": "m-1"})),
            "set exactly one of stage",
        ),
        (
            kind,
            version(json!({"stage": "Archived"})),
            "versions in stage None or Archived are not served",
        ),
    ]
}
