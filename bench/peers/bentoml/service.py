"""BentoML with its adaptive batching: rows as JSON, its own way of asking."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 1024})
class OnnxService:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        file = os.environ["BENCH_MODEL"]
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        (given,) = self.session.get_inputs()
        self.name = given.name
        self.shape = [-1, *given.shape[1:]]

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=60000, route="/infer")
    def infer(self, rows: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.name: rows.astype(np.float32).reshape(self.shape)})[0]
