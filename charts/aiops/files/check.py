"""What `helm test` runs: every part of the release answers, and an artifact goes through MLflow to the store."""

import json
import os
import time
import urllib.error
import urllib.request
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

PATIENCE_SECONDS = 60
REQUEST_SECONDS = 15


def request(method: str, url: str, body: bytes | None = None) -> bytes:
    """The body of an answer with status 2xx; anything else is an error that names the request."""
    call = urllib.request.Request(url, data=body, method=method)
    try:
        with urllib.request.urlopen(call, timeout=REQUEST_SECONDS) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {url}: {error.code} {error.read()[:500].decode(errors='replace')}") from error


def wait_for(url: str) -> None:
    """Returns when the URL answers at all: a release may still be starting when its test begins."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=REQUEST_SECONDS).close()
            return
        except urllib.error.HTTPError as error:
            problem = f"{error.code} {error.reason}"
        except OSError as error:
            problem = str(error)
        if time.monotonic() > deadline:
            raise SystemExit(f"{url} did not answer within {PATIENCE_SECONDS} s: {problem}")
        time.sleep(1)


def check_buckets(store, buckets: list[str]) -> None:
    for bucket in buckets:
        try:
            store.head_bucket(Bucket=bucket)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            remedy = {404: "it does not exist: is the operator, which creates it, running?", 403: "access denied"}
            raise SystemExit(f"bucket {bucket}: {remedy.get(status, error)}") from error
        except BotoCoreError as error:
            raise SystemExit(f"the object store: {error}") from error
    print(f"the object store has the buckets {', '.join(buckets)}")


def check_mlflow(tracking_uri: str) -> None:
    wait_for(f"{tracking_uri}/api/3.0/mlflow/server-info")
    found = json.loads(request("GET", f"{tracking_uri}/api/2.0/mlflow/experiments/get?experiment_id=0"))
    print(f"MLflow reads its database: experiment {found['experiment']['name']}")


def check_artifact(tracking_uri: str, store, bucket: str) -> None:
    key = f"helm-test/{uuid.uuid4()}.txt"
    url = f"{tracking_uri}/api/2.0/mlflow-artifacts/artifacts/{key}"
    content = os.urandom(1024)
    request("PUT", url, content)
    try:
        stored = store.get_object(Bucket=bucket, Key=key)["Body"].read()
        if stored != content:
            raise SystemExit(f"s3://{bucket}/{key} differs from what was uploaded through MLflow")
        if request("GET", url) != content:
            raise SystemExit(f"{url} differs from what was uploaded")
    finally:
        store.delete_object(Bucket=bucket, Key=key)
    print(f"an artifact went through MLflow into s3://{bucket} and back")


def main() -> None:
    tracking_uri = os.environ["MLFLOW_TRACKING_URI"]
    addressing = os.environ["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"]
    store = boto3.client("s3", config=Config(s3={"addressing_style": addressing}))
    check_buckets(store, os.environ["BUCKETS"].split(","))
    check_mlflow(tracking_uri)
    check_artifact(tracking_uri, store, os.environ["MLFLOW_BUCKET"])
    if operator := os.environ.get("OPERATOR_URL"):
        wait_for(f"{operator}/readyz")
        print("the operator is ready")


if __name__ == "__main__":
    main()
