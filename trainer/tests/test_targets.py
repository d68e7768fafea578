"""Target columns of every type that a file may have: what they become, and what no estimator can learn."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from aiops_trainer.datasets import Dataset
from aiops_trainer.datasets.table import load_table
from aiops_trainer.errors import TrainerError
from aiops_trainer.specification import FileDataset
from aiops_trainer.targets import class_target, regression_target

ROWS = 30


def parquet(folder: Path, values: Any, *, target: str = "target") -> Dataset:
    """A table with these two values in turn as its target, written to Parquet and read as the trainer does."""
    column = values if isinstance(values, pyarrow.Array) else pyarrow.array(values)
    column = pyarrow.concat_arrays([column] * (ROWS // len(column)))
    path = folder / "table.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"feature": range(ROWS), target: column}), path)
    return load_table(FileDataset(str(path), "target"), {}, patience_seconds=0)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([2**53, 2**53 + 1], [2**53, 2**53 + 1]),
        ([-(2**62), 2**62 + 1], [-(2**62), 2**62 + 1]),
        (pyarrow.array([3, 7], pyarrow.uint64()), [3, 7]),
        (pyarrow.array([3, 7]).dictionary_encode(), [3, 7]),
        (pyarrow.array(["no", "yes"]).dictionary_encode(), ["no", "yes"]),
        ([b"no", b"yes"], ["no", "yes"]),
        ([Decimal("1.0"), Decimal("2.0")], [1, 2]),
    ],
)
def test_classes_are_what_the_file_means(values: Any, classes: list[Any], tmp_path: Path) -> None:
    target = class_target(parquet(tmp_path, values), "RandomForestClassifier")
    assert list(target.labels) == classes
    assert target.values.tolist() == classes * (ROWS // 2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pyarrow.array([1, 2**63], pyarrow.uint64()), ["9.2233720368547758e+18", "too large for a class"]),
        ([1.0, 2.0**53], ["9007199254740992", "too large for a class"]),
        ([1.0, 1e300], ["too large for a class"]),
        ([0.0, float("inf")], ["continuous values, such as inf"]),
        ([Decimal("1.5"), Decimal("2.5")], ["continuous values, such as 1.5", "choose a regressor"]),
        ([b"\xff", b"yes"], ["bytes that are not text", '"target"']),
        ([[1], [2]], ['lists or structures in column "target"', "[1]"]),
        ([{"a": 1}, {"a": 2}], ['lists or structures in column "target"', "{'a': 1}"]),
    ],
)
def test_what_cannot_be_a_class_is_said_so(values: Any, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(TrainerError) as caught:
        class_target(parquet(tmp_path, values), "RandomForestClassifier")
    assert caught.value.permanent
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (datetime.datetime(2024, 2, 29), datetime.datetime(2024, 3, 1)),
        (datetime.date(2024, 2, 29), datetime.date(2024, 3, 1)),
        (datetime.timedelta(days=1), datetime.timedelta(days=2)),
    ],
)
def test_a_time_is_no_number_to_predict(first: Any, second: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"needs a number to predict.*in row 1"):
        regression_target(parquet(tmp_path, [first, second]), "LinearRegression")


def test_decimals_are_numbers_to_predict(tmp_path: Path) -> None:
    values = regression_target(parquet(tmp_path, [Decimal("1.5"), Decimal("-2.25")]), "LinearRegression")
    assert values.tolist() == [1.5, -2.25] * (ROWS // 2)


def test_a_few_rows_for_each_text_are_enough(tmp_path: Path) -> None:
    names = [f"city {index:02}" for index in range(15)]
    assert len(class_target(parquet(tmp_path, names), "RandomForestClassifier").labels) == 15


@pytest.mark.parametrize("index", [None, "customer", "target"])
def test_row_labels_of_pandas_are_no_feature_but_may_be_the_target(index: str | None, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    table = pandas.DataFrame({"feature": [1.0, 2.0]}, index=pandas.Index([5, 6], name=index))
    if index != "target":
        table["target"] = [0, 1]
    table.to_parquet(path)
    dataset = load_table(FileDataset(str(path), "target"), {}, patience_seconds=0)
    assert list(dataset.features) == ["feature"]
    assert dataset.target.tolist() == ([5, 6] if index == "target" else [0, 1])


@pytest.mark.parametrize(
    "values",
    [
        [Decimal("1"), Decimal("0")],
        [True, False],
        ["1", "0"],
        pyarrow.array([1, 0]).dictionary_encode(),
        pandas.Categorical([1, 0]),
        pandas.Categorical([True, False]),
    ],
    ids=["decimals", "booleans", "texts", "a dictionary", "categories", "categories of booleans"],
)
def test_a_feature_is_a_number_however_it_is_stored(values: Any, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    if isinstance(values, pandas.Categorical):
        pandas.DataFrame({"feature": values, "target": [0, 1]}).to_parquet(path)
    else:
        pyarrow.parquet.write_table(pyarrow.table({"feature": values, "target": [0, 1]}), path)
    features = load_table(FileDataset(str(path), "target"), {}, patience_seconds=0).features
    numpy.testing.assert_array_equal(features.to_numpy(), [[1.0], [0.0]])
