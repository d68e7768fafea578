"""Asks a served breast-cancer model for one tumour, over REST, HTTP v2 and gRPC, and prints the three answers."""

from __future__ import annotations

import argparse
import json

import numpy
import tritonclient.grpc
import tritonclient.http
from sklearn.datasets import load_breast_cancer

import rest


def over_tritonclient(module, address: str, model: str, row: numpy.ndarray) -> str:
    client = module.InferenceServerClient(address)
    tensor = module.InferInput("features", [1, row.size], "FP32")
    tensor.set_data_from_numpy(row.reshape(1, -1))
    answer = client.infer(model, [tensor])
    version = (
        answer.get_response().model_version if module is tritonclient.grpc else answer.get_response()["model_version"]
    )
    return (
        f"model_version {version}, label {answer.as_numpy('label').tolist()}, "
        f"probabilities {numpy.round(answer.as_numpy('probabilities'), 4).tolist()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--model", "--http", "--grpc", "--rest"):
        parser.add_argument(name, required=True)
    arguments = parser.parse_args()

    dataset = load_breast_cancer()
    row = dataset.data[0].astype(numpy.float32)
    print(f"Row 0 of breast-cancer, which is {dataset.target_names[dataset.target[0]]} (class {dataset.target[0]}):")
    answer = rest.predict(f"http://{arguments.rest}", arguments.model, [row.tolist()])
    print(f"  REST     {json.dumps(answer)}")
    print(f"  HTTP v2  {over_tritonclient(tritonclient.http, arguments.http, arguments.model, row)}")
    print(f"  gRPC v2  {over_tritonclient(tritonclient.grpc, arguments.grpc, arguments.model, row)}")


if __name__ == "__main__":
    main()
