"""`seq2seq sample`: samples text from a language model's bundle, and prints it while it is generated.

Each text begins with the prompt. With `-n` above 1, a line `--- sample I of N ---` precedes each; sample I is the one
of seed S + I − 1.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from seq2seq.errors import UserError


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq sample`."""
    parser.add_argument("bundle", type=Path, help="the folder of a trained language model")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="the beginning of the text (default: none)")
    parser.add_argument(
        "--length",
        type=int,
        default=500,
        metavar="N",
        help="tokens to sample; characters, for a character tokenizer (%(default)s)",
    )
    parser.add_argument(
        "--temperature", type=float, default=1.0, metavar="T", help="below 1 sharper, above 1 flatter (%(default)s)"
    )
    parser.add_argument(
        "--top-k", type=int, metavar="K", help="sample from the K most likely tokens (default: from all)"
    )
    parser.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        metavar="P",
        help="sample from the smallest set of tokens with probability P together (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the random numbers (%(default)s)")
    parser.add_argument("-n", "--number", type=int, default=1, metavar="N", help="how many texts (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, …")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads of torch (default: one a CPU that is available)"
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="a package whose components the bundle may use"
    )


def run(arguments: Namespace) -> int:
    """Sample and print; return the exit code. Raises `UserError` for a mistake in options or prompt, or a bad
    bundle."""
    _check(arguments)
    from seq2seq.inference.text_sampler import Sampler, SamplingOptions
    from seq2seq.runtime.threads import limit_threads

    options = SamplingOptions(arguments.length, arguments.temperature, arguments.top_k, arguments.top_p)
    limit_threads(arguments.threads)
    sampler = Sampler.load(arguments.bundle, arguments.device, arguments.trust)
    for i in range(arguments.number):
        head = f"--- sample {i + 1} of {arguments.number} ---\n" if arguments.number > 1 else ""
        parts = sampler.stream(arguments.prompt, options, seed=arguments.seed + i)
        first = next(parts)  # a prompt that cannot be read is refused before anything is printed
        _print(head + arguments.prompt + first)
        for part in parts:
            _print(part)
        _print("\n")
    return 0


def _check(arguments: Namespace) -> None:
    for name in ("number", "threads"):
        if (count := getattr(arguments, name)) is not None and count < 1:
            raise UserError(f"--{name} {count} must be at least 1")
    if not 0 <= arguments.seed < 2**63:
        raise UserError(f"--seed {arguments.seed} must be at least 0 and below 2^63")
    try:
        arguments.prompt.encode()
    except UnicodeEncodeError:
        raise UserError("--prompt: is not UTF-8; convert it to UTF-8") from None


def _print(text: str) -> None:
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
