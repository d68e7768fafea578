"""Every call of the comparison."""

from __future__ import annotations

from ..comparison import Call
from . import clients, grpc_infer, grpc_routes, http_errors, http_infer, http_routes, kserve, repository, shared_memory

CALLS: list[Call] = [
    *http_routes.CALLS,
    *http_infer.CALLS,
    *http_errors.CALLS,
    *grpc_routes.CALLS,
    *grpc_infer.CALLS,
    *shared_memory.CALLS,
    *repository.CALLS,
    *clients.CALLS,
    *kserve.CALLS,
]
