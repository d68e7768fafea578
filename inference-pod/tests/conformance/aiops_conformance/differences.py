"""The differences from Triton that are allowed, each a row of docs/triton-differences.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[4] / "docs" / "triton-differences.md"


def anything(_ours: Any, _theirs: Any) -> bool:
    """Whatever the two are."""
    return True


def longer(ours: Any, theirs: Any) -> bool:
    """Triton's text, and more behind it."""
    return isinstance(ours, str) and isinstance(theirs, str) and ours.startswith(theirs.rstrip("."))


@dataclass(frozen=True)
class Difference:
    """`row` is the first cell of the page's row, `paths` where in a reply it shows, `holds` what has to be true of it."""

    row: str
    paths: tuple[str, ...] = ("*",)
    holds: Callable[[Any, Any], bool] = anything


DIFFERENCES: dict[str, Difference] = {}


def rows() -> dict[str, str]:
    """The page's rows by their first cells."""
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and not set(cells[0]) <= {"-", " "}:
            found[cells[0]] = line
    return found
