"""Corpora of the user's own files: parallel text, tab-separated values, JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seq2seq.corpora import readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.entries import Entry, Part, parts_of
from seq2seq.corpora.factored import factored
from seq2seq.errors import UserError
from seq2seq.text import Column
from seq2seq.text.factors import SUBWORD, check_names


class _Files(Corpus):
    """The files of each split, as entries; those of pairs of text (`mixable`) may have weights and tags."""

    mixable = False

    def __init__(
        self,
        source_language: str,
        target_language: str,
        train: Entry | Sequence[Entry],
        val: Entry | Sequence[Entry],
        tests: Mapping[str, Entry] | None = None,
        temperature: float | None = None,
        alignments: str | None = None,
    ) -> None:
        self.source_language, self.target_language = source_language, target_language
        self.temperature = temperature
        self._parts = {"train": parts_of(train, "data.corpus.train", several=True)}
        if alignments is not None:
            self._parts["train"] = _aligned(self._parts["train"], alignments)
        self._parts["val"] = parts_of(val, "data.corpus.val")
        for name, entry in (tests or {}).items():
            if name in ("train", "val"):
                raise UserError(f"data.corpus.tests.{name}: is the name of another split; choose one for the test")
            self._parts[name] = parts_of(entry, f"data.corpus.tests.{name}")
        self._check()

    @property
    def splits(self) -> tuple[str, ...]:
        """train, val and the names of the tests."""
        return tuple(self._parts)

    def parts(self, split: str) -> Sequence[Part]:
        """The entries of a split, in order."""
        return self._parts[split]

    def files(self, split: str) -> tuple[Path, ...]:
        """The files of a split, in the configured order."""
        return tuple(path for part in self._parts[split] for path in self._paths(part, split))

    def _paths(self, part: Part, split: str) -> tuple[Path, ...]:
        """The files of an entry: one."""
        if not isinstance(part.files, str):
            raise UserError(f"data.corpus: {list(part.files)!r} in {split} must be the name of one file")
        return (Path(part.files).expanduser(),)

    def _check(self) -> None:
        """Raise UserError for weights and tags that would come to nothing."""
        for split, parts in self._parts.items():
            if any(part != Part(part.files) for part in parts) and not self.mixable:
                raise UserError(f"data.corpus.{split}: weights and tags are for pairs of text; give names of files")
            if split != "train" and any(part.weight is not None or part.alignments for part in parts):
                raise UserError(f"data.corpus.{split}: weights and alignments are of train; leave them out here")
        if self.temperature is not None:
            if self.temperature <= 0:
                raise UserError(f"data.corpus.temperature={self.temperature}: must be above 0; 1 mixes by size")
            if len(self._parts["train"]) < 2 or any(part.weight is not None for part in self._parts["train"]):
                raise UserError(
                    "data.corpus.temperature: mixes several entries of train without weights; set it to null"
                )


def _aligned(parts: Sequence[Part], alignments: str) -> list[Part]:
    """The only entry with its alignments."""
    if len(parts) > 1 or parts[0].alignments:
        raise UserError("data.corpus.alignments: is of one entry; give each {files: …, alignments: …} its own")
    return [parts[0]._replace(alignments=alignments)]


class _TextFiles(_Files):
    """Pairs of text, read an entry at a time by `part_pairs`."""

    mixable = True

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The pairs of all entries of a split, in order."""
        for number in range(len(self._parts[split])):
            yield from self.part_pairs(split, number)


class Parallel(_TextFiles):
    """Two files a split; line n of one is the translation of line n of the other.

    The files of an entry are two names, or a prefix: PREFIX.LANGUAGE with .gz, .xz, .zst, .bz2 or nothing after it.
    `train` is an entry or a list of them, and so is `val`; `tests` is any number of entries by name. With
    `source_languages` there is a source file for each, and a source is their lines with tabs between them. With
    `factors` there is a file PREFIX.FACTOR for each, of values for the words of the source.
    """

    def __init__(
        self,
        source_language: str | None,
        target_language: str,
        train: Entry | Sequence[Entry],
        val: Entry | Sequence[Entry],
        tests: Mapping[str, Entry] | None = None,
        temperature: float | None = None,
        alignments: str | None = None,
        source_languages: Sequence[str] | None = None,
        factors: Sequence[str] | None = None,
    ) -> None:
        self.source_languages, self.columns = sources_of(source_language, source_languages)
        self.factors = factors_of(factors, self.columns)
        self._given = [name for name in self.factors if name != SUBWORD]
        super().__init__("+".join(self.source_languages), target_language, train, val, tests, temperature, alignments)

    def part_pairs(self, split: str, number: int) -> Iterator[tuple[str, str]]:
        """The pairs of an entry."""
        paths = self._paths(self._parts[split][number], split)
        (*sources, target), more = paths[: len(paths) - len(self._given)], paths[len(paths) - len(self._given) :]
        if len(sources) > 1:
            return readers.multi_parallel(sources, target)
        pairs = readers.parallel(sources[0], target)
        return factored(pairs, sources[0], dict(zip(self._given, more, strict=True))) if more else pairs

    def _paths(self, part: Part, split: str) -> tuple[Path, ...]:
        """Sources, target and factors. Raises UserError where a prefix has no file of one, or no source is named."""
        if not self.source_languages:
            raise UserError("data.corpus.source_language: is missing; give it, or source_languages=[en,fr]")
        if isinstance(part.files, str):
            sources = self.source_languages
            if part.source_language:
                sources = (part.source_language, *sources[1:])
            languages = *sources, part.target_language or self.target_language
            return tuple(find(Path(part.files), name) for name in (*languages, *self._given))
        if len(part.files) != 1 + len(self.source_languages) + len(self._given):
            count = "a source file" if len(self.source_languages) == 1 else f"{len(self.source_languages)} source files"
            more = "".join(f", then one of {name}" for name in self._given)
            raise UserError(f"data.corpus: {list(part.files)!r} must be a prefix, or {count} and a target file{more}")
        return tuple(Path(name).expanduser() for name in part.files)


@dataclass(frozen=True)
class TSVColumns:
    """The columns of tab-separated values, counted from 1. With a `features_column` of tags (such as N;LOC;SG, by
    `features_separator`) sources are text, a tab and the tags; `factors` are columns of values for the words of the
    source, by name. Raises UserError for columns that cannot be these."""

    source_column: int = 1
    target_column: int = 2
    features_column: int | None = None
    features_separator: str = ";"
    factors: Mapping[str, int | None] | None = None

    def __post_init__(self) -> None:
        source, target, features = self.source_column, self.target_column, self.features_column
        if source < 1 or target < 1:
            raise UserError(f"data.corpus.source_column={source}, target_column={target}: columns count from 1")
        for name, column in (self.factors or {}).items():
            if (column is None) != (name == SUBWORD) or (
                column is not None and (column < 1 or column in (source, target))
            ):
                raise UserError(
                    f"data.corpus.factors.{name}={column}: give the column of its values, from 1, other than the "
                    f"source's and the target's; only {SUBWORD} is derived, and has none (null)"
                )
        if features is None:
            return
        if features < 1 or features in (source, target):
            raise UserError(
                f"data.corpus.features_column={features}: columns count from 1; the source's and the target's are "
                "others"
            )
        separator = self.features_separator
        if not separator or "\t" in separator or separator.isalnum():
            raise UserError(
                f"data.corpus.features_separator={separator!r}: must be a sign that is in no tag, such as ; or +"
            )

    @property
    def given_factors(self) -> dict[str, int]:
        """The columns of the factors that are not derived."""
        return {name: column for name, column in (self.factors or {}).items() if column is not None}

    @property
    def features(self) -> tuple[int, str] | None:
        """The column of tags and their separator."""
        return None if self.features_column is None else (self.features_column, self.features_separator)


class TSV(_TextFiles):
    """One file of tab-separated values an entry, without quoting and header. `columns` is a group of options; a
    configuration gives its fields as keys of the corpus."""

    def __init__(
        self,
        source_language: str,
        target_language: str,
        train: Entry | Sequence[Entry],
        val: Entry | Sequence[Entry],
        tests: Mapping[str, Entry] | None = None,
        temperature: float | None = None,
        alignments: str | None = None,
        *,
        columns: TSVColumns = TSVColumns(),
    ) -> None:
        super().__init__(source_language, target_language, train, val, tests, temperature, alignments)
        self._read = columns
        if columns.features:
            self.columns = (Column("source"), Column("features", columns.features_separator))
        self.factors = factors_of(list(columns.factors or ()) or None, self.columns)

    def part_pairs(self, split: str, number: int) -> Iterator[tuple[str, str]]:
        """The pairs of a file."""
        (path,) = self._paths(self._parts[split][number], split)
        read = self._read
        return readers.tsv(path, read.source_column, read.target_column, read.features, read.given_factors)


class JSONLines(_TextFiles):
    """One file an entry, with one JSON object a line; a dot in a field's name steps into an object."""

    def __init__(
        self,
        source_language: str,
        target_language: str,
        train: Entry | Sequence[Entry],
        val: Entry | Sequence[Entry],
        tests: Mapping[str, Entry] | None = None,
        source_field: str = "source",
        target_field: str = "target",
        temperature: float | None = None,
        alignments: str | None = None,
    ) -> None:
        super().__init__(source_language, target_language, train, val, tests, temperature, alignments)
        self.source_field, self.target_field = source_field, target_field

    def part_pairs(self, split: str, number: int) -> Iterator[tuple[str, str]]:
        """The pairs of a file."""
        (path,) = self._paths(self._parts[split][number], split)
        return readers.json_lines(path, self.source_field, self.target_field)


def sources_of(
    source_language: str | None, source_languages: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[Column, ...]]:
    """The languages of a corpus's sources, and the columns where they are several. Raises UserError unless one of the
    two options says which, or none does yet."""
    if source_languages is None:
        return (source_language,) if source_language else (), ()
    languages = tuple(source_languages)
    if source_language not in (None, *languages[:1]) or len(languages) < 2 or len(set(languages)) < len(languages):
        raise UserError(
            f"data.corpus.source_languages={list(languages)}: give two or more, each once, and no source_language"
        )
    return languages, tuple(Column(language) for language in languages)


def factors_of(names: Sequence[str] | None, columns: Sequence[Column]) -> tuple[str, ...]:
    """The names of a corpus's factors. Raises UserError for names that are none, and for factors of a source that has
    several columns."""
    if names is None:
        return ()
    try:
        check_names(list(names))
    except UserError as error:
        raise UserError(f"data.corpus.{error}") from None
    if columns:
        raise UserError(
            f"data.corpus.factors={list(names)}: are of a source that is one text; leave them out with features_column "
            "and source_languages"
        )
    return tuple(names)


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
