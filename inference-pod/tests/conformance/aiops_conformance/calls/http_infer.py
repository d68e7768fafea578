"""Raw HTTP: inference that works, tensors as JSON, as binary data and as nothing else."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from typing import Any

from ..comparison import Call
from ..replies import http
from ..servers import Target

ROW = [1.0, 2.0, 3.0, 4.0]
LENGTH = "Inference-Header-Content-Length"


def x(data: Any, shape: list[int], datatype: str = "FP32", **parameters: Any) -> dict[str, Any]:
    """The tensor `x`, with data where there are any."""
    tensor: dict[str, Any] = {"name": "x", "shape": shape, "datatype": datatype}
    if data is not None:
        tensor["data"] = data
    if parameters:
        tensor["parameters"] = parameters
    return tensor


def asked(*inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A request."""
    return {"inputs": list(inputs), **more}


def infer(name: str, model: str, body: Any, headers: dict[str, str] | None = None) -> Call:
    """One request for an inference; `model` may be followed by a version."""
    path = f"/v2/models/{model}/infer"
    return Call(f"http infer {name}", lambda target: http(target, "POST", path, body, headers))


def binary(request: dict[str, Any], *tensors: bytes, length: int | None = None) -> tuple[bytes, dict[str, str]]:
    """A body of JSON and binary data, and its header."""
    text = json.dumps(request).encode()
    return text + b"".join(tensors), {LENGTH: str(len(text) if length is None else length)}


def with_binary(name: str, model: str, request: dict[str, Any], *tensors: bytes) -> Call:
    body, headers = binary(request, *tensors)
    return infer(name, model, body, headers=headers)


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def strings(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def compressed(encoding: str, accepted: str) -> Call:
    """A request in an encoding, and an answer in another."""
    body = json.dumps(asked(x(ROW, [1, 4]))).encode()
    content = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    headers = {"Content-Encoding": encoding, "Accept-Encoding": accepted}

    def ask(target: Target) -> Any:
        return http(target, "POST", "/v2/models/dense/infer", content, headers)

    return Call(f"http infer in {encoding}, answered in {accepted}", ask)


VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP32": [1.5, -0.1],
    "FP64": [1.5, 1e300],
    "BYTES": ["a", 'é and "quotes"\n'],
}

WIDE = {
    "BOOL": b"\x01\x00",
    "UINT8": b"\x00\xff",
    "UINT16": b"\x00\x00\xff\xff",
    "UINT32": bytes(4) + b"\xff" * 4,
    "UINT64": bytes(8) + b"\xff" * 8,
    "INT8": b"\x80\x7f",
    "INT16": b"\x00\x80\xff\x7f",
    "INT32": struct.pack("<2i", -(2**31), 2**31 - 1),
    "INT64": struct.pack("<2q", -(2**63), 2**63 - 1),
    "FP16": b"\x00\x3c\x00\xc0",
    "BF16": b"\x80\x3f\x00\xc0",
    "FP32": floats(1.5, float("nan")),
    "FP64": struct.pack("<2d", 1.5, float("-inf")),
    "BYTES": strings(b"a", b""),
}

ALL_BINARY = {"parameters": {"binary_data_output": True}}

CALLS = [
    infer("one row", "dense", asked(x(ROW, [1, 4]))),
    infer("of a version", "dense/versions/1", asked(x(ROW, [1, 4]))),
    infer("nested data", "dense", asked(x([ROW, ROW], [2, 4]))),
    infer("flat data of two rows", "dense", asked(x(ROW + ROW, [2, 4]))),
    infer("an id", "dense", asked(x(ROW, [1, 4]), id="mine")),
    infer("an empty id", "dense", asked(x(ROW, [1, 4]), id="")),
    infer("without a batch dimension", "fixed", asked(x([1, 2, 3], [1, 3]))),
    infer("two inputs", "ratio", asked(x([6], [1, 1]), {**x([3], [1, 1]), "name": "divisor"})),
    infer("division by zero", "ratio", asked(x([6], [1, 1]), {**x([0], [1, 1]), "name": "divisor"})),
    infer("an output by name", "dense", asked(x(ROW, [1, 4]), outputs=[{"name": "y"}])),
    infer("an output twice", "dense", asked(x(ROW, [1, 4]), outputs=[{"name": "y"}, {"name": "y"}])),
    infer("no outputs named", "dense", asked(x(ROW, [1, 4]), outputs=[])),
    infer("unknown parameters", "dense", asked(x(ROW, [1, 4]), parameters={"colour": "red", "n": 1, "b": True})),
    infer("a timeout", "dense", asked(x(ROW, [1, 4]), parameters={"timeout": 10_000_000})),
    infer("a priority", "dense", asked(x(ROW, [1, 4]), parameters={"priority": 1})),
    infer("unknown members", "dense", asked({**x(ROW, [1, 4]), "colour": "red"}, colour="red")),
    infer("numbers as integers", "dense", asked(x([1, 2, 3, 4], [1, 4]))),
    infer("the JSON's length given", "dense", json.dumps(asked(x(ROW, [1, 4]))).encode(),
          headers={LENGTH: str(len(json.dumps(asked(x(ROW, [1, 4])))))}),
    infer("a content type of text", "dense", asked(x(ROW, [1, 4])), headers={"Content-Type": "text/plain"}),
    with_binary("binary in, JSON out", "dense", asked(x(None, [1, 4], binary_data_size=16)), floats(*ROW)),
    with_binary("binary in and out", "dense", asked(x(None, [1, 4], binary_data_size=16), **ALL_BINARY), floats(*ROW)),
    with_binary(
        "one output as binary data", "dense",
        asked(x(None, [1, 4], binary_data_size=16), outputs=[{"name": "y", "parameters": {"binary_data": True}}]),
        floats(*ROW),
    ),
    with_binary(
        "all outputs as binary data but one", "dense",
        asked(x(None, [1, 4], binary_data_size=16), outputs=[{"name": "y", "parameters": {"binary_data": False}}],
              **ALL_BINARY),
        floats(*ROW),
    ),
    with_binary(
        "one input as JSON, one as binary data", "ratio",
        asked(x(None, [2, 1], binary_data_size=8), {**x([2, 4], [2, 1]), "name": "divisor"}),
        floats(6, 8),
    ),
    infer("JSON in, binary out", "dense", asked(x(ROW, [1, 4]), **ALL_BINARY)),
    infer("nothing but binary data", "dense", floats(*ROW), headers={LENGTH: "0"}),
    infer("nothing but binary data, without a batch dimension", "fixed", floats(1, 2, 3), headers={LENGTH: "0"}),
    infer("nothing but strings", "identity_bytes", strings(b"ab", b"c"), headers={LENGTH: "0"}),
    infer("classes", "labelled", asked(x(ROW, [1, 4]), outputs=[{"name": "y", "parameters": {"classification": 2}}])),
    infer("more classes than there are", "labelled",
          asked(x(ROW, [1, 4]), outputs=[{"name": "y", "parameters": {"classification": 9}}])),
    infer("classes without names", "dense",
          asked(x([ROW, ROW], [2, 4]), outputs=[{"name": "y", "parameters": {"classification": 1}}])),
    infer("classes as binary data", "labelled",
          asked(x(ROW, [1, 4]), outputs=[{"name": "y", "parameters": {"classification": 2, "binary_data": True}}])),
    compressed("gzip", "gzip"),
    compressed("deflate", "deflate"),
    compressed("gzip", "identity"),
    compressed("gzip", "br"),
    compressed("deflate", "gzip;q=0.5, deflate;q=0.8"),
    infer("the first of several versions", "several/versions/2", asked(x(ROW, [1, 4]))),
    infer("the latest of several versions", "several", asked(x(ROW, [1, 4]))),
    *(infer(f"{datatype} as JSON", f"identity_{datatype.lower()}", asked(x(values, [1, len(values)], datatype)))
      for datatype, values in VALUES.items()),
    *(with_binary(f"{datatype} as binary data", f"identity_{datatype.lower()}",
                  asked(x(None, [1, 2], datatype, binary_data_size=len(data)), **ALL_BINARY), data)
      for datatype, data in WIDE.items()),
]  # fmt: skip
