"""The models' sizes, the arithmetic of a training step, and how much of everything a benchmark measures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Sizes(NamedTuple):
    """Model C: embeddings E, bidirectional GRU 2 × H/2 → c [H], GRU decoder of H units that consumes c at every step,
    softmax over V. Model A: additive attention of width H in place of c, and a readout tanh(W [s_t ; c_t]) of H."""

    embedding: int = 256
    hidden: int = 512
    vocabulary: int = 8000


class Amounts(NamedTuple):
    """What the arithmetic depends on; pads are in none of these numbers, eos is."""

    sentences: float
    source: float  # tokens
    target: float  # tokens
    pairs: float  # Σ over sentences of source length · target length


MULTI30K = Amounts(sentences=0.06314, source=0.96776, target=1.0, pairs=16.750)
"""A target token of Multi30k English→German in 8,000 joint BPE pieces: 15.3 source, 15.8 target ones a sentence."""


def training_flops(model: str, sizes: Sizes, amounts: Amounts) -> float:
    """The arithmetic that the real tokens need: 2 FLOP a multiplication and addition, three times: forwards, for the
    gradient of the inputs, and for that of the weights. Embeddings, gates' functions and the optimizer are not counted.

                   each target token          each sentence     each source token      each pair of both
        C and A    softmax V·H                bridge H·H        encoder 2·3·H/2·(E + H/2)
                   decoder 3·H·(E + H)
        C                                     c 3·H·H
        A          c 3·H·H, query H·H,                          keys H·H               energy H, average H
                   readout 2·H·H

    At `Sizes()` on MULTI30K: C 36.6 MFLOP a target token (softmax 67%, decoder 20%, encoder 12%), A 47.4 MFLOP. Nobody
    has counted other models: 0.
    """
    if model not in ("c", "a"):
        return 0.0
    E, H, V = sizes
    target, sentence, source, pair = V * H + 3 * H * (E + H), H * H, 3 * H * (E + H // 2), 0
    if model == "c":
        sentence += 3 * H * H
    else:
        target, source, pair = target + 6 * H * H, source + H * H, 2 * H
    rows = (target, amounts.target), (sentence, amounts.sentences), (source, amounts.source), (pair, amounts.pairs)
    return 6 * sum(each * count for each, count in rows)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    name: str
    rounds: int
    batches: int  # of about 2,048 target tokens, a training run
    random_batches: int  # of 128 random pairs, a training run of the naive loop
    paths: tuple[str, ...]
    hidden: tuple[int, ...]  # layers alone: H, and B
    batch: tuple[int, ...]
    seconds: float  # a run of a layer alone
    sentences: int  # to search for, in batches; and one by one
    single: int
    pairs: int  # of the data path
    growth: dict[str, tuple[int, ...]]  # the sizes tried, of B, T, H and V
    steps: int  # of Lightning, and of a training whose memory is measured
    sizes: Sizes = field(default_factory=Sizes)
    batch_tokens: int = 2048
    batch_size: int = 128
    search_batches: tuple[int, ...] = (1, 64, 128, 256)
    peak_size: int = 2048


PATHS = ("auto", "step", "manual", "fused")
PLANS = {
    "full": Plan(
        name="full",
        rounds=5,
        batches=8,
        random_batches=2,
        paths=PATHS,
        hidden=(128, 256, 512, 1024),
        batch=(32, 64, 128, 256),
        seconds=0.25,
        sentences=1000,
        single=50,
        pairs=10_000_000,
        growth={
            "B": (16, 32, 64, 128, 256),
            "T": (8, 16, 32, 64, 128),
            "H": (128, 256, 512, 1024),
            "V": (1000, 8000, 32000),
        },
        steps=500,
    ),
    "quick": Plan(
        name="quick",
        rounds=2,
        batches=3,
        random_batches=1,
        paths=PATHS,
        hidden=(256, 512),
        batch=(32, 128),
        seconds=0.15,
        sentences=256,
        single=16,
        pairs=1_000_000,
        growth={"B": (32, 128), "T": (16, 64), "H": (256, 512), "V": (1000, 8000)},
        steps=200,
    ),
    # A second or two: only to see that all of it runs.
    "micro": Plan(
        name="micro",
        rounds=1,
        batches=1,
        random_batches=1,
        paths=PATHS,
        hidden=(8,),
        batch=(4, 128),
        seconds=0.0,
        sentences=8,
        single=2,
        pairs=1000,
        growth={"B": (2,), "T": (3,), "H": (8,), "V": (50,)},
        steps=20,
        sizes=Sizes(4, 8, 60),
        batch_tokens=200,
        batch_size=8,
        search_batches=(1, 4, 128),
        peak_size=32,
    ),
}
