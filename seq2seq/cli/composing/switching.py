"""Convert overrides that switch a part off to Hydra's syntax: `scheduler=null`, `~logger`, `~name`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from seq2seq.runtime.paths import packaged

NONE_ALREADY = ("experiment",)  # groups without a default
LISTS = ("logger",)  # groups from which several can be chosen; the empty list switches them off
KEPT = ("name",)  # keys that cannot be removed, as others are interpolated from them


def spelled_for_hydra(overrides: Iterable[str]) -> list[str]:
    """The same overrides in Hydra's syntax.

    `GROUP=null` and `~GROUP` mean that there is no such part: `seq2seq.training.configuration.switched_off` has the
    consequences. `~name` is dropped, so that the name is the default.
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
    """The names of the config groups, such as `scheduler`."""
    return frozenset(path.name for path in packaged("conf").iterdir() if path.is_dir() and path.name != "hydra")
