"""Parallel text of the user's own, with test sets of WMT (and others) that sacreBLEU downloads by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from seq2seq.corpora import readers
from seq2seq.corpora.entries import Entry, Part
from seq2seq.corpora.files import Parallel
from seq2seq.errors import UserError


class WMT(Parallel):
    """`Parallel` whose tests are `test_sets`, such as wmt14/full or wmt19: the first reference of each, from the cache
    of sacreBLEU (the folder SACREBLEU, or ~/.sacrebleu), into which they are downloaded once and checked.

    Raises UserError for a set, or a pair of languages, that there is not.
    """

    def __init__(
        self,
        source_language: str,
        target_language: str,
        train: Entry | Sequence[Entry],
        val: Entry | Sequence[Entry],
        test_sets: Sequence[str] = ("wmt14/full",),
        temperature: float | None = None,
        alignments: str | None = None,
    ) -> None:
        super().__init__(source_language, target_language, train, val, None, temperature, alignments)
        self.test_sets = list(test_sets)
        self._pair = f"{source_language}-{target_language}"
        for name in self.test_sets:
            if name not in (known := _known()):
                near = get_close_matches(name, known, 1) or known[:5]
                raise UserError(f"data.corpus.test_sets: sacreBLEU has no {name!r}; did you mean {near[0]}?")
            if self._pair not in (pairs := list(known[name].langpairs)):
                raise UserError(f"data.corpus.test_sets: {name} has no {self._pair}; it has {', '.join(pairs)}")

    @property
    def splits(self) -> tuple[str, ...]:
        """train, val and the test sets, with _ for /."""
        return (*super().splits, *(name.replace("/", "_") for name in self.test_sets))

    def prepare(self) -> None:
        """Download the test sets. Raises UserError where one cannot be had."""
        super().prepare()
        for split in self.splits[2:]:
            self.files(split)

    def parts(self, split: str) -> Sequence[Part]:
        """The entries of train and val; a test set is one."""
        return super().parts(split) if split in self._parts else [Part("")]

    def files(self, split: str) -> tuple[Path, ...]:
        """Source and target of a split; of a test set, sacreBLEU's files."""
        if split in self._parts:
            return super().files(split)
        name = self.test_sets[self.splits[2:].index(split)]
        try:
            dataset = _known()[name]
            source, references = dataset.get_source_file(self._pair), dataset.get_reference_files(self._pair)
        except (Exception, SystemExit) as error:  # sacreBLEU exits for a wrong checksum
            reason = "wrong checksum" if isinstance(error, SystemExit) else str(getattr(error, "reason", error))
            raise UserError(f"{name}: sacreBLEU cannot get it ({reason}); try again, or leave it out") from None
        return Path(source), Path(references[0])

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The pairs of a split."""
        if split in self._parts:
            return super().pairs(split)
        source, target = self.files(split)
        return readers.parallel(source, target)


def _known() -> Any:
    from sacrebleu.dataset import DATASETS

    return DATASETS
