"""`seq2seq average`: the mean of the weights of several models, written as a new bundle.

    seq2seq average runs/a --last 5 runs/a-average
    seq2seq average runs/tuned-1 runs/tuned-2 other/bundle OUTPUT

Without `--best` or `--last` each input is a bundle, or a run with one; with one of them each input is a run, of which
K saved checkpoints (`callbacks.checkpoint.save_top_k`) are averaged. The new bundle has no scores: translate the test
set with it, and score.
"""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from seq2seq.errors import UserError


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
    from seq2seq.bundle.averaging import average, bundle_part, checkpoint_parts, unrelated
    from seq2seq.bundle.format import described

    for name in ("best", "last"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UserError(f"--{name} {value}: must be at least 1")
    if arguments.best or arguments.last:
        parts = [
            part for run in arguments.inputs for part in checkpoint_parts(run, best=arguments.best, last=arguments.last)
        ]
    else:
        parts = [bundle_part(place) for place in arguments.inputs]
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
    return 0
