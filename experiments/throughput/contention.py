"""Training next to other busy processes: threads of OpenMP that spin while they wait, and threads that sleep.

    python -m experiments.throughput.contention            # about ten minutes; writes contention.json, prints the table

Each run is a fresh process that trains model C for a few seconds, alone or next to processes that only count. All
combinations take turns, round by round; ratios are taken within a round (median, smallest and largest).
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
from pathlib import Path
from typing import Any

from experiments.machine import machine
from seq2seq.threads import OTHERS, WAITING

HERE = Path(__file__).parent
SPINNING = {"KMP_BLOCKTIME": "200"}
"""LLVM's default, which GNU's OpenMP does not read: the package then leaves torch's default as it is."""
SETTINGS = {"spinning": SPINNING, "sleeping": WAITING}
MODELS = {"benchmark": (256, 512, 8000, 2048), "small": (128, 256, 2000, 600)}
"""Embedding, hidden units, vocabulary, target tokens a batch."""


def child(model: str, seconds: float) -> float:
    """Target tokens a second of a training."""
    import torch

    from experiments.throughput.learners import Ours, project_model
    from experiments.throughput.pairs import amounts, bucketed_batches, synthetic
    from experiments.throughput.sizes import Sizes
    from seq2seq.allocation import keep_freed_memory

    keep_freed_memory()
    *sizes, batch_tokens = MODELS[model]
    torch.manual_seed(0)
    batches = bucketed_batches(synthetic(sizes[2], 3000).train, batch_tokens, 8)
    learner = Ours(project_model("c", Sizes(*sizes)))
    for batch in batches:
        learner.step(batch)
    done, began, tokens = 0, time.perf_counter(), 0.0
    while time.perf_counter() - began < seconds or done % len(batches):
        batch = batches[done % len(batches)]
        learner.step(batch)
        tokens, done = tokens + amounts([batch]).target, done + 1
    return tokens / (time.perf_counter() - began)


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


def rate(model: str, seconds: float, setting: dict[str, str]) -> float:
    """Target tokens a second of a training in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in (*WAITING, *OTHERS)}
    command = [sys.executable, "-m", "experiments.throughput.contention", "--child", model, "--seconds", str(seconds)]
    done = subprocess.run(command, env=environment | setting, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def measure(rounds: int, seconds: float, models: list[str], settings: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Rates by model, number of other processes, and setting."""
    rates: dict[str, Any] = {model: {n: {name: [] for name in settings} for n in (0, 1, 2)} for model in models}
    for number in range(rounds):
        for model, by_number in rates.items():
            for others, found in by_number.items():
                for name in list(found)[:: 1 if number % 2 == 0 else -1]:
                    with busy(others):
                        found[name].append(round(rate(model, seconds, settings[name])))
        print(f"round {number + 1} of {rounds}", flush=True, file=sys.stderr)
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
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="a run, at least")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--spins", nargs="+", default=[], metavar="N", help="other values of GOMP_SPINCOUNT")
    chosen = parser.parse_args()
    if chosen.child:
        print(child(chosen.child, chosen.seconds))
        return
    settings = SETTINGS | {f"spins={n}": WAITING | {"GOMP_SPINCOUNT": n} for n in chosen.spins}
    rates = measure(chosen.rounds, chosen.seconds, chosen.models, settings)
    found = {"machine": machine(), "rounds": chosen.rounds, "seconds": chosen.seconds, "rates": rates}
    (HERE / "contention.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(rates))


if __name__ == "__main__":
    main()
