"""Asks a served model for all held-out rows over every front, and compares with scikit-learn's own answers.

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
from sklearn.datasets import load_breast_cancer, load_diabetes

import rest

TOLERANCE = 1e-5
BATCH = 50
"""Rows a request: a published model takes at most 64."""
DATASETS = {"breast-cancer": load_breast_cancer, "diabetes": load_diabetes}
LABEL = "label"
Answers = dict[str, numpy.ndarray]
"""The outputs by name: `label` `[rows]` and `probabilities` `[rows, classes]`, or `prediction` `[rows, 1]`."""


def held_out_rows(client: MlflowClient, run_id: str, dataset: numpy.ndarray) -> numpy.ndarray:
    """The rows that the run did not train on, each of them a row of the dataset."""
    folder = tempfile.mkdtemp()
    path = Path(client.download_artifacts(run_id, "evaluation/holdout.safetensors", folder))
    # float32 is what the served model takes. scikit-learn's trees round their input to it as well.
    rows = load_file(path)["rows"].astype(numpy.float32)
    known = {row.tobytes() for row in dataset.astype(numpy.float32)}
    strangers = [index for index, row in enumerate(rows) if row.tobytes() not in known]
    if strangers:
        raise SystemExit(f"held-out rows {strangers[:5]} of run {run_id} are no rows of the dataset")
    if len(rows) < len(dataset) // 5:
        raise SystemExit(f"run {run_id} holds out {len(rows)} of {len(dataset)} rows, expected a quarter of them")
    return rows


def original_answers(client: MlflowClient, run_id: str, rows: numpy.ndarray) -> Answers:
    """What the model that the run logged answers in scikit-learn itself."""
    outputs = client.get_run(run_id).outputs.model_outputs
    if len(outputs) != 1:
        raise SystemExit(f"run {run_id} has {len(outputs)} logged models, expected one")
    model = mlflow.sklearn.load_model(f"models:/{outputs[0].model_id}")
    table = pandas.DataFrame(rows, columns=model.feature_names_in_)
    if hasattr(model, "predict_proba"):
        return {LABEL: model.predict(table), "probabilities": model.predict_proba(table)}
    return {"prediction": model.predict(table).reshape(-1, 1)}


def over_triton_http(address: str, model: str, rows: numpy.ndarray, names: list[str], *, binary: bool) -> Answers:
    client = tritonclient.http.InferenceServerClient(address)
    tensor = tritonclient.http.InferInput("features", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    wanted = [tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in names]
    answer = client.infer(model, [tensor], outputs=wanted)
    return {name: answer.as_numpy(name) for name in names}


def over_triton_grpc(address: str, model: str, rows: numpy.ndarray, names: list[str]) -> Answers:
    client = tritonclient.grpc.InferenceServerClient(address)
    if not (client.is_server_ready() and client.is_model_ready(model)):
        raise RuntimeError(f"tritonclient finds {address} or its model {model} not ready")
    tensor = tritonclient.grpc.InferInput("features", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    answer = client.infer(model, [tensor])
    return {name: answer.as_numpy(name) for name in names}


def over_kserve(address: str, model: str, rows: numpy.ndarray, *, protocol: str) -> Answers:
    """In a process of its own: tritonclient and KServe's client each bring the protocol's messages, and protobuf lets a
    process have only one of them."""
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "rows.npy", Path(folder) / "answers.npz"
        numpy.save(question, rows)
        script = Path(__file__).with_name("ask_with_kserve.py")
        command = [sys.executable, str(script), protocol, address, model, str(question), str(answer), str(BATCH)]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if asked.returncode != 0:
            raise RuntimeError(asked.stderr.strip()[-2000:])
        return dict(numpy.load(answer))


def over_rest(url: str, model: str, rows: numpy.ndarray, classes: list[str]) -> Answers:
    """REST answers names of classes, not 0 and 1, and probabilities by name."""
    predictions = rest.predict(url, model, rows.tolist())["predictions"]
    if not classes:
        return {"prediction": numpy.array([[prediction["value"]] for prediction in predictions])}
    return {
        LABEL: numpy.array([classes.index(prediction["label"]) for prediction in predictions]),
        "probabilities": numpy.array(
            [[prediction["probabilities"][name] for name in classes] for prediction in predictions]
        ),
    }


def in_batches(ask: Callable[[numpy.ndarray], Answers], rows: numpy.ndarray) -> Answers:
    """The answers to all rows, a batch at a time."""
    parts = [ask(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
    return {name: numpy.concatenate([part[name] for part in parts]) for name in parts[0]}


def difference(answers: Answers, expected: Answers) -> str:
    """What is wrong with the answers; empty where they are right."""
    if set(answers) != set(expected):
        return f"outputs {sorted(answers)}, not {sorted(expected)}"
    for name, right in expected.items():
        # Triton has no output without a dimension beside the batch: what the model answers as [rows] is [rows, 1].
        got = answers[name].reshape(-1) if name == LABEL else answers[name]
        if got.shape != right.shape:
            return f"{name} has shape {got.shape}, not {right.shape}"
        exact = name == LABEL
        wrong = got != right if exact else ~numpy.isclose(got, right, rtol=TOLERANCE, atol=TOLERANCE)
        places = numpy.argwhere(wrong)
        if len(places):
            first = tuple(places[0])
            return (
                f"{len(places)} values of {name} differ, the first in row {first[0]}: {got[first]}, not {right[first]}"
            )
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--mlflow", "--run-id", "--model", "--http", "--grpc", "--rest"):
        parser.add_argument(name, required=True)
    parser.add_argument("--dataset", choices=list(DATASETS), required=True)
    arguments = parser.parse_args()
    os.environ["MLFLOW_TRACKING_URI"] = arguments.mlflow
    # Through the server: it would offer addresses of the store itself, which only the cluster's own DNS knows.
    os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] = "false"
    mlflow.set_tracking_uri(arguments.mlflow)

    client = MlflowClient()
    dataset = DATASETS[arguments.dataset]()
    rows = held_out_rows(client, arguments.run_id, dataset.data)
    expected = original_answers(client, arguments.run_id, rows)

    http, grpc, model, names = arguments.http, arguments.grpc, arguments.model, list(expected)
    classes = [str(name) for name in dataset.get("target_names", [])]
    fronts: dict[str, Callable[[], Answers]] = {
        "HTTP v2, JSON, tritonclient": lambda: in_batches(
            lambda batch: over_triton_http(http, model, batch, names, binary=False), rows
        ),
        "HTTP v2, binary, tritonclient": lambda: in_batches(
            lambda batch: over_triton_http(http, model, batch, names, binary=True), rows
        ),
        "gRPC v2, tritonclient": lambda: in_batches(lambda batch: over_triton_grpc(grpc, model, batch, names), rows),
        "HTTP v2, KServe's client": lambda: over_kserve(http, model, rows, protocol="http"),
        "gRPC v2, KServe's client": lambda: over_kserve(grpc, model, rows, protocol="grpc"),
        "REST": lambda: over_rest(f"http://{arguments.rest}", model, rows, classes),
    }
    problems = {}
    for front, ask in fronts.items():
        try:
            problem = difference(ask(), expected)
        except Exception as error:  # every front is asked, so that one run shows all that is wrong
            problem = f"{type(error).__name__}: {error}"
        if problem:
            problems[front] = problem
    if problems:
        raise SystemExit("\n".join(f"{front}: {problem}" for front, problem in problems.items()))
    print(json.dumps({"rows": len(rows), "outputs": names, "fronts": list(fronts)}))


if __name__ == "__main__":
    main()
