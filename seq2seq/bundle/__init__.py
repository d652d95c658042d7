"""Bundles: trained models as folders of plain files; `onnx/` exports them for other runtimes."""

from seq2seq.bundle.format import Bundle, load_bundle, save_bundle

__all__ = ["Bundle", "load_bundle", "save_bundle"]
