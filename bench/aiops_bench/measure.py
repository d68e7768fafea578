"""Measuring a plan: round after round, each with a fresh process of one system."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import bare, payloads
from .events import Events
from .load import Generator, Load, Result
from .models import MODELS, Array
from .payloads import Protocol
from .plan import Plan, Point
from .processes import SERVER_CORE
from .results import Results, key
from .systems import ONE_MODEL_SYSTEMS, SYSTEMS, Installation, Running, Setting

# A point during which others took more than this of a core is measured again, twice at most.
MOST_FOREIGN_LOAD = 0.1
ATTEMPTS = 3
BARE_SECONDS = 0.5


class OutOfTimeError(Exception):
    """The time that this call may take is over; the next one goes on."""


@dataclass
class Measurement:
    """A plan being measured."""

    plan: Plan
    installation: Installation
    generator: Generator
    models: Path
    files: dict[str, Path]
    results: Results
    deadline: float

    def run(self) -> None:
        for repeat, system in self.plan.rounds():
            self.measure_bare(repeat)
            self.measure_system(repeat, system)
        if self.plan.events:
            Events(self.installation, self.generator, self.files, self.results, self.check_time).run()

    def check_time(self) -> None:
        if time.monotonic() > self.deadline:
            raise OutOfTimeError

    def measure_bare(self, repeat: int) -> None:
        if any(line["repeat"] == repeat for line in self.results.of_kind("bare")):
            return
        self.check_time()
        command = ["taskset", "--cpu-list", SERVER_CORE, sys.executable, "-m", "aiops_bench.bare"]
        command += [str(BARE_SECONDS), str(self.models), *self.plan.models]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        output = subprocess.run(command, check=True, capture_output=True, env=environment).stdout  # noqa: S603
        self.results.add({"kind": "bare", "repeat": repeat, "models": json.loads(output)})

    def measure_system(self, repeat: int, system: str) -> None:
        done = self.results.keys()
        todo = [point for point in self.plan.points(tuple(Protocol)) if key(repeat, system, point) not in done]
        if not todo or system in {line["system"] for line in self.results.of_kind("failure")}:
            return
        names = self.plan.models
        if system not in ONE_MODEL_SYSTEMS:
            self.measure_models(repeat, system, names, todo)
            return
        for name in names:
            self.measure_models(repeat, system, (name,), [point for point in todo if point.model == name])

    def measure_models(self, repeat: int, system: str, names: tuple[str, ...], todo: list[Point]) -> None:
        if not todo:
            return
        self.check_time()
        models = [MODELS[name] for name in names]
        with tempfile.TemporaryDirectory(prefix=f"bench-{system}-") as folder:
            running = SYSTEMS[system](Setting(self.installation, self.files, models, Path(folder)))
            with running.server as server:
                try:
                    seconds = server.wait_ready(running.ready_url)
                except RuntimeError as failure:
                    print(f"{failure}\n{server.log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
                    raise
                self.results.add({"kind": "start", "repeat": repeat, "system": system, "seconds": seconds})
                for point in todo:
                    if point.protocol in running.targets:
                        self.check_time()
                        self.measure_point(repeat, system, running, point)

    def measure_point(self, repeat: int, system: str, running: Running, point: Point) -> None:
        model = MODELS[point.model]
        requests = model.requests()
        bodies = [payloads.encode(point.protocol, model, arrays) for arrays in requests]
        load = Load(point.concurrency, self.plan.seconds)
        target = running.targets[point.protocol](model)
        for attempt in range(ATTEMPTS):
            result, answer = self.generator.run(running.server, target, point.protocol, load, bodies)
            if result.foreign_load <= MOST_FOREIGN_LOAD or attempt == ATTEMPTS - 1:
                break
        self.check_answer(system, point, requests[0], answer, result)
        line = {"kind": "point", "repeat": repeat, "system": system, "model": point.model}
        line |= {"protocol": point.protocol.value, "concurrency": point.concurrency, "of_peak": point.rate}
        self.results.add(line | result.as_dict())
        print(describe(system, point, result), flush=True)

    def check_answer(self, system: str, point: Point, arrays: dict[str, Array], answer: bytes, result: Result) -> None:
        """A fast server that answers something else is not fast."""
        if result.errors:
            raise RuntimeError(f"{system}, {point}: {result.errors} errors, the first: {result.first_error}")
        expected = bare.open_session(self.files[point.model]).run(None, arrays)[0]
        given = payloads.decode(point.protocol, MODELS[point.model], answer)
        if not np.allclose(given, expected.ravel(), rtol=1e-3, atol=1e-4):
            raise RuntimeError(f"{system}, {point}: the answer {given[:8]} is not {expected.ravel()[:8]}")


def describe(system: str, point: Point, result: Result) -> str:
    return (
        f"{system:9} {point.model:11} {point.protocol.value:11} c={point.concurrency:<3} {result.rate:9.0f}/s"
        f"  p50 {result.p50:8.0f} us  p99 {result.p99:8.0f} us  server {result.server_load:.2f}"
        f"  client {result.client_load:.2f}  foreign {result.foreign_load:.2f}"
        f"  {result.server_microseconds_per_request:6.1f} us/request  {result.resident_bytes >> 20} MiB"
    )
