"""A corpus score as the statistics of its lines, whose sums give the score of any subset of lines, bootstrap intervals,
and paired tests between two systems.

Koehn, "Statistical Significance Tests for Machine Translation Evaluation", EMNLP 2004 (the bootstrap over lines);
Riezler & Maxwell, "On Some Pitfalls in Automatic Evaluation and Significance Testing for MT", 2005 (randomisation).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from seq2seq.errors import UserError

Test = Literal["bs", "ar"]
"""A paired test, abbreviated as in sacreBLEU's signatures: bootstrap, or approximate randomisation."""

SAMPLES = {"bs": 1000, "ar": 10_000}
"""sacreBLEU's numbers of resamples (also for intervals) and of trials."""


IN_UNITS = ("MSE", "MAE")
"""Scores in units of the data, which may be of any size: written with four digits."""


class Score(NamedTuple):
    """A score in percent (the error rates TER and PER can exceed 100) with its signature, sacreBLEU's or in its style;
    optionally with a 95% bootstrap interval, and a p-value against a baseline."""

    name: str
    value: float
    signature: str
    interval: tuple[float, float] | None = None
    p_value: float | None = None

    @classmethod
    def of(cls, name: str, content: Mapping[str, Any]) -> Score:
        """The score from the result of `as_dict`."""
        interval = (content["low"], content["high"]) if "low" in content else None
        return cls(name, content["value"], content["signature"], interval, content.get("p_value"))

    def __str__(self) -> str:
        return f"{self.name:4} = {self.text()}  {self.signature}"

    def text(self) -> str:
        """The number, and its interval if it has one: `36.94 [35.53, 38.40]`."""
        one, other = ("5.4g", ".4g") if self.name in IN_UNITS else ("5.2f", ".2f")
        low, high = self.interval or (0.0, 0.0)
        return f"{self.value:{one}}" + ("" if self.interval is None else f" [{low:{other}}, {high:{other}}]")

    def as_dict(self) -> dict[str, float | str]:
        """The score for JSON: `{"value": 37.3, "signature": "nrefs:1|…"}`, with `low`, `high` and `p_value` if
        known."""
        content: dict[str, float | str] = {"value": self.value, "signature": self.signature}
        if self.interval is not None:
            content |= dict(zip(("low", "high"), self.interval, strict=True))
        return content if self.p_value is None else content | {"p_value": self.p_value}


class Resampling(NamedTuple):
    """The numbers of resamples for an interval and of trials of a paired test; 0 is none."""

    resamples: int = 0
    test: Test | None = None
    trials: int = 0

    def signed(self, signature: str) -> str:
        """A signature with these numbers and the seed, placed as in sacreBLEU: `nrefs:1|bs:1000|seed:12345|case:…`."""
        numbers = {"bs": self.resamples, "ar": 0} | ({self.test: self.trials} if self.test else {})
        drawn = [f"{name}:{number}" for name, number in numbers.items() if number]
        references, _, rest = signature.partition("|")
        return "|".join([references, *drawn, f"seed:{str(seed()).lower()}", rest]) if drawn else signature


NO_RESAMPLING = Resampling()
INTERVALS = Resampling(SAMPLES["bs"])
"""The resampling of a run's test scores; it takes tens of milliseconds for a metric over a thousand lines."""


@dataclass(frozen=True)
class Measurement:
    """The statistics [n, k] of n lines for one metric; `compute` gives the score from their sums [k]."""

    name: str
    signature: str
    statistics: np.ndarray
    compute: Callable[[np.ndarray], float]

    def of(self, lines: Sequence[int]) -> Measurement:
        """The measurement of a subset of the lines."""
        return replace(self, statistics=self.statistics[list(lines)])

    def value(self) -> float:
        """The score over all lines."""
        return self.compute(self.statistics.sum(0))

    def score(self, draws: Resampling = NO_RESAMPLING, baseline: Measurement | None = None) -> Score:
        """The score, with the interval and (against a baseline) the p-value that `draws` specifies."""
        interval = self.interval(draws.resamples) if draws.resamples and len(self.statistics) else None
        p_value = self.p_value(baseline, draws.test, draws.trials) if baseline and draws.test else None
        return Score(self.name, self.value(), draws.signed(self.signature), interval, p_value)

    def interval(self, resamples: int = SAMPLES["bs"]) -> tuple[float, float]:
        """The 95% percentile interval over `resamples` corpora of n lines sampled with replacement.

        sacreBLEU uses the same resamples and reports half the width; it has all in memory at once, this one at a time.
        """
        generator, lines = np.random.default_rng(seed()), len(self.statistics)
        counts = (np.bincount(generator.choice(lines, lines), minlength=lines) for _ in range(resamples))
        scores = sorted(self.compute(each @ self.statistics) for each in counts)
        return scores[resamples // 40], scores[resamples - resamples // 40 - 1]

    def p_value(self, baseline: Measurement, test: Test, samples: int) -> float:
        """The two-sided p-value of the difference to a baseline, by sacreBLEU's paired test with `samples` samples."""
        from sacrebleu.significance import PairedTest

        from seq2seq.scoring.metrics import Counted

        seed()  # raises UserError for a wrong value, which PairedTest would not
        systems: Any = [("baseline", baseline.statistics), ("system", self.statistics)]
        metric: Any = Counted(self.compute)
        _, results = PairedTest(systems, {"score": metric}, None, test, samples)()
        result: Any = results["score"][1]
        return float(result.p_value)


def f1(sums: np.ndarray) -> float:
    """F1 = 2 · correct / (predicted + expected) in percent, from the sums in this order; 0 without predicted and
    expected."""
    correct, predicted, expected = sums.tolist()
    return 200 * correct / (predicted + expected) if predicted + expected else 0.0


def share(sums: np.ndarray) -> float:
    """The ratio counted / possible in percent, from the sums in this order; 0 if none is possible."""
    counted, possible = sums.tolist()
    return 100 * counted / possible if possible else 0.0


def seed() -> int | None:
    """sacreBLEU's seed: the environment variable SACREBLEU_SEED, by default 12345; None for `none`, which means not
    seeded. Raises UserError for another value."""
    text = os.environ.get("SACREBLEU_SEED", "12345")
    if text.lower() != "none" and not text.isdecimal():
        raise UserError(f"SACREBLEU_SEED={text}: must be a whole number, or none")
    return None if text.lower() == "none" else int(text)
