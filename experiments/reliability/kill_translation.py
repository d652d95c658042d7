"""Kill `translate-file` at random moments, or before and after everything that it writes for good, and go on.

python -m experiments.reliability.kill_translation --kills 100   # a very small model (small.py), 200 lines
python -m experiments.reliability.kill_translation BUNDLE FILE --everywhere

Every time the work goes on with --resume until the next kill. At the end the outputs must be, byte for byte, those of a
run that nobody disturbed, and nothing else may be left. A process is a fork, so that torch is imported once.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import seq2seq.inference.translator  # noqa: F401 (imported once, before any fork)
from experiments.reliability import small
from seq2seq.cli import translate_file
from seq2seq.cli.main import main as command

Argument = str | Path


def child(arguments: Sequence[Argument], before: Callable[[], object] = lambda: None) -> int:
    """Start `translate-file` in a fork; its process id."""
    if pid := os.fork():
        return pid
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what is kept is said at every failure
    torch.set_num_threads(1)
    before()
    os._exit(command(["translate-file", *map(str, arguments), "--threads", "1"]))


def ended(pid: int) -> bool:
    """Wait. Whether it came to its end; any other than a kill is a fault."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), f"exit code {code}"
    return code == 0


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def at_random(arguments: Sequence[Argument], seconds: float, kills: int, seed: int) -> int:
    """Kill up to `kills` times, each within `seconds`; how many it were before the work was done."""
    draw = random.Random(seed)
    for kill in range(kills):
        pid = child(arguments)
        time.sleep(draw.uniform(0, seconds))
        os.kill(pid, signal.SIGKILL)
        if ended(pid):
            return kill
    assert ended(child(arguments))
    return kills


def dying(count: int) -> Callable[[], None]:
    """Let the process die at the `count`-th moment before or after a call that writes for good."""

    def patch() -> None:
        left = [count]

        def moment() -> None:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

        def around(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*given: Any, **named: Any) -> Any:
                moment()
                found = real(*given, **named)
                moment()
                return found

            return call

        for owner, name in ((os, "fsync"), (os, "replace"), (Path, "unlink"), (Path, "write_bytes")):
            setattr(owner, name, around(getattr(owner, name)))

    return patch


def everywhere(arguments: Sequence[Argument], folder: Path, expected: dict[str, bytes]) -> int:
    """A run that dies at each moment, once, and one that goes on; how many moments there are."""
    moments = 0
    while not ended(child(arguments, dying(moments + 1))):
        moments += 1
        assert ended(child(arguments))
        assert outputs(folder) == expected, f"different after moment {moments}"
        for path in folder.iterdir():
            path.unlink()
    return moments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--everywhere", action="store_true")
    parser.add_argument("--chunk", type=int, default=8, help="lines a chunk, so that a short file has many")
    parser.add_argument("--suffix", default="", help=".gz, .xz, .zst")
    parser.add_argument("--alignments", action="store_true")
    given = parser.parse_args()
    translate_file.CHUNK = given.chunk
    with tempfile.TemporaryDirectory() as name:
        bundle, file = given.bundle or small.bundle(Path(name)), given.file or small.write(Path(name, "in.txt"), 200)
        whole, broken = Path(name, "whole"), Path(name, "broken")
        for folder in (whole, broken):
            folder.mkdir()

        def arguments(folder: Path) -> list[Argument]:
            links: list[Argument] = ["--alignments", folder / "links"] if given.alignments else []
            return [bundle, file, folder / f"out{given.suffix}", "--n-best", "2", "--resume", *links]

        began = time.perf_counter()
        assert ended(child(arguments(whole)))
        seconds, expected = time.perf_counter() - began, outputs(whole)
        if given.everywhere:
            print(f"{everywhere(arguments(broken), broken, expected)} moments, nothing lost")
            return
        done = seed = 0
        while done < given.kills:
            done += at_random(arguments(broken), seconds, given.kills - done, seed)
            assert outputs(broken) == expected, f"different after {done} kills"
            seed += 1
            for path in broken.iterdir():
                path.unlink()
        print(f"{done} kills, {seed} times to the end, nothing lost")


if __name__ == "__main__":
    main()
