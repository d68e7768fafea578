"""Every call of the comparison."""

from __future__ import annotations

from ..comparison import Call
from . import http_errors, http_infer, http_routes

CALLS: list[Call] = [*http_routes.CALLS, *http_infer.CALLS, *http_errors.CALLS]
