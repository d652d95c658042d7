"""Which metric chooses the best model, ends a run early and lowers the learning rate, and which way of it is better.

A configuration names it as `monitor`: a logged metric, or `auto`, the task's own, for which another is taken before
training starts where it cannot distinguish models by the references of val. `mode` follows from the metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.training.base import Task

AUTO = "auto"
PLACES = ("callbacks.checkpoint", "callbacks.early_stopping", "scheduler")
"""The nodes of a configuration that may have a `monitor` and a `mode`."""

LOWER_IS_BETTER = ("loss", "perplexity", "bpc", "ter", "wer", "per", "wer-words", "levenshtein", "mse", "mae")
Mode = Literal["min", "max"]


class Settled(NamedTuple):
    """A configuration in which every `monitor` is a metric and every `mode` is min or max; `remarks` say what was
    chosen, and `warnings` what the user chose although it cannot distinguish models."""

    config: dict[str, Any]
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def direction(metric: str) -> Mode:
    """Which way of a logged metric is better: errors and losses are better the lower, scores the higher they are."""
    return "min" if metric.removeprefix("val_") in LOWER_IS_BETTER else "max"


def monitored(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The nodes of `PLACES` that have a `monitor`, each with its place."""
    for place in PLACES:
        node: Any = config
        for key in place.split("."):
            node = node.get(key) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping) and "monitor" in node:
            yield place, node


def check(config: Mapping[str, Any], metrics: Sequence[str], default: str) -> None:
    """Raise `UserError` for a `monitor` that is not among the logged `metrics`, and for a `mode` that contradicts it,
    or contradicts `default`, the task's own metric, where it is auto. (One that replaces it has the same direction.)"""
    for place, node in monitored(config):
        monitor, mode = node["monitor"], node.get("mode")
        if monitor not in (AUTO, *metrics):
            raise UserError(f"{place}.monitor={monitor!r}: use one of {', '.join(metrics)}, or {AUTO}")
        if mode not in (None, AUTO, "min", "max"):
            raise UserError(f"{place}.mode={mode!r}: use min or max, or {AUTO}")
        monitor = default if monitor == AUTO else monitor
        if mode in ("min", "max") and mode != direction(monitor):
            better = "lower" if mode == "max" else "higher"
            raise UserError(
                f"{place}.mode={mode}: {monitor} is better the {better} it is; leave mode out, or set it to "
                f"{direction(monitor)}"
            )


def settle(task: Task, config: Mapping[str, Any], data: Any, recorded: Mapping[str, str] | None = None) -> Settled:
    """Choose the metric of each `monitor=auto`, and each `mode`, for the whole run.

    `recorded` are the metrics by place that a resumed run has been using: they are kept. A metric that the task does
    not log is added to `task.metrics`, and the one that chooses the best model is first there.
    """
    settled, remarks, warnings = dict(config), dict[str, None](), list[str]()
    for place, node in monitored(config):
        monitor = node["monitor"]
        if monitor == AUTO:
            default = task.best_by(config)
            monitor, remark = _chosen(task, data, default, (recorded or {}).get(place))
            remarks |= {remark: None} if remark else {}
            if monitor != default or monitor not in task.logged(config):
                settled["task"] = task.reporting(settled, monitor)
        elif (weak := task.weakness(monitor, data)) and not recorded:
            warnings.append(
                f"{place}.monitor={monitor} is kept as given, but hardly distinguishes models: {weak.reason}; "
                f"{place}.monitor={AUTO} would take val_{weak.instead}"
            )
        settled |= _with(settled, place, monitor=monitor, mode=direction(monitor))
    return Settled(settled, tuple(remarks), tuple(warnings))


def _chosen(task: Task, data: Any, default: str, recorded: str | None) -> tuple[str, str]:
    """The metric of an `auto`, and a line about the choice."""
    if recorded is not None:
        return recorded, "" if recorded == default else f"best model by {recorded}, as before"
    if (weak := task.weakness(default, data)) is None:
        return default, ""
    chosen = f"val_{weak.instead}"
    return chosen, f"best model by {chosen}, since {default} could not distinguish models: {weak.reason}"


def recorded_in(config: Mapping[str, Any]) -> dict[str, str]:
    """The metrics by place that a checkpoint's configuration names."""
    return {place: str(node["monitor"]) for place, node in monitored(config)}


def best_by(config: Mapping[str, Any]) -> str:
    """The metric that chooses the best model of a settled configuration; "" where no model is chosen."""
    return recorded_in(config).get("callbacks.checkpoint", "")


def adopt(config: Mapping[str, Any], recorded: Mapping[str, str]) -> dict[str, Any]:
    """The configuration with the `recorded` metrics in the place of `auto`: what is compared when a run is resumed."""
    adopted = dict(config)
    for place, node in monitored(config):
        monitor = recorded.get(place, node["monitor"]) if node["monitor"] == AUTO else node["monitor"]
        adopted |= _with(adopted, place, monitor=monitor, mode=direction(monitor))
    return adopted


def _with(config: Mapping[str, Any], place: str, **values: Any) -> dict[str, Any]:
    """The top-level node of a configuration that holds `place`, with these values there."""
    first, _, rest = place.partition(".")
    node = config[first]
    return {first: {**node, **(_with(node, rest, **values) if rest else values)}}
