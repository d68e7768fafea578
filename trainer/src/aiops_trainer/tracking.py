"""The run in MLflow: resumes it, logs to it, closes it, and puts MLflow's failures into the trainer's words."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aiops_trainer.errors import Reason, TrainerError, shortened
from aiops_trainer.patience import configure_mlflow

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.entities import Run

    from aiops_trainer.datasets import Dataset

MODEL_NAME = "model"
"""Name of the logged model in its run."""

CLASS_LABELS = "aiops.dev/class-labels"
"""Key in the logged model's metadata: what the classes are called, in sorted order of their values."""

MAXIMUM_DIGEST_LENGTH = 36
MAXIMUM_SCHEMA_LENGTH = 1_048_575
"""Of a dataset's digest and of its schema, as JSON, in MLflow's database."""

logger = logging.getLogger(__name__)


def connect(environment: Mapping[str, str], patience_seconds: float) -> str:
    """Prepare MLflow's client; gives the server's address. Call it before anything imports MLflow."""
    uri = environment.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise TrainerError(
            Reason.INVALID_PARAMETER,
            "MLFLOW_TRACKING_URI is not set: it is the address of MLflow, such as http://mlflow:5000",
        )
    configure_mlflow(os.environ, patience_seconds)
    import mlflow

    # The image has no pip whose version could be noted beside the model's requirements.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    return uri


@contextmanager
def mlflow_failures(uri: str, not_found: Reason, what: str) -> Iterator[None]:
    """Turn MLflow's exceptions into a `TrainerError`; `what` names the object that is asked for."""
    import requests
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        code = getattr(error, "error_code", "")
        text = shortened(" ".join(str(error).split()), 600)
        if code == "RESOURCE_DOES_NOT_EXIST":
            raise TrainerError(not_found, f"MLflow at {uri} has no {what}: {text}") from error
        if code in ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "BAD_REQUEST"):
            raise TrainerError(not_found, f"MLflow at {uri} refuses {what}: {text}") from error
        raise unreachable(uri, text) from error
    except (requests.RequestException, ConnectionError) as error:
        raise unreachable(uri, shortened(str(error), 600)) from error


def unreachable(uri: str, text: str) -> TrainerError:
    """The error for a server that does not answer, or not as it should."""
    hint = "; add the name to MLflow's --allowed-hosts" if "Invalid Host header" in text else ""
    return TrainerError(
        Reason.MLFLOW_UNREACHABLE,
        f"MLflow at {uri} does not answer{hint}; it is tried again ({text})",
        permanent=False,
    )


class TrackedRun:
    """The active run."""

    def __init__(self, run: Run) -> None:
        self.id: str = run.info.run_id

    def finished_model(self) -> str | None:
        """Id of the model that an earlier pod logged completely, which it does last of all.

        What earlier pods left incomplete is marked as failed: of a run, one model is READY however often its pod died.
        """
        import mlflow
        from mlflow.entities import LoggedModelStatus
        from mlflow.exceptions import MlflowException

        client = mlflow.MlflowClient()
        outputs = client.get_run(self.id).outputs
        finished = None
        for output in outputs.model_outputs if outputs else []:
            try:
                model = client.get_logged_model(output.model_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                continue  # somebody deleted it: the run keeps the reference
            if model.status == LoggedModelStatus.READY and model.name == MODEL_NAME:
                finished = str(model.model_id)
            elif model.status == LoggedModelStatus.PENDING:
                client.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)
        return finished

    def log_parameters(self, parameters: Mapping[str, str]) -> None:
        """Parameters are immutable in MLflow; the same value again is accepted."""
        import mlflow

        mlflow.log_params(dict(parameters))

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        import mlflow

        mlflow.log_metrics(dict(metrics))

    def log_dataset(self, dataset: Dataset) -> None:
        """Name, source, schema and digest of the whole dataset, so that runs on the same data can be found.

        The schema of many thousand columns is left out, since MLflow would refuse the whole.
        """
        import mlflow
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.data.pandas_dataset import from_pandas

        table = dataset.features.copy()
        table[dataset.target_name] = dataset.target.to_numpy()
        builtin = dataset.source.startswith("sklearn:")
        with warnings.catch_warnings():
            # Hints about integer columns that could not hold missing values, which are refused, and about paths that
            # are files as well as artifacts.
            warnings.simplefilter("ignore", UserWarning)
            described = from_pandas(
                table,
                source=CodeDatasetSource(tags={"mlflow.source.name": dataset.source}) if builtin else dataset.source,
                targets=dataset.target_name,
                name=dataset.name,
                digest=dataset.digest[:MAXIMUM_DIGEST_LENGTH],
            )
            if len(described.to_dict()["schema"]) > MAXIMUM_SCHEMA_LENGTH:
                # Its profile is declared abstract and is optional all the same.
                without_schema = MetaDataset(described.source, described.name, described.digest)  # type: ignore[abstract]
                mlflow.log_input(without_schema, context="training")
            else:
                mlflow.log_input(described, context="training")

    def log_figure(self, figure: Figure, path: str) -> None:
        import mlflow

        mlflow.log_figure(figure, path)

    def log_file(self, file: Path, path: str) -> None:
        """Log a file under the artifact path given, its last part being the file's own name."""
        import mlflow

        mlflow.log_artifact(str(file), str(Path(path).parent))


@contextmanager
def resumed_run(environment: Mapping[str, str], uri: str) -> Iterator[TrackedRun]:
    """The run MLFLOW_RUN_ID, or outside of a Job a new one: RUNNING inside, then FINISHED or FAILED."""
    import mlflow

    run_id = environment.get("MLFLOW_RUN_ID") or None
    with mlflow_failures(uri, Reason.RUN_NOT_FOUND, f"run {run_id}"):
        run = mlflow.start_run(run_id=run_id)
    logger.info("logging to run %s of %s", run.info.run_id, uri)
    try:
        with mlflow_failures(uri, Reason.TRAINING_FAILED, f"what is logged to run {run.info.run_id}"):
            yield TrackedRun(run)
            mlflow.end_run("FINISHED")
    except TrainerError as failure:
        # An unreachable server would cost the same patience again; the operator closes the run of a Job that failed.
        if failure.permanent:
            with mlflow_failures(uri, Reason.TRAINING_FAILED, f"run {run.info.run_id}"):
                mlflow.end_run("FAILED")
        raise


def download_artifact(uri: str, run_id: str, path: str, folder: Path) -> Path | None:
    """The run's artifact as a file in `folder`, or None where the run has no such artifact."""
    import mlflow

    with mlflow_failures(uri, Reason.MODEL_NOT_FOUND, f"run {run_id}"):
        client = mlflow.MlflowClient()
        parent = str(Path(path).parent)
        if path not in {artifact.path for artifact in client.list_artifacts(run_id, parent)}:
            return None
        return Path(client.download_artifacts(run_id, path, tempfile.mkdtemp(dir=folder)))
