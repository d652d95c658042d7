"""How `translate-file` writes translations: as text, TSV or JSON lines, with word alignments in a file of their own.

    text   the translation; with --n-best above 1 `INDEX ||| TEXT ||| SCORE`, as Moses and Marian write it
    tsv    index, rank, score, log_prob, text: the text last, as it may hold anything but a line's end
    json   one object a translation, see `as_json`

The index counts input lines from 0, the rank a line's translations from 1.

Numbers have five significant digits and at most four decimals (`rounded`). A library of matrix products adds up in an
order that depends on the shape of a batch, so scores, log-probabilities and weights of another batch size are equal
within 1e-5 (of the number, where that is above 1): as they are written, most are equal, and none differs by more than
one in the last digit.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seq2seq.inference.files.streams import Write, output
from seq2seq.text.vocabulary import UNK

if TYPE_CHECKING:
    from torch import Tensor

    from seq2seq.inference.alignment import Aligner
    from seq2seq.inference.translator import Translation, Translator

Format = Literal["text", "tsv", "json"]


@contextmanager
def maybe_output(path: Path | None) -> Iterator[Write]:
    """Open an output (`streams.output`); without a path, what is written is dropped."""
    if path is None:
        yield len
        return
    with output(path) as write:
        yield write


class Formatter:
    """Formats translations as lines. `aligner` reads alignments off the attention; None where none are written."""

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
        """The translations with what is copied into them."""
        return [self._copied(source, each) if self.copy else each for each in translations]

    def _copied(self, source: str, translation: Translation) -> Translation:
        hypothesis = translation.hypothesis
        if self.aligner is None or hypothesis.attention is None or UNK not in hypothesis.tokens:
            return translation
        return translation._replace(text=self.aligner.copy_unknown(source, hypothesis.tokens, hypothesis.attention))

    def lines(self, index: int, source: str, translations: Sequence[Translation]) -> str:
        """What is written for one input line, line ends included."""
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
        """One line of links a translation."""
        return "".join(f"{self._links(source, each)}\n" for each in translations)

    def as_json(self, index: int, rank: int, source: str, translation: Translation) -> dict[str, Any]:
        """One translation. `tokens` end with </s> where it is finished: there is a log-probability each. A number that
        is not finite is null. With attention: a row of `attention` a token, a column for each of `source_tokens`."""
        hypothesis = translation.hypothesis
        tokens = self.target.pieces(hypothesis.tokens)
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
    """Counts outputs, and those that the limit cut off; `option` is what allows longer ones."""

    def __init__(self, option: str = "--max-length N") -> None:
        self.option = option
        self.outputs = 0
        self.cut = 0
        self.first: int | None = None

    def add(self, outputs: int, cut: Sequence[int]) -> None:
        """Count so many outputs; `cut` are the numbers, from 0, of those that were cut off."""
        self.outputs = self.outputs + outputs
        self.cut = self.cut + len(cut)
        self.first = min([*cut, *([] if self.first is None else [self.first])], default=None)

    def report(self) -> None:
        """Print one line on standard error, where any was cut off."""
        if self.first is not None:
            print(
                f"seq2seq: warning: {self.cut:,} of {self.outputs:,} outputs were cut off at the search's length "
                f"limit, the first of them in line {self.first + 1:,}; {self.option} lets them be longer",
                file=sys.stderr,
            )


def weights(aligner: Aligner, source: str, attention: Tensor | None) -> dict[str, Any]:
    """The tokens of a source and, a row a target token, how much each was attended to."""
    if attention is None:
        return {"source_tokens": [], "attention": []}
    tokens = [*aligner.source.tokenizer.pieces(aligner.source_ids(source)), "</s>"]
    rows = aligner.by_token(source, attention).tolist()
    return {"source_tokens": tokens, "attention": [[rounded(weight) for weight in row] for row in rows]}


def number(value: float) -> float | None:
    """As JSON: null where it is not finite."""
    return rounded(value) if math.isfinite(value) else None


DIGITS, DECIMALS = 5, 4
"""Rounding in float32 is a tenth of the last of them at most: 1e-5 of the number, or 1e-5."""


def rounded(value: float) -> float:
    """As numbers are written: to `DIGITS` significant digits, and `DECIMALS` decimals at most."""
    if not math.isfinite(value) or value == 0:
        return value
    before = math.floor(math.log10(abs(value))) + 1  # digits before the decimal point
    return round(value, min(DECIMALS, DIGITS - before)) + 0.0  # no −0.0
