"""Export of trained models as ONNX networks, with an example that translates without torch."""

from seq2seq.bundle.onnx.comparison import Checked
from seq2seq.bundle.onnx.export import export_onnx

__all__ = ["Checked", "export_onnx"]
