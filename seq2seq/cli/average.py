"""`seq2seq average`: the mean of the weights of several models, written as a new bundle.

    seq2seq average runs/a --last 5 runs/a-average
    seq2seq average runs/tuned-1 runs/tuned-2 other/bundle OUTPUT

Without `--best` or `--last` each input is a bundle, or a run with one; with one of them each input is a run, of which
K saved checkpoints (`callbacks.checkpoint.save_top_k`) are averaged: `--best 1` makes the bundle of a run that was
stopped before it had one. The new bundle has no scores: translate the test set with it, and score.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.bundle.averaging import Part


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq average`."""
    parser.add_argument("inputs", type=Path, nargs="+", metavar="RUN_OR_BUNDLE", help="the models to average")
    parser.add_argument("output", type=Path, help="the folder of the new bundle")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--best", type=int, metavar="K", help="the K best checkpoints of each run, by its monitor")
    group.add_argument("--last", type=int, metavar="K", help="the K last saved checkpoints of each run")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="a package whose components the bundle may use"
    )


def run(arguments: Namespace) -> int:
    """Average; return the exit code. Raises `UserError` for models that cannot be averaged."""
    from seq2seq.bundle.averaging import bundle_part, checkpoint_parts

    for name in ("best", "last"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UserError(f"--{name} {value}: must be at least 1")
    if arguments.best or arguments.last:
        parts = [
            part for run in arguments.inputs for part in checkpoint_parts(run, best=arguments.best, last=arguments.last)
        ]
    else:
        parts = [bundle_part(place) for place in arguments.inputs]
    with ExitStack() as stack:
        _average(_bundled(parts, stack), arguments)
    return 0


def _bundled(parts: Sequence[Part], stack: ExitStack) -> list[Part]:
    """The parts; checkpoints of a run without a bundle are of one in a temporary folder, which `stack` removes."""
    from seq2seq.bundle.averaging import Part

    folders: dict[Path, Path] = {}
    for part in parts:
        if part.folder not in folders and part.checkpoint and not part.folder.is_dir():
            from seq2seq.training.unbundled import bundle_checkpoint

            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="seq2seq-"))
            folders[part.folder] = Path(temporary) / "bundle"
            bundle_checkpoint(part.folder.parent, part.checkpoint, folders[part.folder])
    return [Part(part.name, folders.get(part.folder, part.folder), part.checkpoint) for part in parts]


def _average(parts: Sequence[Part], arguments: Namespace) -> None:
    """Write the mean, and say of what it is."""
    from seq2seq.bundle.averaging import average, unrelated
    from seq2seq.bundle.format import described

    if unrelated([described(part.folder)["provenance"] for part in parts]):
        print(
            "seq2seq: warning: these models were trained from different random weights, whose mean is no useful model; "
            "use `seq2seq translate-file … --ensemble` instead",
            file=sys.stderr,
        )
    places = [str(place) for place in (*arguments.inputs, arguments.output)]
    chosen = [part for name in ("best", "last") if (k := getattr(arguments, name)) for part in (f"--{name}", str(k))]
    command = shlex.join(["seq2seq", "average", *places, *chosen])
    average(parts, arguments.output, command=command, trusted=arguments.trust)
    print(
        "\n".join(["the mean of:", *(f"  {part.name}" for part in parts), f"bundle: {arguments.output} (not scored)"])
    )
