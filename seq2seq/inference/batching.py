"""Run a model on a stream of items in batches of similar length; the results are in the order of the items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import torch

from seq2seq.errors import UserError
from seq2seq.nn.types import Tokens
from seq2seq.text import PAD

BATCH_SIZE = 128
CHUNK = 4096
"""Items that are in memory at once and are sorted by length."""

LONG = 64
"""Tokens. A batch with a longer item has fewer items, so that its padded size is at most batch_size · LONG."""

Item = TypeVar("Item")
Encoded = TypeVar("Encoded")
Result = TypeVar("Result")


def run_batched(
    items: Iterable[Item],
    *,
    encode: Callable[[list[Item]], Sequence[Encoded]],
    length: Callable[[Encoded], int],
    compute: Callable[[list[Encoded]], Iterable[Result]],
    empty: Callable[[Encoded], Result],
    batch_size: int = BATCH_SIZE,
    chunk: int = CHUNK,
    progress: Callable[[int], object] | None = None,
) -> Iterator[Result]:
    """One result for each item, in order, as a stream that has `chunk` items in memory at once.

    Args:
        items: the inputs.
        encode: checks and encodes a chunk of items.
        length: the time steps of an encoded item; 0 for one that does not need the model.
        compute: runs the model on a batch of items of similar length.
        empty: the result of an item of length 0.
        batch_size: the most items of a batch; fewer if they are longer than `LONG`.
        chunk: the items that are in memory at once and are sorted by length.
        progress: called after each batch with its number of items.

    Raises `UserError` for a `batch_size` or `chunk` below 1, before the first item is read.
    """
    if batch_size < 1 or chunk < 1:
        raise UserError(f"batch_size={batch_size}, chunk={chunk}: must be at least 1")
    progress = progress or (lambda count: None)
    stream = iter(items)

    def results_of(held: list[Item]) -> Iterator[Result]:
        encoded = encode(held)
        lengths = [length(each) for each in encoded]
        results = {i: empty(encoded[i]) for i, steps in enumerate(lengths) if not steps}
        progress(len(results))
        for batch in batches(lengths, batch_size):
            results.update(zip(batch, compute([encoded[i] for i in batch]), strict=True))
            progress(len(batch))
        return (results[i] for i in range(len(held)))

    chunks = iter(lambda: list(islice(stream, chunk)), [])
    return (result for held in chunks for result in results_of(held))


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Positions of the non-zero lengths, in batches of similar length, the longest first; `LONG` limits their size."""
    order = sorted((i for i, length in enumerate(lengths) if length), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        size = max(1, batch_size * LONG // max(LONG, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def pad_ids(rows: Sequence[Sequence[Any]], device: torch.device) -> Tokens:
    """Sequences of token ids, or of rows of an id and its factors, as a padded batch on a device."""
    tensors = [torch.tensor(row) for row in rows]
    ids = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=PAD)
    ids, factors = (ids, None) if ids.dim() == 2 else (ids[..., 0].contiguous(), ids[..., 1:].contiguous().to(device))
    return Tokens(ids.to(device), torch.tensor([len(row) for row in rows], device=device), factors)
