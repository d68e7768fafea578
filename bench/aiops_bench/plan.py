"""What is measured: points, in rounds in which the systems take turns."""

from collections.abc import Iterator
from dataclasses import dataclass

from .payloads import Protocol


@dataclass(frozen=True)
class Point:
    """One measurement of one system."""

    model: str
    protocol: Protocol
    concurrency: int
    # Requests a second, as a share of the most that the first system of the plan reached; nothing for a closed loop.
    rate: float | None = None


@dataclass(frozen=True)
class Plan:
    """A run of the benchmarks."""

    systems: tuple[str, ...]
    models: tuple[str, ...]
    concurrencies: tuple[int, ...]
    repeats: int
    seconds: float
    events: bool
    # Models that are measured in the closed loop at these concurrencies only.
    heavy: tuple[str, ...] = ("cnn", "identity", "transformer")
    heavy_concurrencies: tuple[int, ...] = (1, 16)

    def rounds(self) -> Iterator[tuple[int, str]]:
        for repeat in range(self.repeats):
            for system in self.systems:
                yield repeat, system

    def points(self, protocols: tuple[Protocol, ...]) -> Iterator[Point]:
        for model in self.models:
            concurrencies = self.heavy_concurrencies if model in self.heavy else self.concurrencies
            for protocol in protocols:
                for concurrency in concurrencies:
                    yield Point(model, protocol, concurrency)


SERVERS = ("ours", "triton", "mlserver", "kserve", "bentoml", "litserve")
QUICK = Plan(("ours", "triton"), ("tiny", "mid"), (1, 16, 64), repeats=3, seconds=1.5, events=False)
FULL = Plan(
    SERVERS,
    ("tiny", "mid", "cnn", "transformer", "identity", "trees"),
    (1, 4, 16, 64),
    repeats=5,
    seconds=5.0,
    events=True,
)
EVENTS = Plan((), (), (), repeats=0, seconds=0, events=True)
PLANS = {"quick": QUICK, "full": FULL, "events": EVENTS}
