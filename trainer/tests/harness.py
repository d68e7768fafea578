"""Runs the trainer's commands in this process, with the environment of a pod, and reads what they leave behind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy
import onnx
import onnxruntime
from mlflow.entities import Dataset, Run
from safetensors.numpy import load_file

from aiops_trainer.cli import argument_parser, execute

POD_VARIABLES = (
    "AIOPS_S3_PATH_STYLE",
    "AIOPS_TRAINER",
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "MLFLOW_RUN_ID",
    "MLFLOW_TRACKING_URI",
)


@dataclass(frozen=True)
class Failure:
    """How a command failed, as the operator sees it."""

    exit_code: int
    reason: str
    message: str


@dataclass(frozen=True)
class Converted:
    """The files of a conversion."""

    folder: Path
    description: dict[str, Any]
    samples: dict[str, numpy.ndarray]

    @property
    def model(self) -> onnx.ModelProto:
        """The ONNX file, parsed."""
        return onnx.load(self.folder / "model.onnx")

    def session(self) -> onnxruntime.InferenceSession:
        """The ONNX file in the runtime that serves it."""
        return onnxruntime.InferenceSession(self.folder / "model.onnx", providers=["CPUExecutionProvider"])


@contextmanager
def pod_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Exactly these of the variables that a pod may have."""
    before = {name: os.environ.pop(name, None) for name in POD_VARIABLES}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class Commands:
    """`aiops-trainer` against one MLflow server."""

    def __init__(self, tracking_uri: str, folder: Path, patience_seconds: float = 2) -> None:
        self.tracking_uri = tracking_uri
        self.folder = folder
        self.patience_seconds = patience_seconds
        self._count = 0

    def client(self) -> mlflow.MlflowClient:
        """MLflow's own client, as the tests' view from outside."""
        return mlflow.MlflowClient(self.tracking_uri)

    def new_run(self) -> str:
        """A run as the operator makes it."""
        run_id: str = self.client().create_run("0").info.run_id
        return run_id

    def execute(self, arguments: list[str], variables: Mapping[str, str]) -> Failure | None:
        """Run one command; None is success."""
        self._count += 1
        termination_log = self.folder / f"termination-{self._count}"
        flags = [f"--termination-log={termination_log}", f"--patience={self.patience_seconds}"]
        parsed = argument_parser().parse_args([*arguments, *flags])
        with pod_environment({"MLFLOW_TRACKING_URI": self.tracking_uri, **variables}):
            exit_code = execute(parsed)
        if exit_code == 0:
            assert not termination_log.exists()
            return None
        return Failure(exit_code, **json.loads(termination_log.read_bytes()))

    def try_to_train(
        self, specification: Mapping[str, Any], variables: Mapping[str, str] | None = None, run_id: str | None = None
    ) -> Failure | None:
        """`aiops-trainer train`; without a run id, in a new run."""
        text = json.dumps({"type": "Sklearn", **specification})
        run_id = run_id or self.new_run()
        return self.execute(["train"], {"AIOPS_TRAINER": text, "MLFLOW_RUN_ID": run_id, **(variables or {})})

    def train(self, specification: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> Run:
        """`aiops-trainer train`, which must succeed; gives the run."""
        run_id = self.new_run()
        failure = self.try_to_train(specification, variables, run_id)
        assert failure is None, failure
        return self.client().get_run(run_id)

    def training_failure(self, specification: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> Failure:
        """`aiops-trainer train`, which must fail."""
        failure = self.try_to_train(specification, variables)
        assert failure is not None, "the training succeeded"
        return failure

    def try_to_convert(self, run_id: str, model_id: str, output: Path) -> Failure | None:
        """`aiops-trainer convert`."""
        return self.execute(["convert", f"--run-id={run_id}", f"--model-id={model_id}", f"--output={output}"], {})

    def convert(self, run_id: str, model_id: str) -> Converted:
        """`aiops-trainer convert`, which must succeed."""
        self._count += 1
        output = self.folder / f"work-{self._count}"
        failure = self.try_to_convert(run_id, model_id, output)
        assert failure is None, failure
        description = json.loads((output / "conversion.json").read_text())
        return Converted(output, description, load_file(output / "samples.safetensors"))


def model_id(run: Run) -> str:
    """The run's one model."""
    assert run.outputs is not None
    (output,) = run.outputs.model_outputs
    identity: str = output.model_id
    return identity


def logged_dataset(run: Run) -> Dataset:
    """The run's one dataset."""
    assert run.inputs is not None
    (dataset_input,) = run.inputs.dataset_inputs
    return dataset_input.dataset


def answer_in_batches(session: onnxruntime.InferenceSession, rows: numpy.ndarray, batch: int) -> list[numpy.ndarray]:
    """What the converted model answers to all rows, asked in batches of this size."""
    batches = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    answers = [session.run(None, {"features": part}) for part in batches]
    return [numpy.concatenate(parts) for parts in zip(*answers, strict=True)]
