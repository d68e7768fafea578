"""Both servers, started once for all calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aiops_conformance.servers import Target, inference_pod, triton


@pytest.fixture(scope="session")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with inference_pod(tmp_path_factory.mktemp("pod")) as target:
        yield target


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with triton(tmp_path_factory.mktemp("triton")) as target:
        yield target
