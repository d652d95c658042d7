"""A bundle as a folder that translates without torch.

    encoder.onnx, decoder.onnx   the networks, see seq2seq/exporting/networks.py; batch and lengths are free
    joint.json, joint.model, …   the bundle's tokenizers
    export.json                  the special tokens, and the limits of a search
    translate_onnx.py            the example: greedy search with numpy and onnxruntime

Before the folder appears, ONNX Runtime runs both networks beside the model, at several sizes.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seq2seq import __version__
from seq2seq.bundle import Bundle, check_task, load_bundle, replacing
from seq2seq.errors import UserError
from seq2seq.exporting.networks import DecoderNetwork, EncoderNetwork, memories, states
from seq2seq.exporting.operators import OPSET
from seq2seq.models import EncoderDecoder
from seq2seq.structures import Tokens
from seq2seq.text import BOS, EOS, PAD, UNK

EXAMPLE = Path(__file__).with_name("translate_onnx.py")
NEEDED = ("onnx", "onnxscript", "onnxruntime")
SIZES = ((2, 5), (1, 1), (1, 12), (5, 3), (7, 31))
"""Sentences and pieces of the batches that are compared; one sentence of each is as long as all its batch."""

STEPS, TOLERANCE = 6, 1e-3
"""Of decoding, and the largest difference of a log-probability, a state or a weight, relative beyond 1."""


class Checked(NamedTuple):
    """What the comparison with ONNX Runtime found."""

    batches: int
    difference: float


def export_onnx(folder: Path, output: Path, *, trusted: Sequence[str] = ()) -> Checked:
    """Write the bundle `folder` as ONNX networks, in place of an older export.

    Raises `UserError` for a missing package, a bundle of another task, an encoder that ONNX has no operators for, and
    where ONNX Runtime does not agree with the model: then nothing is written.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"export needs {', '.join(missing)}: pip install 'seq2seq-recurrent[export]'")
    bundle = load_bundle(folder, trusted=trusted)
    check_task(bundle, "translation")
    networks = EncoderNetwork(bundle.model).eval(), DecoderNetwork(bundle.model).eval()
    with replacing(output, sign="export.json", what="an export") as made, torch.no_grad(), _quietly():
        _write(bundle.model, *networks, made)
        checked = compare(bundle.model, made)
        bundle.tokenizers.save(made)
        (made / "export.json").write_text(json.dumps(_settings(bundle, folder), indent=2) + "\n", "utf-8", newline="\n")
        shutil.copyfile(EXAMPLE, made / EXAMPLE.name)
        made.chmod(0o755)
    return checked


def _settings(bundle: Bundle, folder: Path) -> dict[str, Any]:
    search = bundle.search
    limits = ("min_length", "max_length_ratio", "max_length_extra", "equal_length")
    return {
        "seq2seq": __version__,
        "bundle": str(folder),
        "special": {"pad": PAD, "unk": UNK, "bos": BOS, "eos": EOS},
        "search": {name: getattr(search, name) for name in limits},
    }


def _write(model: EncoderDecoder, encoder: nn.Module, decoder: nn.Module, folder: Path) -> None:
    """Trace both networks with a batch of two; B and S stay free."""
    source = _batch(model, 2, 5)
    state, encoded = model.start(model.encode(source))
    named = [*states(model.decoder, state), *memories(model, encoded)]
    names, flat = [name for name, _ in named], [value for _, value in named]
    batch, length = torch.export.Dim("batch", min=1), torch.export.Dim("length", min=1)
    arguments: dict[str, Any] = {"dynamo": True, "opset_version": OPSET, "external_data": False, "verbose": False}
    torch.onnx.export(
        encoder,
        (source.ids, source.lengths),
        folder / "encoder.onnx",
        input_names=["ids", "lengths"],
        output_names=names,
        dynamic_shapes=({0: batch, 1: length}, {0: batch}),
        **arguments,
    )
    # A context that attends, or is aligned, has a value for each position of the source; a fixed one has c alone.
    free = {0: batch} if model.decoder.context.constant else {0: batch, 1: length}
    torch.onnx.export(
        decoder,
        (source.ids[:, 0], flat),
        folder / "decoder.onnx",
        input_names=["ids", *names],
        output_names=_outputs(model, names),
        dynamic_shapes=({0: batch}, [free if name.startswith("memory.") else {0: batch} for name in names]),
        **arguments,
    )


def _outputs(model: EncoderDecoder, names: Sequence[str]) -> list[str]:
    """Those of the decoder's network. Inputs and outputs of one network differ in name: the next state has its own."""
    looked = ["attention"] if model.decoder.context.attends else []
    return ["log_probs", *looked, *(f"next_{name}" for name in names if name.startswith("state."))]


def _batch(model: EncoderDecoder, count: int, length: int) -> Tokens:
    """Random sentences of at most `length` pieces with eos; the first is as long."""
    assert model.source_embedding is not None
    generator = torch.Generator().manual_seed(count * 1000 + length)
    ids = torch.randint(len(model.source_embedding.weight), (count, length), generator=generator)
    lengths = torch.randint(1, length + 1, (count,), generator=generator)
    lengths[0] = length
    source = Tokens(ids, lengths)
    return source._replace(ids=ids.masked_fill(~source.mask, PAD).scatter(1, lengths[:, None] - 1, EOS))


def compare(model: EncoderDecoder, folder: Path) -> Checked:
    """Run networks and model side by side; raises `UserError` where they differ by more than `TOLERANCE`."""
    import onnxruntime

    encoder, decoder = (
        onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("encoder", "decoder")
    )
    worst = max(_difference(model, encoder, decoder, _batch(model, *size)) for size in SIZES)
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
    # Values on padding have no meaning, and no weight: the mask stands between.
    worst = max(_gap(given[name], value) for name, value in expected.items() if name.startswith("state."))
    ids = torch.full_like(source.lengths, BOS)
    names = [output.name for output in decoder.get_outputs()]
    wanted = {put.name for put in decoder.get_inputs()}
    for step in range(STEPS):
        feed = {name: value for name, value in {**given, "ids": ids.numpy()}.items() if name in wanted}
        found = dict(zip(names, decoder.run(None, feed), strict=True))
        log_probs, state, weights = model.step(ids, state, encoded)
        pairs = [("log_probs", log_probs), *((f"next_{name}", value) for name, value in states(model.decoder, state))]
        pairs += [] if weights is None else [("attention", weights)]
        worst = max(worst, *(_gap(found[name], value) for name, value in pairs))
        given |= {name.removeprefix("next_"): found[name] for name in names if name.startswith("next_")}
        ids = log_probs.topk(step + 1).indices[:, -1]
    return worst


def _gap(found: Any, expected: Tensor) -> float:
    wanted = expected.double()
    gap = (torch.from_numpy(found).double() - wanted).abs() / wanted.abs().clamp_min(1)
    return float(gap.max()) if gap.numel() else 0.0


@contextmanager
def _quietly() -> Iterator[None]:
    """The exporter tells of packages that it does not need, of constants, and of deprecations of its own."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
