"""The inputs of a source that has several, such as a word's letters and its tags, or one text in two languages.

They come as one sequence of ids in which each ends with eos, so that batches, files and searches know nothing of them;
the model takes it apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from seq2seq.nn.encoders import Encoder
from seq2seq.nn.types import Tokens


class MoreInputs(NamedTuple):
    """The encoders of a source's inputs after the first, by name, and the id that ends each input."""

    encoders: Mapping[str, Encoder]
    eos: int


def inputs_of(source: Tokens, count: int, eos: int) -> list[Tokens]:
    """The `count` inputs of each sequence, each with its eos; one that is missing has no tokens.

    On a CPU they are as long as the longest of each; elsewhere as `source`, since the host would have to wait for the
    device to know.
    """
    ends = ((source.ids == eos) & source.mask).long()
    number = ends.cumsum(1) - ends  # of the input that each position belongs to
    lengths = [((number == each) & source.mask).sum(1) for each in range(count)]
    begins = torch.stack(lengths).cumsum(0) - torch.stack(lengths)
    return [_shifted(source.ids, begin, length) for begin, length in zip(begins, lengths, strict=True)]


def _shifted(ids: Int[Tensor, "B S"], begin: Int[Tensor, "B"], length: Int[Tensor, "B"]) -> Tokens:
    size = max(1, int(length.max())) if ids.device.type == "cpu" else ids.size(1)
    position = begin[:, None] + torch.arange(size, device=ids.device)
    taken = Tokens(ids.gather(1, position.clamp(max=ids.size(1) - 1)), length)
    return taken._replace(ids=taken.ids.masked_fill(~taken.mask, 0))
