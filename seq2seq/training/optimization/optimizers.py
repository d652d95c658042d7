"""Optimizers and learning-rate schedules by name; torch's own, in their fused form where there is one."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from seq2seq.errors import UserError
from seq2seq.models.factory import check_key

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "adadelta": torch.optim.Adadelta,
}
NEVER = 1 << 62
"""Epochs between two steps of a schedule that Lightning is not to take."""

SCHEDULES = {
    "constant": ("warmup_steps",),
    "inverse_sqrt": ("warmup_steps",),
    "cosine": ("warmup_steps",),
    "step": ("warmup_steps", "start", "every", "factor"),
    "plateau": ("monitor", "mode", "factor", "patience", "min_lr", "restart"),
}


def check(optimizer: Mapping[str, Any], scheduler: Mapping[str, Any]) -> None:
    """Raise `UserError` for an unknown name, a key that it does not know, or a learning rate that is not positive."""
    kind = OPTIMIZERS[_name(optimizer, "optimizer", OPTIMIZERS)]
    known = {key: each.default for key, each in inspect.signature(kind).parameters.items() if key != "params"}
    for key, value in optimizer.items():
        check_key(key, ["name", *known], "optimizer", str(optimizer["name"]))
        if isinstance(known.get(key), bool) and not isinstance(value, bool):
            raise UserError(f"optimizer.{key}={value!r}: must be true or false")
    name = _name(scheduler, "scheduler", SCHEDULES)
    for key in scheduler:
        check_key(key, ["name", *SCHEDULES[name]], "scheduler", name)
    lr = optimizer.get("lr", 0)
    if not isinstance(lr, (int, float)) or not 0 < lr < math.inf:
        raise UserError(f"optimizer.lr={lr} must be above 0")
    if scheduler.get("warmup_steps", 0) < 0 or (name == "inverse_sqrt" and scheduler.get("warmup_steps", 0) < 1):
        raise UserError(f"scheduler.warmup_steps={scheduler['warmup_steps']} is too small for {name}")
    if name == "step" and scheduler["start"] < scheduler.get("warmup_steps", 0):
        raise UserError(
            f"scheduler.start={scheduler['start']}: the warm-up has {scheduler['warmup_steps']} steps; start after it"
        )
    _try(optimizer, scheduler)


def _try(optimizer: Mapping[str, Any], scheduler: Mapping[str, Any]) -> None:
    """Take one step with one number, to check the options by torch. Raises `UserError` where it refuses."""
    weight, place = Parameter(torch.zeros(1)), "optimizer"
    weight.grad = torch.ones(1)
    try:
        made = make_optimizer([weight], optimizer)
        made.step()
        place, tried = "scheduler", scheduler
        if scheduler.get("mode") in ("auto", None) and "mode" in scheduler:  # settled once the metric is known
            tried = {**scheduler, "mode": "min"}
        make_scheduler(made, tried, 1.0)
    except UserError:
        raise
    except Exception as error:  # torch has no class of its own for options
        said = " ".join(str(error).split())
        name = (optimizer if place == "optimizer" else scheduler)["name"]
        raise UserError(f"{place}.name={name}: torch refuses these options: {said}") from None


def make_optimizer(parameters: Iterable[Parameter], config: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimizer of a configuration such as conf/optimizer/adam.yaml."""
    kind = OPTIMIZERS[config["name"]]
    options: dict[str, Any] = {
        key: tuple(map(float, value)) if key == "betas" else value for key, value in config.items() if key != "name"
    }
    if "fused" in inspect.signature(kind).parameters:
        options.setdefault("fused", True)
    return kind(parameters, **options)


def make_scheduler(
    optimizer: torch.optim.Optimizer, config: Mapping[str, Any], total_steps: float
) -> dict[str, Any] | None:
    """Lightning's description of a schedule; None where the learning rate never changes.

    Lightning would check a plateau once an epoch, or once a step; a `TaskModule` does at each validation.
    """
    name, warmup = config["name"], config.get("warmup_steps", 0)
    if name == "plateau":
        options = {key: value for key, value in config.items() if key not in ("name", "monitor", "restart")}
        return {
            "scheduler": ReduceLROnPlateau(optimizer, **options),
            "monitor": config["monitor"],
            "frequency": NEVER,
        }
    if name == "constant" and not warmup:
        return None
    if name == "cosine" and not math.isfinite(total_steps):
        raise UserError("scheduler=cosine needs an end: set trainer.max_epochs or trainer.max_steps")
    rate = steps(config, warmup) if name == "step" else factor(name, warmup, total_steps)
    return {"scheduler": LambdaLR(optimizer, rate), "interval": "step"}


def steps(config: Mapping[str, Any], warmup: int) -> Callable[[int], float]:
    """The factor of `scheduler=step` as a function of the optimizer steps done: f^(1 + ⌊(step − start) / every⌋) from
    `start` on."""

    def at(step: int) -> float:
        if step < config["start"]:
            return min(1.0, (step + 1) / warmup) if warmup else 1.0
        return float(config["factor"] ** (1 + (step - config["start"]) // config["every"]))

    return at


def unfinished_warmup(config: Mapping[str, Any], lr: float, total_steps: float) -> str | None:
    """One line where a run of `total_steps` optimizer steps ends before its warm-up does."""
    warmup = config.get("warmup_steps", 0)
    if warmup <= total_steps:
        return None
    return (
        f"scheduler.warmup_steps={warmup}: training has only {total_steps:,.0f} optimizer steps, so the learning rate "
        f"ends at {lr * total_steps / warmup:.3g} and never reaches optimizer.lr={lr:g}; lower it"
    )


def factor(name: str, warmup: int, total_steps: float) -> Callable[[int], float]:
    """The factor of the learning rate as a function of the optimizer steps done."""

    def at(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if name == "inverse_sqrt":
            return math.sqrt(warmup / (step + 1))
        if name == "cosine":
            done = (step - warmup) / max(1.0, total_steps - warmup)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return 1.0

    return at


def _name(config: Mapping[str, Any], place: str, known: Mapping[str, object]) -> str:
    name = config.get("name")
    if name not in known:
        raise UserError(f"{place}.name={name!r} is not known; use one of {', '.join(known)}")
    return str(name)
