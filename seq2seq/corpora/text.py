"""Running text for language models: any UTF-8 files, and tiny Shakespeare."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from seq2seq.corpora import readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.downloads import fetch
from seq2seq.errors import UserError
from seq2seq.runtime.paths import data_root

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
REACH = 1000  # characters after the border of a split in which a space is looked for to split a line at
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"  # of the decompressed text


class Text(Corpus):
    """Files that are read as one text: the pairs are ("", line), and a line feed ends every line, the last one too.
    A line of more than a megabyte is split at spaces (`seq2seq.corpora.readers.parts`).

    `train` is a file or a list of them: plain, .gz, .xz, .zst or .bz2. `val` is a file, and `tests` any number of
    files by name. If one is missing, it is held out from the end of the training text: the last `test_share` of its
    characters, and the `val_share` before them. The splits end at the end of a line, or at a space where a split would
    have no line. `language` is a label. Raises `UserError` for shares that leave no text to train on.
    """

    def __init__(
        self,
        train: str | Sequence[str],
        val: str | None = None,
        tests: Mapping[str, str] | None = None,
        val_share: float = 0.05,
        test_share: float = 0.1,
        language: str = "und",
    ) -> None:
        self.source_language = self.target_language = language
        self._train = [train] if isinstance(train, str) else list(train)
        self._own = {**({"val": val} if val else {}), **(tests or {})}
        shares = {"val": 0.0 if val else val_share, "test": 0.0 if tests else test_share}
        for key, share in shares.items():
            if not 0 <= share < 1:
                raise UserError(f"data.corpus.{key}_share={share} must be at least 0 and below 1")
        if "train" in self._own or (tests and "val" in tests):
            raise UserError("data.corpus.tests: train and val are the names of other splits; choose others for tests")
        if not val and not val_share:
            raise UserError("data.corpus.val_share=0 leaves nothing to validate on; set it, or give data.corpus.val")
        self._borders = 1 - shares["val"] - shares["test"], 1 - shares["test"]
        if self._borders[0] <= 0:
            raise UserError(f"data.corpus.val_share, test_share: {shares} together leave no text to train on")

    @property
    def splits(self) -> tuple[str, ...]:
        """train, val and the tests; "test" if it is held out."""
        held = ("test",) if self._borders[1] < 1 else ()
        return ("train", "val", *(name for name in self._own if name != "val"), *held)

    def files(self, split: str) -> tuple[Path, ...]:
        """The files that a split is read from."""
        names = [self._own[split]] if split in self._own else self._train
        return tuple(Path(name).expanduser() for name in names)

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The pairs ("", line) of a split."""
        lines = self._lines(split)
        return (("", line) for line in (lines if split in self._own else self._part(lines, split)))

    def remedy(self, split: str) -> str:
        """The remedy for an empty split; for one that is held out, a larger share, or a file of its own."""
        if split == "train" or split in self._own:
            return super().remedy(split)
        own = "val" if split == "val" else "tests"
        return f"the text is too short: raise data.corpus.{split}_share, or give data.corpus.{own}"

    def _lines(self, split: str) -> Iterator[str]:
        return (line for path in self.files(split) for line in readers.parts(path))

    def _part(self, lines: Iterator[str], split: str) -> Iterator[str]:
        """The lines whose first character is in the split's share of all characters."""
        after_train, after_val = self._borders
        begin, end = {"train": (0, after_train), "val": (after_train, after_val), "test": (after_val, 1)}[split]
        if end - begin == 1:
            yield from lines
            return
        total, longest = 0, 0
        for line in self._lines(split):
            total, longest = total + len(line) + 1, max(longest, len(line) + 1)
        borders = [share * total for share in dict.fromkeys((0, after_train, after_val, 1))]
        if longest > min(high - low for low, high in pairwise(borders)) and _empty(self._lines(split), borders):
            lines = cut(lines, [math.ceil(border) for border in borders[1:-1]])
        position = 0
        for line in lines:
            if begin * total <= position < end * total:
                yield line
            position += len(line) + 1


def _empty(lines: Iterable[str], borders: Sequence[float]) -> bool:
    """Whether some interval between adjacent borders (character positions) has no beginning of a line."""
    begun, position = set(), 0
    for line in lines:
        begun.add(bisect_right(borders, position))
        position += len(line) + 1
    return not begun.issuperset(range(1, len(borders)))


def cut(lines: Iterable[str], borders: Iterable[int]) -> Iterator[str]:
    """The lines, split at the first space after each border (a character position), which is left out like a line end;
    or at the border, if the next REACH characters have no space."""
    left, position = list(borders), 0
    for line in lines:
        while left and left[0] < position + len(line):
            offset = left.pop(0) - position
            if offset <= 0:
                continue
            space = line.find(" ", offset, offset + REACH)
            first, line = (line[:space], line[space + 1 :]) if space >= 0 else (line[:offset], line[offset:])
            yield first
            position += len(first) + 1
        yield line
        position += len(line) + 1


class TinyShakespeare(Text):
    """A megabyte of Shakespeare's plays, the text of Karpathy's char-rnn; the last tenth is the test.

    input.txt or input.txt.gz is looked for in ROOT/tinyshakespeare and in ROOT, where ROOT is `root`, else the
    environment variable SEQ2SEQ_DATA, else the user's cache; where it is missing, it is downloaded from `url` into
    ROOT/tinyshakespeare.
    """

    def __init__(
        self, root: str | None = None, val_share: float = 0.05, test_share: float = 0.1, url: str = URL
    ) -> None:
        self._folder, self.url = data_root(root) / "tinyshakespeare", url
        super().__init__("input.txt", val_share=val_share, test_share=test_share, language="en")

    def files(self, split: str) -> tuple[Path, ...]:
        """The one file, or the path to download it to."""
        names = (
            folder / name for folder in (self._folder, self._folder.parent) for name in ("input.txt.gz", "input.txt")
        )
        return (next((path for path in names if path.is_file()), self._folder / "input.txt"),)

    def prepare(self) -> None:
        """Download a missing file, and check its content. Raises UserError if it is damaged or cannot be downloaded."""
        (path,) = self.files("train")
        if not path.is_file():
            fetch(self.url, path, SHA256)
        digest = hashlib.sha256("".join(f"{line}\n" for line in readers.lines(path)).encode()).hexdigest()
        if digest != SHA256:
            raise UserError(f"{path}: is damaged (wrong checksum); delete it, and it is downloaded again")
