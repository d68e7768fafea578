"""Pods that are killed and started again, and servers that are away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gate import Gate
from harness import Commands, model_id
from mlflow.entities import LoggedModelOutput
from urllib3.util import Retry

import aiops_trainer
from aiops_trainer.patience import mlflow_retries

if TYPE_CHECKING:
    from conftest import Server

IRIS: dict[str, Any] = {
    "type": "Sklearn",
    "estimator": "RandomForestClassifier",
    "dataset": {"builtin": "iris"},
    "parameters": {"n_estimators": "5"},
}
PROGRAM = [sys.executable, "-m", "aiops_trainer"]
SOURCES = str(Path(aiops_trainer.__file__).parent.parent)


def test_a_second_pod_finds_the_work_done(commands: Commands) -> None:
    run = commands.train(IRIS)
    assert commands.try_to_train(IRIS, run_id=run.info.run_id) is None
    again = commands.client().get_run(run.info.run_id)
    assert model_id(again) == model_id(run)
    assert again.info.status == "FINISHED"
    assert len(commands.client().get_metric_history(run.info.run_id, "accuracy")) == 1


def test_a_second_pod_takes_up_what_a_killed_one_left(commands: Commands) -> None:
    client = commands.client()
    run_id = commands.new_run()
    # What the run looks like when a pod dies while it uploads the model.
    client.log_param(run_id, "n_estimators", "5")
    client.log_param(run_id, "seed", "42")
    client.log_metric(run_id, "accuracy", 0.5)
    partial = client.create_logged_model("0", "model", source_run_id=run_id)
    client.log_outputs(run_id, [LoggedModelOutput(partial.model_id, step=0)])
    client.set_terminated(run_id, "FAILED")

    assert commands.try_to_train(IRIS, run_id=run_id) is None
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["accuracy"] > 0.8
    models = client.search_logged_models(["0"], filter_string=f"source_run_id = '{run_id}'")
    (ready,) = [model for model in models if model.status == "READY"]
    (failed,) = [model for model in models if model.status != "READY"]
    assert (failed.model_id, failed.status) == (partial.model_id, "FAILED")
    assert commands.convert(run_id, ready.model_id).description["task"] == "Classification"


def test_a_run_that_is_not_there_is_told_so(commands: Commands) -> None:
    unknown = "0" * 32
    failure = commands.try_to_train(IRIS, run_id=unknown)
    assert failure is not None
    assert (failure.exit_code, failure.reason) == (2, "RunNotFound")
    assert unknown in failure.message


def test_an_mlflow_that_does_not_answer_is_tried_again(
    commands_against: Callable[[str], Commands], tmp_path: Path
) -> None:
    silent = commands_against("http://127.0.0.1:9")
    failures = [
        silent.try_to_train(IRIS, run_id="0" * 32),
        silent.try_to_convert("0" * 32, "m-" + "0" * 32, tmp_path / "work"),
    ]
    for failure in failures:
        assert failure is not None
        assert (failure.exit_code, failure.reason) == (1, "MLflowUnreachable")
        assert "http://127.0.0.1:9" in failure.message


def test_a_server_that_refuses_the_host_name_is_explained(mlflow_server: Server, tmp_path: Path) -> None:
    # Another spelling of the same address, which is not among those that the server answers to.
    url = mlflow_server.url.replace("127.0.0.1", "127.1")
    failure = Commands(url, tmp_path).try_to_train(IRIS, run_id="0" * 32)
    assert failure is not None
    assert (failure.exit_code, failure.reason) == (1, "MLflowUnreachable")
    assert "--allowed-hosts" in failure.message


def test_retries_outlast_the_patience_asked_for() -> None:
    for patience in (1.0, 60.0, 91.0, 120.0, 240.0):
        retry = Retry(total=20, backoff_factor=1)
        waited = 0.0
        for _ in range(mlflow_retries(patience)):
            retry = retry.increment("GET", "/", error=ConnectionError())
            waited += retry.get_backoff_time()
        assert waited >= patience


def wait_for_line(lines: Iterable[str], words: str) -> None:
    """Read the program's output until it says so."""
    seen = []
    for line in lines:
        seen.append(line)
        if words in line:
            return
    pytest.fail(f"the program ended without saying {words!r}:\n{''.join(seen)}")


def start_program(arguments: list[str], variables: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return subprocess.Popen(
        [*PROGRAM, *arguments, f"--termination-log={folder}/termination"],
        env={**environment, "PYTHONPATH": SOURCES, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_training_and_a_conversion_outlast_an_mlflow_that_is_away(mlflow_server: Server, tmp_path: Path) -> None:
    gate = Gate(int(mlflow_server.url.rpartition(":")[2]))
    client = Commands(mlflow_server.url, tmp_path).client()
    run_id: str = client.create_run("0").info.run_id
    variables = {
        "AIOPS_TRAINER": json.dumps(IRIS),
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{gate.port}",
        "MLFLOW_RUN_ID": run_id,
    }
    gate.close()  # away before the run is resumed
    program = start_program(["train"], variables, tmp_path)
    assert program.stdout is not None
    wait_for_line(program.stdout, "dataset sklearn:iris")
    reopen = threading.Timer(1.5, gate.open)
    reopen.start()
    wait_for_line(program.stdout, "held-out rows")
    reopen.join()
    gate.close()  # and again while results are logged
    reopen = threading.Timer(1.5, gate.open)
    reopen.start()
    output = program.stdout.read()
    assert program.wait(timeout=60) == 0, output
    reopen.join()
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"

    gate.close()
    reopen = threading.Timer(4.0, gate.open)
    reopen.start()
    arguments = ["convert", f"--run-id={run_id}", f"--model-id={model_id(run)}", f"--output={tmp_path}/work"]
    program = start_program(arguments, variables, tmp_path)
    output, _ = program.communicate(timeout=60)
    assert program.returncode == 0, output
    assert (tmp_path / "work" / "model.onnx").is_file()
    gate.close()


def test_sigterm_ends_a_training_at_once(mlflow_server: Server, tmp_path: Path) -> None:
    run_id = Commands(mlflow_server.url, tmp_path).new_run()
    variables = {
        # Many minutes of work, almost all of it in compiled code.
        "AIOPS_TRAINER": json.dumps(
            {**IRIS, "dataset": {"builtin": "breast-cancer"}, "parameters": {"n_estimators": "300000"}}
        ),
        "MLFLOW_TRACKING_URI": mlflow_server.url,
        "MLFLOW_RUN_ID": run_id,
    }
    program = start_program(["train"], variables, tmp_path)
    assert program.stdout is not None
    wait_for_line(program.stdout, "training RandomForestClassifier")
    time.sleep(0.5)
    asked = time.monotonic()
    program.send_signal(signal.SIGTERM)
    assert program.wait(timeout=10) == 143
    assert time.monotonic() - asked < 2
    program.stdout.close()
    left = json.loads((tmp_path / "termination").read_bytes())
    assert left["reason"] == "Interrupted"
    assert Commands(mlflow_server.url, tmp_path).client().get_run(run_id).info.status == "RUNNING"


@pytest.mark.parametrize(("arguments", "exit_code"), [(["--help"], 0), (["predict"], 2), (["convert"], 2)])
def test_the_program_answers_at_once_about_itself(arguments: list[str], exit_code: int) -> None:
    started = time.monotonic()
    finished = subprocess.run(
        [*PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": SOURCES},
        capture_output=True,
        check=False,
    )
    assert finished.returncode == exit_code
    assert b"usage: aiops-trainer" in finished.stdout + finished.stderr
    assert time.monotonic() - started < 1.0


def test_the_program_reports_a_failure_as_its_pod_must(mlflow_server: Server, tmp_path: Path) -> None:
    variables = {"AIOPS_TRAINER": json.dumps({**IRIS, "seed": -1}), "MLFLOW_TRACKING_URI": mlflow_server.url}
    program = start_program(["train"], variables, tmp_path)
    output, _ = program.communicate(timeout=30)
    assert program.returncode == 2
    left = json.loads((tmp_path / "termination").read_bytes())
    assert left["reason"] == "InvalidParameter"
    assert f"InvalidParameter: {left['message']}" in output
