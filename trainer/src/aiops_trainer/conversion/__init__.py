"""Converters to ONNX: one module for each MLflow flavor; the factory below is the only place that knows them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from aiops_trainer.conversion.converter import Converter
from aiops_trainer.errors import Reason, TrainerError

__all__ = ["Converter", "converter_for"]


def sklearn_converter(model_folder: Path) -> Converter:
    """A converter of scikit-learn's estimators."""
    from aiops_trainer.conversion.sklearn import SklearnConverter

    return SklearnConverter(model_folder)


CONVERTERS: dict[str, Callable[[Path], Converter]] = {"sklearn": sklearn_converter}


def converter_for(flavors: Iterable[str], model_folder: Path) -> Converter:
    """The converter for a model of these flavors, with the model in `model_folder` loaded."""
    available = [flavor for flavor in flavors if flavor != "python_function"]
    for flavor in available:
        if flavor in CONVERTERS:
            return CONVERTERS[flavor](model_folder)
    found = ", ".join(available) or "python_function only"
    raise TrainerError(
        Reason.UNSUPPORTED_FLAVOR,
        f"the model was logged with flavor {found}: only {', '.join(CONVERTERS)} can be converted; "
        "log it with that flavor, or publish an .onnx file by spec.source.uri",
    )
