"""The limit: ONNX Runtime called in a loop, with nothing around it. Run as a program, on the server's core."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

from .models import MODELS, Array, Model

BATCHES = (1, 4, 16, 64, 128)


def open_session(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def joined(model: Model, rows: int) -> dict[str, Array]:
    requests = model.requests()
    if model.name == "transformer":
        requests = [request for request in requests if request["input_ids"].shape == requests[0]["input_ids"].shape]
    chosen = [requests[index % len(requests)] for index in range(rows)]
    return {port.name: np.concatenate([request[port.name] for request in chosen]) for port in model.inputs}


def measure(session: onnxruntime.InferenceSession, arrays: dict[str, Array], seconds: float) -> dict[str, float]:
    for _ in range(3):
        session.run(None, arrays)
    times = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        session.run(None, arrays)
        times.append(time.perf_counter() - start)
    return {"p50": float(np.median(times)) * 1e6, "rate": len(times) / sum(times)}


def main() -> None:
    seconds, folder, *names = sys.argv[1:]
    measured: dict[str, dict[str, dict[str, float]]] = {}
    for name in names:
        model = MODELS[name]
        session = open_session(Path(folder) / f"{name}.onnx")
        of_model = measured.setdefault(name, {})
        for rows in BATCHES:
            if rows <= max(model.max_batch_size, 64):
                result = measure(session, joined(model, rows), float(seconds))
                of_model[str(rows)] = {"p50": result["p50"], "rows_per_second": rows * result["rate"]}
    json.dump(measured, sys.stdout)


if __name__ == "__main__":
    main()
