"""How training model C grows with the batch B, the length T, the width H and the vocabulary V; the others as usual."""

from __future__ import annotations

from typing import Any

import torch

from experiments.throughput.freed import settle
from experiments.throughput.learners import Ours, project_model
from experiments.throughput.measure import Done, Run, alternate
from experiments.throughput.sizes import Amounts, Plan, Sizes, training_flops
from seq2seq.nn.types import Pairs, Tokens
from seq2seq.text.vocabulary import EOS, SPECIALS

USUAL = {"B": 64, "T": 16}


def growth(plan: Plan) -> dict[str, Any]:
    """For each of B, T, H and V, the sizes tried and the rates and MFU there."""
    settle(keep=True)
    usual = USUAL | {"H": plan.sizes.hidden, "V": plan.sizes.vocabulary}
    found: dict[str, Any] = {"usual": usual, "threads": torch.get_num_threads()}
    for name, sizes in plan.growth.items():
        runs = {str(size): _run(plan.sizes.embedding, **(usual | {name: size})) for size in sizes}
        found[name] = alternate(runs, plan.rounds, plan.peak_size).summary("tokens")
    return found


def _run(embedding: int, *, B: int, T: int, H: int, V: int) -> Run:
    torch.manual_seed(0)
    sizes = Sizes(embedding, H, V)
    learner, pairs = Ours(project_model("c", sizes)), _pairs(B, T, V)
    done = Done(B * T, training_flops("c", sizes, Amounts(B, B * T, B * T, B * T * T)))

    def run() -> Done:
        learner.step(pairs)
        return done

    return run


def _pairs(B: int, T: int, V: int) -> Pairs:
    """Sentences of one length and random tokens: no pads, and few tokens that are the same."""
    source, target = (torch.randint(len(SPECIALS), V, (B, T)) for _ in range(2))
    lengths = torch.full((B,), T)
    for ids in (source, target):
        ids[:, -1] = EOS
    return Pairs(Tokens(source, lengths), Tokens(target, lengths), torch.arange(B))
