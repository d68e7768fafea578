"""The datasets that ship with scikit-learn, so that a first experiment needs no data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy
import pandas
import sklearn.datasets

from aiops_trainer.datasets.dataset import Dataset
from aiops_trainer.errors import Reason, TrainerError

LOADERS: dict[str, Callable[..., Any]] = {
    "breast-cancer": sklearn.datasets.load_breast_cancer,
    "diabetes": sklearn.datasets.load_diabetes,
    "iris": sklearn.datasets.load_iris,
    "wine": sklearn.datasets.load_wine,
}


def load_builtin(name: str) -> Dataset:
    """The dataset of that name."""
    loader = LOADERS.get(name)
    if loader is None:
        raise TrainerError(
            Reason.UNKNOWN_DATASET,
            f'trainer.dataset.builtin "{name}" is not known: choose one of {", ".join(LOADERS)}, '
            "or name a .csv or .parquet file in uri",
        )
    bunch = loader()
    features = pandas.DataFrame(
        numpy.asarray(bunch.data, dtype=numpy.float64), columns=[str(column) for column in bunch.feature_names]
    )
    target = pandas.Series(numpy.asarray(bunch.target), name="target")
    digest = hashlib.sha256(features.to_numpy().tobytes() + target.to_numpy().tobytes())
    return Dataset(
        name=name,
        source=f"sklearn:{name}",
        digest=digest.hexdigest(),
        features=features,
        target=target,
        class_names=tuple(str(label) for label in bunch.get("target_names", ())),
        continuous_target="target_names" not in bunch,
    )
