"""The output formats of `translate-file`: text, TSV or JSON lines; word alignments are written to a separate file.

    text   the translation; with --n-best above 1 `INDEX ||| TEXT ||| SCORE`, as Moses and Marian write it
    tsv    index, rank, score, log_prob, text: the text is last, as it may contain tabs
    json   one object a translation, see `as_json`

The index is the number of the input line, from 0, the rank that of the translation of the line, from 1.

Numbers have five significant digits and at most four decimals (`rounded`). The order of summation in a matrix product
depends on the shape of a batch, so scores, log-probabilities and weights of another batch size differ by up to 1e-5
(relative, for numbers above 1): in the output most are equal, and none differs by more than one in the last digit. With
--int8 it is up to 1e-3, see `seq2seq.nn.int8`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from seq2seq.text.vocabulary import UNK

if TYPE_CHECKING:
    from torch import Tensor

    from seq2seq.inference.alignment import Aligner
    from seq2seq.inference.translation import Translation
    from seq2seq.inference.translator import Translator

Format = Literal["text", "tsv", "json"]


class Formatter:
    """Formats translations as lines of `form`. `listed` adds index and score to text, `attention` adds the weights to
    JSON, `aligned` is for `alignments`, and `copy` replaces unknown words by source words."""

    def __init__(
        self, translator: Translator, form: Format, *, listed: bool, attention: bool, aligned: bool, copy: bool
    ) -> None:
        from seq2seq.inference.alignment import check_copying

        self.form = form
        self.listed = listed
        self.attention = attention
        self.copy = copy
        self.target = translator.bundle.tokenizers.target
        self.aligner: Aligner | None = translator.aligner() if attention or aligned or copy else None
        if copy and self.aligner and (reason := check_copying(self.aligner)):
            import logging

            logging.getLogger(__name__).warning("--copy-unknown: %s", reason)

    def complete(self, source: str, translations: Sequence[Translation]) -> list[Translation]:
        """The translations, with unknown words replaced by source words if `copy`."""
        return [self._copied(source, each) if self.copy else each for each in translations]

    def _copied(self, source: str, translation: Translation) -> Translation:
        hypothesis = translation.hypothesis
        if self.aligner is None or hypothesis.attention is None or UNK not in hypothesis.tokens:
            return translation
        return translation._replace(text=self.aligner.copy_unknown(source, hypothesis.tokens, hypothesis.attention))

    def lines(self, index: int, source: str, translations: Sequence[Translation]) -> str:
        """The output for one input line, with line ends."""
        formatted = []
        for rank, translation in enumerate(translations, 1):
            text, hypothesis = translation
            if self.form == "json":
                formatted.append(json.dumps(self.as_json(index, rank, source, translation), ensure_ascii=False))
            elif self.form == "tsv":
                formatted.append(
                    f"{index}\t{rank}\t{rounded(hypothesis.score)}\t{rounded(hypothesis.log_prob)}\t{text}"
                )
            else:
                formatted.append(f"{index} ||| {text} ||| {rounded(hypothesis.score)}" if self.listed else text)
        return "".join(f"{line}\n" for line in formatted)

    def alignments(self, source: str, translations: Sequence[Translation]) -> str:
        """The word alignments, one line a translation."""
        return "".join(f"{self._links(source, each)}\n" for each in translations)

    def as_json(self, index: int, rank: int, source: str, translation: Translation) -> dict[str, Any]:
        """One translation. `tokens` end with </s> if it is finished; `token_log_probs` has one entry for each. Numbers
        that are not finite are null. `attention` has a row for each token, and a column for each of `source_tokens`."""
        hypothesis = translation.hypothesis
        tokens = self.target.tokens(hypothesis.tokens)
        described = {
            "index": index,
            "rank": rank,
            "source": source,
            "text": translation.text,
            "score": number(hypothesis.score),
            "log_prob": number(hypothesis.log_prob),
            "finished": hypothesis.finished,
            "tokens": tokens + ["</s>"] * (len(hypothesis.token_log_probs) - len(tokens)),
            "token_log_probs": [number(value) for value in hypothesis.token_log_probs],
        }
        if self.attention and self.aligner:
            described |= {"alignment": self._links(source, translation)}
            described |= weights(self.aligner, source, hypothesis.attention)
        return described

    def _links(self, source: str, translation: Translation) -> str:
        assert self.aligner is not None
        return self.aligner.pharaoh(source, translation.hypothesis.tokens, translation.hypothesis.attention)


class CutOff:
    """Counts outputs, and those that were cut off at the length limit; `option` raises the limit, for the message."""

    def __init__(self, option: str = "--max-length N") -> None:
        self.option = option
        self.outputs = 0
        self.cut = 0
        self.first: int | None = None

    def add(self, outputs: int, cut: Sequence[int]) -> None:
        """Count `outputs` more; `cut` are the line numbers, from 0, of those that were cut off."""
        self.outputs = self.outputs + outputs
        self.cut = self.cut + len(cut)
        self.first = min([*cut, *([] if self.first is None else [self.first])], default=None)

    def report(self) -> None:
        """Print a warning on standard error if any output was cut off."""
        if self.first is not None:
            print(
                f"seq2seq: warning: {self.cut:,} of {self.outputs:,} outputs were cut off at the search's length "
                f"limit, the first of them in line {self.first + 1:,}; {self.option} lets them be longer",
                file=sys.stderr,
            )


def weights(aligner: Aligner, source: str, attention: Tensor | None) -> dict[str, Any]:
    """The tokens of a source, and the attention weights: a row for each target token, a column for each source
    token."""
    if attention is None:
        return {"source_tokens": [], "attention": []}
    tokens = [*aligner.source.tokenizer.tokens(aligner.source_ids(source)), "</s>"]
    rows = aligner.by_token(source, attention).tolist()
    return {"source_tokens": tokens, "attention": [[rounded(weight) for weight in row] for row in rows]}


def number(value: float) -> float | None:
    """A rounded number for JSON: None (null) if it is not finite."""
    return rounded(value) if math.isfinite(value) else None


DIGITS, DECIMALS = 5, 4
"""Significant digits and most decimals of numbers; rounding errors of float32 are at most a tenth of the last digit."""


def rounded(value: float) -> float:
    """A number rounded to `DIGITS` significant digits and at most `DECIMALS` decimals."""
    if not math.isfinite(value) or value == 0:
        return value
    before = math.floor(math.log10(abs(value))) + 1  # digits before the decimal point
    return round(value, min(DECIMALS, DIGITS - before)) + 0.0  # no −0.0
