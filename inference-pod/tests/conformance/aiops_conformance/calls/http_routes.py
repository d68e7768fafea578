"""Raw HTTP: every route but inference, with the right method and with wrong ones."""

from __future__ import annotations

from typing import Any

from ..comparison import Call
from ..replies import http
from ..servers import Target


def route(method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, name: str = "") -> Call:
    """One request, named after itself."""
    title = f"http {method} {path}{' ' + name if name else ''}"
    return Call(title, lambda target: steady(http(target, method, path, body, headers)))


def steady(reply: dict[str, Any]) -> dict[str, Any]:
    """Without what is different each time: nanoseconds and times of statistics. Extensions are a set."""
    value = reply.get("json")
    if isinstance(value, dict) and "model_stats" in value:
        reply["json"] = without_times(value)
    if isinstance(value, dict) and "extensions" in value:
        value["extensions"] = dict.fromkeys(value["extensions"], "there")
    return reply


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: "some" if name in {"ns", "last_inference"} and part else without_times(part)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [without_times(part) for part in value]
    return value


def sorted_index(target: Target, body: Any = None) -> Any:
    """The index, by name and version."""
    reply = http(target, "POST", "/v2/repository/index", body)
    reply["json"] = sorted(reply["json"], key=lambda model: (model["name"], model.get("version", "")))
    return reply


def statistics_of_answers(target: Target) -> Any:
    """Of a model that only this call and its like ask."""
    row = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    http(target, "POST", "/v2/models/counted/infer", {"inputs": [row]})
    http(target, "POST", "/v2/models/counted/infer", {"inputs": [row | {"shape": [2, 4], "data": [1] * 8}]})
    return steady(http(target, "GET", "/v2/models/counted/stats"))


def statistics_of_a_refusal(target: Target) -> Any:
    """Of a model that refuses all that it is asked."""
    http(target, "POST", "/v2/models/refusing/infer", {"inputs": []})
    return steady(http(target, "GET", "/v2/models/refusing/stats"))


CALLS = [
    route("GET", "/v2"),
    route("GET", "/v2/"),
    route("HEAD", "/v2"),
    route("POST", "/v2"),
    route("GET", "/v2/health/live"),
    route("GET", "/v2/health/ready"),
    route("HEAD", "/v2/health/ready"),
    route("POST", "/v2/health/ready"),
    route("GET", "/v2/health/unknown"),
    route("GET", "/v2/models/dense"),
    route("GET", "/v2/models/dense/versions/1"),
    route("GET", "/v2/models/several"),
    route("GET", "/v2/models/fixed"),
    route("GET", "/v2/models/identity_bytes"),
    route("GET", "/v2/models/ratio/versions/3"),
    route("GET", "/v2/models/absent"),
    route("GET", "/v2/models/spare", name="which is not loaded"),
    route("GET", "/v2/models/dense/versions/9"),
    route("GET", "/v2/models/several/versions/1"),
    route("GET", "/v2/models/dense/versions/0"),
    route("GET", "/v2/models/dense/versions/one"),
    route("GET", "/v2/models/dense/versions/99999999999999999999"),
    route("GET", "/v2/models/dense/versions"),
    route("GET", "/v2/models"),
    route("POST", "/v2/models/dense"),
    route("DELETE", "/v2/models/dense"),
    route("GET", "/v2/models/dense/ready"),
    route("GET", "/v2/models/dense/versions/1/ready"),
    route("GET", "/v2/models/dense/versions/9/ready"),
    route("GET", "/v2/models/absent/ready"),
    route("POST", "/v2/models/dense/ready"),
    route("GET", "/v2/models/dense/config"),
    route("GET", "/v2/models/dense/versions/2/config"),
    route("GET", "/v2/models/fixed/config"),
    route("GET", "/v2/models/labelled/config"),
    route("GET", "/v2/models/several/config"),
    route("GET", "/v2/models/absent/config"),
    route("GET", "/v2/models/dense/versions/9/config"),
    route("POST", "/v2/models/dense/config"),
    Call("http statistics of what was answered and of nothing else", statistics_of_answers),
    Call("http statistics of a refused request", statistics_of_a_refusal),
    route("GET", "/v2/models/several/stats"),
    route("GET", "/v2/models/several/versions/7/stats"),
    route("GET", "/v2/models/absent/stats"),
    route("GET", "/v2/models/dense/versions/9/stats"),
    route("POST", "/v2/models/dense/stats"),
    route("GET", "/v2/models/dense/unknown"),
    route("GET", "/v2/models/dense/versions/1/unknown"),
    route("GET", "/v2/models/dense/infer"),
    route("GET", "/v2/unknown"),
    route("GET", "/"),
    route("GET", "/v1/models/dense"),
    route("GET", "/metrics"),
    Call("http index", sorted_index),
    Call("http index of what is ready", lambda target: sorted_index(target, {"ready": True})),
    route("POST", "/v2/repository/index", body=b"{", name="malformed"),
    route("POST", "/v2/repository/index", body={"ready": "yes"}, name="with a string"),
    route("GET", "/v2/repository/index"),
    route("POST", "/v2/repository/other/index"),
    route("POST", "/v2/repository/other/models/dense/load"),
    route("GET", "/v2/repository/models/dense/load"),
    route("POST", "/v2/repository/models/absent/load"),
    route("POST", "/v2/repository/models/absent/unload"),
    route("POST", "/v2/repository/models/dense/reload"),
    route("GET", "/v2/logging"),
    route("POST", "/v2/logging", body={"log_info": "yes"}),
    route("POST", "/v2/logging", body={"colour": True}, name="unknown"),
    route("POST", "/v2/logging", body={"log_file": "/tmp/log"}, name="file"),
    route("POST", "/v2/logging", body={"log_format": "xml"}, name="format"),
    route("POST", "/v2/logging", body={"log_verbose_level": -1}, name="negative"),
    route("POST", "/v2/logging", body=b"{", name="malformed"),
    route("POST", "/v2/logging", body=b"", name="empty"),
    route("POST", "/v2/logging", body={"log_verbose_level": 0}, name="as it is"),
    route("DELETE", "/v2/logging"),
    route("GET", "/v2/trace/setting"),
    route("GET", "/v2/models/dense/trace/setting"),
    route("GET", "/v2/models/absent/trace/setting"),
    route("POST", "/v2/trace/setting", body={"trace_level": ["LOUD"]}, name="unknown level"),
    route("POST", "/v2/trace/setting", body={"trace_rate": "many"}, name="no number"),
    route("POST", "/v2/trace/setting", body={"colour": "red"}, name="unknown"),
    route("POST", "/v2/trace/setting", body={"trace_file": "/tmp/trace"}, name="file"),
    route("POST", "/v2/trace/setting", body=b"{", name="malformed"),
    route("DELETE", "/v2/trace/setting"),
    route("GET", "/v2/models/dense/versions/1/trace/setting"),
    route("GET", "/v2/systemsharedmemory/status"),
    route("GET", "/v2/systemsharedmemory/region/absent/status"),
    route("POST", "/v2/systemsharedmemory/unregister"),
    route("POST", "/v2/systemsharedmemory/region/absent/unregister"),
    route("GET", "/v2/systemsharedmemory/unregister"),
    route("POST", "/v2/systemsharedmemory/status"),
    route("GET", "/v2/cudasharedmemory/status"),
    route("GET", "/v2/cudasharedmemory/region/absent/status"),
    route("POST", "/v2/cudasharedmemory/unregister"),
    route("POST", "/v2/models/dense/generate", body={"x": 1}),
    route("POST", "/v2/models/dense/generate_stream", body={"x": 1}),
    route("GET", "/v2/models/dense/generate"),
]
