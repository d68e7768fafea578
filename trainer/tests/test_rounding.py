"""Clients send float32: what that does to a model that was trained on float64, and who says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy
import pandas
import pytest
from harness import Commands, Failure, answer_in_batches, model_id
from mlflow.entities import Run
from safetensors.numpy import load_file

MINUTES = 60_000
"""In milliseconds. Float32 has a step of 131,072 where timestamps are, a little more than two minutes."""


def events(within: float, seed: int = 3) -> pandas.DataFrame:
    """Events of which the later half is late, at times within so many milliseconds."""
    random = numpy.random.default_rng(seed)
    table = pandas.DataFrame({"timestamp_ms": numpy.floor(1.7e12 + random.uniform(0, within, 400))})
    table["noise"] = random.normal(size=400)
    table["late"] = (table["timestamp_ms"] > 1.7e12 + within / 2).astype(int)
    table["lateness"] = (table["timestamp_ms"] - 1.7e12) / within + 1
    return table


def train(commands: Commands, table: pandas.DataFrame, path: Path, estimator: str, target: str) -> Run:
    features = [name for name in table if name == target or not str(name).startswith("late")]
    table[features].to_parquet(path)
    return commands.train({"estimator": estimator, "dataset": {"uri": str(path), "target": target}})


def conversion_failure(commands: Commands, run: Run, folder: Path) -> Failure:
    failure = commands.try_to_convert(run.info.run_id, model_id(run), folder / "work")
    assert failure is not None, "the conversion succeeded"
    assert not (folder / "work").exists()
    return failure


@pytest.mark.parametrize(("estimator", "target"), [("LogisticRegression", "late"), ("LinearRegression", "lateness")])
def test_a_column_that_float32_blurs_is_named(estimator: str, target: str, commands: Commands, tmp_path: Path) -> None:
    run = train(commands, events(within=20 * MINUTES), tmp_path / "events.parquet", estimator, target)
    assert run.data.metrics["accuracy" if target == "late" else "r2"] > 0.95
    failure = conversion_failure(commands, run, tmp_path)
    assert (failure.exit_code, failure.reason) == (2, "ConversionFailed")
    for word in ["float32", "of 200 rows get other answers", 'column "timestamp_ms"', "Subtract an offset"]:
        assert word in failure.message


@pytest.mark.parametrize("estimator", ["RandomForestClassifier", "GradientBoostingClassifier"])
def test_trees_learn_from_float32_and_lose_nothing_by_it(estimator: str, commands: Commands, tmp_path: Path) -> None:
    run = train(commands, events(within=20 * MINUTES), tmp_path / "events.parquet", estimator, "late")
    converted = commands.convert(run.info.run_id, model_id(run))
    labels, _ = answer_in_batches(converted.session(), converted.samples["features"], 33)
    numpy.testing.assert_array_equal(labels, converted.samples["label"])


def test_the_original_is_asked_about_the_rows_as_they_are(commands: Commands, tmp_path: Path) -> None:
    table = events(within=1e6 * MINUTES)
    run = train(commands, table, tmp_path / "events.parquet", "LinearRegression", "lateness")
    converted = commands.convert(run.info.run_id, model_id(run))
    held_out = commands.client().download_artifacts(run.info.run_id, "evaluation/holdout.safetensors", str(tmp_path))
    rows = load_file(held_out)["rows"]
    mlflow.set_tracking_uri(commands.tracking_uri)
    original = mlflow.sklearn.load_model(f"models:/{model_id(run)}")

    def answers(values: numpy.ndarray[Any, Any]) -> Any:
        return original.predict(pandas.DataFrame(values, columns=original.feature_names_in_))

    features = converted.samples["features"]
    numpy.testing.assert_array_equal(features[: len(rows)], rows.astype(numpy.float32))
    answered = converted.samples["prediction"][: len(rows)]
    numpy.testing.assert_allclose(answered, answers(rows), rtol=1e-13)
    assert not numpy.allclose(answers(rows.astype(numpy.float32).astype(numpy.float64)), answers(rows), rtol=1e-9)
    (served,) = answer_in_batches(converted.session(), features, 33)
    numpy.testing.assert_allclose(served[:, 0], converted.samples["prediction"], rtol=1e-3)


def test_a_column_beyond_float32_is_named(commands: Commands, tmp_path: Path) -> None:
    table = events(within=1e6 * MINUTES)
    table["distance"] = numpy.random.default_rng(5).uniform(-1e39, 1e39, len(table))
    run = train(commands, table, tmp_path / "events.parquet", "LogisticRegression", "late")
    failure = conversion_failure(commands, run, tmp_path)
    assert (failure.exit_code, failure.reason) == (2, "ConversionFailed")
    for word in ["float32", '"distance" (1e+39)', "scale these columns"]:
        assert word in failure.message
    assert "timestamp_ms" not in failure.message
