"""Writes the same models into a repository for each server: the ONNX file, and for Triton what runs it there."""

from __future__ import annotations

import shutil
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from onnx import TensorProto, helper

ONNX_MODELS = Path(__file__).parents[2] / "models"

DATATYPES = {
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


@dataclass(frozen=True)
class Model:
    """A model of both repositories: the ONNX file of each version, and what both configurations say."""

    name: str
    files: dict[int, Path | bytes]
    config: str
    loaded: bool = True
    labels: dict[str, list[str]] = field(default_factory=dict)

    def write(self, repository: Path, for_triton: bool) -> None:
        folder = repository / self.name
        for version, model in self.files.items():
            (folder / str(version)).mkdir(parents=True)
            content = model if isinstance(model, bytes) else model.read_bytes()
            (folder / str(version) / "model.onnx").write_bytes(content)
            if for_triton:
                (folder / str(version) / "model.py").write_text(runner())
        backend = 'backend: "python"\n' if for_triton else 'backend: "onnxruntime"\n'
        (folder / "config.pbtxt").write_text(f'name: "{self.name}"\n{backend}{self.config}')
        for name, labels in self.labels.items():
            (folder / name).write_text("\n".join(labels) + "\n")


def runner() -> str:
    """`model.py` of Triton's Python backend."""
    source = Path(__file__).with_name("triton_model.py").read_text()
    return source.replace("@SITE_PACKAGES@", sysconfig.get_path("purelib"))


def write_repository(folder: Path, for_triton: bool) -> None:
    """Writes every model."""
    shutil.rmtree(folder, ignore_errors=True)
    for model in all_models():
        model.write(folder, for_triton)


def all_models() -> list[Model]:
    """Every model of the comparison."""
    dense = tensors("input", x=("FP32", "4")) + tensors("output", y=("FP32", "3"))
    one_instance = "instance_group { count: 1 kind: KIND_CPU }\n"
    ratio = tensors("input", x=("FP32", "1"), divisor=("FP32", "1")) + tensors("output", y=("FP32", "1"))
    models = [
        Model(
            "dense",
            {1: ONNX_MODELS / "dense_1.onnx", 2: ONNX_MODELS / "dense_2.onnx"},
            "max_batch_size: 8\nversion_policy { all { } }\ndynamic_batching { }\n" + one_instance + dense,
        ),
        Model(
            "labelled",
            {1: ONNX_MODELS / "dense_1.onnx"},
            "max_batch_size: 8\n"
            + one_instance
            + tensors("input", x=("FP32", "4"))
            + 'output { name: "y" data_type: TYPE_FP32 dims: 3 label_filename: "labels.txt" }\n',
            labels={"labels.txt": ["zero", "one", "two"]},
        ),
        Model("counted", {1: ONNX_MODELS / "dense_1.onnx"}, "max_batch_size: 8\n" + one_instance + dense),
        Model("refusing", {1: ONNX_MODELS / "dense_1.onnx"}, "max_batch_size: 8\n" + one_instance + dense),
        Model("ratio", {3: ONNX_MODELS / "ratio.onnx"}, "max_batch_size: 4\n" + one_instance + ratio),
        Model(
            "fixed",
            {1: ONNX_MODELS / "fixed.onnx"},
            one_instance + tensors("input", x=("FP32", "1, 3")) + tensors("output", y=("FP32", "1, 3")),
        ),
        Model(
            "slow",
            {1: ONNX_MODELS / "slow.onnx"},
            "max_batch_size: 1\ndynamic_batching { }\n"
            + one_instance
            + tensors("input", x=("FP32", "1"))
            + tensors("output", y=("FP32", "1")),
        ),
        Model(
            "several",
            {1: ONNX_MODELS / "dense_1.onnx", 2: ONNX_MODELS / "dense_2.onnx", 7: ONNX_MODELS / "dense_1.onnx"},
            "max_batch_size: 8\nversion_policy { latest { num_versions: 2 } }\n" + one_instance + dense,
        ),
        Model("spare", {1: ONNX_MODELS / "dense_1.onnx"}, "max_batch_size: 8\n" + one_instance + dense, loaded=False),
        Model("garbage", {1: b"this is no model"}, "max_batch_size: 8\n" + one_instance + dense, loaded=False),
    ]
    for datatype, element in DATATYPES.items():
        config = tensors("input", x=(datatype, "-1")) + tensors("output", y=(datatype, "-1"))
        config = "max_batch_size: 4\n" + one_instance + config
        models.append(Model(f"identity_{datatype.lower()}", {1: identity(element)}, config))
    return models


def tensors(kind: str, **described: tuple[str, str]) -> str:
    """Inputs or outputs of a configuration, each with its datatype and sizes."""
    lines = []
    for name, (datatype, dims) in described.items():
        element = "STRING" if datatype == "BYTES" else datatype
        lines.append(f'{kind} {{ name: "{name}" data_type: TYPE_{element} dims: [ {dims} ] }}\n')
    return "".join(lines)


def identity(element: int) -> bytes:
    """A model whose output is its input."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", element, ["rows", "width"])],
        [helper.make_tensor_value_info("y", element, ["rows", "width"])],
    )
    opset = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return content
