"""`aiops-trainer convert`: the story of one conversion, from a logged model to the files that publishing takes."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiops_trainer import tracking
from aiops_trainer.errors import Reason, TrainerError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoggedModel:
    """A logged model's files, and what its MLmodel file says."""

    id: str
    run_id: str
    folder: Path
    flavors: list[str]
    feature_names: list[str]
    class_labels: list[str]


def convert(
    environment: Mapping[str, str], *, run_id: str, model_id: str, output: Path, patience_seconds: float
) -> None:
    """Write `model.onnx`, `conversion.json` and `samples.safetensors` into `output`; raises `TrainerError`."""
    mlflow_uri = tracking.connect(environment, patience_seconds)
    with tempfile.TemporaryDirectory(prefix="conversion-") as folder:
        logged = fetch_model(mlflow_uri, run_id, model_id, Path(folder))
        from aiops_trainer.conversion import converter_for, graph
        from aiops_trainer.conversion.samples import samples_of
        from aiops_trainer.holdout import ARTIFACT, load_held_out_rows

        converter = converter_for(logged.flavors, logged.folder)
        logger.info("converting %s of run %s", converter.estimator, run_id)
        converted = converter.graph()
        held_out_file = tracking.download_artifact(mlflow_uri, run_id, ARTIFACT, Path(folder))
        if held_out_file is None:
            raise TrainerError(
                Reason.SAMPLES_MISSING,
                f"run {run_id} has no artifact {ARTIFACT} with rows to compare the converted model on: train it by an "
                "Experiment, or log that file",
            )
        try:
            held_out = load_held_out_rows(held_out_file)
        except Exception as error:  # safetensors has its own exception, a wrong shape is ours
            raise TrainerError(Reason.SAMPLES_MISSING, f"{ARTIFACT} of run {run_id} cannot be read: {error}") from error
        feature_names = names_of(logged.feature_names, converter.feature_count)
        samples = samples_of(converter, held_out, feature_names)

    import safetensors.numpy

    description = {
        "task": converter.task.value,
        "featureNames": feature_names,
        "classLabels": labels_of(logged.class_labels, converter.classes),
        "classValues": converter.classes,
        "opset": graph.OPSET,
        "irVersion": graph.IR_VERSION,
        "source": {
            "flavor": converter.flavor,
            "estimator": converter.estimator,
            "mlflowRun": run_id,
            "mlflowModel": model_id,
        },
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "model.onnx").write_bytes(graph.serialised(converted))
    (output / "samples.safetensors").write_bytes(safetensors.numpy.save(samples))
    (output / "conversion.json").write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    logger.info("wrote model.onnx, conversion.json and samples.safetensors to %s", output)


def fetch_model(mlflow_uri: str, run_id: str, model_id: str, folder: Path) -> LoggedModel:
    """Download the logged model and read its MLmodel file."""
    import mlflow
    from mlflow.entities import LoggedModelStatus
    from mlflow.models import Model

    with tracking.mlflow_failures(mlflow_uri, Reason.MODEL_NOT_FOUND, f"logged model {model_id}"):
        model = mlflow.MlflowClient().get_logged_model(model_id)
        if model.source_run_id != run_id:
            raise TrainerError(
                Reason.MODEL_NOT_FOUND,
                f"logged model {model_id} belongs to run {model.source_run_id}, not to run {run_id}",
            )
        if model.status != LoggedModelStatus.READY:
            raise TrainerError(
                Reason.MODEL_NOT_FOUND,
                f"logged model {model_id} is {model.status.value}: its training did not complete; choose a READY one",
            )
        files = Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=str(folder / "model")))
    if not (files / "MLmodel").is_file():
        raise TrainerError(
            Reason.MODEL_NOT_FOUND, f"logged model {model_id} has no MLmodel file in MLflow's artifact store"
        )
    description = Model.load(str(files))
    metadata: dict[str, Any] = description.metadata or {}
    inputs = description.signature.inputs if description.signature else None
    return LoggedModel(
        id=model_id,
        run_id=run_id,
        folder=files,
        flavors=list(description.flavors),
        feature_names=[str(name) for name in inputs.input_names()] if inputs and inputs.has_input_names() else [],
        class_labels=[str(label) for label in metadata.get(tracking.CLASS_LABELS, [])],
    )


def names_of(feature_names: list[str], feature_count: int) -> list[str]:
    """The signature's column names, or numbered ones for a model that was fitted on a plain array."""
    if len(feature_names) == feature_count:
        return feature_names
    return [f"feature_{index}" for index in range(feature_count)]


def labels_of(class_labels: list[str], classes: list[int] | list[str]) -> list[str]:
    """What the classes are called: as logged with the model, or their values as text."""
    return class_labels if len(class_labels) == len(classes) else [str(value) for value in classes]
