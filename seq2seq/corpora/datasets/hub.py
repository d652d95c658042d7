"""Translation corpora of the Hugging Face hub, through the library `datasets` (the extra `huggingface`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from seq2seq.corpora import readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.errors import UserError


@dataclass(frozen=True)
class Fields:
    """The columns of source and target in a row; a dot steps into an object. None: `translation.en` for English."""

    source_field: str | None = None
    target_field: str | None = None


class HuggingFace(Corpus):
    """The corpus `name`, with a `subset` where it has some, of a `revision` (a branch, a tag or a commit).

    `train`, `val` and `tests` are the names of its splits, which may be slices (`train[:95%]`). `fields` is a group of
    options; a configuration gives them as keys of the corpus. No code of the corpus is run. Raises UserError where the
    library is missing, for what the hub does not have, and for a row without a text.
    """

    def __init__(
        self,
        name: str,
        source_language: str,
        target_language: str,
        subset: str | None = None,
        train: str = "train",
        val: str = "validation",
        tests: Mapping[str, str] | None = None,
        revision: str | None = None,
        *,
        fields: Fields = Fields(),
    ) -> None:
        self.source_language, self.target_language = source_language, target_language
        self.dataset, self.subset, self.revision = name, subset, revision
        self.fields = (
            fields.source_field or f"translation.{source_language}",
            fields.target_field or f"translation.{target_language}",
        )
        self._names = {"train": train, "val": val, **(tests or {})}
        if tests and ("train" in tests or "val" in tests):
            raise UserError("data.corpus.tests: train and val are the names of other splits; choose others for tests")

    @property
    def name(self) -> str:
        """The name on the hub."""
        return self.dataset if self.subset is None else f"{self.dataset}/{self.subset}"

    @property
    def splits(self) -> tuple[str, ...]:
        """train, val and the names of the tests."""
        return tuple(self._names)

    def files(self, split: str) -> tuple[Path, ...]:
        """No files: the library keeps a cache of its own."""
        return ()

    def prepare(self) -> None:
        """Download what the library's cache lacks."""
        for split in self.splits:
            self._rows(split)

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The pairs of a split; a line feed in a text becomes a space."""
        for number, row in enumerate(self._rows(split), 1):
            where = f"{self.name}, {self._names[split]}, row {number}"
            texts = [readers.step_into(row, field, where) for field in self.fields]
            for field, text in zip(self.fields, texts, strict=True):
                if not isinstance(text, str):
                    raise UserError(f"{where}: {field} is {text!r}, not text; choose data.corpus.source_field")
            yield " ".join(texts[0].splitlines()), " ".join(texts[1].splitlines())

    def _rows(self, split: str) -> Any:
        try:
            library: Any = import_module("datasets")
        except ImportError:
            raise UserError("data=huggingface needs datasets: pip install 'seq2seq-recurrent[huggingface]'") from None
        try:
            return library.load_dataset(self.dataset, self.subset, split=self._names[split], revision=self.revision)
        except Exception as error:  # of the library, of the network, or of the hub
            reason = str(error).strip().partition("\n")[0][:200]
            what = f"{self.name}: {self._names[split]}"
            raise UserError(f"{what} cannot be loaded ({type(error).__name__}: {reason})") from None
