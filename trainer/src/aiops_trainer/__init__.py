"""Trains models for Experiments and converts logged models to ONNX; each run is one command in one pod."""

__version__ = "0.1.0"
