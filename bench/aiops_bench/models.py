"""The models of the benchmarks, made from a fixed seed, and the requests that are sent to them."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[np.generic]
SEED = 20240611
OPSET = 17
# What graphs of this opset need; newer ones are refused by older runtimes.
IR_VERSION = 8


@dataclass(frozen=True)
class Port:
    """An input or output: its name, the protocol's datatype and the sizes after that of the rows."""

    name: str
    datatype: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Model:
    """A model: what it takes and gives, how it is made, and rows to ask it with."""

    name: str
    description: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    max_batch_size: int
    build: Callable[[], onnx.ModelProto]
    requests: Callable[[], list[dict[str, Array]]]


class Graph:
    """A graph under construction; weights are drawn as they are asked for."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, *shape: int, scale: float | None = None) -> str:
        spread = scale if scale is not None else float(np.sqrt(2.0 / shape[0]))
        return self.constant((self.random.standard_normal(shape) * spread).astype(np.float32))

    def constant(self, value: Array) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        result = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [result], **attributes))
        return result

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "bench", inputs, outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model


def floats(name: str, *dims: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", *dims])


def mlp(sizes: list[int]) -> onnx.ModelProto:
    graph = Graph(SEED)
    value = "input"
    for index, (width, following) in enumerate(itertools.pairwise(sizes)):
        is_last = index == len(sizes) - 2
        weights = (graph.weight(width, following), graph.weight(following, scale=0.1))
        value = graph.add("Gemm", value, *weights, output="output" if is_last else None)
        if not is_last:
            value = graph.add("Relu", value)
    return graph.model([floats("input", sizes[0])], [floats("output", sizes[-1])])


def cnn() -> onnx.ModelProto:
    graph = Graph(SEED)
    value = "input"
    channels = [3, 32, 64, 128, 128]
    for width, following in itertools.pairwise(channels):
        spread = float(np.sqrt(2.0 / (width * 9)))
        kernel = graph.weight(following, width, 3, 3, scale=spread)
        value = graph.add("Conv", value, kernel, graph.weight(following, scale=0.1), pads=[1, 1, 1, 1])
        value = graph.add("Relu", value)
        value = graph.add("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])
    value = graph.add("GlobalAveragePool", value)
    value = graph.add("Flatten", value)
    graph.add("Gemm", value, graph.weight(channels[-1], 10), graph.weight(10, scale=0.1), output="output")
    return graph.model([floats("input", 3, 224, 224)], [floats("output", 10)])


HIDDEN, HEADS, LAYERS, WORDS, LONGEST = 384, 12, 6, 30522, 512


def transformer() -> onnx.ModelProto:
    """An encoder of MiniLM's measures that averages over the words of a sentence."""
    graph = Graph(SEED)
    words = graph.add("Gather", graph.weight(WORDS, HIDDEN, scale=0.05), "input_ids")
    length = graph.add("Slice", graph.add("Shape", "input_ids"), integers(graph, 1), integers(graph, 2))
    table = graph.weight(LONGEST, HIDDEN, scale=0.05)
    places = graph.add("Slice", table, integers(graph, 0), length, integers(graph, 0))
    value = normalized(graph, graph.add("Add", words, places))
    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    absent = graph.add("Sub", graph.constant(np.float32(1).reshape(1)), mask)
    absent = graph.add("Mul", absent, graph.constant(np.float32(-1e4).reshape(1)))
    absent = graph.add("Unsqueeze", absent, integers(graph, 1, 2))
    for _ in range(LAYERS):
        value = normalized(graph, graph.add("Add", value, attention(graph, value, absent)))
        value = normalized(graph, graph.add("Add", value, feed_forward(graph, value)))
    kept = graph.add("Unsqueeze", mask, integers(graph, 2))
    total = graph.add("ReduceSum", graph.add("Mul", value, kept), integers(graph, 1), keepdims=0)
    count = graph.add("ReduceSum", kept, integers(graph, 1), keepdims=0)
    graph.add("Div", total, count, output="embedding")
    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "words"]) for name in WORD_INPUTS]
    return graph.model(ids, [floats("embedding", HIDDEN)])


WORD_INPUTS = ("input_ids", "attention_mask")


def integers(graph: Graph, *values: int) -> str:
    return graph.constant(np.array(values, dtype=np.int64))


def normalized(graph: Graph, value: str) -> str:
    ones, zeros = np.ones(HIDDEN, dtype=np.float32), np.zeros(HIDDEN, dtype=np.float32)
    return graph.add("LayerNormalization", value, graph.constant(ones), graph.constant(zeros), axis=-1)


def linear(graph: Graph, value: str, width: int, following: int) -> str:
    product = graph.add("MatMul", value, graph.weight(width, following, scale=0.05))
    return graph.add("Add", product, graph.weight(following, scale=0.02))


def attention(graph: Graph, value: str, absent: str) -> str:
    def heads(order: list[int]) -> str:
        split = graph.add(
            "Reshape", linear(graph, value, HIDDEN, HIDDEN), integers(graph, 0, 0, HEADS, HIDDEN // HEADS)
        )
        return graph.add("Transpose", split, perm=order)

    query, key, content = heads([0, 2, 1, 3]), heads([0, 2, 3, 1]), heads([0, 2, 1, 3])
    scale = graph.constant(np.float32(1 / np.sqrt(HIDDEN / HEADS)).reshape(1))
    scores = graph.add("Add", graph.add("Mul", graph.add("MatMul", query, key), scale), absent)
    mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), content)
    joined = graph.add("Reshape", graph.add("Transpose", mixed, perm=[0, 2, 1, 3]), integers(graph, 0, 0, HIDDEN))
    return linear(graph, joined, HIDDEN, HIDDEN)


def feed_forward(graph: Graph, value: str) -> str:
    wide = linear(graph, value, HIDDEN, 4 * HIDDEN)
    scaled = graph.add("Erf", graph.add("Div", wide, graph.constant(np.sqrt(np.float32(2)).reshape(1))))
    gate = graph.add("Add", scaled, graph.constant(np.float32(1).reshape(1)))
    half = graph.add("Mul", graph.add("Mul", wide, gate), graph.constant(np.float32(0.5).reshape(1)))
    return linear(graph, half, 4 * HIDDEN, HIDDEN)


def identity() -> onnx.ModelProto:
    graph = Graph(SEED)
    graph.add("Identity", "input", output="output")
    return graph.model([floats("input", MEBIBYTE)], [floats("output", MEBIBYTE)])


MEBIBYTE = (1 << 20) // 4
FEATURES = 30


def trees() -> onnx.ModelProto:
    from skl2onnx import to_onnx
    from sklearn.datasets import make_regression
    from sklearn.ensemble import GradientBoostingRegressor

    rows, targets = make_regression(n_samples=2000, n_features=FEATURES, n_informative=20, random_state=SEED)
    ensemble = GradientBoostingRegressor(n_estimators=200, max_depth=5, random_state=SEED)
    ensemble.fit(rows, targets)
    model: onnx.ModelProto = to_onnx(ensemble, rows[:1].astype(np.float32), target_opset={"": OPSET, "ai.onnx.ml": 3})
    return model


def rows_of_floats(name: str, *dims: int) -> Callable[[], list[dict[str, Array]]]:
    def requests() -> list[dict[str, Array]]:
        random = np.random.default_rng(SEED + 1)
        # Few digits: numbers that people measured, rather than every bit of a random float.
        return [{name: random.standard_normal((1, *dims)).round(4).astype(np.float32)} for _ in range(8)]

    return requests


def sentences() -> list[dict[str, Array]]:
    return list(sentences_of(64, [8, 12, 16, 24, 32, 48, 64, 96]))


def sentences_of(count: int, lengths: list[int]) -> Iterator[dict[str, Array]]:
    random = np.random.default_rng(SEED + 1)
    for _ in range(count):
        length = int(random.choice(lengths))
        ids = random.integers(0, WORDS, (1, length))
        yield {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def float_model(  # noqa: PLR0917
    name: str, description: str, dims: tuple[int, ...], output: Port, build: Callable[[], onnx.ModelProto], most: int
) -> Model:
    requests = rows_of_floats("input", *dims)
    return Model(name, description, (Port("input", "FP32", dims),), (output,), most, build, requests)


TREES = Model(
    name="trees",
    description=f"200 gradient-boosted trees of depth 5, {FEATURES} features",
    inputs=(Port("X", "FP32", (FEATURES,)),),
    outputs=(Port("variable", "FP32", (1,)),),
    max_batch_size=64,
    build=trees,
    requests=rows_of_floats("X", FEATURES),
)
TRANSFORMER = Model(
    name="transformer",
    description=f"MiniLM-like encoder ({LAYERS} layers of {HIDDEN}), sentences of 8 to 96 words mixed",
    inputs=(Port("input_ids", "INT64", (-1,)), Port("attention_mask", "INT64", (-1,))),
    outputs=(Port("embedding", "FP32", (HIDDEN,)),),
    max_batch_size=64,
    build=transformer,
    requests=sentences,
)
MODELS = {
    model.name: model
    for model in (
        float_model("tiny", "MLP 8-16-3", (8,), Port("output", "FP32", (3,)), lambda: mlp([8, 16, 3]), 64),
        float_model(
            "mid",
            "MLP 256-1024-1024-1024-16",
            (256,),
            Port("output", "FP32", (16,)),
            lambda: mlp([256, 1024, 1024, 1024, 16]),
            64,
        ),
        float_model("cnn", "four convolutions over 224x224", (3, 224, 224), Port("output", "FP32", (10,)), cnn, 16),
        float_model("identity", "1 MiB in and out", (MEBIBYTE,), Port("output", "FP32", (MEBIBYTE,)), identity, 8),
        TREES,
        TRANSFORMER,
    )
}


def ensure_built(folder: Path) -> dict[str, Path]:
    """Writes every model that is not there yet; answers the files by the models' names."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for model in MODELS.values():
        file = folder / f"{model.name}.onnx"
        if not file.exists():
            temporary = file.with_suffix(".part")
            onnx.save(model.build(), str(temporary))
            temporary.rename(file)
        files[model.name] = file
    return files
