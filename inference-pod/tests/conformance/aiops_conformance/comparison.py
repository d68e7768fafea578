"""Calls, and what differs between the replies to one of them."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .differences import DIFFERENCES
from .servers import Target

ABSENT = "(absent)"


@dataclass(frozen=True)
class Call:
    """Something that is asked of both servers. `differs` names the differences that the replies must show, and no others."""

    name: str
    ask: Callable[[Target], Any]
    differs: tuple[str, ...] = ()


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
    if isinstance(ours, float) and isinstance(theirs, float) and ours != ours:
        return theirs != theirs
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
    unused = set(call.differs)
    wrong = []
    for mismatch in mismatches(ours, theirs):
        name = excuse(call.differs, mismatch)
        if name is None:
            wrong.append(str(mismatch))
        else:
            unused.discard(name)
    wrong.extend(f"the difference {name!r} is not there any more: remove it from the call" for name in sorted(unused))
    return wrong


def excuse(names: tuple[str, ...], mismatch: Mismatch) -> str | None:
    """The first of the differences that allows a mismatch."""
    for name in names:
        difference = DIFFERENCES[name]
        paths = difference.paths
        if any(fnmatch.fnmatchcase(mismatch.path, path) for path in paths) and difference.holds(
            mismatch.ours, mismatch.theirs
        ):
            return name
    return None
