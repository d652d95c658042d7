"""The corpus that is generated without a network: written into the cache once, then read like any parallel text."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from seq2seq.corpora.files import Parallel
from seq2seq.errors import UserError
from seq2seq.runtime.paths import cached, packaged

LANGUAGES = ("en", "de")


class Embedded(Parallel):
    """English and German sentences from the project's grammar, 20,000 / 500 / 500 pairs; either language may be the
    source."""

    def __init__(self, source_language: str = "en", target_language: str = "de") -> None:
        for key, language in (("source", source_language), ("target", target_language)):
            if language not in LANGUAGES:
                raise UserError(
                    f"data.corpus.{key}_language={language}: the embedded corpus has {', '.join(LANGUAGES)}"
                )
        self._folder = cached("embedded", _version())
        train, val, test = (str(self._folder / split) for split in ("train", "val", "test"))
        super().__init__(source_language, target_language, train, val, {"test": test})

    def prepare(self) -> None:
        """Write the corpus, unless the cache has that of this version of the grammar."""
        if not self._folder.is_dir():
            from seq2seq.corpora.datasets.grammar import write_embedded

            write_embedded(self._folder)


@cache
def _version() -> str:
    """A hash of generator and grammar: the name of the cached folder, so that a changed grammar writes a new one."""
    digest = hashlib.sha256()
    for path in [*sorted(Path(__file__).parent.glob("grammar*.py")), *sorted(packaged("data").glob("*.yaml"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
