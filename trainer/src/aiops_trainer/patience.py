"""How long to wait for servers that do not answer: a restart of MLflow or the object store must not cost a training."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, MutableMapping
from typing import TypeVar

Result = TypeVar("Result")

PAUSE_SECONDS = 2.0
MAXIMUM_MLFLOW_RETRIES = 10

logger = logging.getLogger(__name__)


def mlflow_retries(patience_seconds: float) -> int:
    """Retries of MLflow's client that span at least `patience_seconds` at a backoff factor of 1.

    urllib3 waits 0, 2, 4, 8, … seconds before its retries: 2**n - 2 seconds in all, no wait longer than 120 s.
    """
    retries = math.ceil(math.log2(max(patience_seconds, 1.0) + 2.0))
    return min(retries, MAXIMUM_MLFLOW_RETRIES)


def configure_mlflow(environment: MutableMapping[str, str], patience_seconds: float) -> None:
    """Settings of MLflow's client, to be made before it is imported; what the user has set stays."""
    settings = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(mlflow_retries(patience_seconds)),
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0.5",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # The pod's environment holds credentials: their names are nobody's business in a model's folder.
        "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    for name, value in settings.items():
        environment.setdefault(name, value)


def keep_trying(
    action: Callable[[], Result],
    *,
    until_answer: tuple[type[Exception], ...],
    patience_seconds: float,
    waiting_for: str,
) -> Result:
    """The action's result; failures of the kinds in `until_answer` are tried again until patience ends, then raised."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            return action()
        except until_answer as error:
            if time.monotonic() + PAUSE_SECONDS > deadline:
                raise
            logger.info("waiting for %s: %s", waiting_for, error)
            time.sleep(PAUSE_SECONDS)
