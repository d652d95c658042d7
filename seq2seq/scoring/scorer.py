"""Scores of translations, each with the signature that says how it was computed: BLEU, chrF and TER of sacreBLEU, and
the error rates of grapheme-to-phoneme conversion.

Post, "A Call for Clarity in Reporting BLEU Scores", WMT 2018. Everything is scored on raw text: hypotheses as a reader
would see them, references as they stand in their file, one string a line without its newline.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from seq2seq.errors import UserError

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

NAMES = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "chrf++": "chrF++",
    "ter": "TER",
    "bleu-char": "BLEU-char",
    "wer": "WER",
    "per": "PER",
    "exact": "Exact",
}
"""What can be asked for, and the name it is reported under."""


DEFAULT = ("bleu", "chrf", "ter")
ERROR_RATES = ("ter", "wer", "per")
"""Lower is better."""


class Score(NamedTuple):
    """One number in percent (TER and PER, error rates, can exceed 100) and its signature, sacreBLEU's own or one of
    that form."""

    name: str
    value: float
    signature: str

    def __str__(self) -> str:
        return f"{self.name:4} = {self.value:5.2f}  {self.signature}"


class Scores(dict[str, Score]):
    """Scores by name, in the order in which they were asked for: `scores["BLEU"].value`."""

    def as_dict(self) -> dict[str, dict[str, float | str]]:
        """What a JSON file holds: `{"BLEU": {"value": 37.3, "signature": "nrefs:1|…"}, …}`."""
        return {name: {"value": score.value, "signature": score.signature} for name, score in self.items()}

    def __str__(self) -> str:
        return "\n".join(map(str, self.values()))


class Scorer:
    """Corpus scores with sacreBLEU's defaults: BLEU is 13a, mixed case and exponentially smoothed; chrF is chrF2.

    `metrics` are any of `bleu`, `bleu-char` (of characters, for text without spaces), `chrf`, `chrf++` (word bigrams
    too), `ter`; and, for lines that each hold the phonemes of one word with spaces between them, as in the SIGMORPHON
    shared tasks on grapheme-to-phoneme conversion (Gorman et al. 2020):

        wer     the share of words (lines) with any error
        per     Σ Levenshtein distance in phonemes / Σ phonemes of the references

    and `exact`, the share of lines that are exactly a reference.

    Raises:
        UserError: a metric has no such name.
    """

    def __init__(self, metrics: Sequence[str] = DEFAULT) -> None:
        for metric in metrics:
            if metric not in NAMES:
                raise UserError(f"scoring: there is no metric {metric!r}; choose from {', '.join(NAMES)}")
        self.metrics = tuple(metrics)

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str] | Sequence[Sequence[str]]) -> Scores:
        """Score a corpus against one reference a line, or several: `references[r][i]` is line i of reference file r.

        Raises:
            UserError: nothing to score, or the numbers of lines differ (sacreBLEU would silently score the shorter).
        """
        streams = _streams(references)
        for stream in streams:
            if len(stream) != len(hypotheses):
                raise UserError(
                    f"scoring: {len(hypotheses)} hypotheses but {len(stream)} references; "
                    "give one hypothesis for each reference line, in the same order"
                )
        if not hypotheses or not streams:
            raise UserError("scoring: there is nothing to score; give at least one hypothesis and its reference")
        makers = {"wer": _word_errors, "per": _phoneme_errors, "exact": _exact}
        return Scores(
            {NAMES[name]: makers.get(name, partial(_score, name))(hypotheses, streams) for name in self.metrics}
        )


def sentence_bleu(hypothesis: str, references: Sequence[str]) -> Score:
    """BLEU of one sentence against its references, over the n-gram orders that the hypothesis has (effective order)."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(effective_order=True)
    value = metric.sentence_score(hypothesis, references).score
    return Score(NAMES["bleu"], value, _signature(metric))


def _streams(references: Sequence[str] | Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The reference files, whether one was given or several. A string is a sequence too: look at what it holds."""
    if all(isinstance(reference, str) for reference in references):
        return [references]  # type: ignore[list-item]
    return list(references)


def _score(name: str, hypotheses: Sequence[str], references: list[Sequence[str]]) -> Score:
    metric = _metric(name)
    value = metric.corpus_score(hypotheses, references).score
    return Score(NAMES[name], value, _signature(metric))


def _exact(hypotheses: Sequence[str], references: list[Sequence[str]]) -> Score:
    right = sum(line in options for line, *options in zip(hypotheses, *references, strict=True))
    return Score(NAMES["exact"], 100 * right / len(hypotheses), f"nrefs:{len(references)}|unit:line|case:mixed")


def _word_errors(hypotheses: Sequence[str], references: list[Sequence[str]]) -> Score:
    pairs = _phonemes("wer", hypotheses, references)
    wrong = sum(hypothesis != reference for hypothesis, reference in pairs)
    return Score(NAMES["wer"], 100 * wrong / len(pairs), "nrefs:1|unit:line|tok:space|case:mixed")


def _phoneme_errors(hypotheses: Sequence[str], references: list[Sequence[str]]) -> Score:
    import rapidfuzz
    from rapidfuzz.distance import Levenshtein

    pairs = _phonemes("per", hypotheses, references)
    total = sum(len(reference) for _, reference in pairs)
    if not total:
        raise UserError("scoring: per divides by the references' phonemes, and they have none")
    edits = sum(Levenshtein.distance(hypothesis, reference) for hypothesis, reference in pairs)
    signature = f"nrefs:1|unit:token|tok:space|case:mixed|edit:levenshtein|version:rapidfuzz-{rapidfuzz.__version__}"
    return Score(NAMES["per"], 100 * edits / total, signature)


def _phonemes(
    name: str, hypotheses: Sequence[str], references: list[Sequence[str]]
) -> list[tuple[list[str], list[str]]]:
    """Hypothesis and reference of each line, split at spaces."""
    if len(references) > 1:
        raise UserError(f"scoring: {name} is defined for one reference, not {len(references)}")
    return [
        ([p for p in hypothesis.split(" ") if p], [p for p in reference.split(" ") if p])
        for hypothesis, reference in zip(hypotheses, references[0], strict=True)
    ]


def _metric(name: str) -> Metric:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    makers: dict[str, Any] = {
        "bleu": BLEU,
        "bleu-char": lambda: BLEU(tokenize="char"),
        "chrf": CHRF,
        "chrf++": lambda: CHRF(word_order=2),
        "ter": TER,
    }
    metric: Metric = makers[name]()
    return metric


def _signature(metric: Metric) -> str:
    """The full signature; complete only after scoring, which counts the references."""
    return str(metric.get_signature())
