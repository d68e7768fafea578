"""What every converter offers: the ONNX graph of a loaded model, and what the original answers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy
import onnx

from aiops_trainer.trainers.trainer import Task


class Converter(ABC):
    """A loaded model that can be converted."""

    flavor: str
    estimator: str
    task: Task
    feature_count: int

    @property
    @abstractmethod
    def classes(self) -> list[int] | list[str]:
        """What `label` holds for each class, in the order of `probabilities`; empty for regression."""

    @abstractmethod
    def graph(self) -> onnx.ModelProto:
        """The model as ONNX, with the inputs and outputs of docs/interfaces.md."""

    @abstractmethod
    def predict(self, rows: numpy.ndarray) -> numpy.ndarray:
        """The original's answers: indices into `classes` as int64, or numbers as float64."""

    @abstractmethod
    def probabilities(self, rows: numpy.ndarray) -> numpy.ndarray:
        """The original's probabilities, `[rows, classes]` float64. Only of classifiers."""
