"""The systems that are compared: how each is set up, started and asked. All run the same ONNX Runtime."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .load import Target
from .models import Model
from .payloads import INFER_METHOD, Protocol
from .processes import Server, free_port

PEERS = Path(__file__).parents[1] / "peers"
V2_PROTOCOLS = (Protocol.JSON, Protocol.BINARY, Protocol.GRPC)


@dataclass(frozen=True)
class Installation:
    """Where the programs are."""

    inference_pod: Path
    onnxruntime: Path
    minio: Path
    # The interpreter of each peer's environment.
    pythons: Mapping[str, Path]


@dataclass(frozen=True)
class Running:
    """A started system."""

    server: Server
    ready_url: str
    # For each protocol that it speaks, where a model takes requests.
    targets: Mapping[Protocol, Callable[[Model], Target]]


@dataclass(frozen=True)
class Setting:
    """What a system is started with."""

    installation: Installation
    files: Mapping[str, Path]
    models: list[Model]
    folder: Path
    # More arguments of this server.
    arguments: tuple[str, ...] = ("--drain-delay-secs=0",)

    @property
    def log(self) -> Path:
        return self.folder / "log"


def write_repository(setting: Setting, backend: str) -> Path:
    """A model repository of Triton's layout, with the same batching for every server that reads it."""
    repository = setting.folder / "models"
    for model in setting.models:
        version = repository / model.name / "1"
        version.mkdir(parents=True)
        shutil.copy(setting.files[model.name], version / "model.onnx")
        (version.parent / "config.pbtxt").write_text(configuration(model, backend))
    return repository


def configuration(model: Model, backend: str) -> str:
    def ports(kind: str, all_ports: tuple[object, ...]) -> str:
        return "".join(f"{kind} {{ {port} }}\n" for port in all_ports)

    described = {
        kind: tuple(
            f'name: "{port.name}" data_type: TYPE_{port.datatype} dims: [{", ".join(map(str, port.dims))}]'
            for port in group
        )
        for kind, group in (("input", model.inputs), ("output", model.outputs))
    }
    return (
        f'backend: "{backend}"\nmax_batch_size: {model.max_batch_size}\n'
        + ports("input", described["input"])
        + ports("output", described["output"])
        + "dynamic_batching {}\ninstance_group { count: 1 kind: KIND_CPU }\n"
    )


def v2_http(port: int) -> Callable[[Model], Target]:
    return lambda model: Target(port, f"/v2/models/{model.name}/infer")


def v2_grpc(port: int) -> Callable[[Model], Target]:
    return lambda model: Target(port, INFER_METHOD)


def v2_targets(
    http: int, grpc: int, protocols: tuple[Protocol, ...] = V2_PROTOCOLS
) -> Mapping[Protocol, Callable[[Model], Target]]:
    return {protocol: v2_grpc(grpc) if protocol is Protocol.GRPC else v2_http(http) for protocol in protocols}


def start_ours(setting: Setting) -> Running:
    http, grpc, metrics, rest = (free_port() for _ in range(4))
    command = [str(setting.installation.inference_pod)]
    command += [f"--model-repository={write_repository(setting, 'onnxruntime')}"]
    command += setting.arguments
    command += [f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}", f"--rest-port={rest}"]
    environment = {"ORT_DYLIB_PATH": str(setting.installation.onnxruntime)}
    server = Server(command, environment, setting.log)
    return Running(server, f"http://127.0.0.1:{http}/v2/health/ready", v2_targets(http, grpc))


def start_triton(setting: Setting) -> Running:
    """Triton's front ends and batcher, with its Python backend: no package carries that for ONNX Runtime."""
    python = setting.installation.pythons["triton"]
    packages = next((python.parents[1] / "lib").glob("python3*/site-packages"))
    triton = packages / "pytriton" / "tritonserver"
    backend = setting.folder / "backends" / "python"
    shutil.copytree(triton / "backends" / "python", backend)
    version = packages.parent.name.removeprefix("python")
    shutil.copy(triton / "python_backend_stubs" / version / "triton_python_backend_stub", backend)
    repository = write_repository(setting, "python")
    for model in setting.models:
        folder = repository / model.name / "1"
        text = (PEERS / "triton" / "model.py").read_text()
        (folder / "model.py").write_text(text.replace("SITE_PACKAGES", str(packages)))
    http, grpc, metrics = (free_port() for _ in range(3))
    command = [str(triton / "bin" / "tritonserver"), f"--model-repository={repository}"]
    command += [f"--backend-directory={backend.parent}", "--model-control-mode=explicit", "--load-model=*"]
    command += [f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"]
    libraries = f"{packages / 'nvidia_pytriton.libs'}:{library_folder(python)}"
    server = Server(command, {"LD_LIBRARY_PATH": libraries}, setting.log)
    return Running(server, f"http://127.0.0.1:{http}/v2/health/ready", v2_targets(http, grpc))


def library_folder(python: Path) -> Path:
    """Where libpython of this interpreter is."""
    return python.resolve().parents[1] / "lib"


def start_mlserver(setting: Setting) -> Running:
    http, grpc, metrics = (free_port() for _ in range(3))
    settings: dict[str, object] = {"http_port": http, "grpc_port": grpc, "metrics_port": metrics, "parallel_workers": 0}
    settings |= {"host": "127.0.0.1", "debug": False, "logging_settings": None}
    (setting.folder / "settings.json").write_text(json.dumps(settings))
    shutil.copy(PEERS / "mlserver" / "adapter.py", setting.folder)
    for model in setting.models:
        folder = setting.folder / model.name
        folder.mkdir()
        described: dict[str, object] = {"name": model.name, "implementation": "adapter.OnnxModel"}
        described |= {"max_batch_size": model.max_batch_size, "max_batch_time": 0.0005}
        described["parameters"] = {"uri": str(setting.files[model.name])}
        (folder / "model-settings.json").write_text(json.dumps(described))
    python = setting.installation.pythons["mlserver"]
    command = [str(python.parent / "mlserver"), "start", str(setting.folder)]
    server = Server(command, {"PYTHONPATH": str(setting.folder)}, setting.log)
    # Its HTTP server knows no binary tensors.
    targets = v2_targets(http, grpc, (Protocol.JSON, Protocol.GRPC))
    return Running(server, f"http://127.0.0.1:{http}/v2/health/ready", targets)


def start_kserve(setting: Setting) -> Running:
    http, grpc = free_port(), free_port()
    command = [str(setting.installation.pythons["kserve"]), str(PEERS / "kserve" / "server.py")]
    command += [f"--http_port={http}", f"--grpc_port={grpc}", "--workers=1", "--enable_grpc=true"]
    command.append("--enable_latency_logging=false")
    command += [f"--model={model.name}={setting.files[model.name]}" for model in setting.models]
    server = Server(command, {}, setting.log)
    return Running(server, f"http://127.0.0.1:{http}/v2/health/ready", v2_targets(http, grpc))


def start_litserve(setting: Setting) -> Running:
    """One model a process: it serves the plan's first."""
    port = free_port()
    model = setting.models[0]
    command = [str(setting.installation.pythons["litserve"]), str(PEERS / "litserve" / "server.py")]
    server = Server([*command, str(setting.files[model.name]), str(port)], {}, setting.log)
    targets = {Protocol.ROWS: lambda _: Target(port, "/predict")}
    return Running(server, f"http://127.0.0.1:{port}/health", targets)


def start_bentoml(setting: Setting) -> Running:
    """One model a process: it serves the plan's first."""
    port = free_port()
    model = setting.models[0]
    python = setting.installation.pythons["bentoml"]
    command = [str(python.parent / "bentoml"), "serve", "service:OnnxService", "--port", str(port)]
    command += ["--host", "127.0.0.1", "--working-dir", str(PEERS / "bentoml")]
    environment = {"BENCH_MODEL": str(setting.files[model.name]), "BENTOML_HOME": str(setting.folder)}
    environment["BENTOML_CONFIG_OPTIONS"] = "api_server.logging.access.enabled=false"
    environment |= {"BENTOML_DO_NOT_TRACK": "True", "PATH": f"{python.parent}:{os.environ['PATH']}"}
    server = Server(command, environment, setting.log)
    targets = {Protocol.ROWS: lambda _: Target(port, "/infer")}
    return Running(server, f"http://127.0.0.1:{port}/readyz", targets)


SYSTEMS: dict[str, Callable[[Setting], Running]] = {
    "ours": start_ours,
    "triton": start_triton,
    "mlserver": start_mlserver,
    "kserve": start_kserve,
    "bentoml": start_bentoml,
    "litserve": start_litserve,
}

# These serve one model a process, so they are started for each model.
ONE_MODEL_SYSTEMS = ("bentoml", "litserve")
