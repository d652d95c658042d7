"""Trained models for other runtimes: ONNX networks, and an example that translates with them without torch."""

from seq2seq.bundle.onnx.comparison import Checked
from seq2seq.bundle.onnx.export import export_onnx

__all__ = ["Checked", "export_onnx"]
