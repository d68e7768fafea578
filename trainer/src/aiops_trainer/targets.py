"""Turns a target column into what an estimator learns, and refuses the column that does not fit the estimator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import pandas

from aiops_trainer.datasets.dataset import Dataset
from aiops_trainer.errors import Reason, TrainerError, shortened

FEW_CLASSES = 20
ROWS_PER_CLASS = 5


@dataclass(frozen=True)
class ClassTarget:
    """A target of classes: int64 where they are numbers or booleans, text otherwise."""

    values: numpy.ndarray
    labels: dict[int | str, str]
    """What each class is called, by its value."""


def regression_target(dataset: Dataset, estimator: str) -> numpy.ndarray:
    """The target as float64."""
    target = dataset.target
    if not (pandas.api.types.is_numeric_dtype(target) or pandas.api.types.is_bool_dtype(target)):
        times = pandas.api.types.is_datetime64_any_dtype(target) or pandas.api.types.is_timedelta64_dtype(target)
        # Of a time, pandas would make a number in whatever unit the file has it.
        numbers = pandas.to_numeric(target.astype(str) if times else target, errors="coerce")
        rejected = numpy.flatnonzero(numbers.isna().to_numpy())
        if rejected.size:
            value = shortened(str(target.iloc[int(rejected[0])]), 80)
            raise misfit(
                estimator,
                f'a regressor needs a number to predict, but column "{dataset.target_name}" of {dataset.source} holds '
                f'"{value}" in row {int(rejected[0]) + 1}; choose a classifier or another target',
            )
        target = numbers
    values = target.to_numpy(dtype=numpy.float64)
    if not numpy.isfinite(values).all():
        raise misfit(estimator, f'column "{dataset.target_name}" of {dataset.source} holds infinite values')
    return values


def class_target(dataset: Dataset, estimator: str) -> ClassTarget:
    """The target as classes."""
    target = dataset.target
    if pandas.api.types.is_bool_dtype(target):
        values: numpy.ndarray = target.to_numpy(dtype=numpy.int64)
        labels: dict[int | str, str] = {0: "false", 1: "true"}
    elif pandas.api.types.is_numeric_dtype(target):
        values = whole_numbers(dataset, estimator)
        labels = {value: class_name(dataset.class_names, value) for value in numpy.unique(values).tolist()}
    else:
        # An array of text and not of objects: it is stored without pickling, and numbers among texts are text too.
        values = numpy.asarray([str(value) for value in target], dtype=str)
        check_few_texts(values, dataset, estimator)
        labels = {value: value for value in numpy.unique(values).tolist()}
    present = numpy.unique(values)
    if present.size < 2:
        raise misfit(
            estimator,
            f'column "{dataset.target_name}" of {dataset.source} holds the single value "{present[0]}": '
            "a classifier needs at least two classes",
        )
    return ClassTarget(values, {value: labels[value] for value in present.tolist()})


def whole_numbers(dataset: Dataset, estimator: str) -> numpy.ndarray:
    """A numeric target as int64, where it holds classes and not measurements."""
    target = dataset.target
    numbers = target.to_numpy(dtype=numpy.float64)
    fractional = numbers[~(numpy.isfinite(numbers) & (numbers == numpy.floor(numbers)))]
    if dataset.continuous_target or fractional.size:
        example = f", such as {fractional[0]}" if fractional.size else ""
        raise continuous(dataset, estimator, f"continuous values{example}")
    integers = pandas.api.types.is_integer_dtype(target)
    # Floats beyond 2**53 stand for several whole numbers each.
    too_large = numpy.abs(numbers) >= (2.0**63 if integers else 2.0**53)
    if too_large.any():
        raise misfit(
            estimator,
            f'column "{dataset.target_name}" of {dataset.source} holds {numbers[too_large][0]:.17g}, which is too '
            "large for a class; number the classes from 0, or name them by text",
        )
    values: numpy.ndarray = (target.to_numpy() if integers else numbers).astype(numpy.int64)
    distinct = numpy.unique(values).size
    if distinct > most_classes(values.size):
        raise continuous(dataset, estimator, f"{distinct} different numbers in {values.size} rows")
    return values


def most_classes(rows: int) -> int:
    """How many different values can be classes, with a few rows each to learn it from."""
    return max(FEW_CLASSES, rows // ROWS_PER_CLASS)


def check_few_texts(values: numpy.ndarray, dataset: Dataset, estimator: str) -> None:
    """Names and comments are no classes: they would cost a probability each, in every row."""
    distinct = numpy.unique(values)
    most = most_classes(values.size)
    if distinct.size > most:
        raise misfit(
            estimator,
            f'a classifier needs classes to predict, but column "{dataset.target_name}" of {dataset.source} holds '
            f'{distinct.size} different texts in {values.size} rows, such as "{shortened(str(distinct[0]), 60)}"; '
            f"choose another target, or group its values into at most {most} classes",
        )


def class_name(names: tuple[str, ...], value: int) -> str:
    """The dataset's own name of a class, or the value itself as text."""
    return names[value] if 0 <= value < len(names) else str(value)


def continuous(dataset: Dataset, estimator: str, what: str) -> TrainerError:
    """The error for a classifier on measurements."""
    return misfit(
        estimator,
        f'a classifier needs classes to predict, but column "{dataset.target_name}" of {dataset.source} holds {what}; '
        "choose a regressor or another target",
    )


def misfit(estimator: str, message: str) -> TrainerError:
    """The error for an estimator and a target that do not go together."""
    return TrainerError(Reason.INVALID_PARAMETER, f"trainer.estimator {estimator} does not fit the target: {message}")
