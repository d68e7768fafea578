"""Brings a converted graph into the one shape that is published: names, versions, batch dimension, stable bytes."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from aiops_trainer.errors import Reason, TrainerError

OPSET = {"": 17, "ai.onnx.ml": 3}
"""Old enough for every runtime of the last years, new enough for everything that is converted."""

IR_VERSION = 8
"""That which belongs to opset 17; onnx would write its own latest, which older runtimes refuse."""

BATCH = "batch"
INPUT = "features"
LABEL, PROBABILITIES, PREDICTION = "label", "probabilities", "prediction"
ALLOWED_TYPES = {
    LABEL: (TensorProto.INT64, TensorProto.STRING),
    PROBABILITIES: (TensorProto.FLOAT,),
    PREDICTION: (TensorProto.FLOAT,),
}


def normalised(model: onnx.ModelProto, output_names: list[str], name: str) -> onnx.ModelProto:
    """The model with its outputs renamed in order, both opsets declared once, checked by ONNX itself."""
    converted = onnx.ModelProto()
    converted.CopyFrom(model)
    current = [output.name for output in converted.graph.output]
    if len(current) != len(output_names):
        raise failed(f"the graph has outputs {', '.join(current)} where {', '.join(output_names)} are expected")
    for old, new in zip(current, output_names, strict=True):
        rename_value(converted.graph, old, new)
    for value in (*converted.graph.input, *converted.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    for output in converted.graph.output:
        if output.type.tensor_type.elem_type not in ALLOWED_TYPES[output.name]:
            kind = TensorProto.DataType.Name(output.type.tensor_type.elem_type)
            raise failed(f"output {output.name} is of type {kind}")
    # skl2onnx declares the lowest versions that its nodes need, some of them twice.
    del converted.opset_import[:]
    converted.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in OPSET.items())
    converted.ir_version = IR_VERSION
    converted.graph.name = name
    try:
        onnx.checker.check_model(converted, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise failed(f"ONNX's checker refuses the graph: {error}") from error
    return converted


def rename_value(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a value wherever a node, or the graph itself, reads or writes it."""
    if old == new:
        return
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    if new in names:
        rename_value(graph, new, f"{new}_inner")
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*graph.output, *graph.value_info):
        if value.name == old:
            value.name = new


def serialised(model: onnx.ModelProto) -> bytes:
    """The same bytes for the same model, so that publishing it again is not a conflict."""
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def failed(what: str) -> TrainerError:
    """A conversion that ended in something that cannot be published."""
    return TrainerError(Reason.CONVERSION_FAILED, f"the model cannot be published: {what}")
