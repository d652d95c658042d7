"""An encoder-decoder as two networks whose inputs and outputs are tensors, for other runtimes.

    encoder   ids [B, S], lengths [B]                   → state.*, memory.*     the encoded source
    decoder   ids [B] (the last tokens), state.*, memory.* → log_probs [B, V], attention [B, S], state.*

Inputs and outputs that a model does not use (attention, the source's mask, fed-back features) are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

from jaxtyping import Int
from torch import Tensor, nn

from seq2seq.bundle.onnx.operators import OPERATORS, OnnxLayer
from seq2seq.bundle.onnx.scanning import ScannedLayer
from seq2seq.models import Encoded, EncoderDecoder
from seq2seq.nn.contexts import Keys
from seq2seq.nn.decoder import Decoder
from seq2seq.nn.decoder_state import Alignment, DecoderState
from seq2seq.nn.encoders import Encoder
from seq2seq.nn.encoders.layer import Layer
from seq2seq.nn.types import Tokens

BY_POSITION = "state.alignment."
"""Names of states with a value for each position of the source begin with it."""


class EncoderNetwork(nn.Module):
    """`encode` and `start` of a model, with recurrent layers as ONNX's operators for loops over time."""

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        self.model = deepcopy(model)
        self.model.encoder = without_loops(self.model.encoder)

    def forward(self, ids: Int[Tensor, "B S"], lengths: Int[Tensor, "B"]) -> tuple[Tensor, ...]:
        """The tensors of the first state (`states`) and of the memory (`memories`)."""
        state, encoded = self.model.start(self.model.encode(Tokens(ids, lengths)))
        return tuple(value for _, value in (*states(self.model.decoder, state), *memories(self.model, encoded)))


class DecoderNetwork(nn.Module):
    """One step of a model, with one row for each sentence."""

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Int[Tensor, "B"], flat: list[Tensor]) -> tuple[Tensor, ...]:
        """`flat` are the outputs of the encoder's network; the outputs are log_probs, attention, and the next state."""
        state, encoded = restored(self.model, list(flat))
        log_probs, state, weights = self.model.step(ids, state, encoded)
        attention = () if weights is None else (weights,)
        return (log_probs, *attention, *(value for _, value in states(self.model.decoder, state)))


def without_loops(encoder: Encoder) -> Encoder:
    """Replace each `Layer` of the encoder, in place, by one that is traced without a loop of fixed length."""
    encoder = encoder.layered().eval()
    encoder.reads_deduplicated = False
    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Layer):
                setattr(module, name, OnnxLayer(child) if type(child[0]) in OPERATORS else ScannedLayer(child))
    return encoder


def states(decoder: Decoder, state: DecoderState) -> Iterator[tuple[str, Tensor]]:
    """The named tensors of a state that this decoder uses."""
    for depth, layer in enumerate(state.layers):
        yield from ((f"state.{depth}.{field}", value) for field, value in layer._asdict().items())
    if state.feed is not None:
        yield "state.feed", state.feed
    if decoder.uses_position:
        yield "state.step", state.step
    if state.alignment is not None:
        yield from ((f"{BY_POSITION}{field}", value) for field, value in state.alignment._asdict().items())


def memories(model: EncoderDecoder, encoded: Encoded) -> Iterator[tuple[str, Tensor]]:
    """The named tensors of a memory that this model's context uses."""
    yield "memory.values", encoded.keys.values
    if encoded.keys.keys is not None:
        yield "memory.keys", encoded.keys.keys
    if masked(model.decoder):
        yield "memory.mask", encoded.keys.mask
    if encoded.keys.ids is not None:
        yield "memory.ids", encoded.keys.ids


def masked(decoder: Decoder) -> bool:
    """Whether the decoder needs the source's mask."""
    return not decoder.context.constant


def restored(model: EncoderDecoder, flat: list[Tensor]) -> tuple[DecoderState, Encoded]:
    """The state and memory from the tensors of `states` and `memories`, in their order."""
    decoder, count = model.decoder, flat[0].size(0)
    take = iter(flat)
    layers = tuple(shape.kind(*(next(take) for _ in shape.kind._fields)) for shape in decoder.state_shapes)
    feed = next(take) if decoder.feed_size else None
    step = next(take) if decoder.uses_position else layers[0].h.new_zeros(count).long()
    alignment = Alignment(next(take), next(take)) if decoder.marginal else None
    values = next(take)
    keys = next(take) if decoder.context.attends else None
    mask = next(take) if masked(decoder) else values.new_ones(values.shape[:2]).bool()
    ids = next(take) if model.copies else None
    return DecoderState(layers, feed, step, alignment=alignment), decoder.look_at(Keys(values, keys, mask, ids=ids))
