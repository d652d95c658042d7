"""BLEU by length of the source, which shows the limit of a fixed-size summary without attention (Cho et al. 2014b)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from seq2seq.errors import UserError
from seq2seq.reporting import style
from seq2seq.reporting.wording import compact
from seq2seq.scoring import Score, Scorer
from seq2seq.scoring.breakdowns import FEW, length_groups


class LengthBucket(NamedTuple):
    """Corpus BLEU of the sentences whose source has a number of words in a range, such as "6–10"."""

    words: str
    sentences: int
    bleu: float


def bleu_by_length(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    path: Path,
    language: str | None = None,
) -> list[LengthBucket]:
    """Draw BLEU of the target `language` by source length as PNG, and return the non-empty buckets.

    Raises:
        UserError: the numbers of lines differ, or there are none.
    """
    buckets, overall = length_buckets(sources, hypotheses, references, language)
    style.save(bleu_by_length_figure(buckets, overall), path)
    return buckets


def length_buckets(
    sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], language: str | None = None
) -> tuple[list[LengthBucket], Score]:
    """BLEU of each non-empty bucket, shortest first, and of the complete corpus."""
    if len(sources) != len(hypotheses):
        raise UserError(f"BLEU by length: {len(sources)} sources but {len(hypotheses)} hypotheses; give one for each")
    (measured,) = Scorer(("bleu",), language=language).measure(hypotheses, references)
    groups = length_groups(sources)
    return [LengthBucket(name, len(lines), measured.of(lines).value()) for name, lines in groups], measured.score()


def bleu_by_length_figure(buckets: Sequence[LengthBucket], overall: Score) -> Figure:
    """The figure of `bleu_by_length`: a bar for each bucket, and a line at the BLEU of the complete corpus."""
    with style.house_style():
        figure = Figure(figsize=(max(4.2, 1.2 + 0.62 * len(buckets)), 3.0), layout="constrained")
        axes = figure.add_subplot()
        colours = [style.BLUE if bucket.sentences >= FEW else style.PALE for bucket in buckets]
        label_box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # so that the line does not cross a number
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
