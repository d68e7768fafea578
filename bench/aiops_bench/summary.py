"""Medians and their spread over the repeats of a run."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .payloads import Protocol
from .results import Results


@dataclass(frozen=True)
class Spread:
    """The middle of some values, and the quarters around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        low, median, high = np.percentile(values, [25, 50, 75])
        return cls(float(median), float(low), float(high))


@dataclass(frozen=True)
class Summary:
    """What a run measured."""

    results: Results

    def points(
        self,
        system: str,
        model: str,
        protocol: Protocol,
        concurrency: int,
        of_peak: float | None = None,
    ) -> list[dict[str, Any]]:
        wanted = (system, model, protocol.value, concurrency, of_peak)
        names = ("system", "model", "protocol", "concurrency", "of_peak")
        return [line for line in self.results.of_kind("point") if tuple(line[name] for name in names) == wanted]

    def value(self, field: str, system: str, model: str, protocol: Protocol, concurrency: int) -> Spread | None:
        points = self.points(system, model, protocol, concurrency)
        return Spread.of([point[field] for point in points]) if points else None

    def rate(self, system: str, model: str, protocol: Protocol, concurrency: int) -> float | None:
        rate = self.value("rate", system, model, protocol, concurrency)
        return rate.median if rate else None

    def bare(self, model: str) -> dict[int, dict[str, float]]:
        """By rows of a batch: the median time of a run and the rows a second."""
        lines = [line["models"][model] for line in self.results.of_kind("bare") if model in line["models"]]
        batches = lines[0].keys() if lines else ()
        return {
            int(rows): {field: float(np.median([line[rows][field] for line in lines])) for field in lines[0][rows]}
            for rows in batches
        }

    def systems(self) -> list[str]:
        return list(dict.fromkeys(line["system"] for line in self.results.of_kind("point")))

    def models(self) -> list[str]:
        return list(dict.fromkeys(line["model"] for line in self.results.of_kind("point")))

    def concurrencies(self, model: str) -> list[int]:
        return sorted({line["concurrency"] for line in self.results.of_kind("point") if line["model"] == model})

    def event(self, name: str) -> dict[str, Any] | None:
        lines = [line for line in self.results.of_kind("event") if line["name"] == name]
        return lines[-1] if lines else None
