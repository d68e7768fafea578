"""Tables in files: what can be trained on, and what a table that cannot is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pandas
import pyarrow.parquet
import pytest
from harness import Commands, answer_in_batches, logged_dataset, model_id

from aiops_trainer.datasets import Dataset
from aiops_trainer.datasets.table import load_table
from aiops_trainer.specification import FileDataset

ROWS = 120


def churn_table(rows: int = ROWS) -> pandas.DataFrame:
    """Customers whose leaving follows from two of three columns."""
    random = numpy.random.default_rng(7)
    table = pandas.DataFrame(
        {
            "months": random.integers(1, 60, rows),
            "spent": random.uniform(0, 900, rows),
            "is_new": random.random(rows) < 0.3,
        }
    )
    table["churned"] = numpy.where(table["months"] + table["spent"] / 20 < 50, "yes", "no")
    return table


def specification(path: Path, target: str = "churned", estimator: str = "RandomForestClassifier") -> dict[str, Any]:
    parameters = {"n_estimators": "20"} if "Forest" in estimator else {}
    dataset = {"uri": str(path), "target": target}
    return {"estimator": estimator, "dataset": dataset, "parameters": parameters}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_text_classes_keep_their_names_to_the_served_label(kind: str, commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / f"churn.{kind}"
    table = churn_table()
    if kind == "csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    run = commands.train(specification(path))
    assert run.data.metrics["accuracy"] > 0.7
    assert run.data.params["dataset"] == str(path)
    assert logged_dataset(run).name == f"churn.{kind}"

    converted = commands.convert(run.info.run_id, model_id(run))
    assert converted.description["featureNames"] == ["months", "spent", "is_new"]
    assert converted.description["classLabels"] == converted.description["classValues"] == ["no", "yes"]
    session = converted.session()
    assert [output.type for output in session.get_outputs()] == ["tensor(string)", "tensor(float)"]
    labels, probabilities = answer_in_batches(session, converted.samples["features"], 33)
    assert labels.tolist() == [["no", "yes"][index] for index in converted.samples["label"]]
    numpy.testing.assert_allclose(probabilities, converted.samples["probabilities"], atol=1e-5)


@pytest.mark.parametrize("estimator", ["LogisticRegression", "GradientBoostingClassifier", "MLPClassifier"])
def test_every_classifier_learns_text_classes(estimator: str, commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / "churn.parquet"
    churn_table().to_parquet(path)
    run = commands.train(specification(path, estimator=estimator))
    converted = commands.convert(run.info.run_id, model_id(run))
    labels, _ = answer_in_batches(converted.session(), converted.samples["features"], 33)
    agreement = numpy.asarray(labels.tolist()) == numpy.asarray(["no", "yes"])[converted.samples["label"]]
    assert agreement.mean() >= 0.999


@pytest.mark.parametrize(
    ("values", "names", "served"),
    [
        (lambda yes: yes, ["false", "true"], [0, 1]),
        (lambda yes: yes.astype(float) + 1, ["1", "2"], [1, 2]),
        (lambda yes: [7 if value else "unknown" for value in yes], ["7", "unknown"], ["7", "unknown"]),
    ],
    ids=["booleans", "whole floats", "numbers among text"],
)
def test_classes_of_other_kinds_are_mapped(
    values: Any, names: list[str], served: list[Any], commands: Commands, tmp_path: Path
) -> None:
    table = churn_table()
    table["churned"] = values((table["churned"] == "yes").to_numpy())
    path = tmp_path / "churn.csv"
    table.to_csv(path, index=False)
    run = commands.train(specification(path))
    converted = commands.convert(run.info.run_id, model_id(run))
    assert converted.description["classLabels"] == names
    assert converted.description["classValues"] == served
    labels, _ = answer_in_batches(converted.session(), converted.samples["features"], 33)
    assert labels.tolist() == [served[index] for index in converted.samples["label"]]


def test_a_number_is_predicted_from_a_file_url(commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / "with space.parquet"
    churn_table().drop(columns="churned").to_parquet(path)
    run = commands.train(
        {
            "estimator": "LinearRegression",
            "dataset": {"uri": path.as_uri(), "target": "spent"},
        }
    )
    assert "rmse" in run.data.metrics


def test_a_class_of_a_single_row_is_trained_on_only(
    commands: Commands, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = churn_table()
    table.loc[0, "churned"] = "perhaps"
    path = tmp_path / "churn.csv"
    table.to_csv(path, index=False)
    run = commands.train(specification(path))
    assert "classes with a single row are trained on and not measured: perhaps" in caplog.text
    assert "roc_auc" not in run.data.metrics
    assert run.data.metrics["training_rows"] + run.data.metrics["holdout_rows"] == ROWS


def with_text(table: pandas.DataFrame) -> pandas.DataFrame:
    table["spent"] = table["spent"].astype(object)
    table.loc[[16, 40], "spent"] = ["a lot", "little"]
    return table


def with_gaps(table: pandas.DataFrame) -> pandas.DataFrame:
    table.loc[[3, 4, 5], "spent"] = numpy.nan
    table.loc[9, "churned"] = None
    return table


def with_infinity(table: pandas.DataFrame) -> pandas.DataFrame:
    table.loc[2, "spent"] = numpy.inf
    return table


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (with_text, "NonNumericColumn", ['column "spent"', "row 17", '"a lot"', "(2 such rows)"]),
        (with_infinity, "NonNumericColumn", ['column "spent"', "row 3", '"inf"']),
        (with_gaps, "MissingValues", ['"spent" (3 of 120 rows)', '"churned" (1 of 120 rows)']),
        (lambda table: table.iloc[:0], "DatasetEmpty", ["it has 0 rows"]),
        (lambda table: table.iloc[:1], "DatasetEmpty", ["it has 1 rows", "at least 2"]),
        (lambda table: table[["churned"]], "DatasetEmpty", ["no column but the target"]),
        (
            lambda table: table.rename(columns={"churned": "left"}),
            "UnknownTargetColumn",
            ['no column "churned"', "months, spent, is_new, left"],
        ),
        (
            lambda table: table.rename(columns={"churned": "Churned"}),
            "UnknownTargetColumn",
            ['no column "churned"', "did you mean Churned?"],
        ),
        (lambda table: table.assign(churned="yes"), "InvalidParameter", ['single value "yes"', "two classes"]),
        (
            lambda table: table.assign(churned=table["spent"]),
            "InvalidParameter",
            ["RandomForestClassifier does not fit", "continuous values", "choose a regressor"],
        ),
        (
            lambda table: table.assign(churned=numpy.arange(len(table))),
            "InvalidParameter",
            ["120 different numbers in 120 rows", "choose a regressor"],
        ),
        (
            lambda table: table.assign(churned=[f"because of {row}" for row in range(len(table))]),
            "InvalidParameter",
            ["120 different texts in 120 rows", '"because of 0"', "at most 24 classes"],
        ),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_that_cannot_be_trained_on_is_refused_for_good(
    change: Any, reason: str, words: list[str], kind: str, commands: Commands, tmp_path: Path
) -> None:
    path = tmp_path / f"churn.{kind}"
    table = change(churn_table())
    if kind == "csv":
        table.to_csv(path, index=False)
    else:
        table.astype(
            {name: str for name in table if table[name].dtype == object and reason != "MissingValues"}
        ).to_parquet(path)
    failure = commands.training_failure(specification(path))
    assert (failure.exit_code, failure.reason) == (2, reason)
    for word in words:
        assert word in failure.message


def test_a_regressor_on_text_is_refused(commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / "churn.csv"
    churn_table().to_csv(path, index=False)
    failure = commands.training_failure(specification(path, estimator="RandomForestRegressor"))
    assert (failure.exit_code, failure.reason) == (2, "InvalidParameter")
    assert "RandomForestRegressor does not fit the target" in failure.message
    assert "choose a classifier" in failure.message


def test_dates_are_not_numbers(commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / "churn.parquet"
    churn_table().assign(since=pandas.Timestamp("2024-02-29")).to_parquet(path)
    failure = commands.training_failure(specification(path))
    assert (failure.exit_code, failure.reason) == (2, "NonNumericColumn")
    assert '"since"' in failure.message
    assert "2024-02-29" in failure.message


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("churn.csv", b"", "DatasetEmpty"),
        ("churn.csv", b"a,b\n1,2\n1,2,3,4\n", "InvalidDataset"),
        ("churn.csv", b"a,b\n\xff\xfe,1\n", "InvalidDataset"),
        ("churn.parquet", b"PAR1 but no more", "InvalidDataset"),
        ("churn.parquet", b"", "InvalidDataset"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    name: str, content: bytes, reason: str, commands: Commands, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    failure = commands.training_failure(specification(path))
    assert (failure.exit_code, failure.reason) == (2, reason)
    assert str(path) in failure.message


def test_columns_may_be_called_anything(commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / "churn.csv"
    names = {"months": "line\nbreak", "spent": "None", "is_new": "ü/€: 50 %", "churned": "self"}
    churn_table().rename(columns=names).to_csv(path, index=False)
    run = commands.train(specification(path, target="self"))
    converted = commands.convert(run.info.run_id, model_id(run))
    assert converted.description["featureNames"] == ["line\nbreak", "None", "ü/€: 50 %"]


def test_a_table_of_very_many_columns_is_trained_on(commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / "genes.parquet"
    genes = numpy.random.default_rng(1).normal(size=(40, 20_000))
    table = pandas.DataFrame(genes, columns=[f"gene {index}" for index in range(20_000)])
    table.assign(ill=(genes[:, 0] > 0).astype(int)).to_parquet(path)
    run = commands.train(specification(path, target="ill"))
    assert logged_dataset(run).name == "genes.parquet"
    assert not logged_dataset(run).schema
    converted = commands.convert(run.info.run_id, model_id(run))
    assert len(converted.description["featureNames"]) == 20_000


SAME_NAME = "columns of the same name: churned;"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("churned,spent,churned\n0,10,0\n1,20,1\n", [SAME_NAME, "a name of its own"]),
        ("churned, spent, churned \n0,10,0\n1,20,1\n", [SAME_NAME]),
        ("spent,churned,spent\n10,0,10\n20,1,20\n", ["columns of the same name: spent;"]),
        ("0,1,0\n1,1,1\n", ["columns of the same name: 0;", "first line must hold the names"]),
        (",spent,churned\n0,10,0\n1,20,1\n", ["no name for column 1 of 3", "index=False"]),
        ("spent,months,churned\n9,10,3,0\n9,20,4,1\n", ["4 fields in line 2", "names 3 columns"]),
        ('spent,"months\nas customer",churned\n10,3,0\n\n9,20,4,1\n', ["4 fields in line 5", "names 3 columns"]),
        ("spent,months,churned\n10,3,0\n20,1\n", ["2 fields in line 3", "names 3 columns"]),
        ("spent;churned\n1,5;0\n2,5;1\n", ["semicolons between its columns", "commas"]),
    ],
)
def test_a_csv_whose_columns_are_in_doubt_is_refused(
    content: str, words: list[str], commands: Commands, tmp_path: Path
) -> None:
    path = tmp_path / "churn.csv"
    path.write_text(content)
    failure = commands.training_failure(specification(path))
    assert (failure.exit_code, failure.reason) == (2, "InvalidDataset")
    for word in [str(path), *words]:
        assert word in failure.message


@pytest.mark.parametrize("names", [["churned", "spent", "churned"], ["spent", "churned", "spent"]])
def test_a_parquet_file_with_two_columns_of_one_name_is_refused(
    names: list[str], commands: Commands, tmp_path: Path
) -> None:
    path = tmp_path / "churn.parquet"
    pyarrow.parquet.write_table(pyarrow.table([[0, 1]] * 3, names=names), path)
    failure = commands.training_failure(specification(path))
    assert (failure.exit_code, failure.reason) == (2, "InvalidDataset")
    assert f"columns of the same name: {names[0]};" in failure.message


def read(path: Path, target: str = "churned") -> Dataset:
    """The dataset as the trainer reads it, without training on it."""
    return load_table(FileDataset(str(path), target), {}, patience_seconds=0)


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffspent,churned\n10,no\n20,yes\n",
        '\ufeff"spent","churned"\r\n10,"no"\r\n20,"yes"\r\n',
        "\nspent , churned \n\n10, no\n20, yes\n \n",
        "spent,churned\n10,no,\n20,yes,\n",
    ],
    ids=["byte order mark", "byte order mark and quotes", "blanks and blank lines", "commas at the ends"],
)
def test_a_csv_as_programs_write_it_is_read(content: str, tmp_path: Path) -> None:
    path = tmp_path / "churn.csv"
    path.write_bytes(content.encode())
    dataset = read(path)
    assert dataset.features.to_dict("list") == {"spent": [10.0, 20.0]}
    assert dataset.target.tolist() == ["no", "yes"]


@pytest.mark.parametrize("place", ["page", "footer", "second half"])
def test_a_damaged_parquet_file_is_refused_for_good(place: str, commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / "churn.parquet"
    churn_table().to_parquet(path)
    content = path.read_bytes()
    path.write_bytes(
        {
            "page": content[:20] + b"\xff" * 60 + content[80:],
            "footer": content[:-60] + b"\xff" * 40 + content[-20:],
            "second half": content[len(content) // 2 :],
        }[place]
    )
    failure = commands.training_failure(specification(path))
    assert (failure.exit_code, failure.reason) == (2, "InvalidDataset")
    assert f"{path} is not Parquet, or it is damaged" in failure.message


def test_a_disk_that_does_not_answer_is_tried_again(commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / "churn.csv"
    path.symlink_to("/proc/self/mem")  # a regular file whose first byte is an input/output error
    failure = commands.training_failure(specification(path))
    assert (failure.exit_code, failure.reason) == (1, "DatasetUnreachable")
    assert str(path) in failure.message
    assert "Input/output error" in failure.message


def test_a_file_that_is_not_there_is_said_so(commands: Commands, tmp_path: Path) -> None:
    failure = commands.training_failure(specification(tmp_path / "nothing.csv"))
    assert (failure.exit_code, failure.reason) == (2, "DatasetNotFound")


def test_a_wide_table_is_listed_within_bounds(commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    pandas.DataFrame({f"column {index} {'é' * 80}": [1, 2] for index in range(1000)}).to_csv(path, index=False)
    failure = commands.training_failure(specification(path))
    assert failure.reason == "UnknownTargetColumn"
    assert len(failure.message.encode()) < 2048
