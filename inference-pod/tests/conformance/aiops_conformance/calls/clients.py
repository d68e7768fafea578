"""tritonclient's own classes, synchronous and not, and KServe's client: what a program sees."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable
from typing import Any

import kserve
import numpy
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

from ..comparison import Call
from ..replies import plain, with_grpc_client, with_http_client
from ..servers import Target
from .http_routes import without_times

ROWS = numpy.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=numpy.float32)
DATATYPES = {
    "BOOL": numpy.array([[True, False]]),
    "UINT8": numpy.array([[0, 255]], dtype=numpy.uint8),
    "INT64": numpy.array([[-(2**63), 2**63 - 1]], dtype=numpy.int64),
    "FP16": numpy.array([[1.5, -2]], dtype=numpy.float16),
    "BF16": numpy.array([[1.5, -2]], dtype=numpy.float32),
    "FP64": numpy.array([[1.5, numpy.inf]]),
    "BYTES": numpy.array([["a", "é"]], dtype=numpy.object_),
}


def dense(library: Any, name: str = "x", datatype: str = "FP32", values: Any = ROWS, **how: Any) -> list[Any]:
    """The input of the model, with numpy values."""
    tensor = library.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, **how)
    return [tensor]


def over_http(name: str, ask: Callable[[Any], Any]) -> Call:
    return Call(f"tritonclient http {name}", lambda target: with_http_client(target, ask))


def over_grpc(name: str, ask: Callable[[Any], Any]) -> Call:
    return Call(f"tritonclient grpc {name}", lambda target: with_grpc_client(target, ask))


def over_both(name: str, ask: Callable[[Any], Any]) -> list[Call]:
    return [over_http(name, ask), over_grpc(name, ask)]


def asynchronous(name: str, library: Any, ask: Callable[[Any], Awaitable[Any]]) -> Call:
    """With the asyncio client of a library."""

    async def talk(target: Target, address: str) -> Any:
        async with library.InferenceServerClient(address) as client:
            try:
                return plain(await ask(client))
            except InferenceServerException as error:
                return {"status": error.status(), "error": error.message()}

    is_http = library is tritonclient.http.aio
    title = f"tritonclient {'http' if is_http else 'grpc'} aio {name}"
    return Call(title, lambda target: asyncio.run(talk(target, target.http if is_http else target.grpc)))


async def everything(client: Any) -> Any:
    """One of each call that only asks."""
    return [
        await client.is_server_live(),
        await client.is_server_ready(),
        await client.is_model_ready("dense"),
        await client.is_model_ready("absent"),
        await client.get_log_settings(),
    ]


def streamed(client: Any) -> Any:
    """Five requests and one that is wrong over one stream, by the client's callbacks."""
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    names = ["dense", "dense", "absent", "labelled", "dense"]
    for number, model in enumerate(names):
        client.async_stream_infer(model, dense(tritonclient.grpc), request_id=str(number))
    replies = []
    for _ in names:
        result, error = answers.get(timeout=30)
        replies.append(plain(result) if error is None else str(error))
    client.stop_stream()
    return replies


def kserve_rest(name: str, ask: Callable[[Any, str], Awaitable[Any]]) -> Call:
    async def talk(target: Target) -> Any:
        client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", retries=0))
        try:
            return kserve_plain(await ask(client, target.url))
        except Exception as error:  # noqa: BLE001 - whatever it raises is what its users see
            return {"error": type(error).__name__, "message": str(error).replace(target.url, "URL")}

    return Call(f"kserve rest {name}", lambda target: asyncio.run(talk(target)))


def kserve_grpc(name: str, ask: Callable[[Any], Awaitable[Any]]) -> Call:
    async def talk(target: Target) -> Any:
        client = kserve.InferenceGRPCClient(url=target.grpc, retries=0)
        try:
            return kserve_plain(await ask(client))
        except Exception as error:  # noqa: BLE001
            return {"error": type(error).__name__, "message": str(error)}

    return Call(f"kserve grpc {name}", lambda target: asyncio.run(talk(target)))


def kserve_plain(answer: Any) -> Any:
    if isinstance(answer, kserve.InferResponse):
        outputs = {output.name: plain(numpy.asarray(output.as_numpy())) for output in answer.outputs}
        return {"model": answer.model_name, "version": answer.model_version, "outputs": outputs}
    return answer


def kserve_request(model: str = "dense", binary: bool = False, values: Any = ROWS) -> Any:
    tensor = kserve.InferInput("x", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values, binary_data=binary)
    return kserve.InferRequest(model_name=model, infer_inputs=[tensor], request_id="mine")


def steady(client: Any) -> Any:
    return without_times(plain(client.get_inference_statistics("ratio")))


HTTP, GRPC = tritonclient.http, tritonclient.grpc

CALLS = [
    *over_both("health", lambda client: [
        client.is_server_live(), client.is_server_ready(), client.is_model_ready("dense"),
        client.is_model_ready("dense", "1"), client.is_model_ready("dense", "9"), client.is_model_ready("absent"),
    ]),
    *over_both("metadata of an unknown model", lambda client: client.get_model_metadata("absent")),
    *over_both("configuration of an unknown version", lambda client: client.get_model_config("dense", "9")),
    *over_both("statistics", steady),
    *over_both("log settings", lambda client: client.update_log_settings({"log_verbose_level": 0})),
    *over_both("trace settings", lambda client: [
        client.update_trace_settings("dense", {"trace_rate": "7", "trace_level": ["TIMESTAMPS"]}),
        client.get_trace_settings("dense"),
        client.update_trace_settings("dense", {"trace_rate": None, "trace_level": None}),
        client.get_trace_settings(),
    ]),
    over_http("infer", lambda client: client.infer("dense", dense(HTTP))),
    over_http("infer with JSON both ways", lambda client: client.infer(
        "dense", dense(HTTP, binary_data=False), outputs=[HTTP.InferRequestedOutput("y", binary_data=False)])),
    over_http("infer with compression", lambda client: client.infer(
        "dense", dense(HTTP), request_compression_algorithm="gzip", response_compression_algorithm="deflate")),
    over_http("infer asynchronously", lambda client: client.async_infer("dense", dense(HTTP)).get_result()),
    over_http("infer with classes", lambda client: client.infer(
        "labelled", dense(HTTP), outputs=[HTTP.InferRequestedOutput("y", class_count=2)])),
    over_http("infer with id, priority, timeout and parameters", lambda client: client.infer(
        "dense", dense(HTTP), request_id="mine", priority=1, timeout=10_000_000, parameters={"colour": "red"})),
    over_http("infer of an unknown model", lambda client: client.infer("absent", dense(HTTP))),
    over_http("infer with the wrong datatype", lambda client: client.infer(
        "dense", dense(HTTP, datatype="INT32", values=ROWS.astype(numpy.int32)))),
    over_grpc("infer", lambda client: client.infer("dense", dense(GRPC))),
    over_grpc("infer with compression", lambda client: client.infer(
        "dense", dense(GRPC), compression_algorithm="gzip")),
    over_grpc("infer with classes", lambda client: client.infer(
        "labelled", dense(GRPC), outputs=[GRPC.InferRequestedOutput("y", class_count=2)])),
    over_grpc("infer with id, priority, timeout and parameters", lambda client: client.infer(
        "dense", dense(GRPC), request_id="mine", priority=1, timeout=10_000_000, parameters={"colour": "red"})),
    over_grpc("infer of an unknown model", lambda client: client.infer("absent", dense(GRPC))),
    over_grpc("infer with the wrong datatype", lambda client: client.infer(
        "dense", dense(GRPC, datatype="INT32", values=ROWS.astype(numpy.int32)))),
    over_grpc("infer in a stream", streamed),
    *(over_http(f"infer of {datatype}", lambda client, datatype=datatype, values=values: client.infer(
        f"identity_{datatype.lower()}", dense(HTTP, datatype=datatype, values=values)))
      for datatype, values in DATATYPES.items()),
    *(over_grpc(f"infer of {datatype}", lambda client, datatype=datatype, values=values: client.infer(
        f"identity_{datatype.lower()}", dense(GRPC, datatype=datatype, values=values)))
      for datatype, values in DATATYPES.items()),
    asynchronous("everything that only asks", tritonclient.http.aio, everything),
    asynchronous("everything that only asks", tritonclient.grpc.aio, everything),
    asynchronous("infer", tritonclient.http.aio, lambda client: client.infer("dense", dense(HTTP))),
    asynchronous("infer", tritonclient.grpc.aio, lambda client: client.infer("dense", dense(GRPC))),
    asynchronous("infer of an unknown model", tritonclient.http.aio, lambda client: client.infer("absent", dense(HTTP))),
    asynchronous("infer of an unknown model", tritonclient.grpc.aio, lambda client: client.infer("absent", dense(GRPC))),
    kserve_rest("infer", lambda client, url: client.infer(url, kserve_request(), model_name="dense")),
    kserve_rest("infer with binary data", lambda client, url: client.infer(
        url, kserve_request(binary=True), model_name="dense")),
    kserve_rest("infer of an unknown model", lambda client, url: client.infer(
        url, kserve_request("absent"), model_name="absent")),
    kserve_rest("infer with the wrong shape", lambda client, url: client.infer(
        url, kserve_request(values=ROWS[:, :3]), model_name="dense")),
    kserve_rest("model ready", lambda client, url: client.is_model_ready(url, "dense")),
    kserve_rest("unknown model ready", lambda client, url: client.is_model_ready(url, "absent")),
    kserve_rest("server ready", lambda client, url: client.is_server_ready(url)),
    kserve_rest("server live", lambda client, url: client.is_server_live(url)),
    kserve_grpc("infer", lambda client: client.infer(kserve_request())),
    kserve_grpc("infer of an unknown model", lambda client: client.infer(kserve_request("absent"))),
    kserve_grpc("model ready", lambda client: client.is_model_ready("dense")),
    kserve_grpc("unknown model ready", lambda client: client.is_model_ready("absent")),
    kserve_grpc("server ready", lambda client: client.is_server_ready()),
    kserve_grpc("server live", lambda client: client.is_server_live()),
]  # fmt: skip
