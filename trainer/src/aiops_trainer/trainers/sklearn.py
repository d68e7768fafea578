"""Trains scikit-learn's estimators and logs them to MLflow without pickling."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import warnings
from dataclasses import dataclass
from typing import Any

import numpy
import pandas
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from aiops_trainer.errors import Reason, TrainerError
from aiops_trainer.specification import Specification
from aiops_trainer.trainers.parameters import parameter_values
from aiops_trainer.trainers.trainer import FittedModel, Task, Trainer

logger = logging.getLogger(__name__)

TRUSTED_TYPES = (
    # What skops does not know by itself of the estimators below. Each was looked at: they hold arrays and numbers, and
    # setting their state runs no code of the file's. A type that is not here makes logging fail, which is what we want.
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)

REQUIREMENTS = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "skops")
"""What loading a logged model takes. MLflow would find out by loading it in another process, for many seconds."""


@dataclass(frozen=True)
class Kind:
    """One estimator of scikit-learn."""

    module: str
    task: Task
    scaled: bool
    """Whether it is trained behind a StandardScaler, since it is sensitive to the features' units."""


ESTIMATORS = {
    "LogisticRegression": Kind("sklearn.linear_model", Task.CLASSIFICATION, scaled=True),
    "RandomForestClassifier": Kind("sklearn.ensemble", Task.CLASSIFICATION, scaled=False),
    "GradientBoostingClassifier": Kind("sklearn.ensemble", Task.CLASSIFICATION, scaled=False),
    "MLPClassifier": Kind("sklearn.neural_network", Task.CLASSIFICATION, scaled=True),
    "LinearRegression": Kind("sklearn.linear_model", Task.REGRESSION, scaled=True),
    "RandomForestRegressor": Kind("sklearn.ensemble", Task.REGRESSION, scaled=False),
    "GradientBoostingRegressor": Kind("sklearn.ensemble", Task.REGRESSION, scaled=False),
    "MLPRegressor": Kind("sklearn.neural_network", Task.REGRESSION, scaled=True),
}


class SklearnTrainer(Trainer):
    """Trains one of `ESTIMATORS`."""

    def __init__(self, specification: Specification) -> None:
        kind = ESTIMATORS.get(specification.estimator)
        if kind is None:
            raise TrainerError(
                Reason.INVALID_PARAMETER,
                f'trainer.estimator "{specification.estimator}" is not known: choose one of {", ".join(ESTIMATORS)}',
            )
        estimator_class = getattr(importlib.import_module(kind.module), specification.estimator)
        values = parameter_values(estimator_class, specification.parameters)
        self.estimator = specification.estimator
        self.task = kind.task
        self._estimator: BaseEstimator = estimator_class(**values)
        if "random_state" in self._estimator.get_params() and "random_state" not in values:
            self._estimator.set_params(random_state=specification.seed)
        self._scaled = kind.scaled

    def parameters(self) -> dict[str, str]:
        return {name: str(value) for name, value in self._estimator.get_params(deep=False).items()}

    def fit(self, features: pandas.DataFrame, target: numpy.ndarray) -> FittedModel:
        model = self._estimator
        if self._scaled:
            model = Pipeline([("scaler", StandardScaler()), ("estimator", self._estimator)])
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                model.fit(features, target)
        except (ValueError, TypeError, LookupError, OverflowError, numpy.linalg.LinAlgError) as error:
            # Parameters that contradict each other or the rows, values that overflow: it will always end like this.
            raise TrainerError(
                Reason.TRAINING_FAILED, f"{self.estimator} cannot be trained on these rows and parameters: {error}"
            ) from error
        for text in {str(warning.message) for warning in caught}:
            logger.warning("%s: %s", self.estimator, text)
        return SklearnModel(model)


class SklearnModel(FittedModel):
    """A fitted estimator or pipeline."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, features: pandas.DataFrame) -> numpy.ndarray:
        return numpy.asarray(self._model.predict(features))

    @property
    def classes(self) -> numpy.ndarray:
        return numpy.asarray(self._model.classes_)

    def probabilities(self, features: pandas.DataFrame) -> numpy.ndarray:
        return numpy.asarray(self._model.predict_proba(features))

    def log(self, name: str, example: pandas.DataFrame, metadata: dict[str, Any]) -> str:
        import mlflow.sklearn
        from mlflow.models import infer_signature

        with warnings.catch_warnings():
            # MLflow hints that integer classes could not be missing: none are, they are predictions.
            warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer column")
            information = mlflow.sklearn.log_model(
                self._model,
                name=name,
                signature=infer_signature(example, self._model.predict(example)),
                input_example=example,
                serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
                skops_trusted_types=list(TRUSTED_TYPES),
                pip_requirements=[f"{package}=={importlib.metadata.version(package)}" for package in REQUIREMENTS],
                metadata=metadata,
            )
        return str(information.model_id)
