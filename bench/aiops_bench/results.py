"""What was measured, one JSON object a line, so that a run goes on where it was interrupted."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .plan import Point

Key = tuple[int, str, str, str, int, float | None]


@dataclass
class Results:
    """The lines of a file."""

    file: Path
    lines: list[dict[str, Any]]

    @classmethod
    def read(cls, file: Path) -> "Results":
        text = file.read_text() if file.exists() else ""
        return cls(file, [json.loads(line) for line in text.splitlines()])

    def add(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        with self.file.open("a") as output:
            output.write(json.dumps(line) + "\n")

    def of_kind(self, kind: str) -> Iterable[dict[str, Any]]:
        return (line for line in self.lines if line["kind"] == kind)

    def keys(self) -> set[Key]:
        return {
            (line["repeat"], line["system"], line["model"], line["protocol"], line["concurrency"], line["of_peak"])
            for line in self.of_kind("point")
        }


def key(repeat: int, system: str, point: Point) -> Key:
    return (repeat, system, point.model, point.protocol.value, point.concurrency, point.rate)
