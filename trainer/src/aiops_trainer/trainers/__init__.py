"""Trainers: one module for each `trainer.type`; the factory below is the only place that knows them all."""

from __future__ import annotations

from collections.abc import Callable

from aiops_trainer.errors import Reason, TrainerError
from aiops_trainer.specification import Specification
from aiops_trainer.trainers.trainer import FittedModel, Task, Trainer

__all__ = ["FittedModel", "Task", "Trainer", "trainer_for"]


def sklearn_trainer(specification: Specification) -> Trainer:
    """A trainer of scikit-learn's estimators."""
    from aiops_trainer.trainers.sklearn import SklearnTrainer

    return SklearnTrainer(specification)


TRAINERS: dict[str, Callable[[Specification], Trainer]] = {"Sklearn": sklearn_trainer}


def trainer_for(specification: Specification) -> Trainer:
    """The trainer that the specification asks for, its parameters already checked."""
    factory = TRAINERS.get(specification.trainer_type)
    if factory is None:
        raise TrainerError(
            Reason.INVALID_PARAMETER,
            f'trainer.type "{specification.trainer_type}" is not known: choose one of {", ".join(TRAINERS)}',
        )
    return factory(specification)
