"""The files of a published corpus: in a folder of the user, or downloaded once, each held to a checksum.

Where no checksum is known, the first download records its sha256 next to the file, and says so; later it must be that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from seq2seq.corpora.downloads import fetch, verify
from seq2seq.corpora.folders import write_file
from seq2seq.runtime.atomic_files import digest_of
from seq2seq.runtime.paths import data_root

log = logging.getLogger(__name__)


class PublishedFiles:
    """Files by name, with their checksums (None where none is known); looked for in ROOT/NAME and in ROOT, where ROOT
    is `root`, else the environment variable SEQ2SEQ_DATA, else the user's cache, and downloaded from `url` into
    ROOT/NAME.
    """

    def __init__(self, name: str, url: str, checksums: Mapping[str, str | None], root: str | None) -> None:
        self.url, self.checksums = url.rstrip("/"), checksums
        self.folder = data_root(root) / name

    def path(self, name: str) -> Path:
        """The path of a file, which may be missing."""
        paths = (folder / name for folder in (self.folder, self.folder.parent))
        return next((path for path in paths if path.is_file()), self.folder / name)

    def prepare(self) -> None:
        """Download missing files, and check all. Raises UserError if one is damaged or cannot be downloaded."""
        for name, checksum in self.checksums.items():
            path = self.path(name)
            note = path.with_name(f"{name}.sha256")
            recorded = note.read_text(encoding="utf-8").split()[0] if note.is_file() else None
            if path.is_file():
                if checksum or recorded:
                    verify(path, checksum or str(recorded))
                continue
            fetch(f"{self.url}/{name}", path, checksum or recorded)
            if not checksum and not recorded:
                digest = digest_of(path)
                write_file(note, f"{digest}  {name}\n")
                log.warning(
                    "%s: no checksum is published; later downloads must have this one's sha256, %s", path, digest
                )
