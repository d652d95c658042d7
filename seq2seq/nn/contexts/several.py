"""A context for each input of a source, concatenated: c_t = [c_t of the first ; c_t of the second ; …].

Each input has a memory and a context of its own, of the same class; so several sources are attended to at once (Zoph &
Knight 2016, "Multi-Source Neural Translation", §3.2, with concatenation), and the tags of a word next to its letters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.contexts.base import Context, Keys
from seq2seq.nn.types import Memory


class SeveralContexts(Context):
    """`first` is for the memory itself, `more` for `Memory.more`, by the names and memory sizes of these inputs. The
    attention weights are those of the first input.

    Raises `UserError` for a context that depends on the step, or sums over alignments.
    """

    def __init__(
        self, context: Callable[..., Context], more: Mapping[str, int], memory_size: int, query_size: int
    ) -> None:
        super().__init__()
        self.first = context(memory_size, query_size)
        self.more = nn.ModuleDict({name: context(size, query_size) for name, size in more.items()})
        if self.first.uses_position:
            raise UserError(
                "context=aligned: position t of the target is one of a single source; with extra_encoders use a "
                "context that attends, or context=fixed"
            )
        if self.first.marginal:
            raise UserError(
                "context=monotonic: sums over the alignments with one source; with extra_encoders use a context that "
                "attends, or read the tags after the letters (features=appended)"
            )
        self.attends, self.constant = self.first.attends, self.first.constant
        self.size = self.first.size + sum(each.size for each in self._contexts())

    def _contexts(self) -> list[Context]:
        return [each for each in self.more.values() if isinstance(each, Context)]

    def prepare(self, memory: Memory) -> Keys:
        """The keys of the first memory, with those of the others; of a constant context, one c for all."""
        keys = self.first.prepare(memory)
        more = tuple(context.prepare(each) for context, each in zip(self._contexts(), memory.more, strict=True))
        if not self.constant:
            return keys._replace(more=more)
        return keys._replace(values=torch.cat([keys.values, *(each.values for each in more)], -1))

    def forward(
        self, queries: Float[Tensor, "B Q H"] | None, keys: Keys, steps: Int[Tensor, "B Q"]
    ) -> tuple[Float[Tensor, "B Q C"], Float[Tensor, "B Q S"] | None]:
        """The concatenated c_t of all inputs, and the attention weights of the first."""
        c, weights = self.first(queries, keys, steps)
        if self.constant:
            return c, weights
        cs = [context(queries, each, steps)[0] for context, each in zip(self._contexts(), keys.more, strict=True)]
        return torch.cat([c, *cs], -1), weights
