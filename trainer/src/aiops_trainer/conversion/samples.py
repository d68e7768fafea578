"""Rows with the original model's answers, against which the published model is compared."""

from __future__ import annotations

import numpy

from aiops_trainer.conversion.converter import Converter
from aiops_trainer.errors import Reason, TrainerError
from aiops_trainer.holdout import HeldOutRows
from aiops_trainer.trainers.trainer import Task

MINIMUM_ROWS = 200
SEED = 20240229
"""Fixed, so that the same model always gets the same samples."""


def sample_rows(held_out: HeldOutRows, feature_count: int) -> numpy.ndarray:
    """All held-out rows as float32, filled up to `MINIMUM_ROWS` with rows drawn between the training rows' extremes."""
    if held_out.rows.shape[1] != feature_count:
        raise TrainerError(
            Reason.SAMPLES_MISSING,
            f"the run's held-out rows have {held_out.rows.shape[1]} features but the model has {feature_count}: "
            "they belong to another model of the run",
        )
    missing = max(0, MINIMUM_ROWS - len(held_out.rows))
    drawn = numpy.random.default_rng(SEED).uniform(held_out.minimum, held_out.maximum, (missing, feature_count))
    return numpy.concatenate([held_out.rows, drawn]).astype(numpy.float32)


def answered(converter: Converter, features: numpy.ndarray) -> dict[str, numpy.ndarray]:
    """The samples file's tensors. The original gets the rows as rounded to float32, as a client sends them."""
    rows = features.astype(numpy.float64)
    samples = {"features": features}
    if converter.task is Task.CLASSIFICATION:
        samples["label"] = converter.predict(rows)
        samples["probabilities"] = numpy.ascontiguousarray(converter.probabilities(rows))
    else:
        samples["prediction"] = converter.predict(rows)
    return samples
