"""What training of text minimises: `task.loss`, `label_smoothing` and `r_drop`.

`task.loss=risk` is the expected cost of the model's own translations (Shen et al., "Minimum Risk Training for Neural
Machine Translation", ACL 2016):

    R = Σ_x Σ_{y ∈ S(x)} Q(y|x) Δ(y, y*)        Q(y|x) = p(y|x)^α / Σ_{y′ ∈ S(x)} p(y′|x)^α

S(x) are draws from the model, each once, and the reference y*; Δ = 1 − BLEU of the sentence, of effective order and
smoothed as sacreBLEU does. The draws see no dropout, and no gradient flows through the choice of S; p does and has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seq2seq.errors import UserError
from seq2seq.inference.stepper import translate_ids
from seq2seq.nn.scheduled_sampling import SamplingState, evaluating
from seq2seq.nn.types import Features, Tokens
from seq2seq.scoring import sentence_bleu
from seq2seq.search import SearchOptions
from seq2seq.text import Tokenizer
from seq2seq.text.unseen import known

Ids = tuple[int, ...]
Cost = Callable[[Sequence[Ids], Ids], Sequence[float]]
"""Δ of each translation against the reference, all without eos; from 0 to 1."""


class Risk:
    """The loss of a batch; `samples` draws a sentence, of the lengths that `search` allows; `sharpness` is α."""

    def __init__(self, samples: int, sharpness: float, search: SearchOptions, cost: Cost) -> None:
        self.sharpness, self.cost = sharpness, cost
        self.search = replace(
            search, sample=True, n_best=samples, coverage_penalty=0.0, diversity_groups=1, temperature=1.0
        )

    def __call__(
        self, model: Any, source: Tokens | Features, target: Tokens, sampling: SamplingState
    ) -> Float[Tensor, ""]:
        """Σ of the sentences' expected costs."""
        references = [
            tuple(ids[: length - 1]) for ids, length in zip(target.ids.tolist(), target.lengths.tolist(), strict=True)
        ]
        chosen = self.candidates(model, source, references, sampling)
        places = torch.tensor([(row, slot) for row, each in enumerate(chosen) for slot in range(len(each))])
        rows, slots = places.to(target.ids.device).unbind(1)
        sequences = ended([ids for each in chosen for ids in each], self.search.eos, target.ids)
        log_probs: Tensor = model.sequence_log_probs(source, sequences, rows)
        table = log_probs.new_full((len(chosen), max(map(len, chosen))), -torch.inf)
        q = table.index_put((rows, slots), self.sharpness * log_probs).softmax(-1)
        costs = [cost for each, y in zip(chosen, references, strict=True) for cost in self.cost(each, y)]
        return (q[rows, slots] * q.new_tensor(costs)).sum()

    def candidates(
        self, model: Any, source: Tokens | Features, references: Sequence[Ids], sampling: SamplingState
    ) -> list[list[Ids]]:
        """S(x) of each sentence: the reference, then the draws that differ, a function of the `sampling` state."""
        seed = int(np.random.SeedSequence(list(sampling)).generate_state(1)[0])
        with evaluating(model):
            drawn = translate_ids(model, source, replace(self.search, seed=seed))
        return [
            list(dict.fromkeys([reference, *(tuple(each.tokens) for each in draws)]))
            for reference, draws in zip(references, drawn, strict=True)
        ]


def ended(sequences: Sequence[Ids], eos: int, like: Tensor) -> Tokens:
    """A batch of sequences with eos, on the device of `like`."""
    lengths = torch.tensor([len(ids) + 1 for ids in sequences])
    ids = torch.zeros(len(sequences), int(lengths.max()), dtype=like.dtype)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence) + 1] = torch.tensor([*sequence, eos])
    return Tokens(ids.to(like.device), lengths.to(like.device))


def bleu_cost(tokenizer: Tokenizer) -> Cost:
    """1 − BLEU of the sentence, from 0 to 1, of the text that the ids are; copied unknown tokens count as unk."""

    def cost(translations: Sequence[Ids], reference: Ids) -> list[float]:
        right, *texts = tokenizer.decode_batch([known(tokenizer, ids) for ids in (reference, *translations)])
        return [1 - sentence_bleu(text, [right]).value / 100 for text in texts]

    return cost


class Objective(NamedTuple):
    """−log p of smoothed targets, with R-Drop's α; or the `risk` instead."""

    label_smoothing: float = 0.0
    r_drop: float = 0.0
    risk: Risk | None = None


def make_objective(task: Mapping[str, Any], search: SearchOptions, tokenizer: Tokenizer) -> Objective:
    """The objective of a configuration's `task`; those of before lack some keys. `tokenizer` is the target's."""
    risk = Risk(**task["risk"], search=search, cost=bleu_cost(tokenizer)) if task.get("loss") == "risk" else None
    return Objective(task["label_smoothing"], task.get("r_drop", 0.0), risk)


def check_objective(config: Mapping[str, Any], trial: Any) -> None:
    """Raise `UserError` for R-Drop or risk with a feedback, and for risk with R-Drop or outputs of equal length."""
    alpha, risk = config["task"].get("r_drop"), config["task"].get("loss") == "risk"
    if (alpha or risk) and trial.decoder.feedback.reads_own:
        key, why = ("loss=risk", "draws whole translations") if risk else (f"r_drop={alpha}", "reads a target twice")
        raise UserError(
            f"task.{key}: {why}, and decoder.feedback replaces tokens of it; use feedback@decoder.feedback=teacher"
        )
    if risk and alpha:
        raise UserError(f"task.loss=risk: has no use for task.r_drop={alpha}, which compares likelihoods; set it to 0")
    if risk and config["search"].get("equal_length"):
        raise UserError("task.loss=risk: compares translations that end by themselves; set search.equal_length=false")
