"""Searching: greedy one sentence at a time and in batches, and a beam of 5; in float32 and with the int8 output layer.

The models are untrained, so every hypothesis is made as long as its reference: eos is banned before that limit.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from experiments.throughput.freed import settle
from experiments.throughput.learners import project_model
from experiments.throughput.measure import Done, Rounds, Run, alternate
from experiments.throughput.pairs import Material, batch
from experiments.throughput.sizes import Plan
from seq2seq.corpora.store import EncodedPairs, Ints
from seq2seq.inference.batching import BATCH_SIZE, batches
from seq2seq.inference.stepper import Stepper, translate_ids
from seq2seq.models import EncoderDecoder
from seq2seq.nn.types import Pairs
from seq2seq.search import SearchOptions
from seq2seq.text.vocabulary import BOS, EOS, PAD

BEAM = 5
ENDLESS = 1 << 20  # more than any limit: no hypothesis ends before it
INT8 = "int8" in inspect.signature(Stepper).parameters
"""Whether this version has the 8-bit output layer: if not, its rows are absent."""


@dataclass(frozen=True)
class AtReferenceLength(SearchOptions):
    """Options of one batch whose limits are the references' lengths, eos included."""

    lengths: tuple[int, ...] = ()

    def limits(self, source_lengths: Int[Tensor, "B"]) -> Int[Tensor, "B"]:
        return torch.tensor(self.lengths, device=source_lengths.device)


def greedy(plan: Plan, material: Material) -> dict[str, Any]:
    """The row of greedy search. A batch is as large as a Translator makes it, unless the figure names its size."""
    found: dict[str, Any] = {"threads": torch.get_num_threads()}
    usual = f"batch_{BATCH_SIZE}"
    for model in ("c", "a"):
        rounds = contest(model, 1, plan.search_batches, plan, material)
        found[f"{model}_vs_single"] = rounds.ratio(usual, "batch_1")
        found[f"{model}_sentences_per_second"] = rounds.rate(usual)
        for name in rounds:
            if name not in (usual, "batch_1"):
                found[f"{model}_{name}_vs_single"] = rounds.ratio(name, "batch_1")
        found[f"{model}_runs"] = rounds.summary("sentences")
    return found


def beam(plan: Plan, material: Material) -> dict[str, Any]:
    """The row of beam search."""
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "beam_size": BEAM}
    for model in ("c", "a"):
        rounds = contest(model, BEAM, (BATCH_SIZE,), plan, material)
        found[f"{model}_sentences_per_second"] = rounds.rate(f"batch_{BATCH_SIZE}")
        if INT8:
            found[f"{model}_int8_sentences_per_second"] = rounds.rate(f"batch_{BATCH_SIZE}_int8")
            found[f"{model}_int8_vs_float32"] = rounds.ratio(f"batch_{BATCH_SIZE}_int8", f"batch_{BATCH_SIZE}")
        found[f"{model}_runs"] = rounds.summary("sentences")
    return found


def contest(model: str, beam_size: int, sizes: tuple[int, ...], plan: Plan, material: Material) -> Rounds:
    """The same sentences in batches of each size, in float32 and int8; one by one only a part of them, at even
    distances when they are ordered by reference length."""
    torch.manual_seed(0)
    network, runs, warm = project_model(model, plan.sizes).eval(), {}, {}
    for size in sizes:
        made = prepared(material.test, plan.single if size == 1 else plan.sentences, size)
        for int8 in (False, True) if INT8 and size > 1 else (False,):
            name = f"batch_{size}{'_int8' * int8}"
            step = Stepper(network, int8=True) if int8 else Stepper(network)
            runs[name] = searching(network, step, made, beam_size)
            warm[name] = searching(network, step, made[-1:], beam_size)
    settle(keep=True)
    return alternate(runs, plan.rounds, plan.peak_size, warm=warm)


def prepared(data: EncodedPairs, count: int, batch_size: int) -> list[Pairs]:
    """`count` sentences in batches of near source lengths, as a Translator makes them."""
    order = np.argsort(data.target.lengths(np.arange(len(data))), kind="stable")
    chosen: Ints = order[(np.arange(count) * len(order)) // count + len(order) // (2 * count)]
    rows = batches(data.source.lengths(chosen).tolist(), batch_size)
    return [batch(data, chosen[row]) for row in rows]


def searching(model: EncoderDecoder, step: Stepper, made: list[Pairs], beam_size: int) -> Run:
    """Search for the sentences of these batches, each hypothesis as long as its reference."""
    done = Done(sum(len(pairs.rows) for pairs in made))

    def run() -> Done:
        for pairs in made:
            limits = tuple(pairs.target.lengths.tolist())
            options = AtReferenceLength(
                BOS, EOS, PAD, beam_size=beam_size, length_penalty=0.0, min_length=ENDLESS, lengths=limits
            )
            found = translate_ids(model, pairs.source, options, step)
            assert [len(best[0].tokens) for best in found] == list(limits)
        return done

    return run
