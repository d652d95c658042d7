"""Overrides that switch a part off in a way that Hydra has no word for: `scheduler=null`, `~logger`, `~name`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from seq2seq.runtime.paths import packaged

NONE_ALREADY = ("experiment",)  # groups of which nothing is chosen unless somebody does
LISTS = ("logger",)  # groups of which several can be chosen, and none by an empty list
KEPT = ("name",)  # other keys are made of it, so that it cannot be taken away, only left as it is


def spelled_for_hydra(overrides: Iterable[str]) -> list[str]:
    """The same overrides as Hydra spells them.

    `GROUP=null` and `~GROUP` mean that there is no such part: what the run does then, `seq2seq.training.switched_off`
    says. `~name` is left out, so that the name is the usual one.
    """
    return [new for text in overrides if (new := _spelled(text)) is not None]


def _spelled(override: str) -> str | None:
    key, sign, value = override.partition("=")
    group = key.removeprefix("~")
    if key.startswith("~") and sign == "" and group in KEPT:
        return None
    if group.partition("@")[0] not in groups() or not (key.startswith("~") or value == "null"):
        return override
    if group in NONE_ALREADY and (value == "null" or not sign):
        return None
    if group in LISTS and (value == "null" or not sign):
        return f"{group}=[]"
    return override if key.startswith("~") else f"~{group}"


@cache
def groups() -> frozenset[str]:
    """The packaged groups of options, such as `scheduler`."""
    return frozenset(path.name for path in packaged("conf").iterdir() if path.is_dir() and path.name != "hydra")
