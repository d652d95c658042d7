"""The same numbers as on the CPU: every preset, cell, context, head, encoder and task, every path, and the texts of
searches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.gpu.check import Cases, Setting
from seq2seq.models import factory
from seq2seq.models.components import GIVEN, component
from seq2seq.models.label_model import padded_sets, sets
from seq2seq.nn.cells import Cell
from seq2seq.nn.losses import token_cross_entropy
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import IGNORED, Features, Inputs, Tokens, map_tensors, unpadded_ids
from seq2seq.text.vocabulary import BOS, EOS, PAD

CONF = Path(__file__).parents[2] / "conf"
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
VOCABULARY, WIDTH, LABELS = 50, 12, 9
FIRST = EOS + 1  # the id of label 0
SMALL = ["embedding.size=24", "embedding.dropout=0", "encoder.hidden_size=16", "encoder.dropout=0", "head.dropout=0"]
TRANSLATION = ["decoder.hidden_size=32", "decoder.dropout=0"]
PRESETS = ("default", "cho2014", "bahdanau2015", "luong2015", "sutskever2014")
COPIED = {"sutskever2014": ["encoder.hidden_size=32"], "luong2015": ["encoder.hidden_size=16"]}


@cache
def composed(*overrides: str) -> dict[str, Any]:
    """The configuration of `seq2seq train OVERRIDES`."""
    from seq2seq.cli.composing.configurations import composed, composing

    with composing():
        return composed(["name=gpu", *overrides])


def names(group: str) -> list[str]:
    """The components of a group, by their YAML files."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def translations() -> dict[str, list[str]]:
    """Overrides of every preset, and of every component in the model with attention."""
    found = {f"model={name}": [f"model={name}", *COPIED.get(name, ())] for name in PRESETS}
    found |= {f"cell={name}": ["model=bahdanau2015", f"cell={name}"] for name in names("cell")}
    found |= {f"context={name}": [f"context={name}"] for name in names("context")}
    found |= {f"head={name}": ["model=bahdanau2015", f"head={name}"] for name in names("head")}
    found |= {f"encoder={name}": [f"encoder={name}"] for name in ("gnmt", "pyramidal", "recurrent")}
    found["two layers"] = ["encoder.num_layers=2", "decoder.num_layers=2", "context=additive"]
    return found


def models(setting: Setting, cases: Cases) -> None:
    """Loss and gradients of every model on the device against the CPU's in float64."""
    made = translations()
    if setting.quick:
        made = {name: made[name] for name in ("model=default", "model=bahdanau2015")}
    for name, overrides in made.items():
        cases.run(f"translation {name}", _compared, setting, "translation", [*SMALL, *TRANSLATION, *overrides])
    for name, (task, overrides) in OTHERS.items():
        cases.run(name, _compared, setting, task, overrides)
    for smoothing in (0.0, 0.1):
        cases.run(f"loss in chunks, smoothing {smoothing}", _chunked, setting, smoothing)


LABELLED = ["embedding.size=24", "embedding.dropout=0", "encoder.hidden_size=16", "encoder.dropout=0", "head.dropout=0"]
OTHERS: dict[str, tuple[str, list[str]]] = {
    "tagging": ("tagging", ["task=tagging", *LABELLED]),
    "tagging, sets": ("tagging", ["task=tagging", "labels.many=true", "task.entities=false", *LABELLED]),
    "classification": ("classification", ["task=classification", "data.corpus.labels=intents", *LABELLED]),
    "classification, sets": (
        "classification",
        ["task=classification", "data.corpus.labels=intents", "labels.many=true", "context=additive", *LABELLED],
    ),
    "language modelling": ("language_modeling", ["task=language_modeling", "data=shakespeare", *LABELLED]),
    "captioning": ("captioning", ["task=captioning", "encoder=recurrent", *SMALL, *TRANSLATION]),
}


def _compared(setting: Setting, task: str, overrides: Sequence[str]) -> dict[str, Any]:
    """‖on the device − reference‖ / ‖reference‖ of the loss and of the worst gradient."""
    torch.manual_seed(0)
    model = build(task, composed(*overrides)).double().train()
    batch = batch_of(task, model, 16)
    reference = _gradients(task, model, batch)
    found: dict[str, Any] = {"ok": True}
    for dtype, tolerance in TOLERANCE.items():
        with exact():
            moved = copy.deepcopy(model).to(setting.device, dtype)
            values = _gradients(task, moved, _moved(batch, setting.device, dtype))
        errors = {name: distance(values[name], wanted) for name, wanted in reference.items()}
        worst = max(errors, key=lambda name: errors[name])
        known = str(dtype).removeprefix("torch.")
        found[known] = {"loss": errors["loss"], "worst_gradient": errors[worst], "of": worst}
        found["ok"] = found["ok"] and errors[worst] <= tolerance
    return found


def _chunked(setting: Setting, smoothing: float) -> dict[str, Any]:
    """The loss in chunks against all logits at once; on a GPU with rows that are left out."""
    torch.manual_seed(0)
    features, weight, bias = torch.randn(3000, 7), torch.randn(11, 7), torch.randn(11)
    targets = torch.randint(0, 11, (3000,)).to(setting.device)
    if setting.cuda:
        targets[::5] = IGNORED
    found = []
    for path in ("plain", "chunks"):
        leaves = [each.to(setting.device, torch.double).requires_grad_() for each in (features, weight, bias)]
        loss = token_cross_entropy(*leaves, targets, label_smoothing=smoothing, path=path)
        loss.backward()
        found.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    error = max(distance(one, other.cpu()) for one, other in zip(found[1], found[0], strict=True))
    return {"ok": error < TOLERANCE[torch.float64], "error": error}


def _moved(batch: Any, device: str, dtype: torch.dtype) -> Any:
    return map_tensors(lambda x: x.to(device, dtype) if x.is_floating_point() else x.to(device), batch)


def distance(value: Tensor, wanted: Tensor) -> float:
    """The relative error in the norm; a NaN is infinitely far."""
    error = float((value.detach().cpu().double() - wanted.double()).norm() / wanted.double().norm().clamp(min=1e-12))
    return error if error == error else float("inf")


class exact:  # noqa: N801  a context manager
    """Float32 in full within: neither products nor cuDNN use TF32."""

    def __enter__(self) -> None:
        self.before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision(self.before[0])
        torch.backends.cudnn.allow_tf32 = self.before[1]


def build(task: str, config: dict[str, Any]) -> Any:
    """A model of small vocabularies, whose weights are large enough for opinions."""
    sizes = {"source": VOCABULARY, "target": VOCABULARY}
    if task in ("tagging", "classification"):
        sizes["target"] = FIRST + LABELS
    if task == "captioning":
        sizes = {"features": WIDTH, "target": VOCABULARY}
    return factory.model(task, config, sizes)


def batch_of(task: str, model: Any, size: int, seed: int = 0) -> Any:
    """A padded batch of random tokens (or rows of numbers), whose padding is noise."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 14, (size,), generator=generator)
    ids = torch.randint(FIRST, VOCABULARY, (size, 14), generator=generator)
    source: Any = Tokens(ids, lengths)
    if task == "translation":
        ids[torch.arange(size), lengths - 1] = EOS
    if task == "captioning":
        source = Features(torch.randn(size, 14, WIDTH, generator=generator, dtype=torch.double), lengths)
    target = Tokens(*tokens(size, generator))
    if task == "tagging":
        target = Tokens(torch.randint(FIRST, FIRST + LABELS, (size, 15), generator=generator), lengths + 1)
    if task == "classification":
        target = Tokens(torch.randint(FIRST, FIRST + LABELS, (size, 2), generator=generator), torch.full((size,), 2))
    if getattr(model, "many", False):
        target = _sets(lengths if task == "tagging" else torch.ones_like(lengths), generator)
    return source, target


def tokens(size: int, generator: torch.Generator, longest: int = 13) -> tuple[Tensor, Tensor]:
    """Token sequences of 1 to `longest` tokens, each ending with eos."""
    lengths = torch.randint(1, longest + 1, (size,), generator=generator)
    ids = torch.randint(FIRST, VOCABULARY, (size, longest), generator=generator)
    ids[torch.arange(size), lengths - 1] = EOS
    return ids, lengths


def _sets(counts: Tensor, generator: torch.Generator) -> Tokens:
    """For each sentence so many sets of no to two labels, and eos."""
    rows = []
    for count in counts.tolist():
        row: list[int] = []
        for held in torch.randint(0, 3, (count,), generator=generator).tolist():
            row += [BOS, *torch.randperm(LABELS, generator=generator)[:held].add(FIRST).tolist()]
        rows.append(torch.tensor([*row, EOS]))
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    return Tokens(ids, torch.tensor([len(row) for row in rows]))


def loss_of(task: str, model: Any, batch: Any) -> Tensor:
    """The loss as the task's training computes it."""
    source, target = batch
    if task in ("translation", "captioning"):
        loss: Tensor = model.loss(source, target)
    elif task == "language_modeling":
        ids = source.ids
        loss = model.loss(ids[:, :-1], ids[:, 1:], model.init_state(len(ids)))[0]
    else:
        features = model(source)
        loss = model.loss(features, _labels(task, model, target, len(features)))
    return loss


def _labels(task: str, model: Any, target: Tokens, count: int) -> Tensor:
    on_cpu = target.ids.device.type == "cpu"
    width = target.ids.size(1) if on_cpu else count // len(target.ids)
    if not model.many:
        return unpadded_ids(Tokens(target.ids[:, :width] - FIRST, target.lengths - 1))
    arguments = target, BOS, FIRST, LABELS
    return (sets(*arguments) if on_cpu else padded_sets(*arguments, width)).to(model.head.weight.dtype)


def _gradients(task: str, model: Any, batch: Any) -> dict[str, Tensor]:
    model.zero_grad()
    loss = loss_of(task, model, batch)
    loss.backward()
    found = {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **found}


# Paths: each way to run a cell, on the device


def paths(setting: Setting, cases: Cases) -> None:
    """Outputs and gradients of every cell on every path that it offers, with pads, both ways, against the CPU's."""
    for name in names("cell")[: 2 if setting.quick else None]:
        config = composed(*SMALL, *TRANSLATION, f"cell={name}")["encoder"]["cell"]
        make: Callable[..., Cell[Any]] = component(config, "encoder.cell", GIVEN["cell"])
        torch.manual_seed(0)
        cell = make(24, 16).double()
        for path in ("auto", "step", *cell.paths):
            for reverse in (False, True):
                cases.run(f"{name} {path}{' reverse' * reverse}", _path, setting, cell, path, reverse)


def _path(setting: Setting, cell: Cell[Any], path: Any, reverse: bool) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(9, 11, 24, generator=generator, dtype=torch.double)
    mask = torch.arange(11) < torch.randint(0, 12, (9, 1), generator=generator)
    wanted, found = _run(cell, x, mask, "step", reverse), {"ok": True}
    for dtype, tolerance in TOLERANCE.items():
        with exact():
            moved = copy.deepcopy(cell).to(setting.device, dtype)
            values = _run(moved, x.to(setting.device, dtype), mask.to(setting.device), path, reverse)
        error = max(distance(value, other) for value, other in zip(values, wanted, strict=True))
        found[str(dtype).removeprefix("torch.")] = error
        found["ok"] = found["ok"] and error <= tolerance
    return found


def _run(cell: Cell[Any], x: Tensor, mask: Tensor, path: Any, reverse: bool) -> list[Tensor]:
    x = x.detach().requires_grad_()
    cell.zero_grad()
    outputs, final = unroll(cell, Inputs(x), mask, reverse=reverse, path=path)
    (outputs.square().sum() + final.h.sum()).backward()
    gradients = [p.grad for p in cell.parameters() if p.grad is not None]
    return [outputs.detach(), final.h.detach(), x.grad, *gradients]  # type: ignore[list-item]
