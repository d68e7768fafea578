"""What KServe's client gets. It runs in a process of its own: its messages have the names of tritonclient's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import kserve
import numpy

ROWS = numpy.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=numpy.float32)


def request(model: str = "dense", binary: bool = False, values: Any = ROWS) -> Any:
    """A request of KServe's."""
    tensor = kserve.InferInput("x", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values, binary_data=binary)
    return kserve.InferRequest(model_name=model, infer_inputs=[tensor], request_id="mine")


Ask = Callable[[Any, str], Awaitable[Any]]

REST: dict[str, Ask] = {
    "infer": lambda client, url: client.infer(url, request(), model_name="dense"),
    "infer with binary data": lambda client, url: client.infer(url, request(binary=True), model_name="dense"),
    "infer of an unknown model": lambda client, url: client.infer(url, request("absent"), model_name="absent"),
    "infer with the wrong shape": lambda client, url: client.infer(
        url, request(values=ROWS[:, :3]), model_name="dense"
    ),
    "model ready": lambda client, url: client.is_model_ready(url, "dense"),
    "unknown model ready": lambda client, url: client.is_model_ready(url, "absent"),
    "server ready": lambda client, url: client.is_server_ready(url),
    "server live": lambda client, url: client.is_server_live(url),
}

GRPC: dict[str, Ask] = {
    "infer": lambda client, _: client.infer(request(binary=True)),
    "infer of an unknown model": lambda client, _: client.infer(request("absent", binary=True)),
    "infer with the wrong shape": lambda client, _: client.infer(request(binary=True, values=ROWS[:, :3])),
    "model ready": lambda client, _: client.is_model_ready("dense"),
    "unknown model ready": lambda client, _: client.is_model_ready("absent"),
    "server ready": lambda client, _: client.is_server_ready(),
    "server live": lambda client, _: client.is_server_live(),
}


def answer(protocol: str, name: str, address: str) -> Any:
    """What the client returns, or what it raises."""
    return asyncio.run(talk(protocol, name, address))


async def talk(protocol: str, name: str, address: str) -> Any:
    if protocol == "rest":
        client, ask = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", retries=0)), REST[name]
    else:
        client, ask = kserve.InferenceGRPCClient(url=address, retries=0), GRPC[name]
    try:
        return plain(await ask(client, f"http://{address}"))
    except Exception as error:  # whatever it raises is what its users see
        return {"error": type(error).__name__, "message": str(error).replace(address, "ADDRESS")}


def plain(value: Any) -> Any:
    """An answer as plain values."""
    if not isinstance(value, kserve.InferResponse):
        return value
    outputs = {output.name: numpy.asarray(output.as_numpy()).tolist() for output in value.outputs}
    return {"model": value.model_name, "version": value.model_version, "id": value.id, "outputs": outputs}
