"""Datasets: finds the rows that a specification refers to, and checks that they are numbers to train on."""

from __future__ import annotations

from collections.abc import Mapping

from aiops_trainer.datasets.dataset import Dataset
from aiops_trainer.specification import BuiltinDataset, DatasetReference

__all__ = ["Dataset", "load_dataset"]


def load_dataset(reference: DatasetReference, environment: Mapping[str, str], patience_seconds: float) -> Dataset:
    """The dataset that is referred to; raises `TrainerError` where it cannot be had or cannot be trained on."""
    if isinstance(reference, BuiltinDataset):
        from aiops_trainer.datasets.builtin import load_builtin

        return load_builtin(reference.name)
    from aiops_trainer.datasets.table import load_table

    return load_table(reference, environment, patience_seconds)
