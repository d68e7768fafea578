"""Converts scikit-learn's estimators and pipelines of numeric columns with skl2onnx."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy
import onnx
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator
from sklearn.base import is_classifier, is_regressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from aiops_trainer.conversion import graph
from aiops_trainer.conversion.converter import Converter
from aiops_trainer.conversion.forest import count_votes_exactly, is_forest
from aiops_trainer.errors import Reason, TrainerError, shortened
from aiops_trainer.trainers.trainer import Task


class SklearnConverter(Converter):
    """A model logged with `mlflow.sklearn`."""

    flavor = "sklearn"

    def __init__(self, model_folder: Path) -> None:
        try:
            self._model: Any = mlflow.sklearn.load_model(str(model_folder))
        except Exception as error:  # a file from elsewhere may fail to load in any way
            raise TrainerError(
                Reason.CONVERSION_FAILED,
                f"the model cannot be loaded, most often because it needs other versions than this image has: {error}",
            ) from error
        self._final = self._model.steps[-1][1] if isinstance(self._model, Pipeline) else self._model
        self.estimator = type(self._final).__name__
        self.task = self._checked_task()
        self.feature_count = int(getattr(self._model, "n_features_in_", 0))
        if self.feature_count < 1:
            raise graph.failed(f"{self.estimator} does not say how many features it was fitted on")

    def _checked_task(self) -> Task:
        """What the model predicts, where the published outputs can hold it."""
        if is_classifier(self._model):
            if not hasattr(self._model, "predict_proba"):
                raise graph.failed(f"{self.estimator} has no predict_proba: use an estimator that gives probabilities")
            if not isinstance(self._model.classes_, numpy.ndarray):
                raise graph.failed(f"{self.estimator} predicts several labels a row, only one can be served")
            return Task.CLASSIFICATION
        if is_regressor(self._model):
            return Task.REGRESSION
        raise graph.failed(f"{self.estimator} is neither a classifier nor a regressor")

    @property
    def classes(self) -> list[int] | list[str]:
        if self.task is Task.REGRESSION:
            return []
        values = self._model.classes_
        if values.dtype.kind in "OUS":
            return [str(value) for value in values]
        return [int(value) for value in values]

    def graph(self) -> onnx.ModelProto:
        classification = self.task is Task.CLASSIFICATION
        if isinstance(self._final, MLPClassifier) and beyond_int32(self.classes):
            raise graph.failed(
                f"skl2onnx writes the classes of {self.estimator} in 32 bits, and they are {self.classes[0]} to "
                f"{self.classes[-1]}: number the classes from 0, or name them by text"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                converted = convert_sklearn(
                    self._model,
                    name=self.estimator,
                    initial_types=[(graph.INPUT, FloatTensorType([None, self.feature_count]))],
                    target_opset=dict(graph.OPSET),
                    options={"zipmap": False} if classification else None,
                )
            if is_forest(self._final):
                count_votes_exactly(converted.graph, self._final)
        except (MissingConverter, MissingShapeCalculator, NotImplementedError) as error:
            raise TrainerError(
                Reason.UNSUPPORTED_OPERATOR,
                f"a step of {self.estimator} has no ONNX counterpart in skl2onnx: "
                f"{shortened(' '.join(str(error).split()), 600)}",
            ) from error
        except Exception as error:  # converters fail in many ways on models that they do not foresee
            raise TrainerError(
                Reason.CONVERSION_FAILED, f"skl2onnx cannot convert {self.estimator}: {type(error).__name__}: {error}"
            ) from error
        outputs = [graph.LABEL, graph.PROBABILITIES] if classification else [graph.PREDICTION]
        return graph.normalised(converted, outputs, self.estimator)

    def predict(self, rows: numpy.ndarray) -> numpy.ndarray:
        answers = numpy.asarray(self._answer("predict", rows))
        if self.task is Task.CLASSIFICATION:
            positions = {value: index for index, value in enumerate(self._model.classes_.tolist())}
            return numpy.asarray([positions[value] for value in answers.tolist()], dtype=numpy.int64)
        if answers.size != len(rows):
            raise graph.failed(f"{self.estimator} predicts several numbers a row, only one can be served")
        return answers.astype(numpy.float64).reshape(len(rows))

    def probabilities(self, rows: numpy.ndarray) -> numpy.ndarray:
        return numpy.asarray(self._answer("predict_proba", rows), dtype=numpy.float64)

    def _answer(self, method: str, rows: Any) -> Any:
        """Call the original with rows as it was fitted: a table with its column names, or a plain array."""
        names = getattr(self._model, "feature_names_in_", None)
        if names is not None:
            import pandas

            rows = pandas.DataFrame(rows, columns=names)
        try:
            return getattr(self._model, method)(rows)
        except Exception as error:  # a model from elsewhere may refuse rows for any reason, and always will
            raise graph.failed(f"{self.estimator} cannot answer its own held-out rows: {error}") from error


def beyond_int32(classes: list[int] | list[str]) -> bool:
    """Whether a class is a number of more than 32 bits."""
    return any(isinstance(value, int) and not -(2**31) <= value < 2**31 for value in classes)
