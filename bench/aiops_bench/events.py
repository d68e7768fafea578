"""What happens besides steady load: starts, restarts, models that come and go, a long run."""

import gzip
import json
import statistics
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from . import fetch, payloads
from .load import Generator, Load, Result
from .models import MODELS
from .payloads import Protocol
from .results import Results
from .summary import Summary
from .systems import SYSTEMS, Installation, Running, Setting, start_ours

STARTS = 10
RESTARTS = 20
RESTART_RATE = 300.0
CYCLES = 200
SOAK_REQUESTS = 1_000_000
# What a resident size is compared with is measured after so many requests, or cycles.
FIRST_REQUESTS = 1000


@dataclass
class Events:
    """What the events need."""

    installation: Installation
    generator: Generator
    files: dict[str, Path]
    results: Results
    # Ends a run whose time is over.
    check_time: Callable[[], None]

    def run(self) -> None:
        for name, event in EVENTS.items():
            if Summary(self.results).event(name) is None:
                self.check_time()
                measured, is_met = event(self)
                print(f"{name}: {measured}", flush=True)
                self.results.add({"kind": "event", "name": name, "measured": measured, "is_met": is_met})

    @contextmanager
    def serving(self, *names: str, system: str = "ours", explicit: bool = False) -> Iterator[Running]:
        with tempfile.TemporaryDirectory(prefix="bench-event-") as folder:
            setting = Setting(self.installation, self.files, [MODELS[name] for name in names], Path(folder))
            if explicit:
                setting = replace(
                    setting, arguments=(*setting.arguments, "--model-control-mode=explicit", "--load-model=*")
                )
            running = SYSTEMS[system](setting)
            with running.server as server:
                server.wait_ready(running.ready_url)
                yield running

    def load(self, running: Running, protocol: Protocol, load: Load, model: str = "tiny") -> Result:
        bodies = [payloads.encode(protocol, MODELS[model], arrays) for arrays in MODELS[model].requests()]
        target = running.targets[protocol](MODELS[model])
        result, _ = self.generator.run(running.server, target, protocol, load, bodies)
        return result


Measured = tuple[str, bool]


def ready(events: Events) -> Measured:
    seconds = []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory(prefix="bench-event-") as folder:
            running = start_ours(Setting(events.installation, events.files, [MODELS["tiny"]], Path(folder)))
            with running.server as server:
                seconds.append(server.wait_ready(running.ready_url))
    milliseconds = 1000 * statistics.median(seconds)
    return f"{milliseconds:.0f} ms, the median of {STARTS} (up to {1000 * max(seconds):.0f})", milliseconds < 300


def soak(events: Events) -> Measured:
    with events.serving("tiny") as running:
        load = Load(64, 1, requests=FIRST_REQUESTS)
        first = max(events.load(running, protocol, load).resident_bytes for protocol in running.targets)
        # The first thousands fill what is kept for reuse; a leak grows by the request.
        result = events.load(running, Protocol.GRPC, Load(64, 1, requests=SOAK_REQUESTS))
        return growth(first, result.resident_bytes)


def growth(first: int, last: int) -> Measured:
    return f"{last / first:.3f} times ({first >> 20} MiB, then {last >> 20} MiB)", last <= 1.05 * first


def post(url: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, data=b"{}", method="POST"), timeout=60):  # noqa: S310
        pass


def repository_url(running: Running, model: str, call: str) -> str:
    port = running.targets[Protocol.JSON](MODELS[model]).port
    return f"http://127.0.0.1:{port}/v2/repository/models/{model}/{call}"


def cycles(events: Events) -> Measured:
    with events.serving("tiny", "mid", explicit=True) as running:
        sizes = []
        for _ in range(CYCLES):
            post(repository_url(running, "mid", "unload"))
            post(repository_url(running, "mid", "load"))
            sizes.append(running.server.resident_bytes())
        return growth(sizes[0], statistics.median_low(sizes[-5:]))


def neighbour(events: Events) -> Measured:
    """The transformer is the large model that comes and goes, the tiny one is asked meanwhile."""
    load = Load(4, 8, rate=1000.0)
    with events.serving("tiny", "transformer", explicit=True) as running:
        post(repository_url(running, "transformer", "unload"))
        alone = events.load(running, Protocol.GRPC, load).p99
        stop = threading.Event()
        thread = threading.Thread(target=come_and_go, args=(running, stop))
        thread.start()
        beside = events.load(running, Protocol.GRPC, load).p99
        stop.set()
        thread.join()
    size = events.files["transformer"].stat().st_size / 1e6
    measured = f"{beside / alone:.1f} times ({beside:,.0f} µs against {alone:,.0f} µs; B has {size:.0f} MB)"
    return measured, beside <= 1.5 * alone


def come_and_go(running: Running, stop: threading.Event) -> None:
    while not stop.is_set():
        for call in ("load", "unload"):
            post(repository_url(running, "transformer", call))


def restarts(events: Events) -> Measured:
    """Two servers on the ports of one service; one after the other is ended with SIGTERM and started again."""
    model = MODELS["tiny"]
    with tempfile.TemporaryDirectory(prefix="bench-event-") as folder:
        settings = [
            Setting(events.installation, events.files, [model], Path(folder) / name, ("--drain-delay-secs=1",))
            for name in ("a", "b")
        ]
        running = [start_ours(setting) for setting in settings]
        try:
            for one in running:
                one.server.wait_ready(one.ready_url)
            body = Path(folder) / "body"
            body.write_bytes(payloads.encode(Protocol.JSON, model, model.requests()[0]).content)
            targets = [one.targets[Protocol.JSON](model) for one in running]
            load = Load(8, 10_000, rate=RESTART_RATE, requests=int(RESTART_RATE * RESTARTS * 3))
            command = events.generator.command(targets[0], Protocol.JSON, load, [body])
            command += ["--reconnect", "--address", f"127.0.0.1:{targets[1].port}"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:  # noqa: S603
                for index in range(RESTARTS):
                    one = running[index % 2]
                    one.server.restart()
                    one.server.wait_ready(one.ready_url)
                report = json.loads(client.communicate()[0])
        finally:
            for one in running:
                one.server.stop()
    lost = report["errors"]
    first = f", the first: {report['first_error']}" if lost else ""
    return f"{lost} of {report['total_requests'] + lost:,}{first}", lost == 0


def peak_p99(events: Events) -> Measured:
    """Both at 80 % of the most that Triton answers, and this server at 80 % of its own besides."""
    measured: dict[str, Result] = {}
    peaks: dict[str, float] = {}
    for system in ("triton", "ours"):
        with events.serving("mid", system=system) as running:
            peaks[system] = events.load(running, Protocol.GRPC, Load(64, 3), "mid").rate
            rate = 0.8 * peaks["triton"]
            measured[system] = events.load(running, Protocol.GRPC, Load(64, 6, rate=rate), "mid")
            if system == "ours":
                own = events.load(running, Protocol.GRPC, Load(64, 6, rate=0.8 * peaks[system]), "mid")
    ours, triton = measured["ours"].p99, measured["triton"].p99
    text = f"mid MLP over gRPC at {0.8 * peaks['triton']:,.0f}/s: {ours:,.0f} µs against {triton:,.0f} µs"
    return f"{text} (at its own 80 %, {0.8 * peaks['ours']:,.0f}/s: {own.p99:,.0f} µs)", ours <= triton


def image(events: Events) -> Measured:
    """What images/inference-pod/Dockerfile copies onto its base, compressed as registries keep layers."""
    programs = (events.installation.inference_pod, events.installation.onnxruntime)
    sizes = [len(gzip.compress(program.read_bytes(), compresslevel=6)) for program in programs]
    server, runtime = (f"{size / 1e6:.1f} MB" for size in sizes)
    return f"{sum(sizes) / 1e6:.1f} MB (server {server}, ONNX Runtime {runtime})", sum(sizes) < 40e6


def fetching(events: Events) -> Measured:
    return fetch.measure(events.installation)


EVENTS: dict[str, Callable[[Events], Measured]] = {
    "ready": ready,
    "peak_p99": peak_p99,
    "neighbour": neighbour,
    "cycles": cycles,
    "soak": soak,
    "restarts": restarts,
    "fetch": fetching,
    "image": image,
}
