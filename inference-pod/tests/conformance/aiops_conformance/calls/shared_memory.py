"""System shared memory: regions, and tensors in them, with tritonclient's own utilities and by hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import shared_memory

from ..comparison import Call
from ..replies import http, plain, rpc, with_grpc_client, with_http_client
from ..servers import Target
from .grpc_infer import asked as asked_over_grpc
from .grpc_infer import output, with_parameter
from .grpc_infer import x as grpc_x
from .http_infer import ROW, asked, floats, strings, x

KEY = "/aiops_conformance"
FOLDER = "/v2/systemsharedmemory"
Step = Callable[[Target], Any]


@contextmanager
def memory(content: bytes = b"", size: int = 64) -> Iterator[Path]:
    """An object of POSIX shared memory."""
    path = Path("/dev/shm") / KEY.strip("/")
    path.write_bytes(content.ljust(size, b"\0"))
    try:
        yield path
    finally:
        path.unlink()


def register(target: Target, name: str = "region", **values: Any) -> Any:
    body = {"key": KEY, "offset": 0, "byte_size": 64} | values
    return http(target, "POST", f"{FOLDER}/region/{name}/register", body)


def register_over_grpc(target: Target, name: str = "region", **values: Any) -> Any:
    body = {"key": KEY, "offset": 0, "byte_size": 64} | values
    return rpc(target, "SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(name=name, **body))


def forget(target: Target) -> Any:
    return http(target, "POST", f"{FOLDER}/unregister")


def status(target: Target) -> Any:
    return http(target, "GET", f"{FOLDER}/status")


def infer(target: Target, model: str, tensor: dict[str, Any], **wanted: Any) -> Any:
    outputs = {"outputs": [{"name": "y", "parameters": wanted}]} if wanted else {}
    return http(target, "POST", f"/v2/models/{model}/infer", asked(tensor, **outputs))


def scenario(name: str, *steps: Step, content: bytes = b"", size: int = 64) -> Call:
    """Steps on an object that is there meanwhile; nothing stays registered."""

    def ask(target: Target) -> Any:
        with memory(content, size):
            replies = [step(target) for step in steps]
            forget(target)
            return replies

    return Call(f"shared memory {name}", ask)


def in_region(
    values: Any = None, shape: list[int] | None = None, datatype: str = "FP32", **more: Any
) -> dict[str, Any]:
    """The tensor `x` in the region."""
    parameters = {"shared_memory_region": "region", "shared_memory_byte_size": 16} | more
    return x(values, shape or [1, 4], datatype, **parameters)


def content(start: int, length: int) -> Step:
    """What is in the memory."""

    def step(_: Target) -> str:
        path = Path("/dev/shm") / KEY.strip("/")
        return path.read_bytes()[start : start + length].hex()

    return step


def shrink(_: Target) -> None:
    """Takes away what was registered."""
    os.truncate(Path("/dev/shm") / KEY.strip("/"), 4)


def grpc_with_regions(target: Target) -> Any:
    tensor = with_parameter(grpc_x([1, 4]), shared_memory_region="region", shared_memory_byte_size=16)
    wanted = output(shared_memory_region="region", shared_memory_byte_size=12, shared_memory_offset=32)
    return rpc(target, "ModelInfer", asked_over_grpc("dense", tensor, outputs=[wanted]))


def with_client(library: Any, target: Target, client: Any) -> Any:
    """As Triton's examples do it: one region for the input, one for the output."""
    rows = numpy.array([ROW, ROW], dtype=numpy.float32)
    given = shared_memory.create_shared_memory_region("given", KEY + "_given", rows.nbytes)
    answered = shared_memory.create_shared_memory_region("answered", KEY + "_answered", 24)
    try:
        client.unregister_system_shared_memory()
        shared_memory.set_shared_memory_region(given, [rows])
        client.register_system_shared_memory("given", KEY + "_given", rows.nbytes)
        client.register_system_shared_memory("answered", KEY + "_answered", 24)
        listed = client.get_system_shared_memory_status()
        tensor = library.InferInput("x", [2, 4], "FP32")
        tensor.set_shared_memory("given", rows.nbytes)
        wanted = library.InferRequestedOutput("y")
        wanted.set_shared_memory("answered", 24)
        result = client.infer("dense", [tensor], outputs=[wanted])
        values = shared_memory.get_contents_as_numpy(answered, numpy.float32, [2, 3])
        replies = [plain(listed), result.get_response(), plain(values.copy())]
        del values
        return [plain(reply) for reply in replies]
    finally:
        client.unregister_system_shared_memory()
        shared_memory.destroy_shared_memory_region(given)
        shared_memory.destroy_shared_memory_region(answered)


def http_client(target: Target) -> Any:
    return with_http_client(target, lambda client: with_client(tritonclient.http, target, client))


def grpc_client(target: Target) -> Any:
    return with_grpc_client(target, lambda client: with_client(tritonclient.grpc, target, client))


def status_in_order(target: Target) -> Any:
    reply = status(target)
    reply["json"].sort(key=lambda region: region["name"])
    return reply


VALUES = floats(*ROW)


CALLS = [
    scenario("is registered and listed", register, status,
             lambda target: http(target, "GET", f"{FOLDER}/region/region/status"),
             lambda target: rpc(target, "SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest()),
             lambda target: rpc(target, "SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest(name="region"))),
    scenario("is registered over gRPC and listed", register_over_grpc, status),
    scenario("is unregistered by name", register,
             lambda target: http(target, "POST", f"{FOLDER}/region/region/unregister"), status),
    scenario("holds two regions", register, lambda target: register(target, "other", offset=8, byte_size=8),
             status_in_order),
    scenario("is unregistered over gRPC", register,
             lambda target: rpc(target, "SystemSharedMemoryUnregister",
                                pb.SystemSharedMemoryUnregisterRequest(name="region")), status),
    scenario("is registered twice", register, register, register_over_grpc),
    scenario("with an unknown key", lambda target: register(target, key="/absent_key"),
             lambda target: register_over_grpc(target, key="/absent_key")),
    scenario("with a key that leads elsewhere", lambda target: register(target, key="/../etc/passwd"),
             lambda target: register_over_grpc(target, key="../../etc/passwd")),
    scenario("with no key", lambda target: register(target, key=""), lambda target: register_over_grpc(target, key="")),
    scenario("larger than the object", lambda target: register(target, byte_size=65),
             lambda target: register_over_grpc(target, byte_size=65)),
    scenario("beyond the object", lambda target: register(target, offset=60, byte_size=8)),
    scenario("whose end overflows", lambda target: register(target, offset=2**64 - 8, byte_size=64)),
    scenario("of no bytes", lambda target: register(target, byte_size=0)),
    scenario("registered with malformed JSON",
             lambda target: http(target, "POST", f"{FOLDER}/region/region/register", b"{")),
    scenario("registered without a size",
             lambda target: http(target, "POST", f"{FOLDER}/region/region/register", {"key": KEY})),
    scenario("registered without a key",
             lambda target: http(target, "POST", f"{FOLDER}/region/region/register", {"byte_size": 8})),
    scenario("registered with a negative offset", lambda target: register(target, offset=-1)),
    scenario("holds an input", register, lambda target: infer(target, "dense", in_region()), content=VALUES),
    scenario("holds an input behind an offset", register,
             lambda target: infer(target, "dense", in_region(shared_memory_offset=8)), content=bytes(8) + VALUES),
    scenario("is registered with an offset and holds an input", lambda target: register(target, offset=8, byte_size=32),
             lambda target: infer(target, "dense", in_region(shared_memory_offset=8)), content=bytes(16) + VALUES),
    scenario("holds strings", register,
             lambda target: infer(target, "identity_bytes",
                                  in_region(shape=[1, 2], datatype="BYTES", shared_memory_byte_size=11)),
             content=strings(b"ab", b"c")),
    scenario("takes an output", register,
             lambda target: infer(target, "dense", x(ROW, [1, 4]), shared_memory_region="region",
                                  shared_memory_byte_size=12, shared_memory_offset=16), content(0, 64)),
    scenario("takes an output that is smaller", register,
             lambda target: infer(target, "dense", x(ROW, [1, 4]), shared_memory_region="region",
                                  shared_memory_byte_size=40), content(0, 64)),
    scenario("takes an output of strings", register,
             lambda target: infer(target, "identity_bytes", x(["ab", "c"], [1, 2], "BYTES"),
                                  shared_memory_region="region", shared_memory_byte_size=11), content(0, 16)),
    scenario("takes classes", register,
             lambda target: infer(target, "labelled", x(ROW, [1, 4]), classification=1,
                                  shared_memory_region="region", shared_memory_byte_size=40), content(0, 40)),
    scenario("takes an output that is too large", register,
             lambda target: infer(target, "dense", x(ROW, [1, 4]), shared_memory_region="region",
                                  shared_memory_byte_size=8)),
    scenario("holds input and output over gRPC", register_over_grpc, grpc_with_regions, content(32, 12),
             content=VALUES),
    scenario("is asked for an input beyond its end", register,
             lambda target: infer(target, "dense", in_region(shared_memory_offset=60))),
    scenario("is asked for an input whose end overflows", register,
             lambda target: infer(target, "dense", in_region(shared_memory_offset=2**64 - 8))),
    scenario("is asked for an output beyond its end", register,
             lambda target: infer(target, "dense", x(ROW, [1, 4]), shared_memory_region="region",
                                  shared_memory_byte_size=12, shared_memory_offset=60)),
    scenario("holds an input of the wrong size", register,
             lambda target: infer(target, "dense", in_region(shared_memory_byte_size=12)), content=VALUES),
    scenario("and data together", register, lambda target: infer(target, "dense", in_region(ROW)), content=VALUES),
    scenario("without a size for the input", register,
             lambda target: infer(target, "dense", x(None, [1, 4], shared_memory_region="region")), content=VALUES),
    Call("tritonclient http with shared memory", http_client),
    Call("tritonclient grpc with shared memory", grpc_client),
]  # fmt: skip
