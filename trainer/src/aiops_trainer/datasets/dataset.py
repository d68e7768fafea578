"""What a dataset is to the rest of the trainer."""

from __future__ import annotations

from dataclasses import dataclass

import pandas


@dataclass(frozen=True)
class Dataset:
    """Rows that are ready to train on: no missing values, features all float64."""

    name: str
    """Name in MLflow, such as `breast-cancer` or `churn.csv`."""
    source: str
    """Where the rows came from: a URI, or `sklearn:<name>`."""
    digest: str
    """SHA-256, in hex, of the file, or of the values of a built-in dataset."""
    features: pandas.DataFrame
    target: pandas.Series
    """As it was read: numbers, booleans or text."""
    class_names: tuple[str, ...] = ()
    """What the target's values 0, 1, … mean, where the dataset says so."""
    continuous_target: bool = False
    """The dataset itself says that its target is a measured quantity."""

    @property
    def target_name(self) -> str:
        """Name of the target column."""
        return str(self.target.name)
