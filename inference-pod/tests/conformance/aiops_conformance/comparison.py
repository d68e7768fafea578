"""Calls, and what differs between the replies to one of them."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .differences import ABSENT, DIFFERENCES, Difference
from .servers import Target


@dataclass(frozen=True)
class Call:
    """Something that is asked of both servers."""

    name: str
    ask: Callable[[Target], Any]

    def differences(self) -> dict[str, Difference]:
        """Those that the replies must show, and no others."""
        return {name: one for name, one in DIFFERENCES.items() if self.name in one.calls}


@dataclass(frozen=True)
class Mismatch:
    """A value that the two servers answer differently."""

    path: str
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return f"{self.path}\n    here:   {self.ours!r}\n    Triton: {self.theirs!r}"


def mismatches(ours: Any, theirs: Any) -> list[Mismatch]:
    """Every path at which the replies differ."""
    here, there = dict(leaves(ours)), dict(leaves(theirs))
    paths = [*here, *(path for path in there if path not in here)]
    values = ((path, here.get(path, ABSENT), there.get(path, ABSENT)) for path in paths)
    return [Mismatch(*value) for value in values if not same(value[1], value[2])]


def same(ours: Any, theirs: Any) -> bool:
    """1 is not True here, and one NaN is as good as another."""
    if isinstance(ours, float) and isinstance(theirs, float) and math.isnan(ours):
        return math.isnan(theirs)
    return type(ours) is type(theirs) and bool(ours == theirs)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that holds no others, by its path."""
    parts: Iterator[tuple[str, Any]]
    if isinstance(value, dict):
        parts = ((str(name), part) for name, part in value.items())
    elif isinstance(value, list):
        parts = ((str(index), part) for index, part in enumerate(value))
    else:
        yield path, value
        return
    empty = True
    for name, part in parts:
        empty = False
        yield from leaves(part, f"{path}/{name}")
    if empty:
        yield path, "{}" if isinstance(value, dict) else "[]"


def judge(call: Call, ours: Any, theirs: Any) -> list[str]:
    """What is wrong: values that differ without leave, and differences that were to be there and are not."""
    allowed = call.differences()
    unseen = set(allowed)
    wrong = []
    for mismatch in mismatches(ours, theirs):
        names = [name for name, difference in allowed.items() if allows(difference, mismatch)]
        unseen.difference_update(names[:1])
        if not names:
            wrong.append(str(mismatch))
    wrong.extend(
        f"the difference {name!r} is not there any more: take the call off its list" for name in sorted(unseen)
    )
    return wrong


def allows(difference: Difference, mismatch: Mismatch) -> bool:
    """Whether a difference shows at this path, and in this way."""
    fits = any(fnmatch.fnmatchcase(mismatch.path, path) for path in difference.paths)
    return fits and difference.holds(mismatch.ours, mismatch.theirs)
