"""What ends a Triton 2.51, and so cannot be asked of both: here it is an error, and the server goes on."""

from __future__ import annotations

from aiops_conformance.calls.http_infer import ROW, asked, floats, x
from aiops_conformance.calls.shared_memory import forget, in_region, infer, memory, register, shrink
from aiops_conformance.replies import http
from aiops_conformance.servers import Target


def test_memory_that_shrinks_after_it_was_registered_is_an_error(pod: Target) -> None:
    with memory(floats(*ROW)):
        register(pod)
        shrink(pod)
        read = infer(pod, "dense", in_region())
        written = infer(pod, "dense", x(ROW, [1, 4]), shared_memory_region="region", shared_memory_byte_size=12)
        forget(pod)
    assert [read["status"], written["status"]] == [400, 400]
    assert "became shorter" in read["json"]["error"]
    assert "became shorter" in written["json"]["error"]
    assert http(pod, "GET", "/v2/health/ready")["status"] == 200


def test_classes_of_strings_are_refused(pod: Target) -> None:
    wanted = [{"name": "y", "parameters": {"classification": 1}}]
    body = asked(x(["a", "b"], [1, 2], "BYTES"), outputs=wanted)
    reply = http(pod, "POST", "/v2/models/identity_bytes/infer", body)
    assert reply["status"] == 400
    assert reply["json"]["error"].startswith("class result not available for output due to unsupported type 'BYTES'")
    assert http(pod, "GET", "/v2/health/ready")["status"] == 200
