"""Training next to other busy processes: threads of OpenMP that spin while they wait, and threads that sleep.

    python -m experiments.throughput.contention            # about ten minutes; writes contention.json, prints the table

OpenMP reads its settings once, so each setting has a process of its own, which trains model C on the same few batches
whenever it is its turn and otherwise waits for a line of input. All combinations take turns, round by round, alone and
next to processes that only count; ratios are taken within a round (median, smallest and largest).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from experiments.machine import machine
from seq2seq.runtime.threads import OTHERS, WAITING

HERE = Path(__file__).parent
SPINNING = {"KMP_BLOCKTIME": "200"}
"""LLVM's default, which GNU's OpenMP does not read: the package then leaves torch's default as it is."""
SETTINGS = {"spinning": SPINNING, "sleeping": WAITING}
MODELS = {"benchmark": (256, 512, 8000, 2048, 3), "small": (128, 256, 2000, 600, 15)}
"""Embedding, hidden units, vocabulary, target tokens a batch, batches a turn."""


def child(model: str) -> None:
    """At each line of input, train on the batches once and print target tokens a second."""
    import torch

    from experiments.throughput.learners import Ours, project_model
    from experiments.throughput.pairs import amounts, bucketed_batches, synthetic
    from experiments.throughput.sizes import Sizes
    from seq2seq.runtime.malloc import keep_freed_memory

    keep_freed_memory()
    *sizes, batch_tokens, count = MODELS[model]
    torch.manual_seed(0)
    batches = bucketed_batches(synthetic(sizes[2], 3000).train, batch_tokens, 8)[:count]
    learner = Ours(project_model("c", Sizes(*sizes)))
    tokens = amounts(batches).target
    for _ in chain([""], sys.stdin):
        began = time.perf_counter()
        for batch in batches:
            learner.step(batch)
        print(tokens / (time.perf_counter() - began), flush=True)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that only count, meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


class Trained:
    """A process that trains on demand, with a setting of its own."""

    def __init__(self, model: str, setting: dict[str, str]) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in (*WAITING, *OTHERS)}
        command = [sys.executable, "-m", "experiments.throughput.contention", "--child", model]
        self._process = subprocess.Popen(
            command, env=environment | setting, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._rate()  # the first time round warms up

    def turn(self) -> float:
        """Target tokens a second of one time over the batches."""
        assert self._process.stdin
        print(file=self._process.stdin, flush=True)
        return self._rate()

    def _rate(self) -> float:
        assert self._process.stdout
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """Let the process end."""
        self._process.communicate("")


def measure(rounds: int, models: list[str], settings: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Rates by model, number of other processes, and setting."""
    rates: dict[str, Any] = {model: {n: {name: [] for name in settings} for n in (0, 1, 2)} for model in models}
    for model, by_number in rates.items():
        learners = {name: Trained(model, setting) for name, setting in settings.items()}
        for number in range(rounds):
            for others, found in by_number.items():
                with busy(others):
                    for name in list(found)[:: 1 if number % 2 == 0 else -1]:
                        found[name].append(round(learners[name].turn()))
            print(f"{model}: round {number + 1} of {rounds}", flush=True, file=sys.stderr)
        for learner in learners.values():
            learner.end()
    return rates


def table(rates: dict[str, Any]) -> str:
    """Markdown: rates, their share of the rate alone, and the ratio of the settings."""
    from experiments.throughput.measure import Spread

    def spread(one: list[float], other: list[float]) -> str:
        found = Spread.of([a / b for a, b in zip(one, other, strict=True)])
        return f"{found.median:.2f} ({found.min:.2f} – {found.max:.2f})"

    rows = [
        "| model | other processes | setting | target tokens/s | share of the rate alone | ratio to spinning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for model, by_number in rates.items():
        for others, found in by_number.items():
            for name, values in found.items():
                alone, spinning = by_number[next(iter(by_number))][name], next(iter(found.values()))
                median = Spread.of(values).median
                rows.append(
                    f"| {model} | {others} | {name} | {median:,.0f} | {spread(values, alone)} | "
                    f"{spread(values, spinning)} |"
                )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", choices=MODELS, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--spins", nargs="+", default=[], metavar="N", help="other values of GOMP_SPINCOUNT")
    chosen = parser.parse_args()
    if chosen.child:
        return child(chosen.child)
    settings = SETTINGS | {f"spins={n}": WAITING | {"GOMP_SPINCOUNT": n} for n in chosen.spins}
    rates = measure(chosen.rounds, chosen.models, settings)
    found = {"machine": machine(), "rounds": chosen.rounds, "rates": rates}
    (HERE / "contention.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(rates))


if __name__ == "__main__":
    main()
