"""Requests as bytes, made once: by Triton's own client where its protocol is spoken."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2
from tritonclient.utils import triton_to_np_dtype

from .models import Array, Model

INFER_METHOD = "/inference.GRPCInferenceService/ModelInfer"


class Protocol(Enum):
    """How a request is written."""

    JSON = "HTTP JSON"
    BINARY = "HTTP binary"
    GRPC = "gRPC"
    ROWS = "rows as JSON"  # the own protocol of servers that know no other

    @property
    def transport(self) -> str:
        return "grpc" if self is Protocol.GRPC else "http"


@dataclass(frozen=True)
class Body:
    """The bytes of a request, and how many of them are JSON where binary data follows."""

    content: bytes
    json_length: int | None = None


def encode(protocol: Protocol, model: Model, arrays: dict[str, Array]) -> Body:
    """One request."""
    return ENCODERS[protocol](model, arrays)


def json_body(model: Model, arrays: dict[str, Array]) -> Body:
    inputs = [
        {
            "name": port.name,
            "datatype": port.datatype,
            "shape": arrays[port.name].shape,
            "data": numbers(arrays[port.name].ravel()),
        }
        for port in model.inputs
    ]
    return Body(json.dumps({"inputs": inputs}, separators=(",", ":")).encode())


def numbers(array: Array) -> list[object]:
    # A float of four digits is written with four, not with those of the double that it becomes.
    return [float(str(value)) if isinstance(value, np.floating) else int(value) for value in array]


def rows_body(model: Model, arrays: dict[str, Array]) -> Body:
    """Each input by its name; that of a model with one is called rows, as the peers' adapters expect."""
    names = ["rows"] if len(model.inputs) == 1 else [port.name for port in model.inputs]
    named = {
        name: [numbers(row.ravel()) for row in arrays[port.name]]
        for name, port in zip(names, model.inputs, strict=True)
    }
    return Body(json.dumps(named, separators=(",", ":")).encode())


def binary_body(model: Model, arrays: dict[str, Array]) -> Body:
    inputs = []
    for port in model.inputs:
        tensor = triton_http.InferInput(port.name, list(arrays[port.name].shape), port.datatype)
        tensor.set_data_from_numpy(arrays[port.name], binary_data=True)
        inputs.append(tensor)
    content, json_length = triton_http.InferenceServerClient.generate_request_body(inputs)
    return Body(content, json_length)


def grpc_body(model: Model, arrays: dict[str, Array]) -> Body:
    message = service_pb2.ModelInferRequest(model_name=model.name)
    for port in model.inputs:
        tensor = triton_grpc.InferInput(port.name, list(arrays[port.name].shape), port.datatype)
        tensor.set_data_from_numpy(arrays[port.name])
        message.inputs.append(tensor._get_tensor())
        message.raw_input_contents.append(tensor._get_content())
    return Body(message.SerializeToString())


ENCODERS: dict[Protocol, Callable[[Model, dict[str, Array]], Body]] = {
    Protocol.JSON: json_body,
    Protocol.BINARY: binary_body,
    Protocol.GRPC: grpc_body,
    Protocol.ROWS: rows_body,
}


def decode(protocol: Protocol, model: Model, answer: bytes) -> Array:
    """The first output of an answer, flat."""
    port = model.outputs[0]
    datatype = triton_to_np_dtype(port.datatype)
    if protocol is Protocol.GRPC:
        message = service_pb2.ModelInferResponse.FromString(answer)
        if message.raw_output_contents:
            return np.frombuffer(message.raw_output_contents[0], dtype=datatype)
        return np.array(message.outputs[0].contents.fp32_contents, dtype=datatype)
    text, end = json.JSONDecoder().raw_decode(answer.decode("latin-1"))
    if protocol is Protocol.ROWS:
        return np.array(text["outputs"] if isinstance(text, dict) else text, dtype=datatype).ravel()
    output = text["outputs"][0]
    if "data" in output:
        return np.array(output["data"], dtype=datatype).ravel()
    size = output["parameters"]["binary_data_size"]
    return np.frombuffer(answer[end : end + size], dtype=datatype)
