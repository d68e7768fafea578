"""Models that did not come from this trainer, and what cannot be converted."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy
import pytest
from harness import Commands, answer_in_batches
from mlflow.pyfunc.model import PythonModel
from safetensors.numpy import save_file
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, RidgeClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.semi_supervised import LabelPropagation
from sklearn.tree import DecisionTreeClassifier

Log = Callable[..., tuple[str, str]]
ROWS, CLASSES = load_iris(return_X_y=True)


@pytest.fixture
def log_model(commands: Commands, tmp_path: Path) -> Log:
    """Logs a model as a user's own code would, with held-out rows or without."""

    def log(
        model: Any, *, held_out: bool = True, rows: numpy.ndarray = ROWS, flavor: str = "sklearn"
    ) -> tuple[str, str]:
        mlflow.set_tracking_uri(commands.tracking_uri)
        with mlflow.start_run() as run, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if flavor == "sklearn":
                information = mlflow.sklearn.log_model(
                    model, name="mine", serialization_format="cloudpickle", pip_requirements=[]
                )
            else:
                information = mlflow.pyfunc.log_model(python_model=model, name="mine", pip_requirements=[])
            if held_out:
                file = tmp_path / "holdout.safetensors"
                save_file({"rows": rows, "minimum": ROWS.min(axis=0), "maximum": rows.max(axis=0)}, file)
                mlflow.log_artifact(str(file), "evaluation")
        return run.info.run_id, information.model_id

    return log


def test_a_model_fitted_on_plain_arrays_is_converted(log_model: Log, commands: Commands) -> None:
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(ROWS, CLASSES == 1)
    converted = commands.convert(*log_model(model))
    description = converted.description
    assert description["featureNames"] == ["feature_0", "feature_1", "feature_2", "feature_3"]
    assert description["classValues"] == [0, 1]
    assert description["classLabels"] == ["0", "1"]
    assert description["source"]["estimator"] == "DecisionTreeClassifier"
    labels, probabilities = answer_in_batches(converted.session(), converted.samples["features"], 33)
    numpy.testing.assert_array_equal(labels, converted.samples["label"])
    numpy.testing.assert_allclose(probabilities, converted.samples["probabilities"], atol=1e-6)


def no_change(rows: numpy.ndarray) -> numpy.ndarray:
    """A transformation that only Python can run."""
    return rows


@pytest.mark.parametrize(
    ("model", "reason", "words"),
    [
        (
            make_pipeline(FunctionTransformer(no_change), LinearRegression()),
            "ConversionFailed",
            ["skl2onnx cannot convert LinearRegression", "FunctionTransformer"],
        ),
        (LabelPropagation(), "UnsupportedOperator", ["LabelPropagation", "no ONNX counterpart"]),
        (RidgeClassifier(), "ConversionFailed", ["RidgeClassifier has no predict_proba"]),
        (KMeans(n_clusters=2), "ConversionFailed", ["KMeans is neither a classifier nor a regressor"]),
    ],
)
def test_a_model_that_onnx_cannot_hold_is_refused_for_good(
    model: Any, reason: str, words: list[str], log_model: Log, commands: Commands, tmp_path: Path
) -> None:
    failure = commands.try_to_convert(*log_model(model.fit(ROWS, CLASSES)), tmp_path / "work")
    assert failure is not None
    assert (failure.exit_code, failure.reason) == (2, reason)
    for word in words:
        assert word in failure.message
    assert not (tmp_path / "work").exists()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_perceptron_of_classes_beyond_32_bits_is_refused(log_model: Log, commands: Commands, tmp_path: Path) -> None:
    model = MLPClassifier((2,), max_iter=5).fit(ROWS, CLASSES + 2**31)
    failure = commands.try_to_convert(*log_model(model), tmp_path / "work")
    assert failure is not None
    assert (failure.exit_code, failure.reason) == (2, "ConversionFailed")
    assert "2147483648 to 2147483650: number the classes from 0" in failure.message


def test_several_numbers_a_row_are_refused(log_model: Log, commands: Commands, tmp_path: Path) -> None:
    model = LinearRegression().fit(ROWS, ROWS[:, :2])
    failure = commands.try_to_convert(*log_model(model), tmp_path / "work")
    assert failure is not None
    assert (failure.exit_code, failure.reason) == (2, "ConversionFailed")
    assert "several numbers a row" in failure.message


class Echo(PythonModel):
    """A model of Python code alone."""

    def predict(self, context: Any, model_input: list[str], params: dict[str, Any] | None = None) -> list[str]:
        return model_input


def test_a_flavor_without_a_converter_is_refused_for_good(log_model: Log, commands: Commands, tmp_path: Path) -> None:
    failure = commands.try_to_convert(*log_model(Echo(), flavor="pyfunc"), tmp_path / "work")
    assert failure is not None
    assert (failure.exit_code, failure.reason) == (2, "UnsupportedFlavor")
    assert "python_function" in failure.message
    assert "sklearn" in failure.message


def test_a_run_without_held_out_rows_is_told_so(log_model: Log, commands: Commands, tmp_path: Path) -> None:
    model = DecisionTreeClassifier().fit(ROWS, CLASSES)
    failure = commands.try_to_convert(*log_model(model, held_out=False), tmp_path / "work")
    assert failure is not None
    assert (failure.exit_code, failure.reason) == (2, "SamplesMissing")
    assert "evaluation/holdout.safetensors" in failure.message


def test_held_out_rows_of_another_model_are_told_so(log_model: Log, commands: Commands, tmp_path: Path) -> None:
    model = DecisionTreeClassifier().fit(ROWS[:, :3], CLASSES)
    failure = commands.try_to_convert(*log_model(model), tmp_path / "work")
    assert failure is not None
    assert (failure.exit_code, failure.reason) == (2, "SamplesMissing")
    assert "4 features but the model has 3" in failure.message


def with_value(value: float) -> numpy.ndarray:
    rows: numpy.ndarray = ROWS.copy()
    rows[7, 2] = value
    return rows


@pytest.mark.parametrize(
    ("value", "reason", "words"),
    [
        (numpy.nan, "SamplesMissing", ["evaluation/holdout.safetensors", "minimum and maximum must be finite"]),
        (1e300, "ConversionFailed", ['"feature_2" (1e+300)', "scale"]),
    ],
)
def test_held_out_rows_that_nobody_can_send_are_told_so(
    value: float, reason: str, words: list[str], log_model: Log, commands: Commands, tmp_path: Path
) -> None:
    model = LinearRegression().fit(ROWS, ROWS[:, 0])
    failure = commands.try_to_convert(*log_model(model, rows=with_value(value)), tmp_path / "work")
    assert failure is not None
    assert (failure.exit_code, failure.reason) == (2, reason)
    for word in words:
        assert word in failure.message


def refuse(model: Any, rows: Any) -> numpy.ndarray:
    """A predict that wants other rows."""
    raise ValueError("these are not my rows")


def test_a_model_that_does_not_answer_its_own_rows_is_refused_for_good(
    log_model: Log, commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = log_model(LinearRegression().fit(ROWS, ROWS[:, 0]))
    monkeypatch.setattr(LinearRegression, "predict", refuse)
    failure = commands.try_to_convert(*logged, tmp_path / "work")
    assert failure is not None
    assert (failure.exit_code, failure.reason) == (2, "ConversionFailed")
    assert "LinearRegression cannot answer its own held-out rows: these are not my rows" in failure.message


def test_a_model_that_is_not_there_is_told_so(log_model: Log, commands: Commands, tmp_path: Path) -> None:
    run_id, model_id = log_model(DecisionTreeClassifier().fit(ROWS, CLASSES))
    unknown = "m-" + "0" * 32
    for run, model, word in ((run_id, unknown, unknown), (commands.new_run(), model_id, f"belongs to run {run_id}")):
        failure = commands.try_to_convert(run, model, tmp_path / "work")
        assert failure is not None
        assert (failure.exit_code, failure.reason) == (2, "ModelNotFound")
        assert word in failure.message


def test_a_model_that_was_not_completed_is_told_so(commands: Commands, tmp_path: Path) -> None:
    run_id = commands.new_run()
    pending = commands.client().create_logged_model("0", "model", source_run_id=run_id)
    failure = commands.try_to_convert(run_id, pending.model_id, tmp_path / "work")
    assert failure is not None
    assert (failure.exit_code, failure.reason) == (2, "ModelNotFound")
    assert re.search("is PENDING.*READY", failure.message)
