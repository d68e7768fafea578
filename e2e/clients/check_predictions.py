"""Asks a served classifier for all held-out rows over every front, and compares with scikit-learn's own answers.

The model and the rows are loaded from MLflow, the answers come from unmodified clients: tritonclient over HTTP (JSON
and binary tensors) and gRPC, KServe's Python client over HTTP and gRPC, and plain REST.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import mlflow.sklearn
import numpy
import pandas
import tritonclient.grpc
import tritonclient.http
from mlflow import MlflowClient
from safetensors.numpy import load_file
from sklearn.datasets import load_breast_cancer

from rest import predict_rows

TOLERANCE = 1e-5
Answers = tuple[numpy.ndarray, numpy.ndarray]
"""Labels `[rows]` and probabilities `[rows, classes]`."""


def held_out_rows(client: MlflowClient, run_id: str) -> numpy.ndarray:
    """The rows that the run did not train on, each of them a row of the dataset."""
    folder = tempfile.mkdtemp()
    path = Path(client.download_artifacts(run_id, "evaluation/holdout.safetensors", folder))
    rows = load_file(path)["rows"]
    dataset = {row.tobytes() for row in load_breast_cancer().data.astype(numpy.float32)}
    # float32 is what the served model takes. scikit-learn's trees round their input to it as well.
    rows = rows.astype(numpy.float32)
    strangers = [index for index, row in enumerate(rows) if row.tobytes() not in dataset]
    if strangers:
        raise SystemExit(f"held-out rows {strangers[:5]} of run {run_id} are no rows of breast-cancer")
    if len(rows) < 100:
        raise SystemExit(f"run {run_id} holds out {len(rows)} rows of breast-cancer's 569, expected a quarter of them")
    return rows


def logged_model(client: MlflowClient, run_id: str):
    """The scikit-learn model that the run logged."""
    outputs = client.get_run(run_id).outputs.model_outputs
    if len(outputs) != 1:
        raise SystemExit(f"run {run_id} has {len(outputs)} logged models, expected one")
    return mlflow.sklearn.load_model(f"models:/{outputs[0].model_id}")


def over_triton_http(address: str, model: str, rows: numpy.ndarray, *, binary: bool) -> Answers:
    client = tritonclient.http.InferenceServerClient(address)
    tensor = tritonclient.http.InferInput("features", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    wanted = [tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities")]
    answer = client.infer(model, [tensor], outputs=wanted)
    return answer.as_numpy("label"), answer.as_numpy("probabilities")


def over_triton_grpc(address: str, model: str, rows: numpy.ndarray) -> Answers:
    client = tritonclient.grpc.InferenceServerClient(address)
    if not (client.is_server_ready() and client.is_model_ready(model)):
        raise SystemExit(f"tritonclient finds {address} or its model {model} not ready")
    tensor = tritonclient.grpc.InferInput("features", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    answer = client.infer(model, [tensor])
    return answer.as_numpy("label"), answer.as_numpy("probabilities")


def over_kserve(address: str, model: str, rows: numpy.ndarray, *, protocol: str) -> Answers:
    """In a process of its own: tritonclient and KServe's client each bring the protocol's messages, and protobuf lets a
    process have only one of them."""
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "rows.npy", Path(folder) / "answers.npz"
        numpy.save(question, rows)
        script = Path(__file__).with_name("ask_with_kserve.py")
        command = [sys.executable, str(script), protocol, address, model, str(question), str(answer)]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if asked.returncode != 0:
            raise RuntimeError(asked.stderr.strip()[-2000:])
        answers = numpy.load(answer)
        return answers["label"], answers["probabilities"]


def difference(answers: Answers, labels: numpy.ndarray, probabilities: numpy.ndarray) -> str:
    """What is wrong with the answers; empty where they are right."""
    got_labels, got_probabilities = numpy.asarray(answers[0]).reshape(-1), numpy.asarray(answers[1])
    if got_labels.shape != labels.shape or got_probabilities.shape != probabilities.shape:
        return f"shapes {got_labels.shape} and {got_probabilities.shape}, not {labels.shape} and {probabilities.shape}"
    wrong = numpy.flatnonzero(got_labels != labels)
    if wrong.size:
        return (
            f"{wrong.size} labels differ, the first in row {wrong[0]}: {got_labels[wrong[0]]}, not {labels[wrong[0]]}"
        )
    largest = float(numpy.abs(got_probabilities - probabilities).max())
    return "" if largest <= TOLERANCE else f"probabilities differ by up to {largest}, more than {TOLERANCE}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--mlflow", "--run-id", "--model", "--http", "--grpc", "--rest"):
        parser.add_argument(name, required=True)
    arguments = parser.parse_args()
    os.environ["MLFLOW_TRACKING_URI"] = arguments.mlflow
    # Through the server: it would offer addresses of the store itself, which only the cluster's own DNS knows.
    os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] = "false"
    mlflow.set_tracking_uri(arguments.mlflow)

    client = MlflowClient()
    rows = held_out_rows(client, arguments.run_id)
    original = logged_model(client, arguments.run_id)
    table = pandas.DataFrame(rows, columns=original.feature_names_in_)
    labels, probabilities = original.predict(table), original.predict_proba(table)

    classes = [str(name) for name in load_breast_cancer().target_names]  # REST answers names, not 0 and 1
    http, grpc, model = arguments.http, arguments.grpc, arguments.model
    fronts: dict[str, Callable[[], Answers]] = {
        "HTTP v2, JSON, tritonclient": lambda: over_triton_http(http, model, rows, binary=False),
        "HTTP v2, binary, tritonclient": lambda: over_triton_http(http, model, rows, binary=True),
        "gRPC v2, tritonclient": lambda: over_triton_grpc(grpc, model, rows),
        "HTTP v2, KServe's client": lambda: over_kserve(http, model, rows, protocol="http"),
        "gRPC v2, KServe's client": lambda: over_kserve(grpc, model, rows, protocol="grpc"),
        "REST": lambda: predict_rows(f"http://{arguments.rest}", model, rows.tolist(), classes),
    }
    problems = {}
    for front, ask in fronts.items():
        try:
            problem = difference(ask(), labels, probabilities)
        except Exception as error:  # every front is asked, so that one run shows all that is wrong
            problem = f"{type(error).__name__}: {error}"
        if problem:
            problems[front] = problem
    if problems:
        raise SystemExit("\n".join(f"{front}: {problem}" for front, problem in problems.items()))
    print(json.dumps({"rows": len(rows), "fronts": list(fronts), "malignant": int((labels == 0).sum())}))


if __name__ == "__main__":
    main()
