"""What every trainer offers, whatever library it trains with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Any

import numpy
import pandas


class Task(StrEnum):
    """What a model predicts."""

    CLASSIFICATION = "Classification"
    REGRESSION = "Regression"


class FittedModel(ABC):
    """A model that has been trained."""

    @abstractmethod
    def predict(self, features: pandas.DataFrame) -> numpy.ndarray:
        """Classes or numbers, one a row."""

    @property
    @abstractmethod
    def classes(self) -> numpy.ndarray:
        """The classes in sorted order: those of the columns of `probabilities`. Only of classifiers."""

    @abstractmethod
    def probabilities(self, features: pandas.DataFrame) -> numpy.ndarray:
        """Probability of each class, `[rows, classes]`. Only of classifiers."""

    @abstractmethod
    def log(self, name: str, example: pandas.DataFrame, metadata: dict[str, Any]) -> str:
        """Log the model to the active MLflow run with signature and input example; gives the logged model's id."""


class Trainer(ABC):
    """Trains one model. Making one checks the parameters, so that a typing error costs no data transfer."""

    estimator: str
    task: Task

    @abstractmethod
    def parameters(self) -> dict[str, str]:
        """All parameters in effect, defaults included, as text for MLflow."""

    @abstractmethod
    def fit(self, features: pandas.DataFrame, target: numpy.ndarray) -> FittedModel:
        """Train on these rows; raises `TrainerError` where the library refuses them."""
