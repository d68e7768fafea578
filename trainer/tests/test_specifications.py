"""What a specification may say, and what it is told when it says something else."""

from __future__ import annotations

from typing import Any

import pytest
from harness import Commands
from sklearn.base import BaseEstimator
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from aiops_trainer.specification import BuiltinDataset, FileDataset, read_specification
from aiops_trainer.trainers.parameters import parameter_values

FOREST: dict[str, Any] = {"estimator": "RandomForestClassifier", "dataset": {"builtin": "iris"}}


def test_what_is_left_out_has_its_default() -> None:
    text = '{"type": "Sklearn", "estimator": "LinearRegression", "dataset": {"builtin": "diabetes"}}'
    specification = read_specification({"AIOPS_TRAINER": text})
    assert specification.dataset == BuiltinDataset("diabetes")
    assert specification.parameters == {}
    assert specification.holdout_fraction == 0.25
    assert specification.seed == 42


def test_everything_can_be_said() -> None:
    text = """{"type": "Sklearn", "estimator": "LinearRegression", "parameters": {"positive": "true", "tol": 0.1},
               "dataset": {"uri": "s3://datasets/churn.csv", "target": "churned"}, "holdoutFraction": ".3",
               "seed": 0}"""
    specification = read_specification({"AIOPS_TRAINER": text})
    assert specification.dataset == FileDataset("s3://datasets/churn.csv", "churned")
    assert specification.parameters == {"positive": "true", "tol": "0.1"}
    assert specification.holdout_fraction == 0.3
    assert specification.seed == 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"type": "Spark"}, ['trainer.type "Spark"', "Sklearn"]),
        ({"estimator": "SVC"}, ['trainer.estimator "SVC"', "LogisticRegression", "MLPRegressor"]),
        ({"dataset": {"builtin": "iris", "target": "y"}}, ["trainer.dataset", "builtin", "uri and target"]),
        ({"dataset": {"uri": "s3://a/b.csv"}}, ["trainer.dataset", "uri and target"]),
        ({"dataset": None}, ["trainer.dataset"]),
        ({"dataset": {"uri": "s3://a/b.json", "target": "y"}}, ["s3://a/b.json", ".csv or .parquet"]),
        ({"dataset": {"uri": "s3://b.csv", "target": "y"}}, ["s3://b.csv", "names no object"]),
        ({"dataset": {"uri": "http://a/b.csv", "target": "y"}}, ["http://a/b.csv", "unknown scheme", "s3://"]),
        ({"holdoutFraction": "1.5"}, ["trainer.holdoutFraction", "'1.5'", "between 0 and 1"]),
        ({"holdoutFraction": "a quarter"}, ["trainer.holdoutFraction", "between 0 and 1"]),
        ({"holdoutFraction": "0.9999"}, ["trainer.holdoutFraction", "0 rows to train on"]),
        ({"seed": -1}, ["trainer.seed", "-1", "4294967295"]),
        ({"seed": "7"}, ["trainer.seed", "'7'"]),
        ({"folds": 5}, ["unknown fields folds", "holdoutFraction"]),
        (
            {"parameters": {"max_depth": "deep"}},
            ["trainer.parameters.max_depth", '"deep"', "int in the range [1, inf)"],
        ),
        ({"parameters": {"n_estimators": "0"}}, ["trainer.parameters.n_estimators", '"0"', "[1, inf)"]),
        ({"parameters": {"n_estimators": "2.5"}}, ["trainer.parameters.n_estimators", '"2.5"', "must be an int"]),
        ({"parameters": {"criterion": "ginny"}}, ["trainer.parameters.criterion", '"ginny"', "gini", "entropy"]),
        ({"parameters": {"n_estimator": "10"}}, ["trainer.parameters.n_estimator", "did you mean n_estimators"]),
        ({"parameters": {"class_weight": "{[1]: 2}"}}, ["trainer.parameters.class_weight", '"{[1]: 2}"', "balanced"]),
        ({"parameters": {"bootstrap": "no"}}, ["trainer.parameters.bootstrap", '"no"', "bool"]),
        ({"parameters": {"zzz": "10"}}, ["trainer.parameters.zzz", "it has bootstrap, ccp_alpha"]),
        (
            {"estimator": "MLPClassifier", "parameters": {"hidden_layer_sizes": "(64, 'many')"}},
            ["trainer.parameters.hidden_layer_sizes", "\"(64, 'many')\"", "(64, 32)"],
        ),
        (
            {"estimator": "MLPClassifier", "parameters": {"hidden_layer_sizes": "(64, 0)"}},
            ["trainer.parameters.hidden_layer_sizes", "each at least 1"],
        ),
        (
            {"estimator": "LogisticRegression", "dataset": {"builtin": "diabetes"}},
            ["LogisticRegression", "classifier", "sklearn:diabetes", "choose a regressor"],
        ),
    ],
)
def test_an_invalid_specification_is_refused_for_good(
    fields: dict[str, Any], words: list[str], commands: Commands
) -> None:
    failure = commands.training_failure({**FOREST, **fields})
    assert (failure.exit_code, failure.reason) == (2, "InvalidParameter")
    for word in words:
        assert word in failure.message


def test_text_that_is_not_json_is_refused(commands: Commands) -> None:
    for text, word in (("{", "not JSON"), ("[]", "JSON object"), ("", "AIOPS_TRAINER is not set")):
        failure = commands.execute(["train"], {"AIOPS_TRAINER": text})
        assert failure is not None
        assert (failure.exit_code, failure.reason) == (2, "InvalidParameter")
        assert word in failure.message


def test_an_unknown_builtin_dataset_lists_the_known(commands: Commands) -> None:
    failure = commands.training_failure({**FOREST, "dataset": {"builtin": "titanic"}})
    assert (failure.exit_code, failure.reason) == (2, "UnknownDataset")
    assert '"titanic"' in failure.message
    assert "breast-cancer, diabetes, iris, wine" in failure.message


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("max_depth", "1" + "0" * 30, "too large"),
        ("ccp_alpha", "1" + "0" * 400, "too large"),
        ("monotonic_cst", "{}", "index"),
    ],
)
def test_parameters_that_no_training_survives_fail_for_good(
    name: str, text: str, word: str, commands: Commands
) -> None:
    failure = commands.training_failure({**FOREST, "parameters": {name: text}})
    assert (failure.exit_code, failure.reason) == (2, "TrainingFailed")
    assert word in failure.message


def test_parameters_that_contradict_each_other_fail_for_good(commands: Commands) -> None:
    failure = commands.training_failure(
        {**FOREST, "estimator": "LogisticRegression", "parameters": {"solver": "lbfgs", "l1_ratio": "1"}}
    )
    assert (failure.exit_code, failure.reason) == (2, "TrainingFailed")
    assert "lbfgs" in failure.message
    (run, *_) = commands.client().search_runs(["0"], max_results=1)
    assert run.info.status == "FAILED"


@pytest.mark.parametrize(
    ("estimator", "name", "text", "value"),
    [
        (RandomForestClassifier, "n_estimators", "200", 200),
        (RandomForestClassifier, "max_depth", "None", None),
        (RandomForestClassifier, "max_depth", "null", None),
        (RandomForestClassifier, "max_depth", " 7 ", 7),
        (RandomForestClassifier, "bootstrap", "false", False),
        (RandomForestClassifier, "bootstrap", "True", True),
        (RandomForestClassifier, "max_features", "sqrt", "sqrt"),
        (RandomForestClassifier, "max_features", "0.5", 0.5),
        (RandomForestClassifier, "max_features", "3", 3),
        (RandomForestClassifier, "class_weight", "balanced", "balanced"),
        (RandomForestClassifier, "class_weight", "{0: 1, 1: 5}", {0: 1, 1: 5}),
        (RandomForestClassifier, "ccp_alpha", "1e-3", 0.001),
        (GradientBoostingClassifier, "learning_rate", "1", 1),
        (MLPClassifier, "hidden_layer_sizes", "(64, 32)", (64, 32)),
        (MLPClassifier, "hidden_layer_sizes", "[64, 32]", (64, 32)),
        (MLPClassifier, "hidden_layer_sizes", "64, 32", (64, 32)),
        (MLPClassifier, "hidden_layer_sizes", "64", 64),
        (MLPClassifier, "activation", "tanh", "tanh"),
        (LogisticRegression, "C", "inf", float("inf")),
    ],
)
def test_parameters_arrive_as_text_and_become_what_the_estimator_takes(
    estimator: type[BaseEstimator], name: str, text: str, value: object
) -> None:
    converted = parameter_values(estimator, {name: text})[name]
    assert converted == value
    assert type(converted) is type(value)
