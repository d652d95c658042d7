"""`seq2seq export`: export a bundle as ONNX networks, with an example that translates without torch.

seq2seq export runs/first/bundle translator --format onnx
python translator/translate_onnx.py < input.txt > output.txt
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq export`."""
    parser.add_argument("bundle", type=Path, help="the folder of a trained model")
    parser.add_argument("output", type=Path, help="the folder to write; an older export is replaced")
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="onnx (default)")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="a package whose components the bundle may use"
    )


def run(arguments: Namespace) -> int:
    """Export and check; return the exit code. Raises `UserError` for a bundle that cannot be exported."""
    from seq2seq.bundle.onnx import export_onnx

    checked = export_onnx(arguments.bundle, arguments.output, trusted=arguments.trust)
    print(f"checked in ONNX Runtime: {checked.batches} sizes of batch, largest difference {checked.difference:.1e}")
    print(f"try: python {arguments.output / 'translate_onnx.py'} < input.txt > output.txt")
    return 0
