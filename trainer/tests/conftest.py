"""A real MLflow server, a real object store, and a way to run the trainer's commands as its pods do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import Commands

MLFLOW_START_SECONDS = 60


def free_port() -> int:
    """A TCP port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Whether a server answers 200 there."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - addresses of this file
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@dataclass
class Server:
    """A server process that can be stopped and started again on the same port and data."""

    url: str
    health: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process without waiting until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        """Wait until it answers."""
        assert self.process is not None
        deadline = time.monotonic() + MLFLOW_START_SECONDS
        while not answers(self.health):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{self.command[0]} did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the process and its children at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def mlflow_process(folder: Path) -> Server:
    """An MLflow server on SQLite, its artifacts in a folder, not yet started."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        str(Path(sys.executable).parent / "mlflow"),
        "server",
        f"--port={port}",
        "--workers=1",
        f"--backend-store-uri=sqlite:///{folder}/mlflow.db",
        f"--artifacts-destination={folder}/artifacts",
    ]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }
    environment.pop("MLFLOW_RUN_ID", None)
    return Server(url, f"{url}/api/3.0/mlflow/server-info", command, environment, folder / "mlflow.log")


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of most tests."""
    server = mlflow_process(tmp_path_factory.mktemp("mlflow"))
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def commands(mlflow_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """The trainer's commands against the session's MLflow."""
    return Commands(mlflow_server.url, tmp_path_factory.mktemp("commands"))


@pytest.fixture
def commands_against(tmp_path: Path) -> Callable[[str], Commands]:
    """The trainer's commands against another MLflow."""
    return lambda url: Commands(url, tmp_path)


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A MinIO server, as the variables that a trainer's pod has; AIOPS_MINIO is the path of its program."""
    program = os.environ.get("AIOPS_MINIO", "")
    if not program:
        pytest.fail("set AIOPS_MINIO to the path of a minio program: datasets in an object store are tested against it")
    folder = tmp_path_factory.mktemp("minio")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    user, password = "trainer-test", "trainer-test-password"
    server = Server(
        url,
        f"{url}/minio/health/ready",
        [program, "server", f"--address=127.0.0.1:{port}", f"--console-address=127.0.0.1:{free_port()}", str(folder)],
        {**os.environ, "MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password},
        folder.parent / "minio.log",
    )
    server.start()
    try:
        server.wait()
        yield {
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": password,
            "AWS_ENDPOINT_URL_S3": url,
            "AWS_REGION": "us-east-1",
            "AIOPS_S3_PATH_STYLE": "true",
        }
    finally:
        server.stop()
