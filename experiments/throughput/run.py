"""How fast is it? The one command of the benchmark.

    python -m experiments.throughput.run              # all of it: `make bench`
    python -m experiments.throughput.run --quick      # about five minutes on two cores: `make bench-quick`

Writes results.json (after each part, so that what is interrupted is not lost), the tables of README.md, the pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from experiments.machine import machine
from experiments.throughput import report
from experiments.throughput.measure import mm_peak, onednn_peak, quiet
from experiments.throughput.pairs import Material, load
from experiments.throughput.sizes import PLANS, Plan

HERE = Path(__file__).parent


def parts(plan: Plan, material: Material, threads: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """What there is to measure, by its entry in results.json. Model A's MFU is that of one thread."""
    from experiments.throughput import data, growth, layers, memory, search, train, trainer

    return {
        "train_c": lambda: train.train("c", plan, material, (threads,)),
        "train_a": lambda: train.train("a", plan, material, tuple(dict.fromkeys((1, threads)))),
        "gru_layer": lambda: layers.layers(plan),
        "search_greedy": lambda: search.greedy(plan, material),
        "search_beam": lambda: search.beam(plan, material),
        "data_path": lambda: data.data_path(plan),
        "lightning_step": lambda: trainer.lightning_step(plan),
        "growth": lambda: growth.growth(plan),
        "memory": lambda: memory.memory(plan),
    }


def run(plan: Plan, folder: Path, threads: int, only: Sequence[str] = ()) -> report.Results:
    """Measure all parts, or those named; the others keep what results.json has of them."""
    results: report.Results = {}
    if only and (folder / "results.json").is_file():
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    material = load(plan)
    results["setting"] = setting(plan, material, threads)
    for name, part in parts(plan, material, threads).items():
        if only and name not in only:
            continue
        torch.set_num_threads(threads)
        began = time.perf_counter()
        results[name] = part() | {"plan": plan.name}
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
        report.write_json(results, folder)
    results["setting"]["load_average_at_the_end"] = round(os.getloadavg()[0], 2)
    report.write(results, folder)
    return results


def setting(plan: Plan, material: Material, threads: int) -> dict[str, Any]:
    """What every number depends on. The load is that of other processes, before this one has done much."""
    torch.set_num_threads(threads)
    others, onednn = quiet(), onednn_peak(plan.peak_size)
    return {
        "plan": plan.name,
        "rounds": plan.rounds,
        "data": material.name,
        "threads": threads,
        **machine(),
        "cores_that_others_took_before": others,
        "load_average_before": round(os.getloadavg()[0], 2),
        "GFLOP/s_of_sgemm_(torch.mm)": round(mm_peak(plan.peak_size) / 1e9, 1),
        "GFLOP/s_of_sgemm_(oneDNN)": None if onednn is None else round(onednn / 1e9, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of torch (default: 2)")
    parser.add_argument("--only", nargs="+", default=(), metavar="PART", help="such as train_c; others are kept")
    parser.add_argument("--out", type=Path, default=HERE, help="where results.json and pictures go")
    chosen = parser.parse_args()
    plan = PLANS["quick" if chosen.quick else "full"]
    unknown = set(chosen.only) - set(parts(plan, None, 1))  # type: ignore[arg-type]
    if unknown:
        parser.error(f"--only {' '.join(sorted(unknown))}: use {', '.join(parts(plan, None, 1))}")  # type: ignore[arg-type]
    run(plan, chosen.out, chosen.threads, chosen.only)
    print(report.targets(json.loads((chosen.out / "results.json").read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
