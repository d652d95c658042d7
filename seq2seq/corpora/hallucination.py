"""Hallucinated word forms: real ones whose stem is replaced by random letters, in lemma and form (Anastasopoulos &
Neubig, "Pushing the Limits of Low-Resource Morphological Inflection", EMNLP 2019, §3.2; Silfverberg et al. 2017).

    kuzu  kuzuda  N;LOC;SG      the stem: the longest common substring, kuzu
    ğtlv  ğtlvda  N;LOC;SG

The model learns to copy any stem, and what tags do to the letters around it. Here the stem is the longest common
substring of lemma and form instead of all aligned parts, and each of its letters is replaced with probability `share`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from seq2seq.errors import UserError

SHORTEST = 3  # letters of a stem: a shorter common substring is chance


class Form(NamedTuple):
    """A lemma, a form of it, and the tags that say which."""

    lemma: str
    form: str
    tags: str


def longest_common_substring(one: str, other: str) -> tuple[int, int, int]:
    """Where it begins in each, and how long it is; the first in `one` of several, and in `other` of those. O(n m)."""
    best = (0, 0, 0)
    lengths = [0] * (len(other) + 1)  # of the common substring that ends before each position of `other`
    for i, letter in enumerate(one, 1):
        row = [0] * (len(other) + 1)
        for j, candidate in enumerate(other, 1):
            if letter == candidate:
                row[j] = lengths[j - 1] + 1
                if row[j] > best[2]:
                    best = (i - row[j], j - row[j], row[j])
        lengths = row
    return best


def is_letter(character: str) -> bool:
    """Whether a character may be replaced: a letter or a mark, and no space, sign or digit."""
    return unicodedata.category(character)[0] in "LM"


def hallucinated(forms: Sequence[Form], count: int, seed: int, share: float = 1.0) -> Iterator[Form]:
    """`count` new forms, from those whose stem has at least `SHORTEST` characters, each as often as the next; letters
    are drawn evenly from those of all lemmas. The same forms and seed give the same ones.

    Raises UserError where no form has such a stem.
    """
    stems = [longest_common_substring(each.lemma, each.form) for each in forms]
    usable = [i for i, (_, _, length) in enumerate(stems) if length >= SHORTEST]
    letters = sorted({letter for each in forms for letter in each.lemma if is_letter(letter)})
    if not usable or not letters:
        raise UserError(f"augment: no lemma and form have {SHORTEST} letters in common, so that there is no stem")
    random = Random(seed)
    order: list[int] = []
    for _ in range(count):
        if not order:
            order = random.sample(usable, len(usable))
        number = order.pop()
        yield _replaced(forms[number], stems[number], letters, random, share)


def _replaced(each: Form, stem: tuple[int, int, int], letters: Sequence[str], random: Random, share: float) -> Form:
    begin, other, length = stem
    old = each.lemma[begin : begin + length]
    new = "".join(random.choice(letters) if is_letter(c) and random.random() < share else c for c in old)
    lemma = each.lemma[:begin] + new + each.lemma[begin + length :]
    return Form(lemma, each.form[:other] + new + each.form[other + length :], each.tags)
