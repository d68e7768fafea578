"""Reads AIOPS_TRAINER, the JSON of `Experiment.spec.trainer`, into typed values; does no work with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiops_trainer.errors import Reason, TrainerError, listing

DEFAULT_HOLDOUT_FRACTION = 0.25
DEFAULT_SEED = 42
MAXIMUM_SEED = 2**32 - 1


@dataclass(frozen=True)
class BuiltinDataset:
    """A dataset that ships with the trainer."""

    name: str


@dataclass(frozen=True)
class FileDataset:
    """A table in an object store or in a file, and the name of its target column."""

    uri: str
    target: str


DatasetReference = BuiltinDataset | FileDataset


@dataclass(frozen=True)
class Specification:
    """What to train. Parameters are still text: what they mean is the trainer's affair."""

    trainer_type: str
    estimator: str
    dataset: DatasetReference
    parameters: Mapping[str, str]
    holdout_fraction: float
    seed: int


def invalid(message: str) -> TrainerError:
    """An error of the specification."""
    return TrainerError(Reason.INVALID_PARAMETER, message)


def read_specification(environment: Mapping[str, str]) -> Specification:
    """The specification in the environment variable AIOPS_TRAINER."""
    text = environment.get("AIOPS_TRAINER", "")
    if not text:
        raise invalid("AIOPS_TRAINER is not set: it holds the JSON of the Experiment's spec.trainer")
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise invalid(f"AIOPS_TRAINER is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise invalid("AIOPS_TRAINER must be a JSON object, such as the Experiment's spec.trainer")
    reject_unknown_fields("trainer", fields, ("type", "estimator", "dataset", "parameters", "holdoutFraction", "seed"))
    return Specification(
        trainer_type=required_text(fields, "type"),
        estimator=required_text(fields, "estimator"),
        dataset=read_dataset(fields.get("dataset")),
        parameters=read_parameters(fields.get("parameters")),
        holdout_fraction=read_holdout_fraction(fields.get("holdoutFraction")),
        seed=read_seed(fields.get("seed")),
    )


def reject_unknown_fields(path: str, fields: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """A field that this version does not know is refused, never ignored."""
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise invalid(f"{path} has unknown fields {listing(unknown)}: known are {', '.join(known)}")


def required_text(fields: Mapping[str, Any], name: str) -> str:
    """A field that must be there and be text."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"trainer.{name} must be set to a text, got {value!r}")
    return value


def read_dataset(fields: Any) -> DatasetReference:
    """Either `builtin`, or `uri` with `target`."""
    remedy = "set builtin, such as breast-cancer, or uri and target, such as s3://datasets/churn.csv and churned"
    if not isinstance(fields, dict):
        raise invalid(f"trainer.dataset must be an object: {remedy}")
    reject_unknown_fields("trainer.dataset", fields, ("builtin", "uri", "target"))
    builtin, uri, target = (fields.get(name) or None for name in ("builtin", "uri", "target"))
    if any(value is not None and not isinstance(value, str) for value in (builtin, uri, target)):
        raise invalid(f"trainer.dataset: builtin, uri and target must be text: {remedy}")
    if builtin and not uri and not target:
        return BuiltinDataset(builtin)
    if uri and target and not builtin:
        return FileDataset(uri, target)
    raise invalid(f"trainer.dataset is contradictory or incomplete: {remedy}")


def read_parameters(fields: Any) -> Mapping[str, str]:
    """Names and values as text; numbers and booleans are accepted as their JSON text."""
    if fields is None:
        return {}
    if not isinstance(fields, dict):
        raise invalid(f"trainer.parameters must be an object of names and texts, got {fields!r}")
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}


def read_holdout_fraction(value: Any) -> float:
    """A fraction strictly between 0 and 1, as decimal text."""
    if value is None:
        return DEFAULT_HOLDOUT_FRACTION
    try:
        fraction = float(value)
    except (TypeError, ValueError):
        fraction = -1.0
    if not 0.0 < fraction < 1.0:
        raise invalid(f'trainer.holdoutFraction is {value!r}: give a number between 0 and 1, such as "0.25"')
    return fraction


def read_seed(value: Any) -> int:
    """An unsigned 32-bit number."""
    if value is None:
        return DEFAULT_SEED
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAXIMUM_SEED:
        raise invalid(f"trainer.seed is {value!r}: give a whole number from 0 to {MAXIMUM_SEED}")
    return value
