"""A translation as text, with the hypothesis that a search found."""

from __future__ import annotations

from typing import NamedTuple

from seq2seq.inference.minimum_risk import Utility, rank
from seq2seq.search import Hypothesis


class Translation(NamedTuple):
    """A translation of a line, with its hypothesis (tokens, score and attention)."""

    text: str
    hypothesis: Hypothesis


EMPTY = Translation("", Hypothesis([], 0.0, 0.0, [], finished=True))
"""The only translation of a line without text."""


def ranked(translations: list[Translation], utility: Utility) -> list[Translation]:
    """The distinct translations, best first, each with its utility as the score of its first hypothesis."""
    chosen = [(translations[i], value) for i, value in rank([each.text for each in translations], utility)]
    return [Translation(text, hypothesis._replace(score=value)) for (text, hypothesis), value in chosen]
