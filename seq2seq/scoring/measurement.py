"""A score over a corpus as the statistics of its lines: from their sums follow the score of any lines, its bootstrap
interval, and paired tests between two systems.

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
"""A paired test as sacreBLEU's signatures abbreviate it: bootstrap, or approximate randomisation."""

SAMPLES = {"bs": 1000, "ar": 10_000}
"""sacreBLEU's numbers of resamples and of trials; the bootstrap's is that of intervals, too."""


class Score(NamedTuple):
    """One number in percent (TER and PER, error rates, can exceed 100) and its signature, sacreBLEU's own or one of
    that form; where they were asked for, its 95% bootstrap interval and a p-value against a baseline."""

    name: str
    value: float
    signature: str
    interval: tuple[float, float] | None = None
    p_value: float | None = None

    @classmethod
    def of(cls, name: str, found: Mapping[str, Any]) -> Score:
        """The score that `as_dict` gave."""
        interval = (found["low"], found["high"]) if "low" in found else None
        return cls(name, found["value"], found["signature"], interval, found.get("p_value"))

    def __str__(self) -> str:
        return f"{self.name:4} = {self.text()}  {self.signature}"

    def text(self) -> str:
        """The number, and its interval if it has one: `36.94 [35.53, 38.40]`."""
        return f"{self.value:5.2f}" + ("" if self.interval is None else " [{:.2f}, {:.2f}]".format(*self.interval))

    def as_dict(self) -> dict[str, float | str]:
        """What a JSON file holds: `{"value": 37.3, "signature": "nrefs:1|…"}`; `low` and `high`, `p_value`."""
        found: dict[str, float | str] = {"value": self.value, "signature": self.signature}
        if self.interval is not None:
            found |= dict(zip(("low", "high"), self.interval, strict=True))
        return found if self.p_value is None else found | {"p_value": self.p_value}


class Resampling(NamedTuple):
    """The number of resamples for an interval, and of trials of a paired test; by default none."""

    resamples: int = 0
    test: Test | None = None
    trials: int = 0

    def signed(self, signature: str) -> str:
        """A signature with the draws and their seed, in sacreBLEU's places: `nrefs:1|bs:1000|seed:12345|case:…`."""
        numbers = {"bs": self.resamples, "ar": 0} | ({self.test: self.trials} if self.test else {})
        drawn = [f"{name}:{number}" for name, number in numbers.items() if number]
        references, _, rest = signature.partition("|")
        return "|".join([references, *drawn, f"seed:{str(seed()).lower()}", rest]) if drawn else signature


NO_RESAMPLING = Resampling()
INTERVALS = Resampling(SAMPLES["bs"])
"""What a run's test asks for: tens of milliseconds for a metric over a thousand lines."""


@dataclass(frozen=True)
class Measurement:
    """The statistics [n, k] of n lines under one metric; `compute` makes the score from their sums [k]."""

    name: str
    signature: str
    statistics: np.ndarray
    compute: Callable[[np.ndarray], float]

    def of(self, lines: Sequence[int]) -> Measurement:
        """The same metric over some of the lines."""
        return replace(self, statistics=self.statistics[list(lines)])

    def value(self) -> float:
        """The score of all lines together."""
        return self.compute(self.statistics.sum(0))

    def score(self, draws: Resampling = NO_RESAMPLING, baseline: Measurement | None = None) -> Score:
        """The score with what `draws` asks for; its p-value only if there is a baseline."""
        interval = self.interval(draws.resamples) if draws.resamples and len(self.statistics) else None
        p_value = self.p_value(baseline, draws.test, draws.trials) if baseline and draws.test else None
        return Score(self.name, self.value(), draws.signed(self.signature), interval, p_value)

    def interval(self, resamples: int = SAMPLES["bs"]) -> tuple[float, float]:
        """The 95% percentile interval over `resamples` corpora of n lines drawn with replacement.

        sacreBLEU draws the same ones and reports half the width; it holds them all at once, this one at a time.
        """
        generator, lines = np.random.default_rng(seed()), len(self.statistics)
        counts = (np.bincount(generator.choice(lines, lines), minlength=lines) for _ in range(resamples))
        scores = sorted(self.compute(each @ self.statistics) for each in counts)
        return scores[resamples // 40], scores[resamples - resamples // 40 - 1]

    def p_value(self, baseline: Measurement, test: Test, samples: int) -> float:
        """Two-sided, of a difference at least as large by chance: sacreBLEU's paired test of `samples` draws."""
        from sacrebleu.significance import PairedTest

        from seq2seq.scoring.metrics import Counted

        seed()  # raises for a wrong one, which PairedTest would read too
        systems: Any = [("baseline", baseline.statistics), ("system", self.statistics)]
        metric: Any = Counted(self.compute)
        _, found = PairedTest(systems, {"score": metric}, None, test, samples)()
        result: Any = found["score"][1]
        return float(result.p_value)


def f1(sums: np.ndarray) -> float:
    """2 · right / (found + expected) in percent, of sums in this order; 0 where there is neither."""
    right, found, expected = sums.tolist()
    return 200 * right / (found + expected) if found + expected else 0.0


def share(sums: np.ndarray) -> float:
    """Counted / possible in percent, of sums in this order; 0 where nothing is."""
    counted, possible = sums.tolist()
    return 100 * counted / possible if possible else 0.0


def seed() -> int | None:
    """sacreBLEU's seed: 12345 unless the environment variable SACREBLEU_SEED says otherwise (`none`: another each
    time)."""
    text = os.environ.get("SACREBLEU_SEED", "12345")
    if text.lower() != "none" and not text.isdecimal():
        raise UserError(f"SACREBLEU_SEED={text}: must be a whole number, or none")
    return None if text.lower() == "none" else int(text)
