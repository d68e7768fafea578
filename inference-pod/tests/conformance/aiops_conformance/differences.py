"""The differences from Triton that are allowed: each a row of docs/triton-differences.md, and the calls that show it.

`differences.toml` has the rows and the calls. Here is where in a reply a difference may show, and what must be so.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[4] / "docs" / "triton-differences.md"
LISTS = Path(__file__).with_name("differences.toml")
ABSENT = "(absent)"
ERRORS = ("*/error", "*/details", "*/error_message", "*/message", "/[0-9]")


def anything(_ours: Any, _theirs: Any) -> bool:
    """Whatever the two are."""
    return True


def without_prefix(text: str) -> str:
    """An error of Triton without the request's id before it, and without the end of the sentence."""
    return re.sub(r"\[request id: [^]]*\] ", "", text).rstrip(". ")


def same_text(ours: Any, theirs: Any) -> bool:
    """Triton's text but for the request's id before it."""
    return isinstance(ours, str) and isinstance(theirs, str) and ours.rstrip(". ") == without_prefix(theirs)


def longer_text(ours: Any, theirs: Any) -> bool:
    """Triton's text, and more behind it."""
    return isinstance(ours, str) and isinstance(theirs, str) and ours.startswith(without_prefix(theirs))


def other_text(ours: Any, theirs: Any) -> bool:
    """Both say something."""
    return isinstance(ours, str) and isinstance(theirs, str) and ABSENT not in {ours, theirs}


def client_error(ours: Any, theirs: Any) -> bool:
    """400 in the place of 500, each with a text of its own."""
    return (ours, theirs) == (400, 500) or other_text(ours, theirs)


def only_theirs(ours: Any, _theirs: Any) -> bool:
    """Something that is not said here."""
    return bool(ours == ABSENT)


def only_ours(_ours: Any, theirs: Any) -> bool:
    """Something that Triton does not say."""
    return bool(theirs == ABSENT)


def json_not_text(ours: Any, theirs: Any) -> bool:
    """The type that the body really has."""
    return (ours, theirs) == ("application/json", "text/plain")


@dataclass(frozen=True)
class Difference:
    """`row` is the first cell of the page's row, `calls` those that show the difference."""

    row: str
    calls: tuple[str, ...]
    paths: tuple[str, ...]
    holds: Callable[[Any, Any], bool]


HOW: dict[str, tuple[tuple[str, ...], Callable[[Any, Any], bool]]] = {
    "itself": (("*/name", "*/version"), anything),
    "extensions": (("*/extensions/*",), only_theirs),
    "oracle-backend": (("*/platform", "*/backend", "*/default_model_filename"), anything),
    "queue-bound": (("*/default_queue_policy/*",), only_ours),
    "health-bodies": (("*/headers/content-type", "*/json/*", "*/body", "*/binary"), anything),
    "health-seen": (("*",), anything),
    "content-type-seen": (("/message",), anything),
    "readiness": (("/1",), anything),
    "content-type": (("*/headers/content-type",), json_not_text),
    "allow": (("*/headers/allow",), only_ours),
    "log-format": (("*/log_format", "*/log_format/string_param"), anything),
    "floats": (("*/data/*",), anything),
    "request-id": (ERRORS, same_text),
    "longer-texts": (ERRORS, longer_text),
    "wrong-json": (("*/status", "*/error"), client_error),
    "memory-usage": (("*/memory_usage", "*/memory_usage/*"), anything),
    "order-of-checks": (ERRORS, other_text),
}


def load() -> dict[str, Difference]:
    """All differences. Those without a place of their own may change a reply as a whole."""
    lists = tomllib.loads(LISTS.read_text())
    return {
        name: Difference(one["row"], tuple(one["calls"]), *HOW.get(name, (("*",), anything)))
        for name, one in lists.items()
    }


DIFFERENCES = load()


def rows() -> set[str]:
    """First cells of the page's rows."""
    found = set()
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and not set(cells[0]) <= {"-", " "}:
            found.add(cells[0])
    return found
