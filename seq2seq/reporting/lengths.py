"""BLEU by length of the source: where a fixed summary runs out of room and attention does not (Cho et al. 2014b)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from seq2seq.errors import UserError
from seq2seq.reporting import style
from seq2seq.reporting.wording import compact
from seq2seq.scoring import Score, Scorer

LONGEST = (5, 10, 15, 20, 25, 30, 40, 50, 75, 100)
"""Words in the longest sentence of each bucket; one more bucket holds what is longer."""
FEW = 20  # sentences: BLEU of fewer says little, and its bar is drawn pale


class LengthBucket(NamedTuple):
    """Corpus BLEU of the sentences whose source has so many words (runs without white space)."""

    words: str
    sentences: int
    bleu: float


def bleu_by_length(
    sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], path: Path
) -> list[LengthBucket]:
    """Draw BLEU (13a, mixed case) over buckets of source length as PNG, and return the buckets that have sentences.

    Raises:
        UserError: the numbers of lines differ, or there are none.
    """
    buckets, overall = length_buckets(sources, hypotheses, references)
    style.save(bleu_by_length_figure(buckets, overall), path)
    return buckets


def length_buckets(
    sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]
) -> tuple[list[LengthBucket], Score]:
    """BLEU of each bucket that has sentences, shortest first, and of the whole corpus."""
    if len(sources) != len(hypotheses):
        raise UserError(f"BLEU by length: {len(sources)} sources but {len(hypotheses)} hypotheses; give one for each")
    scorer = Scorer(("bleu",))
    overall = scorer(hypotheses, references)["BLEU"]
    buckets = []
    for words, lines in by_length(sources).items():
        scores = scorer([hypotheses[line] for line in lines], [references[line] for line in lines])
        buckets.append(LengthBucket(words, len(lines), scores["BLEU"].value))
    return buckets, overall


def by_length(sources: Sequence[str]) -> dict[str, list[int]]:
    """The sentences of each bucket, shortest first: the words that it holds, such as `6–10`, and the numbers of its
    lines."""
    members: dict[int, list[int]] = {}
    for line, source in enumerate(sources):
        words = len(source.split())
        members.setdefault(sum(words > longest for longest in LONGEST), []).append(line)
    return {_name(bucket): lines for bucket, lines in sorted(members.items())}


def bleu_by_length_figure(buckets: Sequence[LengthBucket], overall: Score) -> Figure:
    """The figure of `bleu_by_length`, not yet saved: one bar a bucket, and a line at the BLEU of the whole corpus."""
    with style.house_style():
        figure = Figure(figsize=(max(4.2, 1.2 + 0.62 * len(buckets)), 3.0), layout="constrained")
        axes = figure.add_subplot()
        colours = [style.BLUE if bucket.sentences >= FEW else style.PALE for bucket in buckets]
        label_box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # the line must not strike a number through
        bars = axes.bar([bucket.words for bucket in buckets], [bucket.bleu for bucket in buckets], color=colours)
        axes.bar_label(
            bars, [f"{bucket.bleu:.1f}" for bucket in buckets], padding=2, fontsize=8, bbox=label_box, zorder=3
        )
        axes.axhline(overall.value, color=style.RED, linewidth=1.2, linestyle="--")
        style.title(axes, f"BLEU by source length (all: {overall.value:.1f})")
        axes.set_ylabel("BLEU")
        pale = f"; pale: fewer than {FEW}" if style.PALE in colours else ""
        axes.set_xlabel(f"source words (n sentences{pale})")
        axes.set_xticks(range(len(buckets)), [f"{bucket.words}\nn={compact(bucket.sentences)}" for bucket in buckets])
        axes.set_ylim(0, 1.12 * max([overall.value, 1.0, *(bucket.bleu for bucket in buckets)]))
        axes.set_xlim(-0.6, max(len(buckets), 3) - 0.4)
        axes.grid(False, axis="x")
        axes.tick_params(axis="x", length=0)
    return figure


def _name(bucket: int) -> str:
    """`6–10` for the bucket that ends at ten words."""
    first = LONGEST[bucket - 1] + 1 if bucket else 0
    if bucket == len(LONGEST):
        return f"{first}+"
    return f"{max(first, 1)}–{LONGEST[bucket]}"
