"""The options that the packaged YAML files have, by their places: mistyped keys are compared with them."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from seq2seq.runtime.paths import packaged

# The places of a group's options, where that is not the group's name.
PLACES = {"cell": ("encoder.cell", "decoder.cell"), "feedback": ("decoder.feedback",), "model": ("",), "": ("",)}
GLOBAL = "# @package _global_"
LEFT_OUT = ("defaults", "hydra")


@cache
def catalogue() -> dict[str, list[Any]]:
    """Each option's place (`encoder.hidden_size`), and the values that it has in the YAML files."""
    values: dict[str, list[Any]] = {}
    for path, places in files():
        for place in places:
            for name, value in leaves(read(path), place):
                values.setdefault(name, []).append(value)
    return values


def files() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Each packaged YAML file that is not about Hydra itself, and the places of its options."""
    root = packaged("conf")
    for path in sorted(root.rglob("*.yaml")):
        group = path.parent.relative_to(root).as_posix().removeprefix(".")
        if group.startswith("hydra"):
            continue
        everywhere = path.read_text(encoding="utf-8").startswith(GLOBAL)
        yield path, ("",) if everywhere else PLACES.get(group, (group,))


def read(path: Path) -> dict[str, Any]:
    """A packaged YAML file without what is Hydra's own."""
    return copy.deepcopy(_parsed(path))


@cache
def _parsed(path: Path) -> dict[str, Any]:
    import yaml

    options = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return {key: value for key, value in options.items() if key not in LEFT_OUT}


def leaves(node: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    """The values below a node that are no nodes themselves (an empty node is a value), with their places."""
    for key, value in node.items():
        name = f"{place}.{key}" if place else str(key)
        if isinstance(value, Mapping) and value:
            yield from leaves(value, name)
        else:
            yield name, value


@cache
def below(place: str) -> list[str]:
    """The keys that the YAML files have directly below a place."""
    depth = len(place.split(".")) if place else 0
    parts = [name.split(".") for name in catalogue()]
    return sorted({each[depth] for each in parts if len(each) > depth and ".".join(each[:depth]) == place})


def nearest(place: str) -> str | None:
    """The option (or node) nearest to a place that does not exist; None where it exists, or nothing is like it."""
    known = {".".join(name.split(".")[: i + 1]) for name in catalogue() for i in range(name.count(".") + 1)}
    known |= {path.parent.name for path, _ in files() if path.parent != packaged("conf")}
    return None if place in known else next(iter(difflib.get_close_matches(place, sorted(known), 1)), None)


def choices(group: str) -> list[str]:
    """The names of a group's packaged options, such as `gru` of `cell`; none where there is no such group."""
    return sorted(path.stem for path in (packaged("conf") / group).glob("*.yaml"))
