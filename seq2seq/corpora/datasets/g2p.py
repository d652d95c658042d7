"""Grapheme to phoneme: the medium-resource data of SIGMORPHON 2021, task 1 (Ashby et al. 2021); CC BY-SA 3.0.

https://github.com/sigmorphon/2021-task1, extracted from Wiktionary by WikiPron (Lee et al. 2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seq2seq.corpora import readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.downloads import fetch, verify
from seq2seq.errors import UserError
from seq2seq.runtime.paths import data_root

URL = "https://raw.githubusercontent.com/sigmorphon/2021-task1/HEAD/data/medium/"
LANGUAGES = {"dut": "nl", "fre": "fr", "kor": "ko"}
FILES = {"train": "train", "val": "dev", "test": "test"}
CHECKSUMS = {
    "dut_dev.tsv": "77a896e9510b6ebc610a9bc6a1bf32a06bc85489e9056caf77d996bb107318aa",
    "dut_test.tsv": "eb31a13e8f797f1bda23194689805c8ea0cd6960e86f739d1e818f1815c287ae",
    "dut_train.tsv": "08d327412cbf809a4cf894e015975d91588a38e8e05fb86450f42a4a38e534b8",
    "fre_dev.tsv": "3b42f14f318367dd94faa6d59e8fafabd845a3998800b6ce71a7c67e999490da",
    "fre_test.tsv": "6202c2b7b8d5fbd76a4d40373f9564a9946671dab617438b534bd47c64071c92",
    "fre_train.tsv": "e9de4f5125d2478e50506c5ed278f69d5fb17d8d213f99f845305c24e28a55c2",
    "kor_dev.tsv": "b1d22601f9b485f9b693dd82d832cb18695edb8a6a6ec6353d16ad729409b839",
    "kor_test.tsv": "341c4691b635f300822f89334d774023702eb64bf3d827562da25862de699ff2",
    "kor_train.tsv": "0623be3d687864b534043585e50b1ac238b7d5564f1e7450b40be3df7329ff7c",
}


class G2P(Corpus):
    """8,000 / 1,000 / 1,000 words of Dutch, French or Korean, and their phonemes, separated by spaces.

    Files are looked for in ROOT/g2p and in ROOT, where ROOT is `root`, else the environment variable SEQ2SEQ_DATA, else
    the user's cache; what is missing is downloaded from `url` into ROOT/g2p. Raises `UserError` for another language.
    """

    def __init__(self, language: str = "dut", root: str | None = None, url: str = URL) -> None:
        if language not in LANGUAGES:
            raise UserError(f"data.corpus.language={language}: there are {', '.join(LANGUAGES)}")
        self.language, self.url = language, url
        self.source_language = LANGUAGES[language]
        self.target_language = (
            f"{LANGUAGES[language]}-fonipa"  # BCP 47's subtag for the International Phonetic Alphabet
        )
        self._folder = data_root(root) / "g2p"

    @property
    def name(self) -> str:
        """The name of the corpus with its language, such as G2P-dut."""
        return f"G2P-{self.language}"

    @property
    def splits(self) -> tuple[str, ...]:
        """The names train, val (the task's dev) and test."""
        return tuple(FILES)

    def prepare(self) -> None:
        """Download missing files, and check all. Raises UserError if one is damaged or cannot be downloaded."""
        for split in FILES:
            (path,) = self.files(split)
            if not path.is_file():
                fetch(f"{self.url.rstrip('/')}/{path.name}", path, CHECKSUMS[path.name])
            verify(path, CHECKSUMS[path.name])

    def files(self, split: str) -> tuple[Path, ...]:
        """The file of a split, or the path to download it to."""
        name = f"{self.language}_{FILES[split]}.tsv"
        paths = self._folder / name, self._folder.parent / name
        return (next((path for path in paths if path.is_file()), paths[0]),)

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The words of a split and their phonemes."""
        (path,) = self.files(split)
        return readers.tsv(path, 1, 2)
