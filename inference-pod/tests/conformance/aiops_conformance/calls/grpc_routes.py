"""Raw gRPC: every RPC but inference."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import Message
from tritonclient.grpc import service_pb2 as pb

from ..comparison import Call
from ..replies import TIMEOUT_SECONDS, channel, rpc
from ..servers import Target
from .http_routes import without_times


def call(method: str, request: Message, name: str = "") -> Call:
    """One RPC, named after itself."""
    title = f"grpc {method}{' ' + name if name else ''}"
    return Call(title, lambda target: steady(rpc(target, method, request)))


def steady(reply: dict[str, Any]) -> dict[str, Any]:
    """Without what is different each time."""
    message = reply.get("message", {})
    if "model_stats" in message:
        reply["message"] = without_times(message)
    if "extensions" in message:
        message["extensions"] = dict.fromkeys(message["extensions"], "there")
    return reply


def sorted_index(target: Target, ready: bool) -> Any:
    reply = rpc(target, "RepositoryIndex", pb.RepositoryIndexRequest(ready=ready))
    reply["message"]["models"].sort(key=lambda model: (model["name"], model.get("version", "")))
    return reply


def unknown_method(target: Target) -> Any:
    ask = channel(target).unary_unary(
        "/inference.GRPCInferenceService/Absent", request_serializer=bytes, response_deserializer=bytes
    )
    try:
        ask(b"", timeout=TIMEOUT_SECONDS)
    except grpc.RpcError as error:
        return {"code": error.code().name}
    return None


def health(target: Target, service: str) -> Any:
    """`grpc.health.v1` by hand: field 1 of the request is the service, field 1 of the answer the status."""
    request = bytes([10, len(service)]) + service.encode() if service else b""
    ask = channel(target).unary_unary(
        "/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes
    )
    try:
        return {"status": ask(request, timeout=TIMEOUT_SECONDS).hex()}
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details()}


def log_setting(name: str, value: Any) -> pb.LogSettingsRequest:
    request = pb.LogSettingsRequest()
    kind = {bool: "bool_param", int: "uint32_param", str: "string_param"}[type(value)]
    setattr(request.settings[name], kind, value)
    return request


def trace_setting(name: str, *values: str, model: str = "") -> pb.TraceSettingRequest:
    request = pb.TraceSettingRequest(model_name=model)
    request.settings[name].value.extend(values)
    return request


CALLS = [
    call("ServerLive", pb.ServerLiveRequest()),
    call("ServerReady", pb.ServerReadyRequest()),
    call("ServerMetadata", pb.ServerMetadataRequest()),
    call("ModelReady", pb.ModelReadyRequest(name="dense")),
    call("ModelReady", pb.ModelReadyRequest(name="dense", version="1"), name="of a version"),
    call("ModelReady", pb.ModelReadyRequest(name="dense", version="9"), name="of an unknown version"),
    call("ModelReady", pb.ModelReadyRequest(name="dense", version="one"), name="of a version that is no number"),
    call("ModelReady", pb.ModelReadyRequest(name="absent"), name="of an unknown model"),
    call("ModelReady", pb.ModelReadyRequest(), name="of no model"),
    call("ModelMetadata", pb.ModelMetadataRequest(name="dense")),
    call("ModelMetadata", pb.ModelMetadataRequest(name="several", version="2"), name="of a version"),
    call("ModelMetadata", pb.ModelMetadataRequest(name="identity_bytes"), name="of strings"),
    call("ModelMetadata", pb.ModelMetadataRequest(name="absent"), name="of an unknown model"),
    call("ModelMetadata", pb.ModelMetadataRequest(name="dense", version="9"), name="of an unknown version"),
    call("ModelMetadata", pb.ModelMetadataRequest(name="dense", version="one"), name="of a version that is no number"),
    call("ModelMetadata", pb.ModelMetadataRequest(name="dense", version="0"), name="of version 0"),
    call("ModelMetadata", pb.ModelMetadataRequest(name="dense", version="-1"), name="of a negative version"),
    call("ModelMetadata", pb.ModelMetadataRequest(), name="of no model"),
    call("ModelConfig", pb.ModelConfigRequest(name="dense")),
    call("ModelConfig", pb.ModelConfigRequest(name="fixed"), name="without batches"),
    call("ModelConfig", pb.ModelConfigRequest(name="labelled"), name="with labels"),
    call("ModelConfig", pb.ModelConfigRequest(name="absent"), name="of an unknown model"),
    call("ModelConfig", pb.ModelConfigRequest(name="dense", version="9"), name="of an unknown version"),
    call("ModelStatistics", pb.ModelStatisticsRequest(name="counted")),
    call("ModelStatistics", pb.ModelStatisticsRequest(name="several"), name="of several versions"),
    call("ModelStatistics", pb.ModelStatisticsRequest(name="several", version="7"), name="of a version"),
    call("ModelStatistics", pb.ModelStatisticsRequest(name="absent"), name="of an unknown model"),
    call("ModelStatistics", pb.ModelStatisticsRequest(name="dense", version="9"), name="of an unknown version"),
    Call("grpc RepositoryIndex", lambda target: sorted_index(target, False)),
    Call("grpc RepositoryIndex of what is ready", lambda target: sorted_index(target, True)),
    call("RepositoryIndex", pb.RepositoryIndexRequest(repository_name="other"), name="of a named repository"),
    call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="absent"), name="of an unknown model"),
    call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="spare", repository_name="other"),
         name="of a named repository"),
    call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="absent"), name="of an unknown model"),
    call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="spare", repository_name="other"),
         name="of a named repository"),
    call("SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest()),
    call("SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest(name="absent"), name="of an unknown region"),
    call("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest()),
    call("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(name="absent"),
         name="of an unknown region"),
    call("CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest()),
    call("CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest(name="absent"), name="of an unknown region"),
    call("CudaSharedMemoryRegister",
         pb.CudaSharedMemoryRegisterRequest(name="r", raw_handle=b"x" * 64, device_id=0, byte_size=16)),
    call("CudaSharedMemoryUnregister", pb.CudaSharedMemoryUnregisterRequest()),
    call("TraceSetting", pb.TraceSettingRequest()),
    call("TraceSetting", pb.TraceSettingRequest(model_name="dense"), name="of a model"),
    call("TraceSetting", pb.TraceSettingRequest(model_name="absent"), name="of an unknown model"),
    call("TraceSetting", trace_setting("trace_rate", "many"), name="that is no number"),
    call("TraceSetting", trace_setting("trace_rate", "1", "2"), name="of two values"),
    call("TraceSetting", trace_setting("trace_level", "LOUD"), name="of an unknown level"),
    call("TraceSetting", trace_setting("colour", "red"), name="that is unknown"),
    call("TraceSetting", trace_setting("trace_file", "/tmp/trace"), name="of the file"),
    call("LogSettings", pb.LogSettingsRequest()),
    call("LogSettings", log_setting("log_info", 1), name="of the wrong type"),
    call("LogSettings", log_setting("colour", True), name="that is unknown"),
    call("LogSettings", log_setting("log_file", "/tmp/log"), name="of the file"),
    call("LogSettings", log_setting("log_format", "xml"), name="of an unknown format"),
    Call("grpc of an unknown method", unknown_method),
    Call("grpc health", lambda target: health(target, "")),
    Call("grpc health of the service", lambda target: health(target, "inference.GRPCInferenceService")),
    Call("grpc health of an unknown service", lambda target: health(target, "absent")),
]  # fmt: skip
