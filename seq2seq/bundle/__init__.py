"""A trained model as a folder of plain files; onnx/ is the same for other runtimes."""

from seq2seq.bundle.format import Bundle, load_bundle, save_bundle

__all__ = ["Bundle", "load_bundle", "save_bundle"]
