"""Asks a served classifier with KServe's Python client and writes its answers to a file."""

from __future__ import annotations

import argparse
import asyncio

import numpy
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def ask(protocol: str, address: str, model: str, rows: numpy.ndarray, batch: int) -> dict[str, numpy.ndarray]:
    """The outputs by name, asked for a batch at a time."""
    http = InferenceRESTClient(config=RESTConfig(protocol="v2"))
    grpc = InferenceGRPCClient(url=address)
    parts = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        tensor = InferInput("features", list(part.shape), "FP32")
        tensor.set_data_from_numpy(part, binary_data=protocol == "grpc")
        request = InferRequest(model_name=model, infer_inputs=[tensor])
        if protocol == "grpc":
            answer = await grpc.infer(request)
        else:
            answer = await http.infer(f"http://{address}", request, model_name=model)
        parts.append({output.name: output.as_numpy() for output in answer.outputs})
    return {name: numpy.concatenate([part[name] for part in parts]) for name in parts[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol", choices=["http", "grpc"])
    parser.add_argument("address")
    parser.add_argument("model")
    parser.add_argument("rows", help=".npy file with FP32 rows")
    parser.add_argument("answers", help=".npz file to write")
    parser.add_argument("batch", type=int, help="rows a request")
    arguments = parser.parse_args()
    rows = numpy.load(arguments.rows)
    answers = asyncio.run(ask(arguments.protocol, arguments.address, arguments.model, rows, arguments.batch))
    numpy.savez(arguments.answers, **answers)


if __name__ == "__main__":
    main()
