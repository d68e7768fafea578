"""Each estimator on real data: what is logged, and that its ONNX form answers as the original does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy
import onnx
import pandas
import pytest
from harness import Commands, Converted, answer_in_batches, logged_dataset, model_id
from mlflow.entities import Run
from safetensors.numpy import load_file

SPECIFICATIONS: dict[str, dict[str, Any]] = {
    "LogisticRegression": {"dataset": {"builtin": "wine"}, "parameters": {"C": "0.5"}},
    "RandomForestClassifier": {"dataset": {"builtin": "breast-cancer"}, "parameters": {"n_estimators": "60"}},
    "GradientBoostingClassifier": {"dataset": {"builtin": "iris"}, "parameters": {"n_estimators": "20"}},
    "MLPClassifier": {"dataset": {"builtin": "breast-cancer"}, "parameters": {"hidden_layer_sizes": "(32, 16)"}},
    "LinearRegression": {"dataset": {"builtin": "diabetes"}},
    "RandomForestRegressor": {"dataset": {"builtin": "diabetes"}, "parameters": {"n_estimators": "40"}},
    "GradientBoostingRegressor": {"dataset": {"builtin": "diabetes"}, "parameters": {"loss": "huber"}},
    "MLPRegressor": {
        "dataset": {"builtin": "diabetes"},
        "parameters": {"hidden_layer_sizes": "20", "learning_rate_init": "0.05"},
    },
}
CLASSIFIERS = [name for name in SPECIFICATIONS if name.endswith(("Classifier", "LogisticRegression"))]
REGRESSORS = [name for name in SPECIFICATIONS if name not in CLASSIFIERS]


@dataclass(frozen=True)
class Published:
    """One estimator's way through both commands."""

    run: Run
    converted: Converted


@pytest.fixture(scope="session")
def published(commands: Commands) -> Callable[[str], Published]:
    """Trains and converts an estimator once for all tests."""
    known: dict[str, Published] = {}

    def publish(estimator: str) -> Published:
        if estimator not in known:
            run = commands.train({"estimator": estimator, **SPECIFICATIONS[estimator]})
            known[estimator] = Published(run, commands.convert(run.info.run_id, model_id(run)))
        return known[estimator]

    return publish


def artifacts(commands: Commands, run: Run) -> set[str]:
    return {artifact.path for artifact in commands.client().list_artifacts(run.info.run_id, "evaluation")}


@pytest.mark.parametrize("estimator", CLASSIFIERS)
def test_a_classifier_logs_its_metrics_and_figures(
    estimator: str, published: Callable[[str], Published], commands: Commands
) -> None:
    run = published(estimator).run
    metrics = run.data.metrics
    assert set(metrics) == {"accuracy", "f1", "roc_auc", "log_loss", "training_rows", "holdout_rows"}
    assert metrics["accuracy"] > 0.9
    assert metrics["f1"] > 0.9
    assert metrics["roc_auc"] > 0.97
    assert 0 < metrics["log_loss"] < 0.3
    rows = {"wine": 178, "breast-cancer": 569, "iris": 150}[SPECIFICATIONS[estimator]["dataset"]["builtin"]]
    assert metrics["holdout_rows"] == numpy.ceil(rows / 4)
    assert metrics["training_rows"] + metrics["holdout_rows"] == rows
    assert artifacts(commands, run) == {
        "evaluation/confusion_matrix.png",
        "evaluation/holdout.safetensors",
        "evaluation/roc_curve.png",
    }


@pytest.mark.parametrize("estimator", REGRESSORS)
def test_a_regressor_logs_its_metrics(
    estimator: str, published: Callable[[str], Published], commands: Commands
) -> None:
    run = published(estimator).run
    metrics = run.data.metrics
    assert set(metrics) == {"rmse", "mae", "r2", "training_rows", "holdout_rows"}
    assert 0.3 < metrics["r2"] < 0.7
    assert 30 < metrics["mae"] < metrics["rmse"] < 70
    assert artifacts(commands, run) == {"evaluation/holdout.safetensors"}


@pytest.mark.parametrize("estimator", SPECIFICATIONS)
def test_a_run_holds_parameters_dataset_and_a_model_that_loads(
    estimator: str, published: Callable[[str], Published], commands: Commands
) -> None:
    run = published(estimator).run
    assert run.info.status == "FINISHED"
    specification = SPECIFICATIONS[estimator]
    assert run.data.params["estimator"] == estimator
    assert run.data.params["seed"] == "42"
    for name, value in specification.get("parameters", {}).items():
        assert run.data.params[name] == value
    dataset = logged_dataset(run)
    assert dataset.name == specification["dataset"]["builtin"]
    assert run.data.params["dataset_sha256"].startswith(dataset.digest)

    logged = commands.client().get_logged_model(model_id(run))
    assert logged.name == "model"
    assert logged.status == "READY"
    mlflow.set_tracking_uri(commands.tracking_uri)
    loaded = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    assert len(loaded.predict(loaded.input_example)) == len(loaded.input_example) == 5
    assert loaded.metadata.signature.inputs.input_names() == published(estimator).converted.description["featureNames"]


@pytest.mark.parametrize("estimator", SPECIFICATIONS)
def test_held_out_rows_are_kept_with_the_training_ranges(
    estimator: str, published: Callable[[str], Published], commands: Commands, tmp_path: Path
) -> None:
    run = published(estimator).run
    path = commands.client().download_artifacts(run.info.run_id, "evaluation/holdout.safetensors", str(tmp_path))
    tensors = load_file(path)
    features = len(published(estimator).converted.description["featureNames"])
    assert tensors["rows"].shape == (run.data.metrics["holdout_rows"], features)
    assert tensors["minimum"].shape == tensors["maximum"].shape == (features,)
    assert {tensor.dtype for tensor in tensors.values()} == {numpy.dtype(numpy.float64)}
    assert (tensors["minimum"] < tensors["maximum"]).all()
    samples = published(estimator).converted.samples["features"]
    numpy.testing.assert_array_equal(samples[: len(tensors["rows"])], tensors["rows"].astype(numpy.float32))
    assert len(samples) >= 200
    drawn = samples[len(tensors["rows"]) :]
    assert (drawn >= tensors["minimum"].astype(numpy.float32)).all()
    assert (drawn <= tensors["maximum"].astype(numpy.float32)).all()


@pytest.mark.parametrize("estimator", SPECIFICATIONS)
def test_the_graph_is_of_the_published_shape(estimator: str, published: Callable[[str], Published]) -> None:
    converted = published(estimator).converted
    model = converted.model
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17), ("ai.onnx.ml", 3)]
    session = converted.session()
    features = len(converted.description["featureNames"])
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("features", "tensor(float)", ["batch", features])
    ]
    outputs = [(o.name, o.type, o.shape) for o in session.get_outputs()]
    if estimator in CLASSIFIERS:
        classes = len(converted.description["classLabels"])
        assert outputs == [
            ("label", "tensor(int64)", ["batch"]),
            ("probabilities", "tensor(float)", ["batch", classes]),
        ]
        assert converted.description["classValues"] == list(range(classes))
    else:
        assert outputs == [("prediction", "tensor(float)", ["batch", 1])]
        assert converted.description["classLabels"] == converted.description["classValues"] == []


@pytest.mark.parametrize("batch", [1, 2, 33])
@pytest.mark.parametrize("estimator", CLASSIFIERS)
def test_a_converted_classifier_answers_as_the_original(
    estimator: str, batch: int, published: Callable[[str], Published]
) -> None:
    converted = published(estimator).converted
    samples = converted.samples
    labels, probabilities = answer_in_batches(converted.session(), samples["features"], batch)
    values = numpy.asarray(converted.description["classValues"])
    assert (labels == values[samples["label"]]).mean() >= 0.999
    numpy.testing.assert_allclose(probabilities, samples["probabilities"], atol=1e-5)
    assert len(numpy.unique(samples["label"])) == len(values)


@pytest.mark.parametrize("batch", [1, 2, 33])
@pytest.mark.parametrize("estimator", REGRESSORS)
def test_a_converted_regressor_answers_as_the_original(
    estimator: str, batch: int, published: Callable[[str], Published]
) -> None:
    converted = published(estimator).converted
    (prediction,) = answer_in_batches(converted.session(), converted.samples["features"], batch)
    numpy.testing.assert_allclose(prediction[:, 0], converted.samples["prediction"], rtol=1e-4, atol=1e-3)
    assert numpy.std(converted.samples["prediction"]) > 1


@pytest.mark.parametrize("estimator", SPECIFICATIONS)
def test_converting_twice_gives_the_same_bytes(
    estimator: str, published: Callable[[str], Published], commands: Commands
) -> None:
    first = published(estimator)
    second = commands.convert(first.run.info.run_id, model_id(first.run))
    for name in ("model.onnx", "conversion.json", "samples.safetensors"):
        assert (first.converted.folder / name).read_bytes() == (second.folder / name).read_bytes(), name


def test_class_labels_are_those_of_the_dataset(published: Callable[[str], Published]) -> None:
    description = published("RandomForestClassifier").converted.description
    assert description["task"] == "Classification"
    assert description["classLabels"] == ["malignant", "benign"]
    assert description["source"]["flavor"] == "sklearn"
    assert description["source"]["estimator"] == "RandomForestClassifier"
    assert published("MLPRegressor").converted.description["task"] == "Regression"


def test_scaled_estimators_are_trained_behind_a_scaler(
    published: Callable[[str], Published], commands: Commands
) -> None:
    mlflow.set_tracking_uri(commands.tracking_uri)
    for estimator in SPECIFICATIONS:
        loaded = mlflow.sklearn.load_model(f"models:/{model_id(published(estimator).run)}")
        scaled = estimator.startswith(("MLP", "Linear", "Logistic"))
        assert hasattr(loaded, "steps") == scaled, estimator


@pytest.mark.parametrize("builtin", ["breast-cancer", "iris"])
def test_a_forest_breaks_ties_as_the_original(builtin: str, commands: Commands, tmp_path: Path) -> None:
    # An even number of fully grown trees: votes are whole numbers, and often equal.
    run = commands.train(
        {
            "estimator": "RandomForestClassifier",
            "dataset": {"builtin": builtin},
            "parameters": {"n_estimators": "20"},
        }
    )
    session = commands.convert(run.info.run_id, model_id(run)).session()
    path = commands.client().download_artifacts(run.info.run_id, "evaluation/holdout.safetensors", str(tmp_path))
    ranges = load_file(path)
    random = numpy.random.default_rng(1)
    rows = random.uniform(ranges["minimum"], ranges["maximum"], (3000, len(ranges["minimum"]))).astype(numpy.float32)
    mlflow.set_tracking_uri(commands.tracking_uri)
    original = mlflow.sklearn.load_model(f"models:/{model_id(run)}")
    table = pandas.DataFrame(rows.astype(numpy.float64), columns=original.feature_names_in_)
    votes = numpy.sort(original.predict_proba(table), axis=1)
    assert (votes[:, -1] == votes[:, -2]).sum() > 30
    for batch in (1, 3000):
        labels, probabilities = answer_in_batches(session, rows, batch)
        numpy.testing.assert_array_equal(labels, original.predict(table))
        numpy.testing.assert_allclose(probabilities, original.predict_proba(table), atol=1e-7)
