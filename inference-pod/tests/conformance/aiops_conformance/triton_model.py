"""Runs the ONNX file of a model's version inside of Triton: its Python backend loads this as `model.py`."""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, "@SITE_PACKAGES@")  # filled in when the repository is written

import numpy
import onnxruntime
import triton_python_backend_utils as backend  # provided by Triton


class TritonPythonModel:
    """One instance of a model."""

    def initialize(self, arguments: dict[str, str]) -> None:
        """Opens the model file beside this one."""
        config = json.loads(arguments["model_config"])
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]
        # numpy has no bfloat16: such a tensor goes through as it is.
        self.passes_through = any(tensor["data_type"] == "TYPE_BF16" for tensor in config["input"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        file = Path(__file__).parent / "model.onnx"
        if not self.passes_through:
            self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers each request by itself."""
        return [backend.InferenceResponse(output_tensors=self.answer(request)) for request in requests]

    def answer(self, request: Any) -> list[Any]:
        given = {name: backend.get_input_tensor_by_name(request, name) for name in self.inputs}
        if self.passes_through:
            tensors = zip(self.outputs, given.values(), strict=True)
            return [backend.Tensor.from_dlpack(name, tensor.to_dlpack()) for name, tensor in tensors]
        wanted = [name for name in self.outputs if name in request.requested_output_names()]
        values = self.session.run(wanted, {name: read(tensor.as_numpy()) for name, tensor in given.items()})
        return [backend.Tensor(name, written(value)) for name, value in zip(wanted, values, strict=True)]


def read(values: Any) -> Any:
    if values.dtype != numpy.object_:
        return values
    return numpy.array([text.decode() for text in values.reshape(-1)], dtype=numpy.object_).reshape(values.shape)


def written(values: Any) -> Any:
    if values.dtype.kind not in "OU":
        return values
    return numpy.array([str(text).encode() for text in values.reshape(-1)], dtype=numpy.object_).reshape(values.shape)
