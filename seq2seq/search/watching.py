"""Who looks on during a search: after each step, the best hypothesis that a sentence has so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from jaxtyping import Int
from torch import Tensor

from seq2seq.search.hypotheses import Step

Watcher: TypeAlias = Callable[[list[int]], object]
"""Takes the tokens of a hypothesis, without bos and eos."""


class Watching:
    """Calls the watchers of sentences, by their position in the batch.

    The steps of a watched sentence are kept as lists: to follow its parents at each step costs less than the step.
    `width` is the number of slots by which ends are counted.
    """

    def __init__(self, watchers: Mapping[int, Watcher], width: int, eos: int) -> None:
        self.watchers = watchers
        self.width = width
        self.eos = eos
        self._steps: dict[int, list[tuple[Sequence[int], Sequence[int]]]] = {row: [] for row in watchers}

    def __call__(self, chosen: Step, ends: Int[Tensor, "B"]) -> None:
        """Tell the watchers of the open sentences, after a step. `ends` are the last step and slot of the best
        hypothesis of each, as step · width + slot; −1 where there is none."""
        columns = (chosen.sentences, chosen.tokens, chosen.parents, ends)
        for row, tokens, parents, end in zip(*(column.tolist() for column in columns), strict=True):
            if row not in self.watchers:
                continue
            self._steps[row].append((tokens, parents))
            if end >= 0:
                self.watchers[row](self._traced(self._steps[row], end))

    def _traced(self, steps: list[tuple[Sequence[int], Sequence[int]]], end: int) -> list[int]:
        last, slot = divmod(end, self.width)
        traced = []
        for tokens, parents in reversed(steps[: last + 1]):
            traced.append(tokens[slot])
            slot = parents[slot]
        return [token for token in reversed(traced) if token != self.eos]
