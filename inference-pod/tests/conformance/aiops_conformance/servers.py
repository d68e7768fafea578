"""Starts the server of this repository and a real Triton, each with its own copy of the same models."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from .models import all_models, write_repository

PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Target:
    """A server that runs."""

    name: str
    http: str
    grpc: str
    metrics: str
    repository: Path

    @property
    def is_triton(self) -> bool:
        return self.name == "triton"

    @property
    def url(self) -> str:
        return f"http://{self.http}"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on. Triton cannot be told to choose for itself."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def shared_arguments(repository: Path, ports: list[int]) -> list[str]:
    loaded = [f"--load-model={model.name}" for model in all_models() if model.loaded]
    http, grpc, metrics = ports
    return [
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        *loaded,
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        f"--http-port={http}",
        f"--grpc-port={grpc}",
        f"--metrics-port={metrics}",
    ]


@contextmanager
def triton(folder: Path) -> Iterator[Target]:
    """Triton as its wheel has it, without the Python layer around it."""
    packages = Path(sysconfig.get_path("purelib"))
    wheel = packages / "pytriton" / "tritonserver"
    backend = folder / "backends" / "python"
    shutil.copytree(wheel / "backends" / "python", backend)
    stub = wheel / "python_backend_stubs" / "3.11" / "triton_python_backend_stub"
    shutil.copy(stub, backend)
    repository = folder / "triton-models"
    write_repository(repository, for_triton=True)
    ports = free_ports(3)
    command = [
        str(wheel / "bin" / "tritonserver"),
        f"--backend-directory={folder / 'backends'}",
        "--exit-timeout-secs=1",  # it would wait for connections that clients keep open
        *shared_arguments(repository, ports),
    ]
    libraries = [str(packages / "nvidia_pytriton.libs"), os.environ.get("LD_LIBRARY_PATH", "")]
    environment = os.environ | {"LD_LIBRARY_PATH": ":".join(filter(None, libraries))}
    with running(
        "triton",
        command,
        environment=environment,
        log=folder / "triton.log",
        ports=ports,
        repository=repository,
    ) as target:
        yield target


@contextmanager
def inference_pod(folder: Path) -> Iterator[Target]:
    """The program that AIOPS_INFERENCE_POD names."""
    program = os.environ.get("AIOPS_INFERENCE_POD")
    if program is None:
        raise RuntimeError(
            "AIOPS_INFERENCE_POD must name the server's program; inference-pod/tests/conformance/run sets it"
        )
    repository = folder / "pod-models"
    write_repository(repository, for_triton=False)
    ports = free_ports(3)
    command = [
        program,
        *shared_arguments(repository, ports),
        "--metrics-address=127.0.0.1",
        "--rest-address=127.0.0.1",
        "--rest-port=0",
        "--drain-delay-secs=0",
        "--allow-client-shm=true",
        "--allow-settings-changes",
        f"--model-cache={folder / 'cache'}",
    ]
    with running(
        "pod", command, environment=dict(os.environ), log=folder / "pod.log", ports=ports, repository=repository
    ) as target:
        yield target


@contextmanager
def running(
    name: str, command: list[str], *, environment: dict[str, str], log: Path, ports: list[int], repository: Path
) -> Iterator[Target]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    http, grpc, metrics = (f"127.0.0.1:{port}" for port in ports)
    target = Target(name, http, grpc, metrics, repository)
    try:
        wait_until_ready(process, target, log)
        yield target
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], target: Target, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{target.url}/v2/health/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{target.name} did not become ready; the end of {log}:\n{log.read_text()[-4000:]}")
