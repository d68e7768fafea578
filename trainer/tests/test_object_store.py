"""Datasets in a real object store, and the ways in which it refuses or does not answer."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from gate import Gate
from harness import Commands, logged_dataset
from sklearn.datasets import load_breast_cancer

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@pytest.fixture(scope="module")
def store(minio: dict[str, str]) -> dict[str, str]:
    """The store with one table in two formats."""
    client: S3Client = boto3.client(
        "s3",
        endpoint_url=minio["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=minio["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=minio["AWS_SECRET_ACCESS_KEY"],
        region_name=minio["AWS_REGION"],
    )
    client.create_bucket(Bucket="datasets")
    table = load_breast_cancer(as_frame=True).frame
    parquet = io.BytesIO()
    table.to_parquet(parquet)
    client.put_object(Bucket="datasets", Key="tumours/all.csv", Body=table.to_csv(index=False).encode())
    client.put_object(Bucket="datasets", Key="tumours/all.parquet", Body=parquet.getvalue())
    return minio


def specification(uri: str) -> dict[str, Any]:
    return {
        "estimator": "RandomForestClassifier",
        "dataset": {"uri": uri, "target": "target"},
        "parameters": {"n_estimators": "20"},
    }


@pytest.mark.parametrize("name", ["all.csv", "all.parquet"])
def test_a_table_in_the_store_is_trained_on(name: str, store: dict[str, str], commands: Commands) -> None:
    run = commands.train(specification(f"s3://datasets/tumours/{name}"), store)
    assert run.data.metrics["accuracy"] > 0.9
    assert run.data.params["dataset"] == f"s3://datasets/tumours/{name}"
    described = logged_dataset(run)
    assert f"s3://datasets/tumours/{name}" in described.source


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://datasets/tumours/none.csv", ["bucket datasets", "no object tumours/none.csv"]),
        ("s3://data/tumours/all.csv", ["no bucket data", "create it or correct the uri"]),
    ],
)
def test_what_is_not_in_the_store_is_said_so(
    uri: str, words: list[str], store: dict[str, str], commands: Commands
) -> None:
    failure = commands.training_failure(specification(uri), store)
    assert (failure.exit_code, failure.reason) == (2, "DatasetNotFound")
    for word in [uri, *words]:
        assert word in failure.message


@pytest.mark.parametrize(
    "wrong", [{"AWS_SECRET_ACCESS_KEY": "another"}, {"AWS_ACCESS_KEY_ID": "nobody"}, {"AWS_ACCESS_KEY_ID": ""}]
)
def test_refused_credentials_are_said_so(wrong: dict[str, str], store: dict[str, str], commands: Commands) -> None:
    failure = commands.training_failure(specification("s3://datasets/tumours/all.csv"), {**store, **wrong})
    assert (failure.exit_code, failure.reason) == (2, "DatasetForbidden")
    assert "aiops-object-store" in failure.message


def test_a_missing_authority_is_named_at_once(store: dict[str, str], commands: Commands) -> None:
    failure = commands.training_failure(
        specification("s3://datasets/tumours/all.csv"), {**store, "AWS_CA_BUNDLE": "/nowhere/ca.crt"}
    )
    assert (failure.exit_code, failure.reason) == (2, "DatasetForbidden")
    for word in ["/nowhere/ca.crt", "key ca.crt of the Secret"]:
        assert word in failure.message


def test_a_store_that_does_not_answer_is_tried_again(store: dict[str, str], commands: Commands) -> None:
    silent = {**store, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    failure = commands.training_failure(specification("s3://datasets/tumours/all.csv"), silent)
    assert (failure.exit_code, failure.reason) == (1, "DatasetUnreachable")
    assert "http://127.0.0.1:9" in failure.message


def test_a_store_that_is_away_for_a_moment_is_waited_for(
    store: dict[str, str], commands: Commands, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "aiops_trainer")
    gate = Gate(int(store["AWS_ENDPOINT_URL_S3"].rpartition(":")[2]))
    gate.close()
    reopen = threading.Timer(1.0, gate.open)
    reopen.start()
    patient = Commands(commands.tracking_uri, tmp_path, patience_seconds=30)
    through_gate = {**store, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{gate.port}"}
    run = patient.train(specification("s3://datasets/tumours/all.csv"), through_gate)
    assert run.info.status == "FINISHED"
    assert f"waiting for the object store http://127.0.0.1:{gate.port}" in caplog.text
    gate.close()


def test_an_endpoint_that_is_no_address_is_refused(store: dict[str, str], commands: Commands) -> None:
    failure = commands.training_failure(
        specification("s3://datasets/tumours/all.csv"), {**store, "AWS_ENDPOINT_URL_S3": "minio 9000"}
    )
    assert (failure.exit_code, failure.reason) == (2, "InvalidParameter")
    assert "AWS_ENDPOINT_URL_S3" in failure.message
