"""`aiops-trainer train`: the story of one training, from the specification to the logged model."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy

from aiops_trainer import tracking
from aiops_trainer.datasets import Dataset, load_dataset
from aiops_trainer.holdout import ARTIFACT as HOLDOUT_ARTIFACT
from aiops_trainer.holdout import Split, save_held_out_rows, split_rows
from aiops_trainer.metrics import classification_metrics, regression_metrics
from aiops_trainer.specification import Specification, read_specification
from aiops_trainer.targets import class_target, regression_target
from aiops_trainer.trainers import FittedModel, Task, Trainer, trainer_for

EXAMPLE_ROWS = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on the held-out rows."""

    metrics: dict[str, float]
    predicted: numpy.ndarray
    probabilities: numpy.ndarray | None


def train(environment: Mapping[str, str], patience_seconds: float) -> None:
    """Train what AIOPS_TRAINER describes and log it to MLFLOW_RUN_ID; raises `TrainerError`."""
    specification = read_specification(environment)
    trainer = trainer_for(specification)
    mlflow_uri = tracking.connect(environment, patience_seconds)
    dataset = load_dataset(specification.dataset, environment, patience_seconds)
    logger.info("dataset %s: %d rows, %d features", dataset.source, *dataset.features.shape)
    split, labels = divided(specification, trainer, dataset)

    with tracking.resumed_run(environment, mlflow_uri) as run:
        finished = run.finished_model()
        if finished:
            logger.info("an earlier pod has logged model %s completely: there is nothing left to do", finished)
            return
        run.log_parameters(run_parameters(specification, trainer, dataset))
        run.log_dataset(dataset)
        logger.info("training %s on %d rows", trainer.estimator, len(split.training_target))
        model = trainer.fit(split.training_features, split.training_target)
        evaluation = evaluated(trainer.task, model, split)
        logger.info("held-out rows: %s", ", ".join(f"{name} {value:.6g}" for name, value in evaluation.metrics.items()))
        run.log_metrics(
            {
                **evaluation.metrics,
                "training_rows": float(len(split.training_target)),
                "holdout_rows": float(len(split.holdout_target)),
            }
        )
        class_names = [labels[value] for value in model.classes.tolist()] if labels else []
        log_evaluation(run, model, split, evaluation, class_names)
        # Last of all: a run with a complete model has everything else too.
        metadata = {tracking.CLASS_LABELS: class_names} if class_names else {}
        model_id = model.log(tracking.MODEL_NAME, split.training_features.head(EXAMPLE_ROWS), metadata)
        logger.info("logged model %s", model_id)


def divided(specification: Specification, trainer: Trainer, dataset: Dataset) -> tuple[Split, dict[int | str, str]]:
    """The rows to train on and those held out, and the classes' names by value in sorted order."""
    if trainer.task is Task.CLASSIFICATION:
        target = class_target(dataset, trainer.estimator)
        values, labels = target.values, target.labels
    else:
        values, labels = regression_target(dataset, trainer.estimator), {}
    split = split_rows(
        dataset.features,
        values,
        fraction=specification.holdout_fraction,
        seed=specification.seed,
        classes=trainer.task is Task.CLASSIFICATION,
    )
    return split, labels


def run_parameters(specification: Specification, trainer: Trainer, dataset: Dataset) -> dict[str, str]:
    """What the run was made of, as text: the same for the same specification and data, so that a retry may log it."""
    return {
        **trainer.parameters(),
        "trainer": specification.trainer_type,
        "estimator": specification.estimator,
        "dataset": dataset.source,
        "dataset_sha256": dataset.digest,
        "target": dataset.target_name,
        "holdout_fraction": str(specification.holdout_fraction),
        "seed": str(specification.seed),
    }


def evaluated(task: Task, model: FittedModel, split: Split) -> Evaluation:
    """Metrics and predictions on the held-out rows."""
    predicted = model.predict(split.holdout_features)
    if task is Task.REGRESSION:
        return Evaluation(regression_metrics(split.holdout_target, predicted), predicted, None)
    probabilities = model.probabilities(split.holdout_features)
    metrics = classification_metrics(split.holdout_target, predicted, probabilities, model.classes)
    return Evaluation(metrics, predicted, probabilities)


def log_evaluation(
    run: tracking.TrackedRun,
    model: FittedModel,
    split: Split,
    evaluation: Evaluation,
    class_names: list[str],
) -> None:
    """Log the held-out rows, and for classes the figures."""
    with tempfile.TemporaryDirectory(prefix="evaluation-") as folder:
        file = Path(folder) / Path(HOLDOUT_ARTIFACT).name
        save_held_out_rows(split, file)
        run.log_file(file, HOLDOUT_ARTIFACT)
    if evaluation.probabilities is None:
        return
    from aiops_trainer.plots import confusion_matrix_figure, roc_curve_figure

    classes = model.classes
    actual = split.holdout_target
    confusion = confusion_matrix_figure(actual, evaluation.predicted, classes, class_names)
    run.log_figure(confusion, "evaluation/confusion_matrix.png")
    roc = roc_curve_figure(actual, evaluation.probabilities, classes, class_names)
    run.log_figure(roc, "evaluation/roc_curve.png")
