"""Asks a served classifier with KServe's Python client and writes its answers to a file."""

from __future__ import annotations

import argparse
import asyncio

import numpy
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def ask(protocol: str, address: str, model: str, rows: numpy.ndarray) -> dict[str, numpy.ndarray]:
    """The outputs by name."""
    tensor = InferInput("features", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=protocol == "grpc")
    request = InferRequest(model_name=model, infer_inputs=[tensor])
    if protocol == "grpc":
        answer = await InferenceGRPCClient(url=address).infer(request)
    else:
        client = InferenceRESTClient(config=RESTConfig(protocol="v2"))
        answer = await client.infer(f"http://{address}", request, model_name=model)
    return {output.name: output.as_numpy() for output in answer.outputs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol", choices=["http", "grpc"])
    parser.add_argument("address")
    parser.add_argument("model")
    parser.add_argument("rows", help=".npy file with FP32 rows")
    parser.add_argument("answers", help=".npz file to write")
    arguments = parser.parse_args()
    rows = numpy.load(arguments.rows)
    numpy.savez(arguments.answers, **asyncio.run(ask(arguments.protocol, arguments.address, arguments.model, rows)))


if __name__ == "__main__":
    main()
