"""Writes one ONNX model to standard output: a linear layer, in an opset that is asked for."""

from __future__ import annotations

import argparse
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper


def linear_model(opset: int, ir_version: int, factor: float) -> onnx.ModelProto:
    """`prediction` is `factor` times the sum of four features."""
    weights = numpy.full((4, 1), factor, dtype=numpy.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["features", "weights"], ["prediction"])],
        "linear",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["rows", 1])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--opset", type=int, default=17)
    parser.add_argument("--ir-version", type=int, default=8)
    parser.add_argument("--factor", type=float, default=2.0)
    arguments = parser.parse_args()
    model = linear_model(arguments.opset, arguments.ir_version, arguments.factor)
    sys.stdout.buffer.write(model.SerializeToString())


if __name__ == "__main__":
    main()
