"""Compare ONNX Runtime with the model, number by number, at other batch sizes and lengths than the traced ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seq2seq.bundle.onnx.networks import memories, states
from seq2seq.errors import UserError
from seq2seq.models import EncoderDecoder
from seq2seq.nn.types import Tokens
from seq2seq.text import BOS, EOS, PAD

SIZES = ((2, 5), (1, 1), (1, 12), (5, 3), (7, 31))
"""Sentences and tokens of the compared batches."""

STEPS, TOLERANCE = 6, 1e-3
"""Steps of decoding, and the largest allowed difference of a log-probability, state or weight (relative above 1)."""


class Checked(NamedTuple):
    """The number of compared batches, and the largest difference."""

    batches: int
    difference: float


def random_sources(model: EncoderDecoder, count: int, length: int) -> Tokens:
    """Random sentences of at most `length` tokens with eos; the first has exactly as many."""
    assert model.source_embedding is not None
    generator = torch.Generator().manual_seed(count * 1000 + length)
    ids = torch.randint(len(model.source_embedding.weight), (count, length), generator=generator)
    lengths = torch.randint(1, length + 1, (count,), generator=generator)
    lengths[0] = length
    source = Tokens(ids, lengths)
    return source._replace(ids=ids.masked_fill(~source.mask, PAD).scatter(1, lengths[:, None] - 1, EOS))


def compare(model: EncoderDecoder, folder: Path) -> Checked:
    """Run the networks and the model on the same batches. Raises `UserError` if they differ by more than TOLERANCE."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: it warns about initializers that its optimisation makes unused
    encoder, decoder = (
        onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        for name in ("encoder", "decoder")
    )
    worst = max(_difference(model, encoder, decoder, random_sources(model, *size)) for size in SIZES)
    if not worst <= TOLERANCE:
        raise UserError(
            f"export: ONNX Runtime and the model differ by {worst:.2g}, more than {TOLERANCE}; please report"
        )
    return Checked(len(SIZES), worst)


def _difference(model: EncoderDecoder, encoder: Any, decoder: Any, source: Tokens) -> float:
    state, encoded = model.start(model.encode(source))
    flat = encoder.run(None, {"ids": source.ids.numpy(), "lengths": source.lengths.numpy()})
    given = dict(zip([output.name for output in encoder.get_outputs()], flat, strict=True))
    expected = dict([*states(model.decoder, state), *memories(model, encoded)])
    # Only states are compared: memory values on padding are arbitrary, as the mask excludes them.
    worst = max(_gap(given[name], value) for name, value in expected.items() if name.startswith("state."))
    ids = torch.full_like(source.lengths, BOS)
    names = [output.name for output in decoder.get_outputs()]
    wanted = {put.name for put in decoder.get_inputs()}
    for step in range(STEPS):
        feed = {name: value for name, value in {**given, "ids": ids.numpy()}.items() if name in wanted}
        results = dict(zip(names, decoder.run(None, feed), strict=True))
        log_probs, state, weights = model.step(ids, state, encoded)
        pairs = [("log_probs", log_probs), *((f"next_{name}", value) for name, value in states(model.decoder, state))]
        pairs += [] if weights is None else [("attention", weights)]
        worst = max(worst, *(_gap(results[name], value) for name, value in pairs))
        given |= {name.removeprefix("next_"): results[name] for name in names if name.startswith("next_")}
        ids = log_probs.topk(step + 1).indices[:, -1]
    return worst


def _gap(actual: Any, expected: Tensor) -> float:
    wanted = expected.double()
    gap = (torch.from_numpy(actual).double() - wanted).abs() / wanted.abs().clamp_min(1)
    return float(gap.max()) if gap.numel() else 0.0
