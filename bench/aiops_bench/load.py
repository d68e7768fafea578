"""One measured point: the load generator run against a server."""

import json
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from .payloads import Body, Protocol
from .processes import CLIENT_CORE, Server


@dataclass(frozen=True)
class Target:
    """Where a server takes requests of one model in one protocol."""

    port: int
    path: str


@dataclass(frozen=True)
class Load:
    """What is sent."""

    concurrency: int
    seconds: float
    warm_up: float = 0.3
    rate: float | None = None
    requests: int | None = None


@dataclass(frozen=True)
class Result:
    """What came of it. Latencies are microseconds."""

    rate: float
    requests: int
    errors: int
    first_error: str | None
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    client_load: float
    server_load: float
    # Of what neither server nor client did, in cores.
    foreign_load: float
    resident_bytes: int
    server_microseconds_per_request: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Generator:
    """The load generator's program."""

    def __init__(self, program: Path) -> None:
        self.program = program

    def command(self, target: Target, protocol: Protocol, load: Load, bodies: list[Path]) -> list[str]:
        command = ["taskset", "--cpu-list", CLIENT_CORE, str(self.program)]
        command += ["--address", f"127.0.0.1:{target.port}", "--path", target.path]
        command += ["--protocol", protocol.transport, "--concurrency", str(load.concurrency)]
        command += ["--warm-up", str(load.warm_up), "--duration", str(load.seconds)]
        if load.rate is not None:
            command += ["--rate", str(load.rate)]
        if load.requests is not None:
            command += ["--requests", str(load.requests)]
        if protocol in (Protocol.JSON, Protocol.ROWS):
            command += ["--header", "content-type: application/json"]
        for body in bodies:
            command += ["--body", str(body)]
        return command

    def run(
        self, server: Server, target: Target, protocol: Protocol, load: Load, bodies: list[Body]
    ) -> tuple[Result, bytes]:
        """Runs the load; answers what came of it, and the answer to the first body."""
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for index, body in enumerate(bodies):
                file = Path(folder) / f"{index}.body"
                file.write_bytes(body.content)
                files.append(file)
            kept = Path(folder) / "answer"
            command = [*self.command(target, protocol, load, files), "--keep", str(kept)]
            for body in bodies:
                if body.json_length is not None:
                    command += ["--json-length", str(body.json_length)]
            return self.measure(server, command), kept.read_bytes() if kept.exists() else b""

    @staticmethod
    def measure(server: Server, command: list[str]) -> Result:
        server_before, busy_before = server.processor_seconds(), busy_seconds()
        client_before = psutil.Process().cpu_times()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:  # noqa: S603
            output, errors = client.communicate()
        if client.returncode != 0:
            raise RuntimeError(f"the load generator failed: {errors.strip()}\n{' '.join(command)}")
        client_after = psutil.Process().cpu_times()
        client_seconds = client_after.children_user - client_before.children_user
        client_seconds += client_after.children_system - client_before.children_system
        server_seconds = server.processor_seconds() - server_before
        report = json.loads(output)
        foreign = busy_seconds() - busy_before - client_seconds - server_seconds
        latency = report["latency"]
        return Result(
            rate=report["rate"],
            requests=report["requests"],
            errors=report["errors"],
            first_error=report["first_error"],
            **{name: latency[name] for name in ("p50", "p90", "p95", "p99", "p999")},
            client_load=report["client_load"],
            server_load=server_seconds / report["total_seconds"],
            foreign_load=max(foreign, 0.0) / report["total_seconds"],
            resident_bytes=server.resident_bytes(),
            server_microseconds_per_request=1e6 * server_seconds / max(report["total_requests"], 1),
        )


def busy_seconds() -> float:
    """Processor time that the whole machine took, and that its host withheld."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)
