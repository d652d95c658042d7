"""Grapheme to phoneme: the data of SIGMORPHON 2021, task 1 (Ashby et al. 2021), in 21 languages; CC BY-SA 3.0.

https://github.com/sigmorphon/2021-task1, extracted from Wiktionary by WikiPron (Lee et al. 2020): 800 words to train on
(low), 8,000 (medium), or 33,000 (high).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seq2seq.corpora import readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.downloads import fetch, verify
from seq2seq.corpora.folders import write_file
from seq2seq.errors import UserError
from seq2seq.runtime.atomic_files import digest_of
from seq2seq.runtime.paths import data_root

URL = "https://raw.githubusercontent.com/sigmorphon/2021-task1/HEAD/data/"
RESOURCES = {
    "medium": "dut:nl fre:fr kor:ko arm_e:hy bul:bg geo:ka hbs_latn:sh hun:hu jpn_hira:ja vie_hanoi:vi",
    "low": "ady:ady gre:el ice:is ita:it khm:km lav:lv mlt_latn:mt rum:ro slv:sl wel_sw:cy",
    "high": "eng_us:en",
}
"""By how many words there are: the task's names of the languages, and the code of each."""
LANGUAGES = dict(pair.split(":") for languages in RESOURCES.values() for pair in languages.split())
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


def languages_of(resources: str) -> list[str]:
    """The languages of low, medium or high."""
    return [pair.partition(":")[0] for pair in RESOURCES[resources].split()]


class G2P(Corpus):
    """Words of a language, and their phonemes, separated by spaces: 8,000 / 1,000 / 1,000 of Dutch, French or Korean.

    Files are looked for in ROOT/g2p and in ROOT, where ROOT is `root`, else the environment variable SEQ2SEQ_DATA, else
    the user's cache; what is missing is downloaded from `url` (or its folder low, medium or high) into ROOT/g2p. Raises
    `UserError` for another language.
    """

    def __init__(self, language: str = "dut", root: str | None = None, url: str = URL) -> None:
        if language not in LANGUAGES:
            several = f"; for all of {language}, train with -m" if language in RESOURCES else ""
            raise UserError(f"data.corpus.language={language}: there are {', '.join(LANGUAGES)}{several}")
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
                self._download(path)
            if checksum := CHECKSUMS.get(path.name) or _stored(path):
                verify(path, checksum)

    def files(self, split: str) -> tuple[Path, ...]:
        """The file of a split, or the path to download it to."""
        name = f"{self.language}_{FILES[split]}.tsv"
        paths = self._folder / name, self._folder.parent / name
        return (next((path for path in paths if path.is_file()), paths[0]),)

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The words of a split and their phonemes."""
        (path,) = self.files(split)
        return readers.tsv(path, 1, 2)

    def _download(self, path: Path) -> None:
        folder = self.url.rstrip("/")
        if folder.rpartition("/")[2] not in RESOURCES:
            folder += "/" + next(name for name in RESOURCES if self.language in languages_of(name))
        fetch(f"{folder}/{path.name}", path, CHECKSUMS.get(path.name))
        if path.name not in CHECKSUMS:
            write_file(path.with_name(f"{path.name}.sha256"), f"{digest_of(path)}  {path.name}\n")


def _stored(path: Path) -> str | None:
    """The checksum of the first download, for files without a known one."""
    note = path.with_name(f"{path.name}.sha256")
    return note.read_text(encoding="utf-8").split()[0] if note.is_file() else None
