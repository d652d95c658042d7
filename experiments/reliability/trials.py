"""What trials share: a command in this process, and what it must not do whatever its files hold."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import os
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple
from unittest import mock

import zstandard

from experiments.reliability.dirt import FRAGMENTS
from seq2seq.cli.main import main as command

Trial = Callable[[random.Random], str]
"""One kind of trial: what it draws decides everything. It returns how it ended, and raises for a finding."""

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}
TRAINING = ["a man sees the old dog in the house"] * 9  # what tokenizers are trained on
QUICK = ["--beam-size", "1", "--max-length", "8", "--max-source", "60"]


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    output: bytes
    told: str


@contextlib.contextmanager
def _standard_input(content: bytes) -> Iterator[None]:
    """A pipe, as a shell gives it; it holds 64 KiB at least."""
    read, write = os.pipe()
    with os.fdopen(write, "wb") as file:
        file.write(content)
    with open(read) as stream, mock.patch("sys.stdin", stream):
        yield


def call(*arguments: object, given: bytes = b"") -> Ended:
    """Run `seq2seq`: it does what it should, or says in one line that can be printed what is wrong."""
    output, told = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(told), _standard_input(given):
        code = command([str(argument) for argument in arguments])
    output.flush()
    ended = Ended(code, output.buffer.getvalue(), told.getvalue())  # type: ignore[attr-defined]
    assert code in (0, 2, 130), ended
    if code == 2:
        line = ended.told.removesuffix("\n")
        assert line.startswith("seq2seq: error: "), ended
        assert line.isprintable(), ended
        assert len(line) < 5000, ended
    return ended


def damaged(draw: random.Random, content: bytes) -> bytes:
    """Bytes changed, cut, exchanged or put in, and what readers of JSON would not expect."""
    if not content:
        return b"\0"
    a, b = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    head = min(len(content), 4000)  # where formats have their numbers
    i = draw.randrange(head if draw.random() < 0.7 else len(content))
    return draw.choice(
        [
            lambda: content[:i] + bytes([content[i] ^ 1 << draw.randrange(8)]) + content[i + 1 :],
            lambda: content[:i] + draw.randbytes(4) + content[i + 4 :],
            lambda: content[:a],
            lambda: content[:a] + content[b:],
            lambda: content[:i] + draw.choice(FRAGMENTS) + content[i:],
            lambda: content[:i] + content[i:].replace(b"1", b"9" * draw.randint(1, 30), 1),
            lambda: content[:i] + content[i:].replace(b'"', b'"a": {"_target_": "os.system"}, "', 1),
            lambda: content[:i] + content[i:].replace(b"[", b"[" * draw.randint(1, 9999), 1),
            lambda: content[:i] + content[i:].replace(b": ", b": " + draw.choice(VALUES) + b', "b": ', 1),
        ]
    )()


VALUES = [b"null", b"true", b"-1", b"0", b"1e308", b'"x"', b"[]", b"{}", b"[null]", b'{"a": 1}']
