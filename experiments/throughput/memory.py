"""Peak memory of training, and what it is worth to keep freed memory: each in a fresh process, on synthetic pairs.

python -m experiments.throughput.memory PLAN MODEL LEARNER THREADS      measures one
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch

from experiments.throughput.measure import Spread, in_child, peak_megabytes
from experiments.throughput.sizes import PLANS, Plan
from seq2seq.runtime.malloc import SWITCH, keep_freed_memory


def memory(plan: Plan) -> dict[str, Any]:
    """For both models and each learner the peak in megabytes, and the rate of the project's with freed memory kept
    against glibc's own way."""
    found: dict[str, Any] = {"threads": torch.get_num_threads()}
    for model in ("c", "a") if plan.name == "full" else ("c",):
        for learner in ("naive_random", "naive_bucketed"):
            found[f"{model}_{learner}"] = _child(plan, model, learner, {})
        off = {SWITCH: "0"}
        pairs = [(_child(plan, model, "auto", off), _child(plan, model, "auto", {})) for _ in range(plan.rounds)]
        gains = [kept["tokens_per_second"] / freed["tokens_per_second"] for freed, kept in pairs]
        found[f"{model}_auto_freeing"] = pairs[-1][0]
        found[f"{model}_auto"] = pairs[-1][1] | {"vs_freeing": Spread.of(gains)._asdict()}
    return found


def _child(plan: Plan, model: str, learner: str, environment: dict[str, str]) -> dict[str, float]:
    threads = str(torch.get_num_threads())
    module = "experiments.throughput.memory"
    found: dict[str, float] = in_child(module, plan.name, model, learner, threads, environment=environment)
    return found


def measure(plan: Plan, model: str, name: str, threads: int) -> dict[str, float]:
    """The peak of a few training steps, all and beyond what the process took before them, and the rate."""
    from experiments.throughput.learners import Ours, Tutorial, project_model
    from experiments.throughput.pairs import amounts, bucketed_batches, random_batches, synthetic

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    material, ours = synthetic(plan.sizes.vocabulary, 5000), project_model(model, plan.sizes)
    at_random = name == "naive_random"
    batches = (
        random_batches(material.train, plan.batch_size, plan.random_batches)
        if at_random
        else bucketed_batches(material.train, plan.batch_tokens, plan.batches)
    )
    if name == "auto":
        keep_freed_memory()
    before = peak_megabytes()
    learner = Ours(ours) if name == "auto" else Tutorial(model, plan.sizes, ours)
    learner.step(batches[-1])
    began = time.perf_counter()
    for batch in batches:
        learner.step(batch)
    rate = amounts(batches).target / (time.perf_counter() - began)
    peak = peak_megabytes()
    return {"megabytes": round(peak), "beyond_start": round(peak - before), "tokens_per_second": round(rate, 1)}


if __name__ == "__main__":
    print(json.dumps(measure(PLANS[sys.argv[1]], sys.argv[2], sys.argv[3], int(sys.argv[4]))))
