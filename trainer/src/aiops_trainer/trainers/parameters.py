"""Turns the text of an estimator's parameters into the values that scikit-learn accepts, or says what it accepts."""

from __future__ import annotations

import ast
import contextlib
import difflib
import numbers
from collections.abc import Iterator, Mapping
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints

from aiops_trainer.errors import Reason, TrainerError, listing, shortened

WORDS = {"true": True, "false": False, "none": None, "null": None}
"""Spellings of YAML and JSON for what Python writes True, False and None."""


def parameter_values(estimator: type[BaseEstimator], texts: Mapping[str, str]) -> dict[str, Any]:
    """The constructor arguments that these texts mean."""
    known = sorted(estimator().get_params(deep=False))
    values = {}
    for name, text in texts.items():
        if name not in known:
            raise unknown_parameter(estimator.__name__, name, known)
        values[name] = parameter_value(estimator, name, text)
    return values


def unknown_parameter(estimator: str, name: str, known: list[str]) -> TrainerError:
    """The error for a name that the estimator's constructor does not take."""
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"it has {listing(known, limit=40)}"
    return TrainerError(
        Reason.INVALID_PARAMETER, f"trainer.parameters.{shortened(name, 60)}: {estimator} has no such parameter; {hint}"
    )


def parameter_value(estimator: type[BaseEstimator], name: str, text: str) -> Any:
    """The first reading of the text that the estimator's own constraints accept."""
    # scikit-learn declares what each parameter accepts and offers no public way to ask for one parameter alone.
    constraints = {name: estimator._parameter_constraints.get(name, "no_validation")}
    refusal = ""
    for value in readings(text):
        try:
            validate_parameter_constraints(constraints, {name: value}, caller_name=estimator.__name__)
        except InvalidParameterError as error:
            refusal = refusal or str(error)
            continue
        check_layers(name, text, value)
        return value
    raise TrainerError(
        Reason.INVALID_PARAMETER, f'trainer.parameters.{name}: "{shortened(text, 100)}" is not accepted: {refusal}'
    )


def readings(text: str) -> Iterator[Any]:
    """What a text may mean, the most specific first: a word such as none, a Python literal, a number, the text."""
    stripped = text.strip()
    if stripped.lower() in WORDS:
        yield WORDS[stripped.lower()]
    else:
        try:
            literal = ast.literal_eval(stripped)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # a TypeError for {[1]: 2}
            with contextlib.suppress(ValueError):
                yield float(stripped)  # inf and nan are no literals
        else:
            yield tuple(literal) if isinstance(literal, list) else literal
    yield text


def check_layers(name: str, text: str, value: Any) -> None:
    """The sizes of a perceptron's layers, which scikit-learn checks only while fitting."""
    if name != "hidden_layer_sizes":
        return
    sizes = value if isinstance(value, tuple) else (value,)
    if not sizes or any(
        isinstance(size, bool) or not isinstance(size, numbers.Integral) or int(size) < 1 for size in sizes
    ):
        raise TrainerError(
            Reason.INVALID_PARAMETER,
            f'trainer.parameters.{name}: "{shortened(text, 100)}" is not accepted: '
            'give the sizes of the hidden layers, each at least 1, such as "(64, 32)"',
        )
