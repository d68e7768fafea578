"""The lock files: complete, of one mind, and what runs here is what the image has."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

TRAINER = Path(__file__).parent.parent
LINE = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;]+)", re.MULTILINE)


def locked(path: Path) -> dict[str, str]:
    """Versions by package name."""
    return dict(LINE.findall(path.read_text()))


def declared() -> list[str]:
    project = tomllib.loads((TRAINER / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


def test_the_tests_run_on_the_versions_of_the_image() -> None:
    image = locked(TRAINER / "requirements.lock")
    tests = locked(TRAINER / "requirements-dev.lock")
    assert image.items() <= tests.items()
    assert {name: version(name) for name in tests} == tests


def test_what_is_declared_is_locked() -> None:
    tests = locked(TRAINER / "requirements-dev.lock")
    for requirement in declared():
        ((name, pinned),) = LINE.findall(requirement)
        assert tests[name] == pinned


def test_the_server_is_of_the_version_of_its_client() -> None:
    server = locked(TRAINER.parent / "images" / "mlflow" / "requirements.lock")
    assert server["mlflow"] == locked(TRAINER / "requirements.lock")["mlflow-skinny"]
    for path in (TRAINER.parent / "images" / "mlflow" / "requirements.in").read_text().splitlines():
        for name, pinned in LINE.findall(path):
            assert server[name] == pinned


def test_every_locked_package_has_a_hash() -> None:
    for path in (
        TRAINER / "requirements.lock",
        TRAINER / "requirements-dev.lock",
        TRAINER.parent / "images" / "mlflow" / "requirements.lock",
    ):
        for entry in re.split(r"\n(?=\S)", path.read_text().strip()):
            assert "--hash=sha256:" in entry, entry
