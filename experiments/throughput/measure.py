"""Timing that survives a machine whose speed drifts: runs take turns in one process, round by round, and beside each
run stands what the machine could do just then (the faster product of two 2048² matrices) and what others took of it.

Only ratios within a round are compared; a figure is the median of the rounds with the smallest and the largest.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

ROOT = Path(__file__).parents[2]


class Spread(NamedTuple):
    """A figure over all rounds."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(*(float(f"{value:.4g}") for value in (statistics.median(values), min(values), max(values))))


class Done(NamedTuple):
    """What one run did: units (tokens, sentences, …), where it is counted the arithmetic that they need, and the CPU
    seconds that another process of this benchmark took for it."""

    units: float
    flops: float = 0.0
    cpu: float = 0.0


Run = Callable[[], Done]


class Sample(NamedTuple):
    """One run of one round."""

    rate: float  # units a second
    flops: float  # a second
    peak: float  # FLOP a second of sgemm, the mean of just before and just after
    others: float | None  # cores that other processes took meanwhile; None where it cannot be known

    @property
    def mfu(self) -> float:
        return self.flops / self.peak


class Rounds(dict[str, list[Sample]]):
    """The samples of each run, round by round."""

    def ratios(self, run: str, other: str) -> list[float]:
        """How many times faster `run` was, in each round."""
        return [one.rate / two.rate for one, two in zip(self[run], self[other], strict=True)]

    def ratio(self, run: str, other: str) -> dict[str, float]:
        return Spread.of(self.ratios(run, other))._asdict()

    def rate(self, run: str) -> dict[str, float]:
        return Spread.of([sample.rate for sample in self[run]])._asdict()

    def mfu(self, run: str) -> dict[str, float]:
        return Spread.of([sample.mfu for sample in self[run]])._asdict()

    def summary(self, unit: str) -> dict[str, Any]:
        """For results.json: each run's rate (`unit` a second), MFU where arithmetic is counted, and the machine."""
        found = {}
        for name, samples in self.items():
            figures: dict[str, Any] = {f"{unit}_per_second": self.rate(name)}
            if samples[0].flops:
                figures["mfu"] = self.mfu(name)
            figures["peak_gflops"] = Spread.of([sample.peak / 1e9 for sample in samples])._asdict()
            others = [sample.others for sample in samples if sample.others is not None]
            figures["others"] = Spread.of(others)._asdict() if others else None
            found[name] = figures
        return found


def alternate(
    runs: Mapping[str, Run],
    rounds: int,
    peak_size: int,
    *,
    warm: Mapping[str, Run] | None = None,
    settle: Callable[[str], None] = lambda name: None,
) -> Rounds:
    """Each run once a round, after one that is not counted (a shorter one where `warm` has it); every other round
    goes through them backwards, so that no run always comes after the same one. `settle` comes before each, untimed."""
    for name, run in runs.items():
        settle(name)
        (warm or {}).get(name, run)()
    found = Rounds({name: [] for name in runs})
    for number in range(rounds):
        before = sgemm_peak(peak_size)
        for name in list(runs)[:: 1 if number % 2 == 0 else -1]:
            settle(name)
            began, cpu, busy = time.perf_counter(), time.process_time(), busy_seconds()
            done = runs[name]()
            seconds, own, now = time.perf_counter() - began, time.process_time() - cpu, busy_seconds()
            others = None if busy is None or now is None else max(0.0, (now - busy - own - done.cpu) / seconds)
            after = sgemm_peak(peak_size)
            found[name].append(Sample(done.units / seconds, done.flops / seconds, (before + after) / 2, others))
            before = after
    return found


def lasting(run: Run, seconds: float) -> Run:
    """`run` as often as it takes to last about so long, for what is too short to be timed alone."""
    run()
    began = time.perf_counter()
    done = run()
    count = max(1, math.ceil(seconds / (time.perf_counter() - began)))

    def repeated() -> Done:
        for _ in range(count):
            run()
        return Done(done.units * count, done.flops * count)

    return repeated


def sgemm_peak(size: int, repeats: int = 3) -> float:
    """FLOP a second of a float32 product of two size × size matrices: the best of a few, through the faster of the two
    libraries that torch brings. It is what an MFU is a share of."""
    return max(mm_peak(size, repeats), onednn_peak(size, repeats) or 0.0)


def mm_peak(size: int, repeats: int = 3) -> float:
    """The same through torch.mm."""
    left, right, out = (torch.ones(size, size) for _ in range(3))
    return 2 * size**3 / _best(lambda: torch.mm(left, right, out=out), repeats + 1)


def onednn_peak(size: int, repeats: int = 3) -> float | None:
    """The same through oneDNN, see `seq2seq.nn.matmul`; None where this torch has none."""
    left, right = torch.ones(size, size), torch.ones(size, size)
    try:
        linear = torch.ops.mkldnn._linear_pointwise
        return 2 * size**3 / _best(lambda: linear(left, right, None, "none", [], ""), repeats + 1)
    except (AttributeError, RuntimeError):
        return None


def _best(function: Callable[[], object], repeats: int) -> float:
    best = math.inf
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - began)
    return best


def busy_seconds() -> float | None:
    """CPU seconds that all processes, and the host's other guests (steal), took since the start of the machine."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def quiet(seconds: float = 0.5) -> float | None:
    """Cores that other processes take while this one sleeps."""
    before = busy_seconds()
    time.sleep(seconds)
    after = busy_seconds()
    return None if before is None or after is None else round((after - before) / seconds, 2)


def in_child(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
    """The JSON that `python -m module arguments` prints last: for memory and start-up, which need a fresh process."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, **(environment or {})}
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    if found.returncode:
        raise SystemExit(f"{' '.join(command)}: failed")
    return json.loads(found.stdout.strip().split("\n")[-1])


def peak_megabytes() -> float:
    """The largest resident size of this process so far. Linux's VmHWM, for ru_maxrss there begins with the parent's."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        import resource

        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size / (1 << 20 if sys.platform == "darwin" else 1 << 10)
