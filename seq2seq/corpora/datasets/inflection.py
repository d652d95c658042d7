"""Inflection: CoNLL–SIGMORPHON 2017, task 1, in 52 languages (Cotterell et al. 2017); data of UniMorph, CC BY-SA.

https://github.com/sigmorphon/conll2017: lemma, form and tags, `kuzu⇥kuzunuzda⇥N;LOC;SG;PSS2P`. The source
is the lemma, a tab and the tags.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from seq2seq.corpora import readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.downloads import fetch, verify
from seq2seq.corpora.folders import write_file
from seq2seq.errors import UserError
from seq2seq.runtime.atomic_files import digest_of
from seq2seq.runtime.paths import data_root
from seq2seq.text import Column

URL = "https://raw.githubusercontent.com/sigmorphon/conll2017/HEAD/"
SEPARATOR = ";"
LANGUAGES = dict(
    pair.split(":")
    for pair in """
albanian:sq arabic:ar armenian:hy basque:eu bengali:bn bulgarian:bg catalan:ca czech:cs danish:da dutch:nl english:en
estonian:et faroese:fo finnish:fi french:fr georgian:ka german:de haida:hai hebrew:he hindi:hi hungarian:hu icelandic:is
irish:ga italian:it khaling:klr kurmanji:kmr latin:la latvian:lv lithuanian:lt lower-sorbian:dsb macedonian:mk navajo:nv
northern-sami:se norwegian-bokmal:nb norwegian-nynorsk:nn persian:fa polish:pl portuguese:pt quechua:qu romanian:ro
russian:ru scottish-gaelic:gd serbo-croatian:sh slovak:sk slovene:sl sorani:ckb spanish:es swedish:sv turkish:tr
ukrainian:uk urdu:ur welsh:cy
""".split()
)
"""The languages of the task, and the code of each."""

CHECKSUMS = {
    "german-dev": "fdcf14c88f046c2a42933a447c62482c562d76f1fc4f78981ff9b5476fa4ef9a",
    "german-test": "86ab1032c6e45cdbeb6f786aece5360e0687d338eb065e2d5b3a47d4e6bcbd8f",
    "german-train-low": "890965f64621ed96a501b7db68fc75573ecc98fd93212e68d85b016d4ceafb35",
    "german-train-medium": "bc13a266c7ffe71ff58aa047c430e9e0062bd5e8ae108bffd604a5586e422e73",
    "spanish-dev": "cc753aee03574022f43ac6218ae83cf88420aeb3c5070a6a9fd5529f1f643b77",
    "spanish-test": "e9879722bfed37bd3dc7e8b7da66f08012ab7ecf6b6615c4a61be5e26f3cc376",
    "spanish-train-low": "3a89b6ec3e6a8d831bad15b87ca1f17f7b3900463b84e265d84930d18b378248",
    "spanish-train-medium": "a57b487622071a40f4bcf610ba71d0768e480ac452c1969e70ed76e10f8073b8",
    "turkish-dev": "e95f58d34dc49973b26fd9f78d859290917e646ac68536c2b1459711ce4fa42d",
    "turkish-test": "14ef6ff58423de362e49b22661135bd25b4baa5900d85f8ef9bcff40152e6521",
    "turkish-train-high": "1e6be2ea3368bb403342bb2f6433456c3608e9df44b08266e4ca3e5a57ed9347",
    "turkish-train-low": "2a22f00544119fa44fbdb3cc6596267beb235707b117efb6772da2555284208a",
    "turkish-train-medium": "644f104f693f49f6e9fbef677f8ae347aded1b4e984cbf006c44bcbb9329ea35",
}
"""sha256 of the decompressed files, where it was computed; of others, that of the first download is stored."""


class Inflection(Corpus):
    """Word forms of a language, with 100 (low), 1,000 (medium) or 10,000 (high) to train on, and 1,000 / 1,000 to
    validate and test; some languages have fewer, and no high.

    Files are looked for in ROOT/inflection and in ROOT, plain or .gz, where ROOT is `root`, else the environment
    variable SEQ2SEQ_DATA, else the user's cache; what is missing is downloaded from `url` into ROOT/inflection. With
    `train`, the name of a file of the same columns or a list of them, that is read instead of the task's. Raises
    `UserError` for another language.
    """

    def __init__(
        self,
        language: str = "turkish",
        size: Literal["low", "medium", "high"] = "medium",
        root: str | None = None,
        url: str = URL,
        train: str | Sequence[str] | None = None,
    ) -> None:
        if language not in LANGUAGES:
            raise UserError(f"data.corpus.language={language}: there are {', '.join(LANGUAGES)}")
        self.language, self.size, self.url = language, size, url
        self.source_language = self.target_language = LANGUAGES[language]
        self.columns = (Column("lemma"), Column("features", SEPARATOR))
        self._folder = data_root(root) / "inflection"
        self._train = [train] if isinstance(train, str) else list(train or ())
        self._names = {"train": f"{language}-train-{size}", "val": f"{language}-dev", "test": f"{language}-test"}

    @property
    def name(self) -> str:
        """The name of the corpus with its language and size, such as Inflection-turkish-medium."""
        return f"Inflection-{self.language}-{self.size}"

    @property
    def splits(self) -> tuple[str, ...]:
        """The names train, val (the task's dev) and test."""
        return tuple(self._names)

    def prepare(self) -> None:
        """Download missing files, and check all. Raises UserError if one is damaged or cannot be downloaded."""
        for split, name in self._names.items():
            if split == "train" and self._train:
                continue
            (path,) = self.files(split)
            if not path.is_file():
                self._download(name, path)
            if checksum := CHECKSUMS.get(name) or _stored(path):
                _verify(path, checksum)

    def files(self, split: str) -> tuple[Path, ...]:
        """The file of a split, or the path to download it to; the files of `train` where they are given."""
        if split == "train" and self._train:
            return tuple(Path(name).expanduser() for name in self._train)
        folders, name = (self._folder, self._folder.parent), self._names[split]
        paths = [folder / f"{name}{suffix}" for folder in folders for suffix in ("", ".gz")]
        return (next((path for path in paths if path.is_file()), paths[0]),)

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The lemmas of a split with their tags, and the forms."""
        return readers.chained(self.files(split), lambda path: readers.tsv(path, 1, 2, (3, SEPARATOR)))

    def _download(self, name: str, path: Path) -> None:
        place = f"answers/task1/{self.language}-uncovered-test" if name.endswith("-test") else f"all/task1/{name}"
        fetch(f"{self.url.rstrip('/')}/{place}", path, CHECKSUMS.get(name))
        if name not in CHECKSUMS:
            write_file(path.with_name(f"{path.name}.sha256"), f"{digest_of(path)}  {path.name}\n")


def _verify(path: Path, checksum: str) -> None:
    if path.suffix != ".gz":
        return verify(path, checksum)
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError):
        content = b""
    if hashlib.sha256(content).hexdigest() != checksum:
        raise UserError(f"{path}: is damaged (wrong checksum); delete it, and it is downloaded again")


def _stored(path: Path) -> str | None:
    """The checksum of the first download, for files without a known one."""
    note = path.with_name(f"{path.name}.sha256")
    return note.read_text(encoding="utf-8").split()[0] if note.is_file() else None
