"""Scores of translations, each with a signature that records how it was computed: BLEU, chrF and TER of sacreBLEU, and
the error rates of grapheme-to-phoneme conversion.

Post, "A Call for Clarity in Reporting BLEU Scores", WMT 2018. Scores are over raw text: detokenised hypotheses, and
references as in their file, one string a line without its newline.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seq2seq.errors import UserError
from seq2seq.scoring.measurement import NO_RESAMPLING, Measurement, Resampling, Score

NAMES = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "chrf++": "chrF++",
    "ter": "TER",
    "bleu-char": "BLEU-char",
    "wer": "WER",
    "per": "PER",
    "wer-words": "WER-words",
    "exact": "Exact",
    "levenshtein": "Levenshtein",
    "rhyme": "Rhyme",
    "tones": "Tones",
}
"""The metrics by command-line name, and their names in reports."""

DEFAULT = ("bleu", "chrf", "ter")

TOKENIZERS = (
    "none",
    "13a",
    "intl",
    "char",
    "zh",
    "ja-mecab",
    "ko-mecab",
    "spm",
    "flores101",
    "flores200",
    "spBLEU-1K",
)
"""sacreBLEU's tokenizers by name; the last four are SentencePiece models that it downloads."""


class Scores(dict[str, Score]):
    """Scores by name, in the order of the `Scorer`'s metrics: `scores["BLEU"].value`."""

    def as_dict(self) -> dict[str, dict[str, float | str]]:
        """The scores for JSON: `{"BLEU": {"value": 37.3, "signature": "nrefs:1|…"}, …}`."""
        return {name: score.as_dict() for name, score in self.items()}

    def __str__(self) -> str:
        width = max(map(len, self))
        return "\n".join(f"{name:{width}} = {score.text()}  {score.signature}" for name, score in self.items())


class Scorer:
    """Computes corpus scores with sacreBLEU's defaults: BLEU is 13a, mixed case, exponentially smoothed; chrF is chrF2.

    `metrics` are any of `bleu`, `bleu-char` (over characters, for text without spaces), `chrf`, `chrf++` (with word
    bigrams), `ter`; for lines with the phonemes of one word, separated by spaces, as in the SIGMORPHON shared tasks on
    grapheme-to-phoneme conversion (Gorman et al. 2020):

        wer     the share of words (lines) with any error
        per     Σ Levenshtein distance in phonemes / Σ phonemes of the references

    and for sentences `exact`, the share of lines that equal a reference, and `wer-words`, the word error rate of speech
    recognition: Σ Levenshtein distance in words (separated by white space) / Σ words of the references. For word forms
    `exact` is the accuracy of the SIGMORPHON tasks on inflection, and `levenshtein` their mean distance in characters.

    `language` is that of the text: BLEU of zh, ja and ko uses sacreBLEU's tokenizers for these languages. `tokenize` is
    one of `TOKENIZERS` for BLEU instead; `lowercase` is BLEU (also that of characters) of lower-cased text. As in
    sacreBLEU's command line, chrF and TER do not change.

    Raises:
        UserError: a metric or tokenizer is unknown, BLEU of the language needs a package that is not installed, or the
            tokenizer contradicts the language.
    """

    def __init__(
        self,
        metrics: Sequence[str] = DEFAULT,
        *,
        language: str | None = None,
        tokenize: str | None = None,
        lowercase: bool = False,
    ) -> None:
        for metric in metrics:
            if metric not in NAMES:
                raise UserError(f"scoring: there is no metric {metric!r}; choose from {', '.join(NAMES)}")
        if "bleu" in metrics and language is not None:
            from seq2seq.scoring.metrics import check_language

            check_language(language)
        if tokenize is not None:
            from seq2seq.scoring.metrics import check_tokenizer

            if tokenize not in TOKENIZERS:
                raise UserError(f"scoring: there is no tokenizer {tokenize!r}; choose from {', '.join(TOKENIZERS)}")
            check_tokenizer(tokenize, language)
        self.metrics, self.language = tuple(metrics), language
        self.tokenize, self.lowercase = tokenize, lowercase

    def __call__(
        self,
        hypotheses: Sequence[str],
        references: Sequence[str] | Sequence[Sequence[str]],
        draws: Resampling = NO_RESAMPLING,
    ) -> Scores:
        """Score a corpus against one or several references a line: `references[r][i]` is line i of reference file r.

        Raises:
            UserError: there are no lines, or the numbers of lines differ (which sacreBLEU would not notice).
        """
        return Scores({each.name: each.score(draws) for each in self.measure(hypotheses, references)})

    def measure(
        self, hypotheses: Sequence[str], references: Sequence[str] | Sequence[Sequence[str]]
    ) -> list[Measurement]:
        """The statistics of each line for each metric. Arguments and what is raised are those of a call."""
        streams = _streams(references)
        for stream in streams:
            if len(stream) != len(hypotheses):
                raise UserError(
                    f"scoring: {len(hypotheses)} hypotheses but {len(stream)} references; "
                    "give one hypothesis for each reference line, in the same order"
                )
        if not hypotheses or not streams:
            raise UserError("scoring: there is nothing to score; give at least one hypothesis and its reference")
        return [self._measure(name, hypotheses, streams) for name in self.metrics]

    def _measure(self, name: str, hypotheses: Sequence[str], references: list[Sequence[str]]) -> Measurement:
        from seq2seq.scoring.metrics import make
        from seq2seq.scoring.verse import VERSE

        metric = VERSE[name]() if name in VERSE else make(name, self.language, self.tokenize, lowercase=self.lowercase)
        statistics = np.array(metric._extract_corpus_statistics(hypotheses, references), np.float64)

        def compute(sums: np.ndarray) -> float:
            return float(metric._compute_score_from_stats(sums.tolist()).score)

        return Measurement(NAMES[name], str(metric.get_signature()), statistics, compute)


def sentence_bleu(hypothesis: str, references: Sequence[str]) -> Score:
    """BLEU of one sentence against its references, over the n-gram orders that it has (sacreBLEU's effective order)."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(effective_order=True)
    value = metric.sentence_score(hypothesis, references).score
    return Score(NAMES["bleu"], value, str(metric.get_signature()))


def _streams(references: Sequence[str] | Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The references as a list of reference files. A string is a sequence, too, so the elements are checked."""
    if all(isinstance(reference, str) for reference in references):
        return [references]  # type: ignore[list-item]
    return list(references)
