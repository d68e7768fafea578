"""Splits rows into those to train on and those held out, and keeps the held-out ones for the conversion to come."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy
import pandas
from safetensors.numpy import load_file, save_file
from sklearn.model_selection import train_test_split

from aiops_trainer.errors import Reason, TrainerError, listing

ARTIFACT = "evaluation/holdout.safetensors"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Rows to train on and rows to measure on; none is in both."""

    training_features: pandas.DataFrame
    training_target: numpy.ndarray
    holdout_features: pandas.DataFrame
    holdout_target: numpy.ndarray


def split_rows(
    features: pandas.DataFrame, target: numpy.ndarray, *, fraction: float, seed: int, classes: bool
) -> Split:
    """Hold out a fraction of the rows; of classes, the same fraction of each where there are rows enough."""
    rows = numpy.arange(len(target))
    kept_for_training = single_row_classes(target) if classes else numpy.empty(0, dtype=numpy.int64)
    divisible = numpy.setdiff1d(rows, kept_for_training)
    holdout_count = math.ceil(fraction * divisible.size)
    training_count = divisible.size - holdout_count
    if divisible.size < 2 or training_count < 1:
        raise TrainerError(
            Reason.INVALID_PARAMETER,
            f"trainer.holdoutFraction {fraction} of {divisible.size} rows that can be divided leaves "
            f"{max(training_count, 0)} rows to train on: lower it or add rows",
        )
    strata = target[divisible] if classes else None
    if strata is not None and min(holdout_count, training_count) < numpy.unique(strata).size:
        logger.warning("fewer rows than classes on one side of the split: it is random, not stratified by class")
        strata = None
    training, holdout = train_test_split(
        divisible, test_size=holdout_count, train_size=training_count, random_state=seed, stratify=strata
    )
    training = numpy.concatenate([training, kept_for_training])
    if classes and numpy.unique(target[training]).size < 2:
        raise TrainerError(
            Reason.INVALID_PARAMETER,
            f"trainer.holdoutFraction {fraction} leaves a single class in the {training.size} rows to train on: "
            "lower it or add rows",
        )
    return Split(features.iloc[training], target[training], features.iloc[holdout], target[holdout])


def single_row_classes(target: numpy.ndarray) -> numpy.ndarray:
    """The rows that are the only ones of their class: they can be learned from or measured on, not both."""
    classes, first_rows, counts = numpy.unique(target, return_index=True, return_counts=True)
    single = counts == 1
    if single.any():
        names = listing([str(name) for name in classes[single].tolist()])
        logger.warning("classes with a single row are trained on and not measured: %s", names)
    rows: numpy.ndarray = first_rows[single]
    return rows


@dataclass(frozen=True)
class HeldOutRows:
    """Content of `evaluation/holdout.safetensors`."""

    rows: numpy.ndarray
    minimum: numpy.ndarray
    maximum: numpy.ndarray


def save_held_out_rows(split: Split, path: Path) -> None:
    """Write the held-out rows and the training rows' ranges."""
    path.parent.mkdir(parents=True, exist_ok=True)
    training = split.training_features.to_numpy(dtype=numpy.float64)
    tensors = {
        "rows": numpy.ascontiguousarray(split.holdout_features.to_numpy(dtype=numpy.float64)),
        "minimum": training.min(axis=0),
        "maximum": training.max(axis=0),
    }
    save_file(tensors, str(path))


def load_held_out_rows(path: Path) -> HeldOutRows:
    """Read what `save_held_out_rows` wrote; `ValueError` says what is wrong with it."""
    tensors = load_file(str(path))
    missing = {"rows", "minimum", "maximum"} - set(tensors)
    if missing:
        raise ValueError(f"it has no {', '.join(sorted(missing))}")
    held_out = HeldOutRows(tensors["rows"], tensors["minimum"], tensors["maximum"])
    features = held_out.rows.shape[-1]
    if held_out.rows.ndim != 2 or held_out.minimum.shape != (features,) or held_out.maximum.shape != (features,):
        raise ValueError("rows must be [rows, features], minimum and maximum [features]")
    if not numpy.isfinite([held_out.minimum, held_out.maximum]).all():
        raise ValueError("minimum and maximum must be finite: leave missing values out of them")
    return held_out
