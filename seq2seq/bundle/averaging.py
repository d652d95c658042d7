"""Weight averaging: the mean of the weights of several models (Junczys-Dowmunt et al. 2016; Izmailov et al. 2018).

The result is as fast as one of them. It helps if all are in one basin of the loss: checkpoints of one run, or runs that
start from the same bundle (init_from). It is meaningless for models that were trained from different random weights, as
their units are in different orders: use an ensemble for those.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seq2seq.bundle.format import Bundle, described, load_bundle, save_bundle
from seq2seq.bundle.model_card import model_card
from seq2seq.bundle.weights import read_checkpoint
from seq2seq.errors import UserError
from seq2seq.models.equations import differences
from seq2seq.models.task_descriptors import TASKS
from seq2seq.text import difference

State = Mapping[str, Tensor]


class Part(NamedTuple):
    """A model to average: a bundle, or a checkpoint of the run that wrote the bundle."""

    name: str
    folder: Path  # the bundle
    checkpoint: Path | None = None


class Checkpoint(NamedTuple):
    """A checkpoint of a run; `value` is that of the run's monitor, `metric`."""

    path: Path
    step: int
    value: float | None
    metric: str | None
    larger_is_better: bool


def bundle_part(place: Path) -> Part:
    """The part for a bundle, or for the bundle of a run."""
    folder = place / "bundle" if (place / "run.json").is_file() else place
    return Part(str(folder), folder)


def checkpoint_parts(run: Path, *, best: int | None = None, last: int | None = None) -> list[Part]:
    """The `best` checkpoints of a run by its monitor, or the `last` ones by step.

    The `Part.folder` of a run that was stopped before it had a bundle does not exist yet. Raises `UserError` for a
    folder that is no run, and for a run with fewer checkpoints.
    """
    if not (run / "checkpoints").is_dir():
        raise UserError(f"{run}: has no checkpoints/; --best and --last take the folders of training runs")
    kept = sorted(_distinct(run / "checkpoints"), key=lambda each: -each.step)
    if best is not None:
        kept = [each for each in kept if each.value is not None]
        kept.sort(key=lambda each: -_rank(each))
    wanted = best or last or 0
    if not kept and (run / "checkpoints" / "last.ckpt").is_file():
        raise UserError(f"{run}: ended before a validation chose a checkpoint; resume it: seq2seq train resume={run}")
    if len(kept) < wanted:
        raise UserError(
            f"{run}: kept {len(kept)} checkpoints, not {wanted}; train with callbacks.checkpoint.save_top_k={wanted}"
        )
    return [Part(_name(each), run / "bundle", each.path) for each in kept[:wanted]]


def _rank(checkpoint: Checkpoint) -> float:
    assert checkpoint.value is not None
    return checkpoint.value if checkpoint.larger_is_better else -checkpoint.value


def _name(checkpoint: Checkpoint) -> str:
    value = "" if checkpoint.value is None else f", {checkpoint.metric} {checkpoint.value:.4g}"
    return f"{checkpoint.path} (step {checkpoint.step}{value})"


def _distinct(folder: Path) -> Iterator[Checkpoint]:
    """The checkpoints of a folder, one for each step, without last.ckpt, which may be from between two validations."""
    seen: set[int] = set()
    for path in sorted(folder.glob("*.ckpt")):
        checkpoint = _read(path)
        if checkpoint.step not in seen and path.name != "last.ckpt":
            seen.add(checkpoint.step)
            yield checkpoint


def _load(path: Path) -> dict[str, Any]:
    """Load a checkpoint. Raises `UserError` if it is not that of a training run."""
    state = read_checkpoint(path)
    if not isinstance(state.get("state_dict"), dict):
        raise UserError(f"{path}: is not a checkpoint of a training run (it has no state_dict)")
    return state


def _read(path: Path) -> Checkpoint:
    state = _load(path)
    metric, larger = None, True
    for key, values in state.get("callbacks", {}).items():
        if key.startswith("ModelCheckpoint{") and values.get("monitor"):
            metric, larger = values["monitor"], ast.literal_eval(key.removeprefix("ModelCheckpoint"))["mode"] == "max"
    value = state.get("seq2seq_metrics", {}).get(metric)
    return Checkpoint(path, int(state["global_step"]), value, metric, larger)


def mean(states: Iterable[State]) -> dict[str, Tensor]:
    """The mean of every floating-point tensor, summed in float64; other tensors are those of the first state. The
    states are consumed one at a time."""
    total: dict[str, Tensor] = {}
    kinds: dict[str, torch.dtype] = {}
    count = 0
    for state in states:
        count += 1
        for name, value in state.items():
            if name not in total:
                kinds[name] = value.dtype
                total[name] = value.double() if value.is_floating_point() else value.clone()
            elif value.is_floating_point():
                total[name] += value
    return {
        name: (value / count).to(kinds[name]) if kinds[name].is_floating_point else value
        for name, value in total.items()
    }


def average(parts: Sequence[Part], output: Path, *, command: str, trusted: Sequence[str] = ()) -> Bundle:
    """Write the mean of the parts as the bundle `output`, and return it. Configuration, tokenizers and search options
    are those of the first. Raises `UserError`, before anything is written, if the parts do not fit together."""
    if len(parts) < 2 and not (parts and parts[0].checkpoint):
        raise UserError(
            f"{parts[0].name if parts else 'average'}: one model is its own mean; "
            "give several bundles, or a run with --best K or --last K"
        )
    for i, part in enumerate(parts):
        if part in parts[:i]:
            raise UserError(f"average: {part.name} is given twice, and would count twice")
    bundles = {part.folder: load_bundle(part.folder, trusted=trusted) for part in parts}
    first = bundles[parts[0].folder]
    for folder, bundle in bundles.items():
        _check_alike(first, bundle, parts[0].folder, folder, trusted)
    made = mean(_state(part, bundles[part.folder]) for part in parts)
    first.model.load_state_dict(made)
    saved = described(parts[0].folder)
    provenance = {key: value for key, value in first.provenance.items() if key not in ("steps", "epochs")}
    provenance |= {"command": command, "averaged": [part.name for part in parts]}
    save_bundle(
        output,
        task=first.task,
        model=first.model,
        config=first.config,
        sizes=saved["sizes"],
        tokenizers=first.tokenizers,
        metrics={"tests": {}},
        search=saved["search"],
        card=_card(output.name, first, saved["sizes"], provenance),
        provenance=provenance,
    )
    return first._replace(metrics={"tests": {}}, provenance=provenance)


def _state(part: Part, bundle: Bundle) -> State:
    """The weights of a part. In a checkpoint, they are in the state of the TaskModule, under `model.`."""
    if part.checkpoint is None:
        return dict(bundle.model.state_dict())
    state = _load(part.checkpoint)["state_dict"]
    weights = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    shapes = {name: value.shape for name, value in bundle.model.state_dict().items()}
    if {name: value.shape for name, value in weights.items()} != shapes:
        raise UserError(f"{part.checkpoint}: does not fit the model of {part.folder}; it is of another run")
    return weights


def _check_alike(one: Bundle, other: Bundle, first: Path, second: Path, trusted: Sequence[str]) -> None:
    """Raise `UserError` with the first difference of task, vocabularies or equations."""
    if one.task != other.task:
        raise UserError(f"average: {first} is a bundle of task={one.task}, {second} of task={other.task}")
    for side in ("source", "target"):
        first_side, second_side = getattr(one.tokenizers, side), getattr(other.tokenizers, side)
        if first_side.fingerprint != second_side.fingerprint:
            reason = difference(first_side, second_side) or "the tokens are the same, but not how text is split"
            raise UserError(f"average: {first} and {second} have different {side} vocabularies: {reason}")
    for each in differences(one.config, other.config, trusted):
        raise UserError(f"average: {first} has {each.key}={each.one!r}, {second} has {each.other!r}")


def unrelated(bundles: Sequence[Mapping[str, Any]]) -> bool:
    """Whether models were trained from different random weights, by their provenances."""
    seeds = {each.get("seed") for each in bundles if "init_from=" not in str(each.get("command", ""))}
    return len(seeds) > 1


def _card(name: str, bundle: Bundle, sizes: Mapping[str, int], provenance: Mapping[str, Any]) -> str:
    use = f"```sh\nseq2seq {TASKS[bundle.task].command} BUNDLE …\n```"
    statistics = provenance.get("data_statistics", {})
    about = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in statistics.items() if key != "vocabulary")
    parts, count = "".join(f"- {part}\n" for part in provenance["averaged"]), len(provenance["averaged"])
    title = "The models whose mean it is" if count > 1 else "The checkpoint"
    return model_card(
        name=name,
        summary=f"The mean of the weights of {count} models." if count > 1 else "One checkpoint of a training run.",
        task=bundle.task,
        use=f"{use}\n\nIts scores were not measured; those of the models that it is made of do not hold for it.",
        languages=[provenance.get(f"{side}_language", "") for side in ("source", "target")],
        dataset=str(provenance.get("data", "")),
        data=f"{provenance.get('data', 'not recorded')}: {about}\n\n{title}:\n\n{parts}",
        sizes={"parameters": sum(p.numel() for p in bundle.model.parameters()), **sizes},
        scores={},
        command=str(provenance["command"]),
        provenance={
            key: value for key, value in provenance.items() if key not in ("command", "data_statistics", "averaged")
        },
    )
