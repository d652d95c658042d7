"""Export a bundle as a folder that translates without torch.

    encoder.onnx, decoder.onnx   the networks (seq2seq/bundle/onnx/networks.py), with dynamic batch and lengths
    joint.json, joint.model, …   the bundle's tokenizers
    export.json                  the special tokens, and the limits of the search
    translate_onnx.py            the example: greedy search with numpy and onnxruntime

Before the folder is renamed into place, ONNX Runtime is compared with the model at several sizes.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seq2seq import __version__
from seq2seq.bundle.files import replacing
from seq2seq.bundle.format import Bundle, load_bundle
from seq2seq.bundle.onnx.comparison import Checked, compare, random_sources
from seq2seq.bundle.onnx.networks import BY_POSITION, DecoderNetwork, EncoderNetwork, memories, states
from seq2seq.bundle.onnx.operators import OPSET
from seq2seq.errors import UserError
from seq2seq.models import EncoderDecoder
from seq2seq.models.task_descriptors import TASKS
from seq2seq.text import BOS, EOS, PAD, UNK

EXAMPLE = Path(__file__).with_name("translate_onnx.py")
NEEDED = ("onnx", "onnxscript", "onnxruntime")
TOKENIZERS = ("sentencepiece", "whitespace", "characters", "letters")
"""The kinds of tokenizers that the example supports."""


def export_onnx(folder: Path, output: Path, *, trusted: Sequence[str] = ()) -> Checked:
    """Write the bundle `folder` as ONNX networks, replacing an older export.

    Raises `UserError`, and writes nothing, for a missing package, a bundle of another task, a model that torch's
    exporter cannot trace, and results of ONNX Runtime that differ from the model's.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"export needs {', '.join(missing)}: pip install 'seq2seq-recurrent[export]'")
    bundle = load_bundle(folder, trusted=trusted)
    _check(bundle)
    model = bundle.model.float()  # ONNX Runtime has these operators in float32 only
    with replacing(output, sign="export.json", what="an export") as made, torch.no_grad():
        with _quietly(), _refusing():
            _write(model, EncoderNetwork(model).eval(), DecoderNetwork(model).eval(), made)
            checked = compare(model, made)
        bundle.tokenizers.save(made)
        (made / "export.json").write_text(json.dumps(_settings(bundle, folder), indent=2) + "\n", "utf-8", newline="\n")
        shutil.copyfile(EXAMPLE, made / EXAMPLE.name)
        made.chmod(0o755)
    return checked


def _check(bundle: Bundle) -> None:
    """Raise `UserError` for a task or a tokenizer that cannot be exported."""
    task = TASKS[bundle.task]
    if not task.exported:
        exported = [name for name, each in TASKS.items() if each.exported]
        raise UserError(
            f"export: the bundle's task is {task.name}, and only {', '.join(exported)} is exported; use it by "
            f"`seq2seq {task.command}`, or from Python"
        )
    if bundle.model.decoder.context.covers:
        raise UserError("export: attention with coverage is not exported; train with context.coverage=false")
    if bundle.tokenizers.factors is not None:
        raise UserError("export: token factors are not exported; train without data.corpus.factors")
    for tokenizer in (bundle.tokenizers.source, bundle.tokenizers.target):
        if tokenizer.kind not in TOKENIZERS:
            raise UserError(
                f"export: a tokenizer of kind {tokenizer.kind} is not known to the exported example; "
                f"train with one of kind {', '.join(TOKENIZERS)}"
            )


@contextmanager
def _refusing() -> Iterator[None]:
    """Convert exceptions of torch's exporter and ONNX Runtime to `UserError`: a component may not be traceable."""
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).split("\n") if line.strip()]
        reason = f"{type(error).__name__}: {lines[0] if lines else ''}"
        raise UserError(
            f"export: this model cannot be exported as ONNX networks ({reason[:300]}); train with components that "
            "are, such as encoder=recurrent cell=gru, and please report those of seq2seq that are not"
        ) from error


def _settings(bundle: Bundle, folder: Path) -> dict[str, Any]:
    search = bundle.search
    limits = ("min_length", "max_length_ratio", "max_length_extra", "equal_length", "no_repeat_ngram")
    return {
        "seq2seq": __version__,
        "bundle": str(folder),
        "special": {"pad": PAD, "unk": UNK, "bos": BOS, "eos": EOS},
        "unseen": bundle.model.decoder.head.unseen,
        "search": {name: getattr(search, name) for name in limits},
    }


def _write(model: EncoderDecoder, encoder: nn.Module, decoder: nn.Module, folder: Path) -> None:
    """Trace both networks with a batch of two; B and S are dynamic dimensions.

    A dimension of size 1 would be traced as broadcasting. So an encoder that joins positions is traced with sources
    that are long enough for a memory of two positions; shorter sources are tested by the comparison.
    """
    stride = model.encoder.stride
    source = random_sources(model, 2, 2 * stride + 3)
    state, encoded = model.start(model.encode(source))
    named = [*states(model.decoder, state), *memories(model, encoded)]
    # contiguous(), because the strides of a view, such as a pyramid's mask, would be traced as conditions.
    names, flat = [name for name, _ in named], [value.contiguous() for _, value in named]
    batch, length = torch.export.Dim("batch", min=1), torch.export.Dim("length", min=1)
    source_length = torch.export.Dim("source_length", min=stride + 1) if stride > 1 else length
    _trace(
        encoder,
        (source.ids, source.lengths),
        ({0: batch, 1: source_length}, {0: batch}),
        folder / "encoder.onnx",
        input_names=["ids", "lengths"],
        output_names=names,
    )
    # Attention and the aligned context have a value for each position of the source, the fixed one has only c.
    free = {0: batch} if model.decoder.context.constant else {0: batch, 1: length}
    _trace(
        decoder,
        (source.ids[:, 0].clone(), flat),
        ({0: batch}, [free if name.startswith(("memory.", BY_POSITION)) else {0: batch} for name in names]),
        folder / "decoder.onnx",
        input_names=["ids", *names],
        output_names=_outputs(model, names),
    )


def _trace(network: nn.Module, inputs: tuple[Any, ...], shapes: Any, path: Path, **names: Any) -> None:
    """Trace and write one network. torch.export traces it, because torch.onnx would silently fix a dimension that a
    module specialises."""
    program = torch.export.export(network, inputs, dynamic_shapes=shapes, strict=False)
    torch.onnx.export(
        program,
        inputs,
        path,
        dynamo=True,
        opset_version=OPSET,
        external_data=False,
        verbose=False,
        dynamic_shapes=shapes,
        custom_translation_table={torch.ops.aten.log_sigmoid.default: _log_sigmoid},
        **names,
    )


def _log_sigmoid(x: Any) -> Any:
    """log σ(x) = −log(1 + e^{−x}); torch.onnx would write log(σ(x)), which is inexact and becomes −∞."""
    from onnxscript import opset18

    return opset18.Neg(opset18.Softplus(opset18.Neg(x)))


def _outputs(model: EncoderDecoder, names: Sequence[str]) -> list[str]:
    """The names of the decoder network's outputs; those of the next state differ from its inputs."""
    attention = ["attention"] if model.decoder.context.attends else []
    return ["log_probs", *attention, *(f"next_{name}" for name in names if name.startswith("state."))]


@contextmanager
def _quietly() -> Iterator[None]:
    """Hide the exporter's warnings about optional packages, constants and deprecations."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
