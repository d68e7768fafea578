"""Triton's Python backend over ONNX Runtime: one run for all requests of a batch."""

import sys

sys.path.insert(0, "SITE_PACKAGES")

import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        file = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        config = json.loads(args["model_config"])
        self.inputs = [port["name"] for port in config["input"]]
        self.outputs = [port["name"] for port in config["output"]]

    def execute(self, requests):
        members = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
            for request in requests
        ]
        if len(members) == 1:
            outputs = self.session.run(self.outputs, members[0])
            tensors = [pb_utils.Tensor(name, value) for name, value in zip(self.outputs, outputs)]
            return [pb_utils.InferenceResponse(tensors)]
        joined = {name: np.concatenate([member[name] for member in members]) for name in self.inputs}
        outputs = self.session.run(self.outputs, joined)
        responses, start = [], 0
        for member in members:
            end = start + len(member[self.inputs[0]])
            tensors = [pb_utils.Tensor(name, value[start:end]) for name, value in zip(self.outputs, outputs)]
            responses.append(pb_utils.InferenceResponse(tensors))
            start = end
        return responses
