"""Random dirt and random damage, for as long as one likes; every finding is kept with what made it.

    python -m experiments.reliability.fuzz --minutes 10            # writes fuzz.json
    python -m experiments.reliability.fuzz --minutes 1 --seed 7 --only bundles
    python -m experiments.reliability.fuzz --minutes 0 --seed 7 --only bundles --first 341     # that trial again

What is tried, and what must hold, stands at each kind of trial in dirty_trials.py, corpus_trials.py, damage_trials.py;
none takes more than a minute of computing. Each kind has the same share of the time. What a trial draws depends on the
seed, its kind and its number alone.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from experiments.machine import machine
from experiments.reliability.corpus_trials import CorpusTrials
from experiments.reliability.damage_trials import DamageTrials
from experiments.reliability.dirty_trials import DirtyTrials
from experiments.reliability.trials import Trial
from experiments.study import table

HERE = Path(__file__).parent
KINDS = (
    *("lines", "parts", "requests", "pairs", "scores", "prompts"),
    *("corpora", "texts", "training", "bundles", "runs"),
)
BOUND = 60  # seconds of computing


class Fuzz:
    """Counts how the trials end, and keeps the files of those that find something."""

    def __init__(self, folder: Path, seed: int, kept: Path) -> None:
        self.folder, self.seed, self.kept = folder, seed, kept
        groups = DirtyTrials(folder), CorpusTrials(folder), DamageTrials(folder)
        self.kinds: dict[str, Trial] = {kind: trial for group in groups for kind, trial in group.kinds.items()}
        self.ended: Counter[tuple[str, str]] = Counter()

    def run(self, kind: str, number: int) -> None:
        """One trial."""
        shutil.rmtree(work := self.folder / "work", ignore_errors=True)
        work.mkdir()
        try:
            with _bounded():
                how = self.kinds[kind](random.Random(f"{self.seed} {kind} {number}"))
        except Exception:
            how, kept = "FOUND", self.kept / f"fuzz-{self.seed}-{kind}-{number}"
            shutil.copytree(work, kept, dirs_exist_ok=True)
            print(f"{traceback.format_exc()}kept: {kept}", file=sys.stderr)
        self.ended[kind, how] += 1


@contextmanager
def _bounded() -> Iterator[None]:
    """Raises `TimeoutError` after BOUND seconds, those not counted in which others have the processor."""

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {BOUND} s of computing")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, BOUND)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def trials(minutes: float, kinds: list[str], first: int) -> Iterator[tuple[str, int]]:
    """Kinds and numbers of trials until the time is over, each kind at least once: the one that had the least time."""
    end, spent, numbers = time.monotonic() + 60 * minutes, dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, first)
    while (kind := min(kinds, key=lambda kind: spent[kind])) and (not spent[kind] or time.monotonic() < end):
        begin = time.monotonic()
        yield kind, numbers[kind]
        numbers[kind] += 1
        spent[kind] += time.monotonic() - begin


def main(arguments: list[str] | None = None) -> int:
    """Print and write a table of what was tried; returns 1 if there was a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--first", type=int, default=1, metavar="NUMBER", help="of the trials of each kind")
    parser.add_argument("--out", type=Path, default=HERE / "fuzz.json")
    chosen = parser.parse_args(arguments)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.WARNING)  # of what is odd in each of thousands of files
    with tempfile.TemporaryDirectory() as made, mock.patch.dict(os.environ, SEQ2SEQ_CACHE=f"{made}/cache"):
        fuzz = Fuzz(Path(made), chosen.seed, chosen.out.parent)
        for kind, number in trials(chosen.minutes, chosen.only, chosen.first):
            fuzz.run(kind, number)
    logging.disable(logging.NOTSET)
    ended = sorted(fuzz.ended.items())
    findings = sum(count for (_, how), count in ended if how == "FOUND")
    print(table(["kind", "ended", "trials"], [[*key, f"{count:,}"] for key, count in ended]))
    print(f"seed {chosen.seed}, {chosen.minutes:g} minutes, {findings} findings")
    counts = {kind: {how: count for (each, how), count in ended if each == kind} for kind in chosen.only}
    record = {"seed": chosen.seed, "minutes": chosen.minutes, "trials": counts, "findings": findings}
    chosen.out.write_text(json.dumps(record | {"machine": machine()}, indent=1) + "\n", encoding="utf-8")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
