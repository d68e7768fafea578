"""What servers answer, as plain values that can be compared: status, headers that matter, JSON, messages, errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import grpc
import httpx
import numpy
import tritonclient.grpc
import tritonclient.http
from google.protobuf import json_format
from google.protobuf.message import Message
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from .servers import Target

HEADERS = ("allow", "content-encoding", "content-type", "inference-header-content-length", "location")
TIMEOUT_SECONDS = 30
# An error whose text a client's library makes up from its own addresses and stacks is compared by its kind.
OWN_WORDS = "the client's own words"


def http(
    target: Target, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """The answer to a raw request. `body` is sent as it is when it is bytes or text, and as JSON otherwise."""
    content = body if isinstance(body, bytes | str | None) else json.dumps(body)
    answer = httpx.request(method, target.url + path, content=content, headers=headers, timeout=TIMEOUT_SECONDS)
    return http_reply(answer.status_code, answer.headers, answer.content)


def http_reply(status: int, headers: Any, content: bytes) -> dict[str, Any]:
    """Status, headers that matter, and the body: JSON as values, binary data behind it in hexadecimal digits."""
    reply: dict[str, Any] = {"status": status, "headers": {name: headers[name] for name in HEADERS if name in headers}}
    length = int(headers.get("inference-header-content-length", len(content)))
    try:
        reply["json"] = json.loads(content[:length])
        reply["binary"] = content[length:].hex()
        # The length of the JSON depends on spaces in it.
        if "inference-header-content-length" in reply["headers"]:
            reply["headers"]["inference-header-content-length"] = "given"
    except ValueError:
        reply["body"] = content.decode(errors="backslashreplace")
    return reply


@cache
def channel(target: Target) -> Any:
    largest = 2**31 - 1
    options = [("grpc.max_send_message_length", largest), ("grpc.max_receive_message_length", largest)]
    return grpc.insecure_channel(target.grpc, options=options)


def rpc(target: Target, method: str, request: Message, metadata: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    """The answer to one RPC: the message, or code and details."""
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel(target))
    try:
        answer = getattr(stub, method)(request, timeout=TIMEOUT_SECONDS, metadata=tuple(metadata))
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details()}
    return {"code": "OK", "message": message(answer)}


def stream(target: Target, requests: list[Message]) -> list[dict[str, Any]]:
    """The answers of one stream, in the order in which they come."""
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel(target))
    replies = []
    try:
        for answer in stub.ModelStreamInfer(iter(requests), timeout=TIMEOUT_SECONDS):
            replies.append(message(answer))
    except grpc.RpcError as error:
        replies.append({"code": error.code().name, "details": error.details()})
    return replies


def message(answer: Message) -> dict[str, Any]:
    """A message's fields that are set, bytes in base64."""
    fields: dict[str, Any] = json_format.MessageToDict(answer, preserving_proto_field_name=True)
    return fields


def with_http_client(target: Target, ask: Callable[[Any], Any], **options: Any) -> Any:
    """What `ask` gets from tritonclient's HTTP client."""
    client = tritonclient.http.InferenceServerClient(target.http, **options)
    try:
        return outcome(lambda: ask(client))
    finally:
        client.close()


def with_grpc_client(target: Target, ask: Callable[[Any], Any]) -> Any:
    """What `ask` gets from tritonclient's gRPC client."""
    client = tritonclient.grpc.InferenceServerClient(target.grpc)
    try:
        return outcome(lambda: ask(client))
    finally:
        client.close()


def outcome(ask: Callable[[], Any]) -> Any:
    """An answer as plain values, or the client's error."""
    try:
        return plain(ask())
    except InferenceServerException as error:
        return {"status": error.status(), "error": error.message()}


def plain(answer: Any) -> Any:  # noqa: PLR0911 - a table of types
    """Results of the clients as values that can be compared."""
    if isinstance(answer, tritonclient.grpc.InferResult):
        response = answer.get_response()
        arrays = {output.name: plain(answer.as_numpy(output.name)) for output in response.outputs}
        return {"response": message(response), "arrays": arrays}
    if isinstance(answer, tritonclient.http.InferResult):
        response = answer.get_response()
        names = [output["name"] for output in response.get("outputs", [])]
        return {"response": response, "arrays": {name: plain(answer.as_numpy(name)) for name in names}}
    if isinstance(answer, Message):
        return message(answer)
    if isinstance(answer, numpy.ndarray):
        values = [repr(value) for value in answer.reshape(-1).tolist()]
        return {"dtype": str(answer.dtype), "shape": list(answer.shape), "values": values}
    if isinstance(answer, list | tuple):
        return [plain(one) for one in answer]
    if isinstance(answer, dict):
        return {name: plain(value) for name, value in answer.items()}
    return answer
