"""Models that are loaded and unloaded while the servers run. Each call leaves `spare` unloaded."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from ..comparison import Call
from ..models import ONNX_MODELS, runner
from ..replies import http, rpc, with_grpc_client, with_http_client
from ..servers import Target
from .http_infer import ROW, asked, x

Step = Callable[[Target], Any]
LOAD = "/v2/repository/models/spare/load"
UNLOAD = "/v2/repository/models/spare/unload"


def scenario(name: str, *steps: Step, fails: bool = False) -> Call:
    """Steps, with `spare` unloaded in the end. A load that fails leaves Triton unready until one works."""

    def ask(target: Target) -> Any:
        try:
            return [step(target) for step in steps]
        finally:
            if fails:
                http(target, "POST", LOAD)
            http(target, "POST", UNLOAD)
            settled(target)

    return Call(f"repository {name}", ask)


def settled(target: Target) -> None:
    """Waits until nothing is on its way out: unloading is answered before it is done."""
    for _ in range(100):
        index = http(target, "POST", "/v2/repository/index")["json"]
        if all(model.get("state") != "UNLOADING" for model in index):
            return


def load(parameters: dict[str, Any] | None = None, model: str = "spare") -> Step:
    body = None if parameters is None else {"parameters": parameters}
    return lambda target: http(target, "POST", f"/v2/repository/models/{model}/load", body)


def unload(parameters: dict[str, Any] | None = None) -> Step:
    body = None if parameters is None else {"parameters": parameters}
    return lambda target: http(target, "POST", UNLOAD, body)


def load_over_grpc(target: Target) -> Any:
    return rpc(target, "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="spare"))


def unload_over_grpc(target: Target) -> Any:
    return rpc(target, "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="spare"))


def infer(target: Target) -> Any:
    return http(target, "POST", "/v2/models/spare/infer", asked(x(ROW, [1, 4])))


def of_index(target: Target) -> Any:
    """What the index says of `spare`."""
    settled(target)
    index = http(target, "POST", "/v2/repository/index")["json"]
    return [model for model in index if model["name"] == "spare"]


def metadata(target: Target) -> Any:
    reply = http(target, "GET", "/v2/models/spare")
    if "json" in reply:
        reply["json"].pop("platform", None)
    return reply


def config(target: Target, **changes: Any) -> str:
    """A configuration as JSON, with the backend of each server."""
    tensor = {"data_type": "TYPE_FP32"}
    fields = {
        "name": "spare",
        "backend": "python" if target.is_triton else "onnxruntime",
        "max_batch_size": 2,
        "input": [{"name": "x", "dims": [4]} | tensor],
        "output": [{"name": "y", "dims": [3]} | tensor],
    }
    return json.dumps(fields | changes)


def load_with_config(target: Target) -> Any:
    return load({"config": config(target)})(target)


def files(target: Target) -> dict[str, bytes]:
    """What a version consists of: for Triton also the program that runs the model."""
    model = {"file:5/model.onnx": (ONNX_MODELS / "dense_2.onnx").read_bytes()}
    return model | ({"file:5/model.py": runner().encode()} if target.is_triton else {})


def load_with_files(target: Target) -> Any:
    given = {name: base64.b64encode(content).decode() for name, content in files(target).items()}
    return load({"config": config(target)} | given)(target)


def load_with_files_over_grpc(target: Target) -> Any:
    request = pb.RepositoryModelLoadRequest(model_name="spare")
    request.parameters["config"].string_param = config(target)
    for name, content in files(target).items():
        request.parameters[name].bytes_param = content
    return rpc(target, "RepositoryModelLoad", request)


def by_client(with_client: Callable[..., Any]) -> Step:
    def step(target: Target) -> Any:
        def ask(client: Any) -> Any:
            client.load_model("spare", config=config(target), files=files(target))
            loaded = client.is_model_ready("spare", "5")
            client.unload_model("spare")
            return [loaded, client.is_model_ready("spare")]

        return with_client(target, ask)

    return step


CALLS = [
    scenario("loads and unloads", load(), of_index, infer, metadata, unload(), of_index, infer,
             lambda target: http(target, "POST", "/v2/models/spare/versions/1/infer", asked(x(ROW, [1, 4])))),
    scenario("loads and unloads over gRPC", load_over_grpc, of_index, infer, unload_over_grpc, of_index),
    scenario("loads what is loaded", load(), load(), infer),
    scenario("unloads with its dependents", load(), unload({"unload_dependents": True}), of_index),
    scenario("unloads what is not loaded", unload(), of_index),
    scenario("loads with a configuration", load_with_config, metadata, infer,
             lambda target: http(target, "POST", "/v2/models/spare/infer", asked(x(ROW * 3, [3, 4])))),
    scenario("loads with files", load_with_files, metadata, infer),
    scenario("loads with files over gRPC", load_with_files_over_grpc, metadata, infer),
    scenario("loads by tritonclient http", by_client(with_http_client)),
    scenario("loads by tritonclient grpc", by_client(with_grpc_client)),
    scenario("loads with files without a configuration", load({"file:1/model.onnx": "AAAA"})),
    scenario("loads with malformed JSON as configuration", load({"config": "{"})),
    scenario("loads with a configuration that is a number", load({"config": 1})),
    scenario("loads with an unknown parameter", load({"colour": "red"})),
    scenario("loads with files that are not base64", load({"config": "{}", "file:1/model.onnx": "***"}),
             fails=True),
    scenario("loads a model that is garbage and stays ready",
             lambda target: load({"config": config(target), "file:1/model.onnx": "AAAA", "file:1/model.py": "AAAA"})
             (target)["status"],
             lambda target: http(target, "GET", "/v2/health/ready")["status"], fails=True),
    scenario("loads with a malformed body", lambda target: http(target, "POST", LOAD, b"{")),
    scenario("unloads with a wrong parameter", unload({"unload_dependents": "yes"})),
    scenario("unloads with an unknown parameter", unload({"colour": "red"})),
]  # fmt: skip
