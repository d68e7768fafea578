"""Fetching a model of 1 GiB from a real MinIO, against the speed at which the same disk takes the same bytes."""

import os
import re
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from .models import IR_VERSION, OPSET, SEED
from .processes import Server, free_port
from .systems import Installation

MODEL = "table"
WIDTH = 1024
FLOAT_BYTES = 4
PIECE_BYTES = 1 << 20
REPEATS = 3
USER = "aiops-bench"
PASSWORD = "aiops-bench-password"  # noqa: S105 - of a store that lives as long as the measurement
TARGET = 0.8


@dataclass(frozen=True)
class Round:
    """Seconds for the same bytes: fetched, and written by a loop that does nothing else."""

    fetched: float
    # Until they are on the disk, too: what a fetch leaves to the system.
    fetched_and_synced: float
    written: float
    written_and_synced: float
    # By the server's processor, and by MinIO's.
    server_processor: float
    store_processor: float


def measure(installation: Installation, size: int = 1 << 30) -> tuple[str, bool]:
    # /tmp may be memory.
    with tempfile.TemporaryDirectory(prefix="bench-fetch-", dir="/var/tmp") as name:
        folder = Path(name)
        with minio(installation.minio, folder / "store") as (store, environment):
            publish(installation, environment, folder, size)
            rounds = [one(installation, environment, store, folder, size) for _ in range(REPEATS)]
    return describe(rounds, size)


def describe(rounds: list[Round], size: int) -> tuple[str, bool]:
    def median(value: Callable[[Round], float]) -> float:
        return statistics.median(value(one) for one in rounds)

    fetched, written = (size / 1e6 / median(value) for value in (lambda one: one.fetched, lambda one: one.written))
    fetched_and_synced = size / 1e6 / median(lambda one: one.fetched_and_synced)
    written_and_synced = size / 1e6 / median(lambda one: one.written_and_synced)
    share = fetched_and_synced / written_and_synced
    text = (
        f"{100 * share:.0f} % (until all is on the disk {fetched_and_synced:,.0f} MB/s against "
        f"{written_and_synced:,.0f}; into the page cache, where a fetch ends, {fetched:,.0f} against {written:,.0f}; "
        f"MinIO, which reads from the page cache, took {median(lambda one: one.store_processor):.1f} s of the cores "
        f"and the server {median(lambda one: one.server_processor):.1f} s; medians of {len(rounds)})"
    )
    return text, share >= TARGET


@contextmanager
def minio(program: Path, folder: Path) -> Iterator[tuple[Server, Mapping[str, str]]]:
    """A store with the bucket `models`, and what its clients need to know."""
    # MinIO keeps a bucket as a folder, so this is one from the start.
    (folder / "models").mkdir(parents=True)
    port = free_port()
    command = [str(program), "server", "--quiet", "--address", f"127.0.0.1:{port}", str(folder)]
    secrets = {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD, "MINIO_BROWSER": "off"}
    with Server(command, secrets, folder.parent / "minio.log", cores=None) as server:
        server.wait_ready(f"http://127.0.0.1:{port}/minio/health/ready")
        yield (
            server,
            {
                "AWS_ACCESS_KEY_ID": USER,
                "AWS_SECRET_ACCESS_KEY": PASSWORD,
                "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
                "AWS_REGION": "us-east-1",
                "AIOPS_S3_PATH_STYLE": "true",
            },
        )


def publish(installation: Installation, environment: Mapping[str, str], folder: Path, size: int) -> None:
    source = folder / "source"
    write_table(source, size)
    command = [str(installation.inference_pod), "publish", f"--input={source}", "--model-repository=s3://models"]
    command += [f"--model={MODEL}", "--version=1", f"--termination-log={folder / 'termination'}"]
    settings = {"ORT_DYLIB_PATH": str(installation.onnxruntime), **environment}
    subprocess.run(command, env={**os.environ, **settings}, check=True, capture_output=True)  # noqa: S603


def write_table(folder: Path, size: int) -> None:
    """A model that looks up lines of a table, which is a file of its own with random bytes that no store can shrink."""
    folder.mkdir()
    random = np.random.default_rng(SEED)
    with (folder / "table.bin").open("wb") as file:
        for _ in range(size // PIECE_BYTES):
            file.write(random.standard_normal(PIECE_BYTES // FLOAT_BYTES, dtype=np.float32).tobytes())
    lines = size // (WIDTH * FLOAT_BYTES)
    table = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=[lines, WIDTH])
    table.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "table.bin"), ("offset", "0"), ("length", str(size))):
        table.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "line"], ["values"], axis=0)],
        "bench",
        [helper.make_tensor_value_info("line", TensorProto.INT64, ["rows"])],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, ["rows", WIDTH])],
        [table],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(folder / "model.onnx"))


def one(installation: Installation, environment: Mapping[str, str], store: Server, folder: Path, size: int) -> Round:
    """Alternately, so that what else the machine does meets both."""
    written, written_and_synced = write(folder / "source" / "table.bin", folder / "written")
    with tempfile.TemporaryDirectory(prefix="cache-", dir=folder) as cache:
        store_before = store.processor_seconds()
        fetched, server_processor = fetch(installation, environment, Path(cache), folder / "log")
        store_processor = store.processor_seconds() - store_before
        started = time.monotonic()
        for file in sorted(Path(cache).glob("*/table.bin")):
            sync(file)
        synced = fetched + time.monotonic() - started
    return Round(fetched, synced, written, written_and_synced, server_processor, store_processor)


def write(source: Path, target: Path) -> tuple[float, float]:
    """Seconds for a file's bytes, in a fetch's pieces into a file with its place; and until they are on the disk."""
    os.sync()
    started = time.monotonic()
    with source.open("rb", buffering=0) as bytes_from, target.open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, source.stat().st_size)
        while piece := bytes_from.read(PIECE_BYTES):
            file.write(piece)
        written = time.monotonic() - started
        os.fsync(file.fileno())
    synced = time.monotonic() - started
    target.unlink()
    return written, synced


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def fetch(installation: Installation, environment: Mapping[str, str], cache: Path, log: Path) -> tuple[float, float]:
    """Seconds of the fetch as the server's own metrics have them, and those of its processor until then."""
    os.sync()
    http, grpc, metrics, rest = (free_port() for _ in range(4))
    command = [str(installation.inference_pod), "--model-repository=s3://models", f"--model-cache={cache}"]
    command += [f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}", f"--rest-port={rest}"]
    command.append("--drain-delay-secs=0")
    settings = {"ORT_DYLIB_PATH": str(installation.onnxruntime), **environment}
    with Server(command, settings, log, cores=None) as server:
        server.wait_ready(f"http://127.0.0.1:{http}/v2/health/ready")
        processor = server.processor_seconds()
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    found = re.search(r'aiops_model_load_phase_seconds\{[^}]*phase="fetch"[^}]*\} (\S+)', text)
    if found is None:
        raise RuntimeError(f"the metrics do not say how long the fetch took:\n{text}")
    return float(found[1]), processor
