"""The weights of a trained model in one of another vocabulary (`init_vocabulary`): rows of its tables and of its output
layer are carried over by token, all others as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seq2seq.text import Tokenizers
from seq2seq.text.correspondence import old_tokens
from seq2seq.text.tokenizer import Tokenizer
from seq2seq.text.vocabulary import SPECIALS

InitVocabulary = Literal["extend", "match", "replace"]
TABLES = {
    "source_embedding.weight": "source",
    "target_embedding.weight": "target",
    "decoder.head.weight": "target",
    "decoder.head.bias": "target",
    "decoder.head.lexical.weight": "target",
    "embedding.weight": "target",  # of a language model
    "head.weight": "target",
    "head.bias": "target",
}
"""The parameters with a row a token, by their names, and the side whose tokens they are."""


class Origin(NamedTuple):
    """Of a vocabulary, how many tokens have the old vector, how many the mean of those that they are made of, and how
    many the mean of all, and how many are near it."""

    same: int
    composed: int
    unknown: int
    symbols: int = 0


def transfer(
    model: nn.Module, start: nn.Module, old: Tokenizers, new: Tokenizers, how: InitVocabulary
) -> dict[str, Origin]:
    """Give `model` the weights of `start`; the rows of a token, of its vector, output and bias, are

    - `match`, `extend`: those of the same token; of a new one the mean of the tokens that the old vocabulary splits it
      into, or, where it cannot, the mean of all (Hewitt, "Initializing New Word Embeddings", 2021: a new word is then
      never much more probable than all the others together); a new symbol, which is no text, is drawn from the normal
      distribution with the mean and the deviation of all, or symbols could not be distinguished;
    - `replace`: as `model` has drawn them.

    Returns where the tokens of each side come from. Raises `RuntimeError`, as torch does, where other weights differ.
    """
    weights, drawn = dict(start.state_dict()), model.state_dict()
    plans = {"target": old_tokens(old.target, new.target)}
    if "source_embedding.weight" in drawn:
        plans["source"] = plans["target"] if new.joint and old.joint else old_tokens(old.source, new.source)
    for name, side in TABLES.items():
        if name in drawn and name in weights:
            symbols = _symbols(getattr(new, side), plans[side])
            weights[name] = drawn[name] if how == "replace" else carried(weights[name], plans[side], symbols)
    model.load_state_dict(weights)
    if how == "replace":
        return {}
    return {side: _origin(plans[side], len(_symbols(getattr(new, side), plans[side]))) for side in sorted(plans)}


def _symbols(new: Tokenizer, plan: Sequence[Sequence[int]]) -> list[int]:
    """The symbols of a tokenizer for which a plan has nothing."""
    known: dict[str, int] = getattr(new, "symbols", {})
    return [i for i in known.values() if not plan[i]]


def carried(
    rows: Float[Tensor, "V ..."], plan: Sequence[Sequence[int]], symbols: Sequence[int] = ()
) -> Float[Tensor, "W ..."]:
    """The rows of a new vocabulary: the old row where the plan has one, the mean where it has several, and of all but
    the special tokens where it has none; for `symbols` near that. A copied row is equal to the bit."""
    first = torch.tensor([ids[0] if ids else 0 for ids in plan], device=rows.device)
    new_rows = rows.index_select(0, first)
    overall = rows[len(SPECIALS) :].mean(0)
    for i, ids in enumerate(plan):
        if len(ids) != 1:
            new_rows[i] = rows[list(ids)].mean(0) if ids else overall
    if symbols:
        drawn = torch.randn_like(new_rows[list(symbols)])
        new_rows[list(symbols)] = overall + drawn * rows[len(SPECIALS) :].std(0)
    return new_rows


def _origin(plan: Sequence[Sequence[int]], symbols: int) -> Origin:
    sizes = [min(len(ids), 2) for ids in plan]
    return Origin(sizes.count(1), sizes.count(2), sizes.count(0) - symbols, symbols)


def described(origins: dict[str, Origin], how: InitVocabulary, new: Tokenizers) -> str:
    """One line about a transfer."""
    if how == "replace":
        return "init_vocabulary=replace: all vectors and outputs are new"
    told = (
        f"of {len(getattr(new, side))} {side} tokens {origin.same} are the bundle's, {origin.composed} start as the "
        f"mean of their old tokens, {origin.unknown} as the mean of all"
        + f", {origin.symbols} symbols near it"
        * bool(origin.symbols)
        for side, origin in origins.items()
    )
    return f"init_vocabulary={how}: {'; '.join(told)}"
