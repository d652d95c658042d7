"""The macro-average of a metric over the languages of a sweep: the mean of the languages' scores, each counting once,
as in the SIGMORPHON tasks; runs of a language that differ in their seed only count with their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import NamedTuple

from seq2seq.errors import UserError
from seq2seq.reporting.tables import Row
from seq2seq.reporting.wording import finite
from seq2seq.scoring import NAMES

LANGUAGE, SEED = "data.corpus.language", "seed"


class Macro(NamedTuple):
    """The scores of a configuration by language, and how many runs have none."""

    settings: str
    scores: Mapping[str, float]
    without: int

    @property
    def value(self) -> float:
        """The mean over languages."""
        return mean(self.scores.values())


def macro_averages(rows: Sequence[Row], metric: str) -> list[Macro]:
    """By configuration (what varies in the sweep, but for language and seed) the scores of `metric`, a name such as
    wer, by language. Raises `UserError` for a metric that no run has."""
    if metric not in NAMES:
        raise UserError(f"--macro {metric}: there is no such metric; choose from {', '.join(NAMES)}")
    values: dict[str, dict[str, list[float]]] = {}
    without: dict[str, int] = {}
    for row in rows:
        varied = {key: value for key, value in row["varied"].items() if key not in (LANGUAGE, SEED)}
        settings = " ".join(f"{key}={value}" for key, value in varied.items())
        score = row.get(NAMES[metric])
        if finite(score):
            languages = values.setdefault(settings, {})
            languages.setdefault(str(row["varied"].get(LANGUAGE, "all")), []).append(float(score))
        else:
            without[settings] = without.get(settings, 0) + 1
    if not values:
        raise UserError(f"--macro {metric}: no run has a score of this name; choose one of task.metrics")
    means = {
        settings: {language: mean(scores) for language, scores in sorted(languages.items())}
        for settings, languages in values.items()
    }
    return [Macro(settings, scores, without.get(settings, 0)) for settings, scores in means.items()]


def lines(averages: Sequence[Macro], metric: str) -> list[str]:
    """What is printed: a line a language, then the mean."""
    printed = []
    for each in averages:
        printed += [each.settings] * bool(each.settings)
        printed += [f"{language}\t{score:.2f}" for language, score in each.scores.items()]
        missing = f"; {each.without} runs have no score" if each.without else ""
        printed.append(f"macro-average {NAMES[metric]} of {len(each.scores)} languages{missing}\t{each.value:.2f}")
    return printed
