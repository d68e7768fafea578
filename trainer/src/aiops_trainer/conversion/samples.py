"""Rows with the original model's answers, against which the published model is compared.

The original is asked about the rows as they are, in float64; the published model gets them as its clients send them, in
float32. A comparison on rounded rows would not see what the rounding costs.
"""

from __future__ import annotations

import numpy

from aiops_trainer.conversion import graph
from aiops_trainer.conversion.converter import Converter
from aiops_trainer.errors import Reason, TrainerError, listing
from aiops_trainer.holdout import HeldOutRows
from aiops_trainer.trainers.trainer import Task

MINIMUM_ROWS = 200
SEED = 20240229
"""Fixed, so that the same model always gets the same samples."""

SHARE = 0.999
RELATIVE, ABSOLUTE = 1e-3, 1e-4
"""How many rows must agree, and how near numbers must be: what the publisher's comparison asks for, too."""


def samples_of(converter: Converter, held_out: HeldOutRows, names: list[str]) -> dict[str, numpy.ndarray]:
    """The samples file's tensors; an error names the column that float32 does not hold well enough."""
    if held_out.rows.shape[1] != converter.feature_count:
        raise TrainerError(
            Reason.SAMPLES_MISSING,
            f"the run's held-out rows have {held_out.rows.shape[1]} features but the model has "
            f"{converter.feature_count}: they belong to another model of the run",
        )
    check_range(held_out, names)
    rows = filled_up(held_out)
    features = rows.astype(numpy.float32)
    answers = answers_of(converter, rows)
    rounded = features.astype(numpy.float64)
    agreeing = agreement(converter, answers, rounded)
    if agreeing.mean() < SHARE:
        # The original itself answers otherwise, so no conversion could agree with it.
        raise blurred(held_out, numpy.abs(rounded - rows), int((~agreeing).sum()), names)
    return {"features": features, **answers}


def check_range(held_out: HeldOutRows, names: list[str]) -> None:
    """Every value has a float32; the training rows' extremes stand for all of them."""
    values = numpy.vstack([held_out.rows, held_out.minimum, held_out.maximum])
    largest = numpy.nanmax(numpy.abs(values), axis=0)
    too_large = numpy.flatnonzero(largest > numpy.finfo(numpy.float32).max)
    if too_large.size:
        columns = listing([f'"{names[column]}" ({largest[column]:.3g})' for column in too_large.tolist()], limit=10)
        raise graph.failed(
            f"clients send features as float32, which ends at 3.4e38, and there are larger values in {columns}: "
            "scale these columns and train again"
        )


def filled_up(held_out: HeldOutRows) -> numpy.ndarray:
    """All held-out rows, and up to `MINIMUM_ROWS` rows drawn between the training rows' extremes, exact in float32."""
    missing = max(0, MINIMUM_ROWS - len(held_out.rows))
    extremes = (held_out.minimum, held_out.maximum)
    drawn = numpy.random.default_rng(SEED).uniform(*extremes, (missing, held_out.rows.shape[1]))
    return numpy.concatenate([held_out.rows, drawn.astype(numpy.float32)], dtype=numpy.float64)


def answers_of(converter: Converter, rows: numpy.ndarray) -> dict[str, numpy.ndarray]:
    """What the original answers to float64 rows."""
    if converter.task is Task.CLASSIFICATION:
        probabilities = numpy.ascontiguousarray(converter.probabilities(rows))
        return {"label": converter.predict(rows), "probabilities": probabilities}
    return {"prediction": converter.predict(rows)}


def agreement(converter: Converter, answers: dict[str, numpy.ndarray], rounded: numpy.ndarray) -> numpy.ndarray:
    """For each row, whether the original answers the rounded row as it answered the row itself."""
    answers_to_rounded = converter.predict(rounded)
    if converter.task is Task.CLASSIFICATION:
        agreeing = answers["label"] == answers_to_rounded
    else:
        agreeing = numpy.isclose(answers_to_rounded, answers["prediction"], rtol=RELATIVE, atol=ABSOLUTE)
    return numpy.asarray(agreeing)


def blurred(held_out: HeldOutRows, losses: numpy.ndarray, disagreeing: int, names: list[str]) -> TrainerError:
    """The error that names the column whose values move furthest, measured by how far apart they are."""
    moved = numpy.nan_to_num(losses).max(axis=0)
    spread = held_out.maximum - held_out.minimum
    worst = int(numpy.argmax(moved / numpy.maximum(spread, numpy.finfo(numpy.float64).tiny)))
    return graph.failed(
        f"clients send features as float32, and so rounded {disagreeing} of {len(losses)} rows get other answers from "
        f'the original model; column "{names[worst]}" loses most: its values spread over {spread[worst]:.3g} and move '
        f"by up to {moved[worst]:.3g}. Subtract an offset from the column or scale it, and train again"
    )
