"""An encoded split on disk: all ids of a side in one array, and where each sentence begins. Memory-mapped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from tqdm import tqdm

from seq2seq.corpora.folders import whole_folder
from seq2seq.errors import UserError
from seq2seq.paths import cache_root
from seq2seq.text import Tokenizer, Tokenizers
from seq2seq.text.vocabulary import EOS, PAD

FORMAT = 1
CHUNK = 10_000  # pairs encoded at once
Ints = NDArray[np.int64]


class Ragged(NamedTuple):
    """Sentences of ids, each ending with eos: sentence i is values[offsets[i] : offsets[i + 1]]."""

    values: NDArray[Any]  # uint16, or uint32 for a vocabulary above 65,536
    offsets: Ints  # one more than there are sentences

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self, index: Ints) -> Ints:
        """Lengths of the sentences `index`, eos included."""
        return self.offsets[index + 1] - self.offsets[index]

    def padded(self, index: Ints) -> tuple[Ints, Ints]:
        """The sentences `index` as (B, T) int64 ids padded at the end, and their lengths; no loop over sentences."""
        starts = self.offsets[index]
        lengths = self.offsets[index + 1] - starts
        ids = np.full((len(index), int(lengths.max(initial=0))), PAD, dtype=np.int64)
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        first = np.cumsum(lengths) - lengths  # where each sentence begins in the batch's own flat order
        ids[mask] = self.values[np.repeat(starts - first, lengths) + np.arange(int(lengths.sum()))]
        return ids, lengths


class EncodedPairs(NamedTuple):
    """Both sides of a split."""

    source: Ragged
    target: Ragged

    def __len__(self) -> int:
        return len(self.source)


def pack(sentences: Sequence[Sequence[int]]) -> Ragged:
    """Sentences of ids without eos as a `Ragged` in memory; eos is added."""
    with_eos = [[*sentence, EOS] for sentence in sentences]
    lengths = np.fromiter((len(sentence) for sentence in with_eos), np.int64, len(with_eos))
    values = np.fromiter(chain.from_iterable(with_eos), np.int64, int(lengths.sum()))
    return Ragged(values, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))


def encoded(pairs: Iterable[tuple[str, str]], count: int, sha256: str, tokenizers: Tokenizers) -> EncodedPairs:
    """Open the encoded `count` pairs whose text has this hash; encode them first, in chunks, if nobody has yet."""
    key = json.dumps([FORMAT, sha256, tokenizers.source.fingerprint, tokenizers.target.fingerprint])
    folder = cache_root() / "encoded" / hashlib.sha256(key.encode()).hexdigest()
    if not folder.is_dir():
        with whole_folder(folder) as unfinished:
            _encode(pairs, count, tokenizers, unfinished)
    found = open_folder(folder)
    if not len(found.source) == len(found.target) == count:
        raise UserError(f"{folder}: does not hold the corpus's {count} pairs; delete this folder and try again")
    return found


def open_folder(folder: Path) -> EncodedPairs:
    """Memory-map what `encoded` wrote. Raises UserError if a file is damaged."""
    try:
        sides = [
            Ragged(*(np.load(folder / f"{side}.{part}.npy", mmap_mode="r") for part in ("values", "offsets")))
            for side in ("source", "target")
        ]
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: is damaged ({error}); delete this folder and try again") from None
    return EncodedPairs(*sides)


def _encode(pairs: Iterable[tuple[str, str]], count: int, tokenizers: Tokenizers, folder: Path) -> None:
    bar = tqdm(total=count, desc="encoding", unit="pair", unit_scale=True, delay=2, disable=None)
    source, target = (
        _Side(folder / side, one) for side, one in (("source", tokenizers.source), ("target", tokenizers.target))
    )
    with source, target, bar:
        for chunk in _chunks(pairs):
            source.append([pair[0] for pair in chunk])
            target.append([pair[1] for pair in chunk])
            bar.update(len(chunk))


def _chunks(pairs: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    stream = iter(pairs)
    while chunk := list(islice(stream, CHUNK)):
        yield chunk


class _Side:
    """Values and offsets of one side, growing on disk."""

    def __init__(self, path: Path, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._values = _GrowingArray(path.with_name(f"{path.name}.values.npy"), _dtype(len(tokenizer)))
        self._offsets = _GrowingArray(path.with_name(f"{path.name}.offsets.npy"), np.int64)
        self._offsets.append(np.zeros(1, np.int64))

    def __enter__(self) -> _Side:
        return self

    def __exit__(self, *_: object) -> None:
        self._values.close()
        self._offsets.close()

    def append(self, texts: list[str]) -> None:
        ragged = pack(self._tokenizer.encode_batch(texts))
        self._offsets.append(ragged.offsets[1:] + self._values.length)
        self._values.append(ragged.values)


class _GrowingArray:
    """A one-dimensional .npy file written piece by piece: its header, of constant size, is written again at the end."""

    def __init__(self, path: Path, dtype: DTypeLike) -> None:
        self.length, self._dtype = 0, np.dtype(dtype)
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 (closed by close)
        self._header()
        self._begin = self._file.tell()

    def append(self, values: NDArray[Any]) -> None:
        self._file.write(np.ascontiguousarray(values, self._dtype).tobytes())
        self.length += len(values)

    def close(self) -> None:
        self._file.seek(0)
        self._header()
        assert self._file.tell() == self._begin, "numpy leaves room for the length to grow"
        self._file.close()

    def _header(self) -> None:
        head = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._file, head)


def _dtype(vocabulary_size: int) -> DTypeLike:
    return np.uint16 if vocabulary_size <= 1 << 16 else np.uint32
