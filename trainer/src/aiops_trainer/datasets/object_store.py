"""Fetches one object from an S3 store, and says what is wrong in the user's words when that fails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from aiops_trainer.errors import Reason, TrainerError
from aiops_trainer.patience import keep_trying

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

FORBIDDEN_CODES = frozenset({
    "401", "403", "AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
    "SignatureDoesNotMatch",
})  # fmt: skip
NO_BUCKET_CODES = frozenset({"NoSuchBucket", "InvalidBucketName"})
NO_OBJECT_CODES = frozenset({"404", "NoSuchKey", "NotFound"})


class NoAnswerError(Exception):
    """The store did not answer, or answered that it cannot serve now."""


def download(uri: str, destination: Path, environment: Mapping[str, str], patience_seconds: float) -> None:
    """Write the object at `s3://bucket/key` to a file; the store's variables are those of docs/interfaces.md."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise TrainerError(
            Reason.INVALID_PARAMETER, f"trainer.dataset.uri {uri} names no object: write s3://<bucket>/<path>.csv"
        )
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or None
    shown_endpoint = endpoint or "AWS S3 (AWS_ENDPOINT_URL_S3 is not set)"
    try:
        client = store_client(endpoint, environment)
        keep_trying(
            lambda: fetch(client, bucket, key, destination),
            until_answer=(NoAnswerError,),
            patience_seconds=patience_seconds,
            waiting_for=f"the object store {shown_endpoint}",
        )
    except NoAnswerError as error:
        raise TrainerError(
            Reason.DATASET_UNREACHABLE,
            f"cannot read trainer.dataset.uri {uri}: {shown_endpoint} did not answer for {patience_seconds:.0f} s "
            f"({error}); the training is tried again",
            permanent=False,
        ) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise TrainerError(
            Reason.DATASET_FORBIDDEN,
            f"cannot read trainer.dataset.uri {uri}: there are no credentials, "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY come from the Secret aiops-object-store",
        ) from error
    except ClientError as error:
        raise refusal(error, uri, bucket, key, shown_endpoint) from error
    except (BotoCoreError, ValueError) as error:
        raise TrainerError(
            Reason.INVALID_PARAMETER, f"cannot read trainer.dataset.uri {uri} from {shown_endpoint}: {error}"
        ) from error


def store_client(endpoint: str | None, environment: Mapping[str, str]) -> S3Client:
    """A client that neither retries nor waits long by itself: `keep_trying` does."""
    path_style = environment.get("AIOPS_S3_PATH_STYLE", "").lower() == "true"
    authority = environment.get("AWS_CA_BUNDLE") or None
    if authority and not Path(authority).is_file():
        raise TrainerError(
            Reason.DATASET_FORBIDDEN,
            f"AWS_CA_BUNDLE names {authority}, which is not there: it is the key ca.crt of the Secret with the object "
            "store's credentials; add the key to that Secret in this namespace, then create a new Experiment",
        )
    try:
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=environment.get("AWS_REGION") or "us-east-1",
            aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID") or None,
            aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY") or None,
            verify=authority,
            config=Config(
                s3={"addressing_style": "path" if path_style else "virtual"},
                connect_timeout=5,
                read_timeout=30,
                retries={"total_max_attempts": 1},
            ),
        )
    except ValueError as error:
        raise TrainerError(
            Reason.INVALID_PARAMETER, f"AWS_ENDPOINT_URL_S3 {endpoint!r} is not an address such as http://minio:9000"
        ) from error


def fetch(client: S3Client, bucket: str, key: str, destination: Path) -> None:
    """One attempt; raises `NoAnswerError` for what a later attempt may not meet."""
    try:
        body = client.get_object(Bucket=bucket, Key=key)["Body"]
        with destination.open("wb") as file:
            for chunk in body.iter_chunks(1 << 20):
                file.write(chunk)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= 500 or status == 429:
            raise NoAnswerError(str(error)) from error
        raise
    except (NoCredentialsError, PartialCredentialsError):
        raise
    except BotoCoreError as error:
        # Connections refused, names that do not resolve yet, timeouts, bodies cut short, certificates.
        raise NoAnswerError(str(error)) from error


def refusal(error: ClientError, uri: str, bucket: str, key: str, endpoint: str) -> TrainerError:
    """The error for a store that answered no."""
    details = error.response.get("Error", {})
    code = str(details.get("Code", ""))
    if code in NO_BUCKET_CODES:
        return TrainerError(
            Reason.DATASET_NOT_FOUND,
            f"trainer.dataset.uri {uri}: {endpoint} has no bucket {bucket}; create it or correct the uri",
        )
    if code in NO_OBJECT_CODES:
        return TrainerError(
            Reason.DATASET_NOT_FOUND,
            f"trainer.dataset.uri {uri}: bucket {bucket} of {endpoint} has no object {key}; "
            "upload it or correct the uri",
        )
    if code in FORBIDDEN_CODES:
        return TrainerError(
            Reason.DATASET_FORBIDDEN,
            f"trainer.dataset.uri {uri}: {endpoint} refuses these credentials ({code}); "
            "check the Secret aiops-object-store and the bucket's policy",
        )
    return TrainerError(
        Reason.DATASET_NOT_FOUND, f"trainer.dataset.uri {uri}: {endpoint} answered {code} {details.get('Message', '')}"
    )
