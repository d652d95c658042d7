"""Training models C and A: the tutorial's loop on random batches and on the project's, and the project on each path."""

from __future__ import annotations

import math
from typing import Any

import torch

from experiments.throughput.freed import settle
from experiments.throughput.learners import Learner, Ours, Tutorial, project_model
from experiments.throughput.measure import Done, Rounds, Run, alternate
from experiments.throughput.pairs import Material, amounts, bucketed_batches, pad_share, random_batches
from experiments.throughput.sizes import Plan, training_flops
from seq2seq.errors import UserError
from seq2seq.nn.types import Pairs

NAIVE = ("naive_random", "naive_bucketed")


def train(model: str, plan: Plan, material: Material, threads: tuple[int, ...]) -> dict[str, Any]:
    """The row of model `c` or `a`. The first number of threads gives the MFU, the last the ratios; unless the plan is
    the full one, the first is measured for the MFU alone."""
    found: dict[str, Any] = {}
    for count in threads:
        torch.set_num_threads(count)
        everything = plan.name == "full" or count == threads[-1]
        rounds, about = contest(model, plan, material, (*NAIVE, *plan.paths) if everything else ("auto",))
        figures = {"threads": count, **about, "runs": rounds.summary("tokens")}
        found[f"threads_{count}"] = figures | ratios(rounds)
    first, last = found[f"threads_{threads[0]}"], found[f"threads_{threads[-1]}"]
    head = {f"vs_{name}": last[f"vs_{name}"] for name in NAIVE}
    return {"mfu": first["mfu"], "mfu_threads": threads[0], **head, "threads": threads[-1], **found}


def ratios(rounds: Rounds) -> dict[str, Any]:
    """What the project's own choice of path is worth."""
    found: dict[str, Any] = {"mfu": rounds.mfu("auto")}
    return found | {f"vs_{other}": rounds.ratio("auto", other) for other in NAIVE if other in rounds}


def contest(model: str, plan: Plan, material: Material, names: tuple[str, ...]) -> tuple[Rounds, dict[str, Any]]:
    """Contestants with the same weights, in turn; and what is to be known about the batches and left-out paths."""
    torch.manual_seed(0)
    buckets = bucketed_batches(material.train, plan.batch_tokens, plan.batches)
    at_random = random_batches(material.train, plan.batch_size, plan.random_batches)
    learners, left_out = contestants(model, plan, buckets[0], names)
    batches = {name: at_random if name == "naive_random" else buckets for name in learners}
    runs = {name: training(model, plan, learner, batches[name]) for name, learner in learners.items()}
    warm = {name: training(model, plan, learner, buckets[:1]) for name, learner in learners.items()}
    rounds = alternate(runs, plan.rounds, plan.peak_size, warm=warm, settle=lambda name: settle(keep=name not in NAIVE))
    about: dict[str, Any] = {"flops_per_token": training_flops(model, plan.sizes, _per_token(buckets))}
    about["pad_share"] = {"random": round(pad_share(at_random), 3), "buckets": round(pad_share(buckets), 3)}
    return rounds, about | ({"left_out": left_out} if left_out else {})


def contestants(
    model: str, plan: Plan, batch: Pairs, names: tuple[str, ...]
) -> tuple[dict[str, Learner], dict[str, str]]:
    """By name, which is one of `NAIVE` or a path; and the paths that this model does not offer, with the reason.

    Raises `ArithmeticError` where two of them do not compute the same loss: then nothing is worth timing.
    """
    weights = project_model(model, plan.sizes)
    learners: dict[str, Learner] = {name: Tutorial(model, plan.sizes, weights) for name in names if name in NAIVE}
    left_out = {}
    for path in (name for name in names if name not in NAIVE):
        try:
            ours = project_model(model, plan.sizes, path)
            ours.load_state_dict(weights.state_dict())
            learners[path] = Ours(ours)
            learners[path].loss(batch)
        except UserError as error:
            left_out[path] = str(error)
            learners.pop(path, None)
    losses = {name: learner.loss(batch).item() for name, learner in learners.items()}
    if not all(math.isclose(loss, losses[names[0]], rel_tol=1e-4) for loss in losses.values()):
        raise ArithmeticError(f"the models of one contest differ: {losses}")
    return learners, left_out


def training(model: str, plan: Plan, learner: Learner, batches: list[Pairs]) -> Run:
    """A step on each of the batches."""
    counts = amounts(batches)
    done = Done(counts.target, training_flops(model, plan.sizes, counts))

    def run() -> Done:
        for batch in batches:
            learner.step(batch)
        return done

    return run


def _per_token(batches: list[Pairs]) -> Any:
    counts = amounts(batches)
    return type(counts)(*(count / counts.target for count in counts))
