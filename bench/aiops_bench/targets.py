"""The figures that are to be reached, and what was measured of each."""

from collections.abc import Iterator
from dataclasses import dataclass

from .payloads import Protocol
from .summary import Summary

V2_PROTOCOLS = (Protocol.JSON, Protocol.BINARY, Protocol.GRPC)
OTHERS = ("mlserver", "kserve", "bentoml", "litserve")
LOADED = (16, 64)


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    target: str
    measured: str
    is_met: bool | None

    @property
    def verdict(self) -> str:
        return {True: "yes", False: "**no**", None: "not measured"}[self.is_met]


def not_measured(what: str, target: str) -> Figure:
    return Figure(what, target, "", None)


def figures(summary: Summary) -> Iterator[Figure]:
    yield overhead(summary)
    for model, target in (("tiny", 2.5), ("mid", 1.8)):
        for protocol in V2_PROTOCOLS:
            yield against_triton(summary, model, protocol, target)
    for model, target in (("tiny", 18.0), ("mid", 8.0)):
        yield against_others(summary, model, target)
    yield share_of_bare(summary)
    yield mixed_lengths(summary)
    yield from events(summary)


def overhead(summary: Summary) -> Figure:
    what, target = "gRPC p50 at concurrency 1, tiny MLP, over the bare runtime's", "under 120 µs more"
    p50, bare = summary.value("p50", "ours", "tiny", Protocol.GRPC, 1), summary.bare("tiny")
    if p50 is None or not bare:
        return not_measured(what, target)
    more = p50.median - bare[1]["p50"]
    return Figure(what, target, f"{more:.0f} µs more ({p50.median:.0f} against {bare[1]['p50']:.0f})", more < 120)


def against_triton(summary: Summary, model: str, protocol: Protocol, target: float) -> Figure:
    what = f"{model} MLP, {protocol.value}, throughput against Triton (Python backend) at 16 and 64"
    ratios = []
    for concurrency in LOADED:
        ours = summary.rate("ours", model, protocol, concurrency)
        triton = summary.rate("triton", model, protocol, concurrency)
        if ours and triton:
            ratios.append(ours / triton)
    return ratio_figure(what, target, ratios)


def ratio_figure(what: str, target: float, ratios: list[float]) -> Figure:
    text = f"{target:g} times or more"
    if not ratios:
        return not_measured(what, text)
    return Figure(what, text, ", ".join(f"{ratio:.1f} times" for ratio in ratios), min(ratios) >= target)


def against_others(summary: Summary, model: str, target: float) -> Figure:
    """Each at the best of its protocols."""
    what = f"{model} MLP, throughput against the best of MLServer, KServe, BentoML, LitServe at 16 and 64"
    ratios = []
    for concurrency in LOADED:

        def best(systems: tuple[str, ...], concurrency: int = concurrency) -> float:
            rates = [summary.rate(name, model, protocol, concurrency) for name in systems for protocol in Protocol]
            return max((rate for rate in rates if rate), default=0.0)

        if best(OTHERS) and best(("ours",)):
            ratios.append(best(("ours",)) / best(OTHERS))
    return ratio_figure(what, target, ratios)


def share_of_bare(summary: Summary) -> Figure:
    what, target = "mid MLP, gRPC, concurrency 64: rows a second against the bare runtime's best", "65 % or more"
    ours, bare = summary.rate("ours", "mid", Protocol.GRPC, 64), summary.bare("mid")
    if ours is None or not bare:
        return not_measured(what, target)
    rows, best = max(((rows, line["rows_per_second"]) for rows, line in bare.items()), key=lambda pair: pair[1])
    share = ours / best
    measured = f"{100 * share:.0f} % ({ours:,.0f} of {best:,.0f}, bare with {rows} rows)"
    return Figure(what, target, measured, share >= 0.65)


def mixed_lengths(summary: Summary) -> Figure:
    what = "mixed-length transformer, throughput against Triton's at 16"
    ratios = []
    for protocol in V2_PROTOCOLS:
        ours = summary.rate("ours", "transformer", protocol, 16)
        triton = summary.rate("triton", "transformer", protocol, 16)
        if ours and triton:
            ratios.append(ours / triton)
    return ratio_figure(what, 2.0, ratios)


def events(summary: Summary) -> Iterator[Figure]:
    for name, what, target in (
        ("peak_p99", "p99 at 80 % of the peak rate, against Triton's at the same rate", "no worse"),
        ("ready", "start of the process to ready, warm cache, tiny model", "under 300 ms"),
        ("restarts", "requests lost in 20 SIGTERM restarts of one of two servers under constant rate", "0"),
        ("neighbour", "p99 of model A while model B (100 MB) loads and unloads, against without", "within 1.5 times"),
        ("cycles", "resident memory after 200 load/unload cycles, against after the first", "within 5 %"),
        ("soak", "resident memory after 1,000,000 requests, against after the first", "within 5 %"),
        ("fetch", "S3 fetch of 1 GiB, against the disk's own write speed", "80 % or more"),
        ("image", "image without its base, compressed", "under 40 MB"),
    ):
        event = summary.event(name)
        if event is None:
            yield not_measured(what, target)
        else:
            yield Figure(what, target, event["measured"], event["is_met"])
