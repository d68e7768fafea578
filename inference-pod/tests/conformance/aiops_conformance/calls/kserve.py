"""KServe's client, asked in a process of its own."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

from .. import kserve_process
from ..comparison import Call
from ..servers import Target

# The names of kserve_client, which cannot be imported here.
REST = (
    "infer",
    "infer with binary data",
    "infer of an unknown model",
    "infer with the wrong shape",
    "model ready",
    "unknown model ready",
    "server ready",
    "server live",
)
GRPC = tuple(name for name in REST if name != "infer with binary data")


@cache
def process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def call(protocol: str, name: str) -> Call:
    def ask(target: Target) -> Any:
        address = target.http if protocol == "rest" else target.grpc
        return process().submit(kserve_process.answer, protocol, name, address).result(timeout=60)

    return Call(f"kserve {protocol} {name}", ask)


CALLS = [*(call("rest", name) for name in REST), *(call("grpc", name) for name in GRPC)]
