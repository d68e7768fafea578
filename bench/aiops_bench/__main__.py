"""The command line: measure, or write the report of what was measured."""

import argparse
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from . import models, report
from .load import Generator
from .measure import Measurement, OutOfTimeError
from .plan import PLANS
from .results import Results
from .systems import Installation

# That of sysexits.h for "try again".
UNFINISHED = 75


def main() -> int:
    # Whoever ends a run ends the servers that it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    arguments = parse()
    plan = PLANS[arguments.plan]
    for name in ("systems", "models", "repeats", "seconds", "concurrencies"):
        if (chosen := getattr(arguments, name)) is not None:
            plan = replace(plan, **{name: chosen})
    if arguments.no_events:
        plan = replace(plan, events=False)
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    pythons = dict(pair.split("=", 1) for pair in arguments.python)
    installation = Installation(
        inference_pod=arguments.inference_pod,
        onnxruntime=arguments.onnxruntime,
        minio=arguments.minio,
        pythons={name: Path(path) for name, path in pythons.items()},
    )
    measurement = Measurement(
        plan=plan,
        installation=installation,
        generator=Generator(arguments.client),
        models=arguments.model_folder,
        files=models.ensure_built(arguments.model_folder),
        results=Results.read(folder / "results.jsonl"),
        deadline=time.monotonic() + arguments.time_limit,
    )
    try:
        if not arguments.report_only:
            measurement.run()
    except OutOfTimeError:
        print("the time is over; the same command goes on from here", file=sys.stderr)
        return UNFINISHED
    report.write(measurement.results, arguments.report, arguments.revision)
    print(f"written: {arguments.report / 'report.md'}")
    return 0


def names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="aiops_bench", description=__doc__)
    parser.add_argument("--plan", choices=PLANS, default="quick")
    parser.add_argument("--systems", type=names, help="only these, separated by commas")
    parser.add_argument("--models", type=names, help="only these, separated by commas")
    parser.add_argument("--concurrencies", type=lambda text: tuple(int(part) for part in text.split(",")))
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--seconds", type=float, help="of each point")
    parser.add_argument("--folder", type=Path, required=True, help="where results are kept; another run needs another")
    parser.add_argument("--model-folder", type=Path, required=True, help="where models are kept")
    parser.add_argument("--client", type=Path, required=True, help="the load generator's program")
    parser.add_argument("--inference-pod", type=Path, required=True, help="this server's program")
    parser.add_argument("--onnxruntime", type=Path, required=True, help="libonnxruntime.so")
    parser.add_argument("--minio", type=Path, required=True, help="the object store's program")
    parser.add_argument("--python", action="append", default=[], help="PEER=interpreter of its environment")
    parser.add_argument("--report", type=Path, required=True, help="folder of the report")
    parser.add_argument("--no-events", action="store_true", help="steady load alone")
    parser.add_argument("--revision", default="unknown", help="of this server, for the report")
    parser.add_argument("--report-only", action="store_true", help="write the report of what is there")
    parser.add_argument("--time-limit", type=float, default=1e9, help=f"seconds; then ends with {UNFINISHED}")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
