"""KServe's Python server with one ONNX model after another. It has no batching over v2."""

import argparse
from pathlib import Path

import kserve
import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse
from kserve.utils.numpy_codec import from_np_dtype


class OnnxModel(kserve.Model):
    def __init__(self, name: str, file: Path) -> None:
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.ready = True

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        binary = bool(payload.inputs[0]._raw_data)
        inputs = {given.name: given.as_numpy() for given in payload.inputs}
        outputs = []
        for name, value in zip(self.names, self.session.run(self.names, inputs)):
            output = InferOutput(name, list(value.shape), from_np_dtype(value.dtype))
            output.set_data_from_numpy(value, binary_data=binary)
            outputs.append(output)
        return InferResponse(response_id=payload.id or "", model_name=self.name, infer_outputs=outputs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
    parser.add_argument("--model", action="append", required=True, help="NAME=FILE")
    arguments = parser.parse_args()
    pairs = [given.split("=", 1) for given in arguments.model]
    kserve.ModelServer().start([OnnxModel(name, Path(file)) for name, file in pairs])
