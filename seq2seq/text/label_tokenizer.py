"""Labels instead of a target sentence: one label a word, a set of labels a word, or one set for all of the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, ClassVar

from seq2seq.errors import UserError
from seq2seq.text.tokenizer import PlainFiles, TokenizerTrainer
from seq2seq.text.vocabulary import BOS, EOS, SPECIALS

FORMS = ("one", "sets", "set")
"""`one`: a label a word, "B-x I-x O". `sets`: any number a word, "A|B O C". `set`: any number a text, "A B" or ""."""

ENTITY_TAG = re.compile(r"O|[BIESLUMW](-.+)?")


def is_entity_tag(tag: str) -> bool:
    """Whether a tag is one of IOB1, IOB2, BIOES, BILOU, BMES or BMEWO: O, or a letter for the place in an entity with
    the entity's type after a hyphen."""
    return ENTITY_TAG.fullmatch(tag) is not None


class LabelTokenizer(PlainFiles):
    """`labels` have the ids 4, 5, …; each set begins with bos, so that an empty set has a token, too.

    "A|B O C" is bos A B bos bos C. In the form `sets`, `separator` joins the labels of a word, and `none` is the word's
    empty set.
    """

    kind: ClassVar[str] = "labels"

    def __init__(self, labels: Sequence[str], form: str = "one", separator: str = "|", none: str = "O") -> None:
        if form not in FORMS:
            raise UserError(f"labels: form={form!r} is not known; use one of {', '.join(FORMS)}")
        self.labels = tuple(map(str, labels))
        self.form = form
        self.separator = separator
        self.none = none
        self._ids = {label: i for i, label in enumerate(self.labels, len(SPECIALS))}
        if len(self._ids) != len(self.labels):
            raise UserError("labels: a label is twice in its list")

    def __len__(self) -> int:
        return len(SPECIALS) + len(self.labels)

    def describe(self) -> dict[str, Any]:
        """The labels, in the order of their ids, and how they are written."""
        return {"labels": list(self.labels), "form": self.form, "separator": self.separator, "none": self.none}

    def split(self, text: str) -> list[list[str]]:
        """The labels of each word, or those of the text in the form `set`."""
        words = [word for word in text.split(" ") if word]
        if self.form == "set":
            return [words]
        if self.form == "one":
            return [[word] for word in words]
        cut = ([] if word == self.none else word.split(self.separator) for word in words)
        return [[label for label in labels if label] for labels in cut]

    def join(self, sets: Sequence[Sequence[str]]) -> str:
        """The text of lists of labels: the inverse of `split`."""
        if self.form == "sets":
            return " ".join(self.separator.join(labels) or self.none for labels in sets)
        return " ".join(label for labels in sets for label in labels)

    def encode(self, text: str) -> list[int]:
        """Ids of one text's labels, without eos. Raises UserError for a label that is not in the list."""
        try:
            sets = [[self._ids[label] for label in labels] for labels in self.split(text)]
        except KeyError as error:
            raise UserError(f"label {error.args[0]!r} was never seen in training") from None
        return [i for labels in sets for i in (labels if self.form == "one" else [BOS, *labels])]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text's labels, as `encode` gives them."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The labels as text; pad and eos are dropped."""
        kept = [i for i in ids if i > EOS or i == BOS]
        if self.form == "one":
            return self.join([self.tokens(kept)])
        sets: list[list[str]] = []
        for begins, run in groupby(kept, lambda i: i == BOS):
            if begins:
                sets.extend([] for _ in run)
            elif sets:
                sets[-1] = self.tokens(list(run))
        return self.join(sets)

    def decode_batch(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The labels of each text, as `decode` gives them."""
        return [self.decode(one) for one in ids]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The label of each id."""
        return [SPECIALS[i] if i <= EOS else self.labels[i - len(SPECIALS)] for i in ids]


@dataclass(frozen=True)
class LabelTrainer(TokenizerTrainer):
    """Collects the labels of the training text, all of it, in code point order."""

    form: str = "one"
    separator: str = "|"
    none: str = "O"
    joint: bool = False
    training_lines: int = 1 << 62

    def settings(self) -> dict[str, Any]:
        """All settings: each affects the list of labels."""
        return {"kind": LabelTokenizer.kind} | asdict(self)

    def train(self, lines: Iterable[str]) -> LabelTokenizer:
        """The tokenizer of all labels in `lines`. Raises UserError where there is none."""
        empty = LabelTokenizer((), self.form, self.separator, self.none)
        labels = sorted({label for line in lines for labels in empty.split(line) for label in labels})
        if not labels:
            raise UserError("the training text has no label to learn from")
        return LabelTokenizer(labels, self.form, self.separator, self.none)


def unknown(labels: LabelTokenizer, text: str) -> Iterator[str]:
    """The labels of a text that are not in the list."""
    known = set(labels.labels)
    return (label for each in labels.split(text) for label in each if label not in known)
