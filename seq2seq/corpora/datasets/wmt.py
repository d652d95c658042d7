"""Parallel text of the user's own, with test sets of WMT (and others) that sacreBLEU downloads by name."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from seq2seq.corpora.entries import Entry, Part
from seq2seq.corpora.files import Parallel
from seq2seq.errors import UserError


class WMT(Parallel):
    """`Parallel` whose tests are `test_sets`, such as wmt14/full or wmt19: the first reference of each, from the cache
    of sacreBLEU (the folder SACREBLEU, or ~/.sacrebleu), into which they are downloaded once and checked.

    Names of splits have _ for /. Raises UserError for a set, or a pair of languages, that there is not.
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
        self._pair = f"{source_language}-{target_language}"
        for name in test_sets:
            if name not in (known := _known()):
                near = get_close_matches(name, known, 1) or known[:5]
                raise UserError(f"data.corpus.test_sets: sacreBLEU has no {name!r}; did you mean {near[0]}?")
            if self._pair not in (pairs := list(known[name].langpairs)):
                raise UserError(f"data.corpus.test_sets: {name} has no {self._pair}; it has {', '.join(pairs)}")
            self._parts[name.replace("/", "_")] = [Part(name)]

    def prepare(self) -> None:
        """Download the test sets. Raises UserError where one cannot be had."""
        super().prepare()
        for split in self.splits[2:]:
            self.files(split)

    def _paths(self, part: Part, split: str) -> tuple[Path, ...]:
        """Source and target of an entry; of a test set, sacreBLEU's files."""
        if split in ("train", "val"):
            return super()._paths(part, split)
        try:
            dataset = _known()[part.files]
            source, references = dataset.get_source_file(self._pair), dataset.get_reference_files(self._pair)
        except (Exception, SystemExit) as error:  # sacreBLEU exits for a wrong checksum
            reason = "wrong checksum" if isinstance(error, SystemExit) else str(getattr(error, "reason", error))
            raise UserError(f"{part.files}: sacreBLEU cannot get it ({reason}); try again, or leave it out") from None
        return Path(source), Path(references[0])


def _known() -> Any:
    from sacrebleu.dataset import DATASETS

    return DATASETS
