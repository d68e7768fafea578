"""The report: Markdown with plots, from what a run measured."""

import platform
import sys
from importlib import metadata
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # the backend is chosen before

from .models import MODELS
from .payloads import Protocol
from .results import Results
from .summary import Summary
from .targets import figures

TITLES = {
    "ours": "this server",
    "triton": "Triton 2.51, Python backend",
    "mlserver": "MLServer 1.7.1",
    "kserve": "KServe 0.21",
    "bentoml": "BentoML 1.4",
    "litserve": "LitServe 0.2",
}
METHOD = """\
Server pinned to core 0, load generator to core 1; every system runs the same ONNX Runtime with one thread. The systems
take turns, each round in a fresh process; figures are medians over the rounds, with the quartiles behind them where
there are several. A point during which anything else took more than a tenth of a core is measured again. Every point's
answer is compared with the bare runtime's. Triton is its own front ends and batcher over a Python backend: no package
carries its C++ backend for ONNX Runtime. BentoML and LitServe have their own protocol (rows as JSON) and serve one
model a process. All that can batch do: at most 64 rows, with half a millisecond of delay at most
(`bench/aiops_bench/systems.py` has every setting).
"""


def write(results: Results, folder: Path, revision: str) -> None:
    summary = Summary(results)
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["# Speed, measured in one run", "", METHOD, *machine(revision), "", *target_table(summary)]
    for model in summary.models():
        parts += ["", *model_section(summary, model, folder)]
    (folder / "report.md").write_text("\n".join(parts) + "\n")


def machine(revision: str) -> list[str]:
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return [
        f"Machine: {cpu}, Linux {platform.release().partition('-')[0]}; Python {sys.version.split()[0]}, "
        f"ONNX Runtime {metadata.version('onnxruntime')}; this server at {revision}.",
    ]


def target_table(summary: Summary) -> list[str]:
    lines = ["## Targets", "", "| figure | to reach | measured | met |", "| --- | --- | --- | --- |"]
    for figure in figures(summary):
        lines.append(f"| {figure.what} | {figure.target} | {figure.measured} | {figure.verdict} |")
    return lines


def model_section(summary: Summary, model: str, folder: Path) -> list[str]:
    lines = [f"## {model}: {MODELS[model].description}", ""]
    if bare := summary.bare(model):
        rates = ", ".join(f"{line['rows_per_second']:,.0f} with {rows}" for rows, line in bare.items())
        lines += [f"The bare runtime: {bare[1]['p50']:,.0f} µs a row; rows a second by rows of a batch: {rates}.", ""]
    concurrencies = summary.concurrencies(model)
    head = " | ".join(f"{count} at a time" for count in concurrencies)
    lines += [f"| system | protocol | {head} | µs of processor a request | MiB |"]
    lines += ["| --- | --- |" + " --- |" * (len(concurrencies) + 2)]
    for system in summary.systems():
        for protocol in Protocol:
            cells = [cell(summary, system, model, protocol, count) for count in concurrencies]
            if any(cells):
                costs = [
                    summary.value(field, system, model, protocol, concurrencies[-1])
                    for field in ("server_microseconds_per_request", "resident_bytes")
                ]
                cost = f"{costs[0].median:.1f}" if costs[0] else ""
                memory = f"{costs[1].median / (1 << 20):.0f}" if costs[1] else ""
                shown = " | ".join(cells)
                lines.append(f"| {TITLES[system]} | {protocol.value} | {shown} | {cost} | {memory} |")
    plot(summary, model, folder / f"{model}.svg")
    return [*lines, "", f"![Requests a second of {model}]({model}.svg)"]


def cell(summary: Summary, system: str, model: str, protocol: Protocol, concurrency: int) -> str:
    rate, p50, p99 = (summary.value(field, system, model, protocol, concurrency) for field in ("rate", "p50", "p99"))
    if rate is None or p50 is None or p99 is None:
        return ""
    spread = f" ({rate.low:,.0f} to {rate.high:,.0f})" if rate.low != rate.high else ""
    return f"{rate.median:,.0f}/s{spread}, p50 {p50.median:,.0f} µs, p99 {p99.median:,.0f} µs"


def plot(summary: Summary, model: str, file: Path) -> None:
    """Requests a second over the concurrency, a panel for each protocol."""
    protocols = [
        protocol
        for protocol in Protocol
        if any(summary.rate(system, model, protocol, 1) for system in summary.systems())
    ]
    figure, panels = plt.subplots(1, len(protocols), figsize=(4.2 * len(protocols), 3.4), sharey=True, squeeze=False)
    for panel, protocol in zip(panels[0], protocols, strict=True):
        for system in summary.systems():
            points = [(count, summary.rate(system, model, protocol, count)) for count in summary.concurrencies(model)]
            shown = [(count, rate) for count, rate in points if rate is not None]
            if shown:
                panel.plot(*zip(*shown, strict=True), marker="o", label=TITLES[system])
        panel.set(title=protocol.value, xlabel="requests at a time", xscale="log", yscale="log")
        panel.set_xticks(summary.concurrencies(model), [str(count) for count in summary.concurrencies(model)])
        panel.grid(visible=True, alpha=0.3)
        panel.legend(fontsize=7)
    panels[0][0].set_ylabel("requests a second")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
