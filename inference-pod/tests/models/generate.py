#!/usr/bin/env python3
"""Writes the small models that the tests use, beside this file.

They are committed; run this only to change them:

    pip install onnx==1.23.2 skl2onnx==1.20.0 scikit-learn==1.8.0 safetensors==0.8.0
    python3 generate.py
"""

import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression

HERE = pathlib.Path(__file__).parent
OPSET = {"": 17, "ai.onnx.ml": 3}


def tensor(name, element, shape):
    return helper.make_tensor_value_info(name, element, shape)


def save(name, nodes, inputs, outputs, initializers=(), opset=17, ir_version=8):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())


def dense():
    """y = x * W + b: small, with weights that tell which version answered."""
    for name, bias in (("dense_1", 1.0), ("dense_2", 2.0)):
        weights = numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "weights")
        biases = numpy_helper.from_array(np.full(3, bias, dtype=np.float32), "biases")
        save(
            name,
            [helper.make_node("Gemm", ["x", "weights", "biases"], ["y"])],
            [tensor("x", TensorProto.FLOAT, ["rows", 4])],
            [tensor("y", TensorProto.FLOAT, ["rows", 3])],
            [weights, biases],
        )


def every_datatype():
    """One input and one output of each element type that the protocol has, with the same elements."""
    elements = {
        "BOOL": TensorProto.BOOL,
        "UINT8": TensorProto.UINT8,
        "UINT16": TensorProto.UINT16,
        "UINT32": TensorProto.UINT32,
        "UINT64": TensorProto.UINT64,
        "INT8": TensorProto.INT8,
        "INT16": TensorProto.INT16,
        "INT32": TensorProto.INT32,
        "INT64": TensorProto.INT64,
        "FP16": TensorProto.FLOAT16,
        "BF16": TensorProto.BFLOAT16,
        "FP32": TensorProto.FLOAT,
        "FP64": TensorProto.DOUBLE,
        "BYTES": TensorProto.STRING,
    }
    save(
        "every_datatype",
        [helper.make_node("Identity", [name], [f"out_{name}"]) for name in elements],
        [tensor(name, element, ["rows", "width"]) for name, element in elements.items()],
        [tensor(f"out_{name}", element, ["rows", "width"]) for name, element in elements.items()],
    )


def halves():
    """The two types of half precision, and nothing else: bits go through as they are."""
    elements = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
    save(
        "halves",
        [helper.make_node("Identity", [name], [f"out_{name}"]) for name in elements],
        [tensor(name, element, ["rows", "width"]) for name, element in elements.items()],
        [tensor(f"out_{name}", element, ["rows", "width"]) for name, element in elements.items()],
    )


def shapes():
    """Models whose first dimension is fixed, and one where it is open but not one of independent rows."""
    save(
        "fixed",
        [helper.make_node("Neg", ["x"], ["y"])],
        [tensor("x", TensorProto.FLOAT, [1, 3])],
        [tensor("y", TensorProto.FLOAT, [1, 3])],
    )
    save(
        "centred",
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        [tensor("x", TensorProto.FLOAT, ["n", 2])],
        [tensor("y", TensorProto.FLOAT, ["n", 2])],
    )
    save(
        "ratio",
        [helper.make_node("Div", ["x", "divisor"], ["y"])],
        [tensor("x", TensorProto.FLOAT, ["rows", 1]), tensor("divisor", TensorProto.FLOAT, ["rows", 1])],
        [tensor("y", TensorProto.FLOAT, ["rows", 1])],
    )


def open_sizes():
    """Models with sizes open beyond the rows', and one whose answer may have any number of sizes."""
    kernel = numpy_helper.from_array(np.full((2, 1, 3, 3), 0.1, dtype=np.float32), "kernel")
    save(
        "convolution",
        [helper.make_node("Conv", ["x", "kernel"], ["y"])],
        [tensor("x", TensorProto.FLOAT, ["rows", 1, "height", "width"])],
        [tensor("y", TensorProto.FLOAT, ["rows", 2, "h", "w"])],
        [kernel],
    )
    # Rows of 99 elements only, which nobody who makes sizes up would find.
    weights = numpy_helper.from_array(np.ones((99, 2), dtype=np.float32), "weights")
    save(
        "columns_of_99",
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        [tensor("x", TensorProto.FLOAT, ["rows", "columns"])],
        [tensor("y", TensorProto.FLOAT, ["rows", 2])],
        [weights],
    )
    save(
        "unknown_rank",
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [tensor("x", TensorProto.FLOAT, ["n"]), tensor("shape", TensorProto.INT64, ["rank"])],
        [tensor("y", TensorProto.FLOAT, None)],
    )


def slow():
    """Some 10 ms a run on one core: repeated products of a matrix that depends on the input. y = x."""
    trips = numpy_helper.from_array(np.array(24, dtype=np.int64), "trips")
    size = numpy_helper.from_array(np.array([320, 320], dtype=np.int64), "size")
    zero = numpy_helper.from_array(np.array(0, dtype=np.float32), "zero")
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("MatMul", ["matrix_in", "matrix_in"], ["product"]),
            helper.make_node("Tanh", ["product"], ["matrix_out"]),
        ],
        "body",
        [
            tensor("index", TensorProto.INT64, []),
            tensor("go", TensorProto.BOOL, []),
            tensor("matrix_in", TensorProto.FLOAT, [320, 320]),
        ],
        [tensor("go_on", TensorProto.BOOL, []), tensor("matrix_out", TensorProto.FLOAT, [320, 320])],
    )
    save(
        "slow",
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
            helper.make_node("Expand", ["mean", "size"], ["matrix"]),
            helper.make_node("Loop", ["trips", "", "matrix"], ["result"], body=body),
            helper.make_node("ReduceMean", ["result"], ["average"], keepdims=0),
            helper.make_node("Mul", ["average", "zero"], ["nothing"]),
            helper.make_node("Add", ["x", "nothing"], ["y"]),
        ],
        [tensor("x", TensorProto.FLOAT, ["rows", 1])],
        [tensor("y", TensorProto.FLOAT, ["rows", 1])],
        [trips, size, zero],
    )


def refused():
    """Models that a runtime of today cannot take."""
    arguments = (
        [helper.make_node("Neg", ["x"], ["y"])],
        [tensor("x", TensorProto.FLOAT, ["rows", 3])],
        [tensor("y", TensorProto.FLOAT, ["rows", 3])],
    )
    save("opset_999", *arguments, opset=999)
    save("ir_999", *arguments, ir_version=999)


def wide():
    """x * W, whose weights of 64 MB the test writes itself."""
    size = 4096
    weights = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[size, size])
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", str(4 * size * size))):
        weights.external_data.add(key=key, value=value)
    save(
        "wide",
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        [tensor("x", TensorProto.FLOAT, ["rows", size])],
        [tensor("y", TensorProto.FLOAT, ["rows", size])],
        [weights],
    )


def external_data():
    """A model with its weights in a file beside it."""
    folder = HERE / "external"
    folder.mkdir(exist_ok=True)
    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32) * 3, "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "external",
        [tensor("x", TensorProto.FLOAT, ["rows", 4])],
        [tensor("y", TensorProto.FLOAT, ["rows", 4])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "weights.bin").unlink(missing_ok=True)
    onnx.save_model(
        model,
        folder / "model.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )


def converted(name, model, rows, conversion, answers):
    """What the converter leaves for `publish`."""
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    options = {id(model): {"zipmap": False}} if conversion["task"] == "Classification" else None
    inputs = [("features", FloatTensorType([None, rows.shape[1]]))]
    graph = to_onnx(model, initial_types=inputs, options=options, target_opset=OPSET)
    names = ("label", "probabilities") if conversion["task"] == "Classification" else ("prediction",)
    rename = {output.name: name for output, name in zip(graph.graph.output, names, strict=True)}
    for node in graph.graph.node:
        node.output[:] = [rename.get(output, output) for output in node.output]
        node.input[:] = [rename.get(given, given) for given in node.input]
    for output in graph.graph.output:
        output.name = rename[output.name]
    graph.ir_version = 8
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    (folder / "conversion.json").write_text(json.dumps(conversion, indent=1) + "\n")
    save_file({"features": rows, **answers}, folder / "samples.safetensors")


def converted_models():
    iris = load_iris()
    rows = iris.data.astype(np.float32)
    classifier = LogisticRegression(max_iter=500).fit(rows, iris.target)
    converted(
        "iris",
        classifier,
        rows,
        {
            "task": "Classification",
            "featureNames": ["sepal_length", "sepal_width", "petal_length", "petal_width"],
            "classLabels": [str(label) for label in iris.target_names],
            "classValues": [0, 1, 2],
            "opset": OPSET,
            "irVersion": 8,
            "source": {"flavor": "sklearn", "estimator": "LogisticRegression"},
        },
        {
            "label": classifier.predict(rows).astype(np.int64),
            "probabilities": classifier.predict_proba(rows.astype(np.float64)),
        },
    )
    # The same with strings as labels.
    names = np.array([str(label) for label in iris.target_names])
    classifier = LogisticRegression(max_iter=500).fit(rows, names[iris.target])
    converted(
        "iris_names",
        classifier,
        rows[:60],
        {
            "task": "Classification",
            "featureNames": ["sepal_length", "sepal_width", "petal_length", "petal_width"],
            "classLabels": [str(label) for label in classifier.classes_],
            "classValues": [str(label) for label in classifier.classes_],
            "opset": OPSET,
            "irVersion": 8,
        },
        {
            "label": np.searchsorted(classifier.classes_, classifier.predict(rows[:60])).astype(np.int64),
            "probabilities": classifier.predict_proba(rows[:60].astype(np.float64)),
        },
    )
    diabetes = load_diabetes()
    rows = diabetes.data.astype(np.float32)[:100]
    regressor = LinearRegression().fit(diabetes.data, diabetes.target)
    converted(
        "diabetes",
        regressor,
        rows,
        {
            "task": "Regression",
            "featureNames": list(diabetes.feature_names),
            "classLabels": [],
            "classValues": [],
            "opset": OPSET,
            "irVersion": 8,
        },
        {"prediction": regressor.predict(rows.astype(np.float64))},
    )
    # Dictionaries as output, as skl2onnx writes them by default: no protocol carries them.
    graph = to_onnx(
        LogisticRegression(max_iter=500).fit(iris.data, iris.target),
        initial_types=[("features", FloatTensorType([None, 4]))],
        target_opset=OPSET,
    )
    (HERE / "zipmap.onnx").write_bytes(graph.SerializeToString())


if __name__ == "__main__":
    dense()
    every_datatype()
    halves()
    shapes()
    open_sizes()
    slow()
    refused()
    external_data()
    wide()
    converted_models()
