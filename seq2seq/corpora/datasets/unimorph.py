"""UniMorph: the paradigms of a language, lemma, form and tags (Batsuren et al. 2022), CC BY-SA; see https://unimorph.org.

One file a language, `kuzu⇥kuzuda⇥N;LOC;SG`, which has no splits of its own: here a lemma with all its forms is in one
of them, so that no lemma of val or the test is seen in training (Goldman, Guriel & Tsarfaty 2022). The source is the
lemma, a tab and the tags, as in `data=inflection`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from seq2seq.corpora import readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.datasets.published import PublishedFiles
from seq2seq.errors import UserError
from seq2seq.text import Column

URL = "https://raw.githubusercontent.com/unimorph"
SEPARATOR = ";"
LEMMAS = 10  # of which one is of the test, one of val, and the others of train
HELD_OUT = 1000  # most forms of val, and of the test


class UniMorph(Corpus):
    """Word forms of a language by its ISO 639-3 code: `forms` to train on (null: all), and up to 1,000 each of other
    lemmas to validate and test, chosen by their hashes. Not tried on the real files.

    The file, named by the code, is looked for in ROOT/unimorph and in ROOT, and downloaded from `url`/CODE/HEAD/CODE.
    Raises `UserError` for what is no code, or a number of forms below 1.
    """

    def __init__(
        self, language: str = "tur", forms: int | None = 10000, root: str | None = None, url: str = URL
    ) -> None:
        if not re.fullmatch("[a-z]{3}", language):
            raise UserError(f"data.corpus.language={language}: is no code of ISO 639-3, such as tur, deu or spa")
        if forms is not None and forms < 1:
            raise UserError(f"data.corpus.forms={forms}: must be at least 1; null takes all")
        self.language, self.forms = language, forms
        self.source_language = self.target_language = language
        self.columns = (Column("lemma"), Column("features", SEPARATOR))
        self.published = PublishedFiles("unimorph", f"{url.rstrip('/')}/{language}/HEAD", {language: None}, root)

    @property
    def name(self) -> str:
        """The name of the corpus with its language, such as UniMorph-tur."""
        return f"UniMorph-{self.language}"

    @property
    def splits(self) -> tuple[str, ...]:
        """The names train, val and test."""
        return ("train", "val", "test")

    def prepare(self) -> None:
        """Download the file if it is missing, and check it."""
        self.published.prepare()

    def files(self, split: str) -> tuple[Path, ...]:
        """The file that has all splits."""
        return (self.published.path(self.language),)

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The lemmas of a split with their tags, and the forms, in the order of the file."""
        pairs = list(dict.fromkeys(pair for pair in self._all() if split_of(pair[0].partition("\t")[0]) == split))
        limit = self.forms if split == "train" else HELD_OUT
        if limit is not None and len(pairs) > limit:
            chosen = set(sorted(pairs, key=lambda pair: _digest("\t".join(pair)))[:limit])
            pairs = [pair for pair in pairs if pair in chosen]
        yield from pairs

    def _all(self) -> Iterator[tuple[str, str]]:
        """The sources and forms of the file, which may have empty lines, and columns after the third."""
        (path,) = self.files("train")
        for number, line in enumerate(readers.lines(path), 1):
            cells = line.split("\t")
            if not line.strip():
                continue
            if len(cells) < 3 or not all(cells[:3]):
                raise UserError(f"{path}:{number}: is not lemma<TAB>form<TAB>tags; mend the line, or take it out")
            yield f"{cells[0]}\t{cells[2]}", cells[1]


def split_of(lemma: str) -> str:
    """The split that a lemma is in, by its hash."""
    return {0: "test", 1: "val"}.get(int(_digest(lemma)[:8], 16) % LEMMAS, "train")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
