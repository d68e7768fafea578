"""Fills and lists buckets for scenarios. The store is named by the variables of docs/interfaces.md."""

from __future__ import annotations

import argparse
import os
import sys

import boto3
from botocore.config import Config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    put = commands.add_parser("put", help="write standard input as an object")
    put.add_argument("bucket")
    put.add_argument("key")
    listing = commands.add_parser("list", help="print the keys under a prefix, one a line")
    listing.add_argument("bucket")
    listing.add_argument("prefix")
    arguments = parser.parse_args()

    style = "path" if os.environ.get("AIOPS_S3_PATH_STYLE") == "true" else "virtual"
    store = boto3.client(
        "s3", region_name=os.environ.get("AWS_REGION", "us-east-1"), config=Config(s3={"addressing_style": style})
    )
    if arguments.command == "put":
        store.put_object(Bucket=arguments.bucket, Key=arguments.key, Body=sys.stdin.buffer.read())
        return
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=arguments.bucket, Prefix=arguments.prefix):
        for item in page.get("Contents", []):
            print(item["Key"])


if __name__ == "__main__":
    main()
