"""Metrics on held-out rows, under the names that an Experiment's validation refers to."""

from __future__ import annotations

import logging
import math

import numpy
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

logger = logging.getLogger(__name__)


def classification_metrics(
    actual: numpy.ndarray, predicted: numpy.ndarray, probabilities: numpy.ndarray, classes: numpy.ndarray
) -> dict[str, float]:
    """`accuracy`, `f1`, `roc_auc` and `log_loss`.

    Of two classes, the second in sorted order is the positive one; beyond two, `f1` is the macro average and `roc_auc`
    the macro average of one class against the rest. A metric that is not defined on these rows is left out.
    """
    binary = classes.size == 2
    metrics = {
        "accuracy": float(accuracy_score(actual, predicted)),
        "f1": float(
            f1_score(actual, predicted, pos_label=classes[1], zero_division=0.0)
            if binary
            else f1_score(actual, predicted, average="macro", zero_division=0.0)
        ),
    }
    present = numpy.unique(actual)
    if numpy.isin(present, classes).all():
        metrics["log_loss"] = float(log_loss(actual, probabilities, labels=classes))
    if numpy.array_equal(present, classes):
        metrics["roc_auc"] = float(
            roc_auc_score(actual == classes[1], probabilities[:, 1])
            if binary
            else roc_auc_score(actual, probabilities, multi_class="ovr", average="macro", labels=classes)
        )
    else:
        logger.warning("roc_auc is left out: the held-out rows hold %d of %d classes", present.size, classes.size)
    return finite(metrics)


def regression_metrics(actual: numpy.ndarray, predicted: numpy.ndarray) -> dict[str, float]:
    """`rmse` and `mae` in the target's unit, and `r2`, which a single row does not define."""
    metrics = {
        "rmse": float(root_mean_squared_error(actual, predicted)),
        "mae": float(mean_absolute_error(actual, predicted)),
    }
    if actual.size > 1:
        metrics["r2"] = float(r2_score(actual, predicted))
    return finite(metrics)


def finite(metrics: dict[str, float]) -> dict[str, float]:
    """The metrics that are numbers: a threshold on any other would pass or fail by accident."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            logger.warning("%s is left out: it is %s", name, value)
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
