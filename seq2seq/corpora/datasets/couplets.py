"""Couplets: a line of verse, and the line that answers it, of equal length in characters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seq2seq.corpora import readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.errors import UserError
from seq2seq.runtime.paths import data_root


class Couplets(Corpus):
    """Pairs of lines with equally many characters; for instance Tang poetry, 5 or 7 characters a line, from the public
    domain poems of https://github.com/chinese-poetry/chinese-poetry (MIT).

    A split is SPLIT.tsv(.gz, .xz, .zst, .bz2) with a tab between the two lines, in ROOT/couplets or in ROOT, where
    ROOT is `root`, else the environment variable SEQ2SEQ_DATA, else the user's cache. There is no download: the
    repository has poems, not couplets.
    """

    source_language = target_language = "zh"

    def __init__(self, root: str | None = None) -> None:
        self._folder = data_root(root) / "couplets"

    @property
    def splits(self) -> tuple[str, ...]:
        """The names train, val and test."""
        return ("train", "val", "test")

    def files(self, split: str) -> tuple[Path, ...]:
        """The file of a split. Raises UserError if it is missing."""
        folders = self._folder, self._folder.parent
        for path in (folder / f"{split}.tsv{suffix}" for folder in folders for suffix in readers.SUFFIXES):
            if path.is_file():
                return (path,)
        raise UserError(
            f"{self._folder / split}.tsv: no such file (nor with .gz, .xz, .zst, .bz2); "
            "a line of it is a line of verse, a tab, and its answer; set data.root to the folder that holds it"
        )

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The pairs of a split. Raises UserError for lines of unequal length."""
        (path,) = self.files(split)
        for number, (line, answer) in enumerate(readers.tsv(path, 1, 2), 1):
            if len(line) != len(answer):
                raise UserError(
                    f"{path}:{number}: {line!r} has {len(line)} characters, but {answer!r} has {len(answer)}; "
                    "the lines of a couplet are equally long"
                )
            yield line, answer
