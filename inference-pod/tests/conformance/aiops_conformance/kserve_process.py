"""What runs in the process of KServe's client. Whoever imports this has not imported KServe yet."""

from __future__ import annotations

from typing import Any


def answer(protocol: str, name: str, address: str) -> Any:
    """What KServe's client gets."""
    from . import kserve_client  # not beside tritonclient in one process

    return kserve_client.answer(protocol, name, address)
