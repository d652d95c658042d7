"""An encoded split on disk, memory-mapped: all ids or frames of a side in one array, and the offset of each
sentence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from tqdm import tqdm

from seq2seq.corpora.folders import atomic_folder
from seq2seq.errors import UserError
from seq2seq.runtime.paths import cached
from seq2seq.runtime.worker_pool import in_order
from seq2seq.text import Tokenizers, sentence_of
from seq2seq.text.spreading import factor_rows
from seq2seq.text.vocabulary import EOS, PAD

FORMAT = 1
CHUNK = 10_000  # most pairs encoded at once; a fortieth of it for float sequences, which are larger
HELD = 4 << 20  # characters (or frames) after which a chunk ends, however few its pairs
Ints = NDArray[np.int64]
Frames = NDArray[np.float32]
"""One float sequence [T, F]."""


class Ragged(NamedTuple):
    """Concatenated sequences: sequence i is values[offsets[i] : offsets[i + 1]].

    A sentence is ids, the last of which is eos, or rows of an id and its factors; a float sequence is rows (frames,
    regions) and has no end mark.
    """

    values: NDArray[
        Any
    ]  # ids: uint16, or uint32 for a vocabulary above 65,536; rows: float32 [ΣT, F], or ids [ΣT, 1+K]
    offsets: Ints  # one more than there are sequences

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def end_marks(self) -> int:
        """How many elements of each sequence are eos: 1 for ids, 0 for frames."""
        return int(self.values.dtype.kind != "f")

    @property
    def ids(self) -> NDArray[Any]:
        """The ids of all sentences, without their factors."""
        return self.values if self.values.ndim == 1 else self.values[:, 0]

    def lengths(self, index: Ints) -> Ints:
        """Lengths of the sequences `index`, with eos."""
        return self.offsets[index + 1] - self.offsets[index]

    def padded(self, index: Ints) -> tuple[NDArray[Any], Ints]:
        """The sequences `index` as [B, T] int64 ids (with factors [B, T, 1+K]) or [B, T, F] float32 rows, padded at the
        end (rows with zeros), and their lengths; without a loop over sequences."""
        starts = self.offsets[index]
        lengths = self.offsets[index + 1] - starts
        shape = (len(index), int(lengths.max(initial=0)), *self.values.shape[1:])
        padded = np.full(shape, PAD, dtype=np.int64) if self.end_marks else np.zeros(shape, dtype=np.float32)
        mask = np.arange(shape[1]) < lengths[:, None]
        first = np.cumsum(lengths) - lengths  # where each sequence begins in the batch's own flat order
        padded[mask] = self.values[np.repeat(starts - first, lengths) + np.arange(int(lengths.sum()))]
        return padded, lengths


class EncodedPairs(NamedTuple):
    """Source and target of a split; sequence i of one belongs to sequence i of the other."""

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


def pack_rows(sentences: Sequence[Sequence[int]], factors: Sequence[Sequence[Sequence[int]]], count: int) -> Ragged:
    """Sentences of ids without eos with the `count` factors of each, as a `Ragged` in memory; eos is added, whose
    factors are pad."""
    flat = pack(sentences)
    values = np.full((len(flat.values), 1 + count), PAD, dtype=np.int64)
    values[:, 0] = flat.values
    inside = np.ones(len(flat.values), dtype=bool)
    inside[flat.offsets[1:] - 1] = False  # all but eos
    values[inside, 1:] = np.array([row for rows in factors for row in rows], dtype=np.int64).reshape(-1, count)
    return Ragged(values, flat.offsets)


def stack(sequences: Sequence[Frames]) -> Ragged:
    """Float sequences [T, F] of one width as a `Ragged` in memory."""
    lengths = np.fromiter((len(sequence) for sequence in sequences), np.int64, len(sequences))
    return Ragged(np.concatenate(sequences), np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))


def encoded(
    pairs: Iterable[tuple[str | Frames, str]],
    count: int,
    sha256: str,
    tokenizers: Tokenizers,
    width: int | None = None,
    workers: int = 1,
) -> EncodedPairs:
    """Open the encoded pairs of a split from the cache; if it has none, encode them first, in chunks.

    `count` and `sha256` are those of the split's scan. With a `width` F the sources are float sequences [T, F], else
    text. The result does not depend on the number of `workers` (processes).
    """
    source = f"float32 {width}" if width else tokenizers.source.fingerprint
    factors = [tokenizers.factors.fingerprint] if tokenizers.factors and not width else []
    key = json.dumps([FORMAT, sha256, source, tokenizers.target.fingerprint, *factors])
    folder = cached("encoded", hashlib.sha256(key.encode()).hexdigest())
    if not folder.is_dir():
        with atomic_folder(folder) as unfinished:
            _encode(pairs, count, tokenizers, width, unfinished, workers)
    opened = open_folder(folder)
    if not len(opened.source) == len(opened.target) == count:
        raise UserError(f"{folder}: does not hold the corpus's {count} pairs; delete this folder and try again")
    return opened


def open_folder(folder: Path) -> EncodedPairs:
    """Memory-map the files that `encoded` wrote. Raises UserError if one is damaged."""
    try:
        sides = [
            Ragged(*(np.load(folder / f"{side}.{part}.npy", mmap_mode="r") for part in ("values", "offsets")))
            for side in ("source", "target")
        ]
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: is damaged ({error}); delete this folder and try again") from None
    return EncodedPairs(*sides)


def _encode(
    pairs: Iterable[tuple[Any, str]],
    count: int,
    tokenizers: Tokenizers,
    width: int | None,
    folder: Path,
    workers: int = 1,
) -> None:
    bar = tqdm(total=count, desc="encoding", unit="pair", unit_scale=True, delay=2, disable=None)
    encoder = _Encoder(tokenizers, width)
    with (
        _Side(folder / "source", encoder.dtypes[0], encoder.row) as source,
        _Side(folder / "target", encoder.dtypes[1]) as target,
        closing(_encoded(encoder, _chunks(pairs, CHUNK // 40 if width else CHUNK), workers)) as sides,
        bar,
    ):
        for one, other in sides:
            source.append(one)
            target.append(other)
            bar.update(len(one))


def _encoded(
    encoder: _Encoder, chunks: Iterator[list[tuple[Any, str]]], workers: int
) -> Generator[tuple[Ragged, Ragged], None, None]:
    """The encoded chunks, in order."""
    if workers == 1:
        yield from map(encoder, chunks)
        return
    for _, sides in in_order(partial(_Encoder, encoder.tokenizers, encoder.width), chunks, workers):
        yield sides


@dataclass(frozen=True)
class _Encoder:
    """Encodes a chunk of pairs; is pickled for worker processes."""

    tokenizers: Tokenizers
    width: int | None

    @property
    def dtypes(self) -> list[DTypeLike]:
        """The dtype of each side on disk."""
        sizes = [len(each) for each in self.tokenizers[:2]]
        if self.tokenizers.factors is not None:
            sizes[0] = max(sizes[0], *self.tokenizers.factors.sizes.values())
        source, target = (np.uint16 if size <= 1 << 16 else np.uint32 for size in sizes)
        return [np.float32 if self.width else source, target]

    @property
    def row(self) -> tuple[int, ...]:
        """The shape of an element of a source on disk."""
        if self.width:
            return (self.width,)
        return (1 + len(self.tokenizers.factors.values),) if self.tokenizers.factors else ()

    def __call__(self, pairs: list[tuple[Any, str]]) -> tuple[Ragged, Ragged]:
        sources, targets = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        source = stack(sources) if self.width else self._sources(sources)
        sides = source, pack(self.tokenizers.target.encode_batch(targets))
        one, other = (Ragged(s.values.astype(dtype, copy=False), s.offsets) for s, dtype in zip(sides, self.dtypes))
        return one, other

    def _sources(self, texts: list[str]) -> Ragged:
        """The ids of sources, with their factors where they have some."""
        factors = self.tokenizers.factors
        if factors is None:
            return pack(self.tokenizers.source.encode_batch(texts))
        sentences = self.tokenizers.source.encode_batch([sentence_of(text, factors) for text in texts])
        return pack_rows(sentences, factor_rows(self.tokenizers, texts), len(factors.values))


def _chunks(pairs: Iterable[tuple[Any, str]], size: int) -> Iterator[list[tuple[Any, str]]]:
    """Chunks of at most `size` pairs; a chunk ends early when it has HELD characters or frames."""
    chunk: list[tuple[Any, str]] = []
    held = 0
    for pair in pairs:
        chunk.append(pair)
        held += len(pair[0]) + len(pair[1])
        if len(chunk) == size or held >= HELD:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


class _Side:
    """The files of values and offsets of one side, to which chunks are appended."""

    def __init__(self, path: Path, dtype: DTypeLike, row: tuple[int, ...] = ()) -> None:
        self._values = _GrowingArray(path.with_name(f"{path.name}.values.npy"), dtype, row)
        self._offsets = _GrowingArray(path.with_name(f"{path.name}.offsets.npy"), np.int64)
        self._offsets.append(np.zeros(1, np.int64))

    def __enter__(self) -> _Side:
        return self

    def __exit__(self, *_: object) -> None:
        self._values.close()
        self._offsets.close()

    def append(self, ragged: Ragged) -> None:
        self._offsets.append(ragged.offsets[1:] + self._values.length)
        self._values.append(ragged.values)


class _GrowingArray:
    """A .npy file to which rows (by default single values) are appended; its header, of constant size, is rewritten at
    the end."""

    def __init__(self, path: Path, dtype: DTypeLike, row: tuple[int, ...] = ()) -> None:
        self.length, self._dtype, self._row = 0, np.dtype(dtype), row
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
        shape = (self.length, *self._row)
        head = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, head)
