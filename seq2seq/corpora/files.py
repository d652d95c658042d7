"""Corpora of the user's own files: parallel text, tab-separated values, JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from seq2seq.corpora import readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.errors import UserError

Entry = str | Sequence[str]
"""The name of a file; for parallel text a prefix, or the names of two files."""


class _Files(Corpus):
    """The files of each split: one entry, or a list of entries for training."""

    def __init__(
        self,
        source_language: str,
        target_language: str,
        train: str | Sequence[Entry],
        val: Entry,
        tests: Mapping[str, Entry] | None = None,
    ) -> None:
        self.source_language, self.target_language = source_language, target_language
        self._entries: dict[str, list[Entry]] = {"train": [train] if isinstance(train, str) else list(train)}
        self._entries["val"] = [val]
        for name, entry in (tests or {}).items():
            if name in ("train", "val"):
                raise UserError(f"data.corpus.tests.{name}: is the name of another split; choose one for the test")
            self._entries[name] = [entry]

    @property
    def splits(self) -> tuple[str, ...]:
        """train, val and the names of the tests."""
        return tuple(self._entries)

    def files(self, split: str) -> tuple[Path, ...]:
        """The files of a split, in the configured order."""
        return tuple(self._path(entry, split) for entry in self._entries[split])

    @staticmethod
    def _path(entry: Entry, split: str) -> Path:
        if not isinstance(entry, str):
            raise UserError(f"data.corpus: {list(entry)!r} in {split} must be the name of one file")
        return Path(entry).expanduser()


class Parallel(_Files):
    """Two files a split; line n of one is the translation of line n of the other.

    An entry is a list of the two files, or a prefix: PREFIX.LANGUAGE with .gz, .xz, .zst, .bz2 or nothing after it.
    `train` is a prefix or a list of entries, `val` an entry, `tests` names any number of entries.
    """

    def files(self, split: str) -> tuple[Path, ...]:
        """Source and target of each entry. Raises UserError where a prefix has no file of a language."""
        return tuple(path for entry in self._entries[split] for path in self._pair(entry))

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The pairs of all entries of a split, in order."""
        for entry in self._entries[split]:
            yield from readers.parallel(*self._pair(entry))

    def _pair(self, entry: Entry) -> tuple[Path, Path]:
        if isinstance(entry, str):
            return find(Path(entry), self.source_language), find(Path(entry), self.target_language)
        if len(entry) != 2:
            raise UserError(f"data.corpus: {list(entry)!r} must be a prefix, or a source file and a target file")
        return Path(entry[0]).expanduser(), Path(entry[1]).expanduser()


class TSV(_Files):
    """One file of tab-separated values a split (several for training), without quoting and header; columns are counted
    from 1."""

    def __init__(
        self,
        source_language: str,
        target_language: str,
        train: str | Sequence[Entry],
        val: Entry,
        tests: Mapping[str, Entry] | None = None,
        source_column: int = 1,
        target_column: int = 2,
    ) -> None:
        super().__init__(source_language, target_language, train, val, tests)
        if source_column < 1 or target_column < 1:
            raise UserError(
                f"data.corpus.source_column={source_column}, target_column={target_column}: columns count from 1"
            )
        self.source_column, self.target_column = source_column, target_column

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The pairs of all files of a split, in order."""
        for path in self.files(split):
            yield from readers.tsv(path, self.source_column, self.target_column)


class JSONLines(_Files):
    """One file a split (several for training), with one JSON object a line; a dot in a field's name steps into an
    object."""

    def __init__(
        self,
        source_language: str,
        target_language: str,
        train: str | Sequence[Entry],
        val: Entry,
        tests: Mapping[str, Entry] | None = None,
        source_field: str = "source",
        target_field: str = "target",
    ) -> None:
        super().__init__(source_language, target_language, train, val, tests)
        self.source_field, self.target_field = source_field, target_field

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The pairs of all files of a split, in order."""
        for path in self.files(split):
            yield from readers.json_lines(path, self.source_field, self.target_field)


def find(prefix: Path, language: str) -> Path:
    """The file PREFIX.LANGUAGE, plain or compressed. Raises UserError if there is none."""
    prefix = prefix.expanduser()
    for suffix in readers.SUFFIXES:
        if (path := prefix.with_name(f"{prefix.name}.{language}{suffix}")).is_file():
            return path
    there = sorted(path.name for path in prefix.parent.glob(f"{prefix.name}.*"))
    raise UserError(
        f"{prefix}.{language}: no such file (nor with .gz, .xz, .zst, .bz2); "
        + (f"there are {', '.join(there[:8])}" if there else f"nothing there begins with {prefix.name}.")
    )
