"""LitServe with its own batching, one model a process: rows as JSON, its own way of asking."""

import sys

import litserve
import numpy as np
import onnxruntime


class OnnxApi(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
        self.inputs = self.session.get_inputs()
        self.types = {"tensor(float)": np.float32, "tensor(int64)": np.int64}

    def decode_request(self, request):
        if "rows" in request:
            (given,) = self.inputs
            rows = np.asarray(request["rows"], dtype=np.float32)
            return {given.name: rows.reshape([-1, *given.shape[1:]])}
        return {given.name: np.asarray(request[given.name], dtype=self.types[given.type]) for given in self.inputs}

    def batch(self, inputs):
        return {name: np.concatenate([each[name] for each in inputs]) for name in inputs[0]}

    def predict(self, inputs):
        return self.session.run(None, inputs)[0]

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"outputs": output.tolist()}


if __name__ == "__main__":
    api = OnnxApi(max_batch_size=64, batch_timeout=0.0005)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[2]), host="127.0.0.1", generate_client_file=False, log_level="warning")
