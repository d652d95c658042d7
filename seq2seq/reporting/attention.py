"""Heat maps of attention: the weight of each source token for each target token (Bahdanau et al. 2015, figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import east_asian_width

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from seq2seq.reporting import style

# Inches. The layout is computed, not fitted by matplotlib, so that a label has the height of its cell at any length.
CELL, GAP, WIDTH = 0.17, 0.3, 9.0
LETTER = 0.078  # width of a letter of a label, half of a CJK character's
BAR = 0.6  # width for the colour bar


class AttentionMap(NamedTuple):
    """The attention of one sentence: its tokens as text, and weights of shape [T, S], each row of which sums to one."""

    source_tokens: Sequence[str]
    target_tokens: Sequence[str]
    weights: npt.NDArray[np.floating]


class Block(NamedTuple):
    """The place of one heat map, without its labels, in inches from the top left."""

    left: float
    top: float
    right: float
    bottom: float


def attention_maps(items: Sequence[AttentionMap], path: Path) -> Path:
    """Draw one heat map for each sentence as PNG: rows are target tokens, columns source tokens; white is 0, dark is 1.

    Raises:
        ValueError: there are no sentences, or weights are not of shape [target tokens, source tokens].
    """
    return style.save(attention_figure(items), path)


def attention_figure(items: Sequence[AttentionMap]) -> Figure:
    """The figure of `attention_maps`: axes for each sentence, and the colour bar's as the last."""
    _check(items)
    blocks = _layout(items)
    width = max(block.right for block in blocks) + GAP + BAR
    height = max(block.bottom for block in blocks) + GAP
    with style.house_style():
        figure = Figure(figsize=(width, height))
        for item, block in zip(items, blocks, strict=True):
            box = (block.left, height - block.bottom, block.right - block.left, block.bottom - block.top)
            image = _draw(figure, item, (box[0] / width, box[1] / height, box[2] / width, box[3] / height))
        long = min(1.2, height - blocks[0].top - GAP)
        bar = figure.add_axes(((width - BAR) / width, 1 - (blocks[0].top + long) / height, 0.1 / width, long / height))
        figure.colorbar(image, cax=bar, ticks=[0, 0.5, 1], format="%g")
        bar.tick_params(length=0, labelsize=7)
        bar.spines["outline"].set_visible(False)
    return figure


def _check(items: Sequence[AttentionMap]) -> None:
    if not items:
        raise ValueError("attention maps: there are no sentences to draw")
    for item in items:
        expected = (len(item.target_tokens), len(item.source_tokens))
        if item.weights.shape != expected or 0 in expected:
            raise ValueError(f"attention maps: weights are {item.weights.shape}, the tokens [T, S] are {expected}")


def _layout(items: Sequence[AttentionMap]) -> list[Block]:
    """Place the maps in rows of at most WIDTH."""
    blocks: list[Block] = []
    x, line_top, line_bottom = 0.0, 0.0, 0.0
    for item in items:
        left, top = label_size(item.target_tokens) + GAP, label_size(item.source_tokens) + GAP
        across, down = CELL * len(item.source_tokens), CELL * len(item.target_tokens)
        if blocks and x + left + across > WIDTH:
            x, line_top = 0.0, line_bottom
        blocks.append(Block(x + left, line_top + top, x + left + across, line_top + top + down))
        x += left + across
        line_bottom = max(line_bottom, line_top + top + down)
    return blocks


def label_size(tokens: Sequence[str]) -> float:
    """The width of the longest label, in inches."""
    return LETTER * max(sum(2 if east_asian_width(letter) in "WF" else 1 for letter in token) for token in tokens)


def _draw(figure: Figure, item: AttentionMap, box: tuple[float, float, float, float]) -> AxesImage:
    axes = figure.add_axes(box)
    image = axes.imshow(item.weights, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.xaxis.tick_top()
    rotation = 90 if label_size(item.source_tokens) > CELL else 0
    axes.set_xticks(range(len(item.source_tokens)), item.source_tokens, rotation=rotation)
    axes.set_yticks(range(len(item.target_tokens)), item.target_tokens)
    axes.tick_params(length=0, pad=2, labelsize=8)
    axes.grid(False)
    return image
