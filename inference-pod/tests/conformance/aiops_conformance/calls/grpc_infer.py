"""Raw gRPC: inference, and streams of it."""

from __future__ import annotations

import struct
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from ..comparison import Call
from ..replies import rpc, stream
from .http_infer import ROW, WIDE, floats, strings

CONTENTS: dict[str, tuple[str, list[Any]]] = {
    "BOOL": ("bool_contents", [True, False]),
    "UINT8": ("uint_contents", [0, 255]),
    "UINT16": ("uint_contents", [0, 65535]),
    "UINT32": ("uint_contents", [0, 2**32 - 1]),
    "UINT64": ("uint64_contents", [0, 2**64 - 1]),
    "INT8": ("int_contents", [-128, 127]),
    "INT16": ("int_contents", [-(2**15), 2**15 - 1]),
    "INT32": ("int_contents", [-(2**31), 2**31 - 1]),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1]),
    "FP32": ("fp32_contents", [1.5, -0.1]),
    "FP64": ("fp64_contents", [1.5, 1e300]),
    "BYTES": ("bytes_contents", [b"a", b""]),
}


def x(shape: list[int], datatype: str = "FP32", *, name: str = "x", **contents: Any) -> Any:
    """A tensor, with contents where there are any."""
    tensor = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    for member, values in contents.items():
        getattr(tensor.contents, member).extend(values)
    return tensor


def typed(datatype: str, member: str, values: list[Any]) -> Any:
    """A tensor with contents in a member."""
    tensor = x([1, 2], datatype)
    getattr(tensor.contents, member).extend(values)
    return tensor


def asked(model: str, *inputs: Any, raw: list[bytes] | None = None, outputs: Any = (), **more: Any) -> Any:
    """A request; `parameters` may be among the rest."""
    parameters = more.pop("parameters", {})
    request = pb.ModelInferRequest(model_name=model, inputs=inputs, outputs=outputs, **more)
    request.raw_input_contents.extend(raw or [])
    set_parameters(request.parameters, parameters)
    return request


def set_parameters(target: Any, values: dict[str, Any]) -> None:
    kinds = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
    for name, value in values.items():
        setattr(target[name], kinds[type(value)], value)


def output(name: str = "y", **parameters: Any) -> Any:
    wanted = pb.ModelInferRequest.InferRequestedOutputTensor(name=name)
    set_parameters(wanted.parameters, parameters)
    return wanted


def good(model: str = "dense", **more: Any) -> Any:
    """A request that works."""
    return asked(model, x([1, 4]), raw=[floats(*ROW)], **more)


def infer(name: str, request: Any) -> Call:
    return Call(f"grpc infer {name}", lambda target: rpc(target, "ModelInfer", request))


def streamed(name: str, *requests: Any) -> Call:
    return Call(f"grpc stream {name}", lambda target: stream(target, list(requests)))


def with_parameter(tensor: Any, **parameters: Any) -> Any:
    set_parameters(tensor.parameters, parameters)
    return tensor


CALLS = [
    infer("raw contents", good()),
    infer("typed contents", asked("dense", x([1, 4], fp32_contents=ROW))),
    infer("of a version", good(model_version="1")),
    infer("an id", good(id="mine")),
    infer("an output by name", good(outputs=[output()])),
    infer("an output twice", good(outputs=[output(), output()])),
    infer("classes", good("labelled", outputs=[output(classification=2)])),
    infer("unknown parameters", good(parameters={"colour": "red", "n": 1, "b": True, "f": 1.5})),
    infer("a timeout", good(parameters={"timeout": 10_000_000})),
    infer("a priority", good(parameters={"priority": 1})),
    infer("two inputs", asked("ratio", x([1, 1]), x([1, 1], name="divisor"), raw=[floats(6), floats(3)])),
    infer("inputs in another order",
          asked("ratio", x([1, 1], name="divisor"), x([1, 1]), raw=[floats(3), floats(6)])),
    infer("without a batch dimension", asked("fixed", x([1, 3]), raw=[floats(1, 2, 3)])),
    *(infer(f"{datatype} typed", asked(f"identity_{datatype.lower()}", typed(datatype, member, values)))
      for datatype, (member, values) in CONTENTS.items()),
    *(infer(f"{datatype} raw", asked(f"identity_{datatype.lower()}", x([1, 2], datatype), raw=[data]))
      for datatype, data in WIDE.items()),
    infer("an unknown model", good("absent")),
    infer("a model that is not loaded", good("spare")),
    infer("an unknown version", good(model_version="9")),
    infer("a version that is no number", good(model_version="one")),
    infer("no model", good("")),
    infer("no inputs", asked("dense")),
    infer("an input without contents", asked("dense", x([1, 4]))),
    infer("an unknown datatype", asked("dense", x([1, 4], "FP31"), raw=[floats(*ROW)])),
    infer("the wrong datatype", asked("dense", x([1, 4], "INT32"), raw=[floats(*ROW)])),
    infer("the wrong number of sizes", asked("dense", x([4]), raw=[floats(*ROW)])),
    infer("a negative size", asked("dense", x([-1, 4]), raw=[floats(*ROW)])),
    infer("no rows", asked("dense", x([0, 4]), raw=[b""])),
    infer("too many rows", asked("dense", x([9, 4]), raw=[floats(*ROW * 9)])),
    infer("an unknown input", asked("dense", x([1, 4], name="z"), raw=[floats(*ROW)])),
    infer("an input twice", asked("dense", x([1, 4]), x([1, 4]), raw=[floats(*ROW)] * 2)),
    infer("an input too few", asked("ratio", x([1, 1]), raw=[floats(6)])),
    infer("an unknown output", good(outputs=[output("z")])),
    infer("fewer raw contents than inputs", asked("ratio", x([1, 1]), x([1, 1], name="divisor"), raw=[floats(6)])),
    infer("more raw contents than inputs", asked("dense", x([1, 4]), raw=[floats(*ROW)] * 2)),
    infer("both raw and typed contents", asked("dense", x([1, 4], fp32_contents=ROW), raw=[floats(*ROW)])),
    infer("typed contents of another type", asked("dense", x([1, 4], int_contents=[1, 2, 3, 4]))),
    infer("too little raw contents", asked("dense", x([1, 4]), raw=[floats(1, 2, 3)])),
    infer("too many typed contents", asked("dense", x([1, 4], fp32_contents=[*ROW, 5]))),
    infer("FP16 typed", asked("identity_fp16", x([1, 2], "FP16", fp32_contents=[1, 2]))),
    infer("BF16 typed", asked("identity_bf16", x([1, 2], "BF16", fp32_contents=[1, 2]))),
    infer("a number too large for its type", asked("identity_int8", x([1, 2], "INT8", int_contents=[300, 1]))),
    infer("strings cut off", asked("identity_bytes", x([1, 2], "BYTES"), raw=[strings(b"ab", b"cd")[:8]])),
    infer("strings too few", asked("identity_bytes", x([1, 2], "BYTES"), raw=[strings(b"ab")])),
    infer("strings too many", asked("identity_bytes", x([1, 2], "BYTES"), raw=[strings(b"a", b"b", b"c")])),
    infer("a timeout that is a string", good(parameters={"timeout": "1"})),
    infer("a negative timeout", good(parameters={"timeout": -1})),
    infer("a sequence", good(parameters={"sequence_id": 5, "sequence_start": True})),
    infer("a reserved parameter", good(parameters={"triton_colour": 1})),
    infer("classification of no classes", good(outputs=[output(classification=0)])),
    infer("classification that is a string", good(outputs=[output(classification="2")])),
    infer("a region that is not registered",
          asked("dense", with_parameter(x([1, 4]), shared_memory_region="absent", shared_memory_byte_size=16))),
    infer("an output in a region that is not registered",
          good(outputs=[output(shared_memory_region="absent", shared_memory_byte_size=12)])),
    streamed("of one request", good(id="1")),
    streamed("in order, over several models",
             *(good(id=str(number)) for number in range(5)),
             asked("slow", x([1, 1]), raw=[struct.pack("<f", 1)], id="slow"),
             good(id="last")),
    streamed("with an error in the middle", good(id="1"),
             asked("dense", x([1, 4], "INT32"), raw=[floats(*ROW)], id="2"), good(id="3")),
    streamed("with an unknown model in the middle", good(id="1"), good("absent", id="2"), good(id="3")),
    streamed("with an error of its contents in the middle", good(id="1"), asked("dense", x([1, 4]), id="2"),
             good(id="3")),
    streamed("of an error without an id", good("absent")),
    streamed("that asks for the empty final response", good(parameters={"triton_enable_empty_final_response": True})),
]  # fmt: skip
