"""Minimum Bayes risk decoding: of a model's translations, choose the one that is most similar to all of them.

    ĥ = argmax_h E_{y ∼ p(y|x)} u(h, y) ≈ argmax_h 1/N Σ_i u(h, y_i)        y_1 … y_N: samples, and the candidates h

(Kumar and Byrne, NAACL 2004; by sampling, Eikema and Aziz, COLING 2020, arXiv:2005.10283.) u is a sentence score of
sacreBLEU, in percent: chrF2, or BLEU of effective order with sacreBLEU's smoothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, get_args

from seq2seq.errors import UserError

Metric = Literal["chrf", "bleu"]
METRICS = get_args(Metric)
DEFAULT: Metric = "chrf"

Utility: TypeAlias = Callable[[Sequence[str]], Sequence[float]]
"""Maps all translations of a line to a utility for each."""


class ExpectedUtility:
    """1/N Σ_i u(h, y_i) for each h of N texts y (h included). Raises `UserError` for an unknown metric."""

    def __init__(self, metric: str = DEFAULT) -> None:
        if metric not in METRICS:
            raise UserError(f"minimum Bayes risk: there is no metric {metric!r}; choose from {', '.join(METRICS)}")
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        self._metric = CHRF() if metric == "chrf" else BLEU(effective_order=True)

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """The expected utility of each text, from 0 to 100. Equal texts are compared once, and weighted by their
        count."""
        counts = Counter(texts)
        expected = {
            text: sum(count * self._utility(text, other) for other, count in counts.items()) / len(texts)
            for text in counts
        }
        return [expected[text] for text in texts]

    def _utility(self, text: str, other: str) -> float:
        return float(self._metric.sentence_score(text, [other]).score)


def rank(texts: Sequence[str], utility: Utility) -> list[tuple[int, float]]:
    """The distinct texts, best first: the first position of each, and its utility."""
    values = utility(texts)
    first = {text: i for i, text in reversed(list(enumerate(texts)))}
    return sorted(((i, values[i]) for i in sorted(first.values())), key=lambda pair: -pair[1])
