"""Outputs that the search's limit cuts off: by the lengths of the references before training, and after a test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from seq2seq.corpora.store import EncodedPairs
from seq2seq.search import Hypothesis, SearchOptions


def too_long(data: EncodedPairs, options: SearchOptions) -> tuple[int, int]:
    """How many references of a split no output could equal, since the search ends before; and the
    `max_length_extra` with which one could equal each of them.

    Lengths are in tokens, with eos, or rows of a float sequence, as the search counts them.
    """
    if options.equal_length or not len(data):
        return 0, options.max_length_extra
    source, target = (np.diff(side.offsets) for side in data)
    short = target - options.limits(torch.from_numpy(source)).numpy()
    return int((short > 0).sum()), options.max_length_extra + max(0, int(short.max()))


def remark(data: Any, options: SearchOptions) -> str | None:
    """One line where references of val or a test are longer than an output can be; None where there is none."""
    counts, extra = [], options.max_length_extra
    for split in data.corpus.splits[1:]:
        encoded = data.encoded(split)
        count, needed = too_long(encoded, options)
        if count:
            counts.append(f"{count:,} of {len(encoded):,} in {split}")
            extra = max(extra, needed)
    if not counts:
        return None
    return (
        f"references longer than the search lets an output be: {', '.join(counts)}; such outputs will be cut off at "
        f"search.max_length_ratio={options.max_length_ratio:g} times the source's length plus "
        f"search.max_length_extra={options.max_length_extra}; search.max_length_extra={extra} is enough for all"
    )


def report_cut_off(split: str, hypotheses: Iterable[Hypothesis], options: SearchOptions) -> None:
    """Print one line where outputs of a test were cut off."""
    cut = [hypothesis.cut_off(options) for hypothesis in hypotheses]
    if any(cut):
        print(
            f"{split}: {sum(cut):,} of {len(cut):,} outputs were cut off at the search's limit "
            f"(search.max_length_ratio={options.max_length_ratio:g}, search.max_length_extra="
            f"{options.max_length_extra}); a larger one lets them end",
            flush=True,
        )
