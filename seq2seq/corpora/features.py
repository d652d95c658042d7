"""Corpora whose sources are float sequences (frames, image regions) and whose targets are text.

Two file formats are read; in both, a sequence is [T, F], one row for each frame or region:

JSON lines  {"features": [[0.1, 0.2], [0.3, 0.4]], "target": "a b"}; a plain list of numbers is one row.
.npz        `features` [N, T, F] or (one row each) [N, F]; or `values` [ΣT, F] with `offsets` [N + 1], where sequence i
            is values[offsets[i]:offsets[i + 1]]; or one array a sequence, `arr_0`, `arr_1`, … as numpy.savez(path,
            *arrays) names them. The texts are `targets` [N]. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq.corpora import compression, readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.files import _Files
from seq2seq.corpora.store import Frames
from seq2seq.errors import UserError
from seq2seq.text.numbers import parsed, written

Item = tuple[str, Any, Any]
"""The place of a sequence (for messages), its numbers, and its target (None where targets are not read)."""


class FeatureCorpus(Corpus):
    """The base class of corpora of float sequences with text targets."""

    has_features = True

    @abstractmethod
    def examples(self, split: str) -> Iterator[tuple[Frames, str]]:
        """The sequences [T, F] of a split and their texts, as a stream. F is the same for all, and T at least 1."""

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The examples, each sequence as the one-line summary of `describe`, for hashes and logs."""
        return ((describe(frames), target) for frames, target in self.examples(split))


class FeatureFiles(_Files, FeatureCorpus):
    """One .npz or JSON lines file a split, plain or compressed; training may have several.

    `width` is F, by default that of the first training example. Raises `UserError`, with file and line (or array), for
    an example whose source is not [T, F] finite numbers, or that has no text.
    """

    @staticmethod
    def read_target(target: Any, where: str) -> str:
        """A target as text. Raises `UserError`, naming `where`, for anything else."""
        return readers.one_line(target, where)

    def __init__(
        self,
        target_language: str,
        train: str | Sequence[str],
        val: str,
        tests: Mapping[str, str] | None = None,
        *,
        source_language: str = "features",
        features_field: str = "features",
        target_field: str = "target",
        width: int | None = None,
    ) -> None:
        super().__init__(source_language, target_language, train, val, tests)
        if width is not None and width < 1:
            raise UserError(f"data.corpus.width={width}: must be at least 1")
        self.features_field, self.target_field, self.width = features_field, target_field, width

    def examples(self, split: str) -> Iterator[tuple[Frames, str]]:
        """The examples of all files of a split, in order."""
        fields = self.features_field, self.target_field
        first = read_examples(self.files("train")[0], *fields, width=self.width, read=self.read_target)
        width = self.width or next((frames.shape[1] for frames, _ in first), None)
        for path in self.files(split):
            yield from read_examples(path, *fields, width=width, read=self.read_target)


class NumberFiles(FeatureFiles):
    """The same with numbers for targets: one, or a list of them, or text of them with spaces between."""

    @staticmethod
    def read_target(target: Any, where: str) -> str:
        """A target as text of numbers. Raises `UserError`, naming `where`, for anything else."""
        words = target if isinstance(target, list) else [target]
        text = target if isinstance(target, str) else " ".join(map(str, words))
        try:
            return written(parsed(text))
        except UserError as error:
            raise UserError(f"{where}: {error}") from None


def describe(frames: Frames) -> str:
    """A sequence as one line of text: its shape and the first half of the sha256 of its numbers."""
    return f"{len(frames)}x{frames.shape[1]} {hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest()[:32]}"


def read_features(path: Path, width: int | None = None, field: str = "features") -> Iterator[Frames]:
    """The float sequences [T, F] of a .npz or JSON lines file, without texts; F must be `width`, or that of the first
    sequence.

    Raises `UserError` with file and line (or array) for anything else.
    """
    for where, numbers, _ in _items(path, field, None):
        frames = to_frames(numbers, where, width)
        width = frames.shape[1]
        yield frames


def read_examples(
    path: Path,
    features_field: str = "features",
    target_field: str = "target",
    *,
    width: int | None = None,
    read: Callable[[Any, str], str] = readers.one_line,
) -> Iterator[tuple[Frames, str]]:
    """The float sequences of `read_features` with their texts.

    Raises `UserError` with file and line (or array) for anything else, or where the text is not one line.
    """
    for where, numbers, target in _items(path, features_field, target_field):
        frames = to_frames(numbers, where, width)
        width = frames.shape[1]
        yield frames, read(target, f"{where}: its target")


def to_frames(numbers: Any, where: str, width: int | None = None) -> Frames:
    """Nested lists or an array as [T, F] float32; a flat list is one row. Raises `UserError`, naming `where`, for other
    shapes or types, another F than `width`, and numbers that are not finite."""
    array = _array(numbers, where)
    if array.ndim == 1 and array.size:
        array = array[None]
    if array.ndim != 2 or not array.size or array.dtype.kind not in "iuf":
        what = "is empty" if not array.size else f"has shape {list(array.shape)} and holds {array.dtype.name}"
        raise UserError(f"{where}: {what}; rows of numbers are needed, one for each frame or region")
    if width is not None and array.shape[1] != width:
        raise UserError(
            f"{where}: has {array.shape[1]} numbers a row, but {width} are needed, as in the first example or the "
            "model's training data (an image: its height times its width)"
        )
    with np.errstate(over="ignore"):
        frames: Frames = array.astype(np.float32)
    if not np.isfinite(frames).all():
        row, column = np.argwhere(~np.isfinite(frames))[0]
        raise UserError(
            f"{where}: number {column + 1} of row {row + 1} is {array[row, column]}; only finite numbers of float32 "
            "can be learned from"
        )
    return frames


def _array(numbers: Any, where: str) -> NDArray[Any]:
    try:
        return np.asarray(numbers)
    except ValueError:
        sizes = [len(row) if isinstance(row, list) else 0 for row in numbers]
        odd = next((i for i, size in enumerate(sizes) if size != sizes[0]), 0)
        raise UserError(
            f"{where}: row {odd + 1} has {sizes[odd]} numbers, row 1 has {sizes[0]}; all rows of a sequence must be "
            "lists of equally many numbers"
        ) from None


def _items(path: Path, features_field: str, target_field: str | None) -> Iterator[Item]:
    if path.suffix == ".npz" or compression.is_zip(path):
        return _npz(path, target_field is not None)
    return _lines(path, features_field, target_field)


def _lines(path: Path, features_field: str, target_field: str | None) -> Iterator[Item]:
    for number, line in enumerate(readers.lines(path), 1):
        where = f"{path}:{number}"
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: is not JSON ({error})") from None
        target = None if target_field is None else readers.step_into(item, target_field, where)
        yield where, readers.step_into(item, features_field, where), target


def _npz(path: Path, with_targets: bool) -> Iterator[Item]:
    arrays = _open(path)
    sequences = _sequences(path, arrays)
    targets: Any = [None] * len(sequences)
    if with_targets:
        if "targets" not in arrays:
            raise UserError(f"{path}: has no array 'targets' with the texts; it has {', '.join(arrays) or 'nothing'}")
        targets = arrays["targets"].tolist()
        if not isinstance(targets, list) or len(targets) != len(sequences):
            count = len(targets) if isinstance(targets, list) else 0
            raise UserError(f"{path}: {len(sequences)} sequences, but {count} targets")
    for (where, numbers), target in zip(sequences, targets, strict=True):
        yield f"{path}: {where}", numbers, target


def _open(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # zipfile, zlib and numpy's reader of headers have a dozen kinds for what is damaged
        raise UserError(
            f"{path}: is no .npz file of plain arrays ({error}); write it with numpy.savez, without objects"
        ) from None


def _sequences(path: Path, arrays: Mapping[str, NDArray[Any]]) -> list[tuple[str, NDArray[Any]]]:
    """Each sequence, with its place in the file for messages."""
    if "features" in arrays:
        features = arrays["features"]
        if features.ndim not in (2, 3):
            raise UserError(f"{path}: features has shape {list(features.shape)}; [N, T, F] or [N, F] is needed")
        return [(f"features[{i}]", one) for i, one in enumerate(features)]
    if "values" in arrays and "offsets" in arrays:
        values, offsets = arrays["values"], arrays["offsets"]
        valid = offsets.ndim == 1 and len(offsets) > 0 and offsets.dtype.kind in "iu" and values.ndim == 2
        if not valid or offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets.astype(np.int64)) < 0).any():
            raise UserError(f"{path}: offsets must be integers that rise from 0 to the {len(values)} rows of values")
        return [(f"sequence {i}", values[offsets[i] : offsets[i + 1]]) for i in range(len(offsets) - 1)]
    numbered = sorted((int(name[4:]), name) for name in arrays if name.startswith("arr_") and name[4:].isdecimal())
    if not numbered:
        raise UserError(
            f"{path}: has neither 'features', nor 'values' and 'offsets', nor 'arr_0', …; it has "
            f"{', '.join(arrays) or 'nothing'}"
        )
    return [(name, arrays[name]) for _, name in numbered]
