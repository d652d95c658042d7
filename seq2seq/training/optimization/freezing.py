"""Parts of a model whose weights training leaves as they are (`freeze=[encoder,embedding]`)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from seq2seq.errors import UserError

PARTS: dict[str, tuple[str, ...]] = {
    "encoder": ("encoder",),
    "bridge": ("bridge",),
    "decoder": ("decoder",),
    "context": ("decoder.context", "context", "pooling"),
    "head": ("decoder.head", "head"),
    "embedding": ("source_embedding", "target_embedding", "embedding", "words"),
}
"""The parts that can be named, and where the models of all tasks have them; context and head are in the decoder."""


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Take the weights of some parts out of training. A table that an output layer is tied to is frozen with either.

    Raises `UserError` for a part that the model does not have, and where nothing would be left to train.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for part in parts:
        chosen = [
            each for name, each in parameters.items() if f"{name}.".startswith(tuple(f"{p}." for p in PARTS[part]))
        ]
        if not chosen:
            raise UserError(f"freeze={list(parts)}: the model has no weights in its {part}; leave {part} out")
        for each in chosen:
            each.requires_grad_(False)
    if not any(each.requires_grad for each in parameters.values()):
        raise UserError(f"freeze={list(parts)}: nothing is left to train; leave a part out")
