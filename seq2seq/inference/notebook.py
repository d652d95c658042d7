"""The display of a translation in a notebook: the tokens with their probabilities, and the attention weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple
from unicodedata import east_asian_width

CELL, GAP, LETTER, FONT = 20, 8, 7.4, 12  # pixels; LETTER is a letter's width, half of a CJK character's
BAR = 60  # pixels: the width of a bar for a probability of 1


class Shown(NamedTuple):
    """The result of `Translator.show`. `print` gives the text; a notebook shows `_repr_html_`, which loads nothing from
    the network and uses the page's text colour, for light and dark themes."""

    text: str
    source: Sequence[str]  # tokens, with </s>; empty without attention
    target: Sequence[str]
    log_probs: Sequence[float]  # of each target token
    weights: Sequence[Sequence[float]]  # a row a target token, a column a source token

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f'<div><p style="margin:0 0 6px">{escape(self.text)}</p>{self._svg()}</div>'

    def _svg(self) -> str:
        if not self.target:
            return ""
        left = BAR + 2 * GAP + max(map(_width, self.target))
        top = max(map(_width, self.source), default=0) + GAP
        right, bottom = left + CELL * len(self.source) + GAP, top + CELL * len(self.target) + GAP
        parts = [self._row(t, left, top) for t in range(len(self.target))]
        parts += [_label(token, left + CELL * (s + 0.5), top - GAP) for s, token in enumerate(self.source)]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{right:.0f}" height="{bottom:.0f}" '
            f'viewBox="0 0 {right:.0f} {bottom:.0f}" style="max-width:100%;height:auto" '
            f'font-family="sans-serif" font-size="{FONT}" fill="currentColor" '
            f'role="img" aria-label="attention: target tokens down, source tokens across; bars: probability">'
            f"{''.join(parts)}</svg>"
        )

    def _row(self, t: int, left: float, top: float) -> str:
        """One target token: the bar of its probability, its label, and its weights as squares whose opacity is the
        weight."""
        y, token, p = top + CELL * t, escape(self.target[t]), math.exp(min(0.0, self.log_probs[t]))
        bar = (
            f'<rect x="{BAR * (1 - p):.1f}" y="{y + 6:.1f}" width="{BAR * p:.1f}" height="{CELL - 12}" fill="#E69F00">'
            f"<title>{token}: probability {p:.3f}</title></rect>"
        )
        label = f'<text x="{left - GAP / 2:.1f}" y="{y + 14:.1f}" text-anchor="end">{token}</text>'
        return bar + label + "".join(self._cell(t, s, left + CELL * s, y) for s in range(len(self.source)))

    def _cell(self, t: int, s: int, x: float, y: float) -> str:
        weight = self.weights[t][s]
        return (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{CELL - 1}" height="{CELL - 1}" fill="#2A8FD0" '
            f'fill-opacity="{0.04 + 0.96 * weight:.3f}"><title>{escape(self.target[t])} ← {escape(self.source[s])}: '
            f"{weight:.3f}</title></rect>"
        )


def _label(token: str, x: float, y: float) -> str:
    """The label of a source token, rotated to read upwards."""
    return f'<text transform="translate({x + 4:.1f} {y:.1f}) rotate(-90)">{escape(token)}</text>'


def _width(token: str) -> float:
    return LETTER * sum(2 if east_asian_width(letter) in "WF" else 1 for letter in token)
