"""tritonclient's own classes, synchronous and not: what a program sees."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable
from typing import Any

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


def steady(client: Any) -> Any:
    return without_times(plain(client.get_inference_statistics("counted")))


HTTP, GRPC = tritonclient.http, tritonclient.grpc


def identity(library: Any, datatype: str) -> Call:
    """A tensor of a datatype there and back."""
    values = DATATYPES[datatype]

    def ask(client: Any) -> Any:
        return client.infer(f"identity_{datatype.lower()}", dense(library, datatype=datatype, values=values))

    return (over_http if library is HTTP else over_grpc)(f"infer of {datatype}", ask)


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
        client.update_trace_settings("dense", {"trace_rate": "7", "trace_count": "5"}),
        client.get_trace_settings("dense"),
        client.update_trace_settings("dense", {"trace_rate": None, "trace_count": None}),
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
    *(identity(library, datatype) for library in (HTTP, GRPC) for datatype in DATATYPES),
    asynchronous("everything that only asks", tritonclient.http.aio, everything),
    asynchronous("everything that only asks", tritonclient.grpc.aio, everything),
    asynchronous("infer", tritonclient.http.aio, lambda client: client.infer("dense", dense(HTTP))),
    asynchronous("infer", tritonclient.grpc.aio, lambda client: client.infer("dense", dense(GRPC))),
    asynchronous("infer of no model", tritonclient.http.aio, lambda client: client.infer("absent", dense(HTTP))),
    asynchronous("infer of no model", tritonclient.grpc.aio, lambda client: client.infer("absent", dense(GRPC))),
]  # fmt: skip
