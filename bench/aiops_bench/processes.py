"""Servers as processes: started on one core, watched, and ended with all that they started."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil

SERVER_CORE = "0"
CLIENT_CORE = "1"
START_SECONDS = 90.0
END_SECONDS = 20.0


class Server:
    """A started server and its children."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], log: Path, cores: str | None = SERVER_CORE
    ) -> None:
        self.log = log
        # Without them, all that the machine has.
        self.pinning = ["taskset", "--cpu-list", cores] if cores else []
        self.command = command
        self.environment = environment
        self.start()

    def start(self) -> None:
        self.started = time.monotonic()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603
                [*self.pinning, *self.command],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_ready(self, url: str) -> float:
        """Waits until the address answers with success; answers the seconds since the start."""
        while time.monotonic() < self.started + START_SECONDS:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}, see {self.log}")
            try:
                with urllib.request.urlopen(url, timeout=1):  # noqa: S310
                    return time.monotonic() - self.started
            except OSError:
                time.sleep(0.002)
        raise RuntimeError(f"{url} did not answer within {START_SECONDS:.0f} s, see {self.log}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """Ends the server as Kubernetes does, and starts it again when it has ended."""
        self.process.send_signal(signal.SIGTERM)
        if code := self.process.wait(START_SECONDS):
            raise RuntimeError(f"the server ended with {code}, see {self.log}")
        self.start()

    def members(self) -> list[psutil.Process]:
        try:
            leader = psutil.Process(self.process.pid)
            return [leader, *leader.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def processor_seconds(self) -> float:
        return sum(member.cpu_times().user + member.cpu_times().system for member in self.members())

    def resident_bytes(self) -> int:
        return sum(member.memory_info().rss for member in self.members())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
