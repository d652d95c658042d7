"""The format of bundles: a trained model as a folder of plain files, written atomically; loading does not trust them.

    model.safetensors   the weights; tied ones are stored once
    config.json         format version, task, model, sizes, search, provenance
    metrics.json        scores with their signatures
    joint.json, …       the tokenizers (seq2seq/text/tokenizer.py)
    README.md           the model card, which may be edited
    checksums.json      sha256 of all the others

Loading unpickles nothing, and imports nothing but what `factory.resolve` allows.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from seq2seq.bundle.files import (
    CARD,
    CHECKSUMS,
    CONFIG,
    METRICS,
    MODEL,
    check_place,
    read_object,
    replacing,
    verify,
    write_json,
)
from seq2seq.bundle.weights import Header, build_within, check_depth, load_weights, read_header
from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.models.source_factors import PLACE, factor_sizes
from seq2seq.models.task_descriptors import TASKS
from seq2seq.runtime.atomic_files import digest_of
from seq2seq.runtime.old_names import current
from seq2seq.runtime.redaction import hide
from seq2seq.search import SearchOptions
from seq2seq.text import BOS, EOS, PAD, Tokenizers, load_tokenizers

FORMAT_VERSION = 2  # 1 was for translation only
SIZES = ("source", "target", "features", "outputs")
SPECIALS = {"bos": BOS, "eos": EOS, "pad": PAD}
MOST = {"beam_size": 1000, "min_length": 100_000, "max_length_ratio": 1000, "max_length_extra": 100_000}
Item = TypeVar("Item")


class Bundle(NamedTuple):
    """A loaded bundle; `config` is the configuration of the model, for `factory.model` and `task`."""

    task: str
    model: Any  # the result of `factory.model` for the task, in eval mode
    tokenizers: Tokenizers
    config: dict[str, Any]
    metrics: dict[str, Any]
    search: SearchOptions  # the default search options
    provenance: dict[str, Any]


def save_bundle(
    folder: Path,
    *,
    task: str,
    model: nn.Module,
    config: Mapping[str, Any],
    sizes: Mapping[str, int],
    tokenizers: Tokenizers,
    metrics: Mapping[str, Any],
    search: Mapping[str, Any],
    card: str,
    provenance: Mapping[str, Any],
) -> None:
    """Write a bundle, replacing an older one, which is unchanged after an exception. Secrets of the environment are
    hidden in its texts.

    Args:
        folder: the folder to write; missing parents are created.
        task: a name in `TASKS`.
        model: the model, on any device and in any mode.
        config: the configuration, of which the task's nodes are stored.
        sizes: the sizes that `factory.model` was called with.
        tokenizers: the tokenizers of both sides.
        metrics: a JSON object; numbers that are not finite become null.
        search: `SearchOptions` by name that differ from the defaults; special tokens are ignored.
        card: the text of README.md, from `seq2seq.bundle.model_card.model_card`.
        provenance: all that affects the result: versions, seed, fingerprint of the data, command.

    Raises `UserError` if `folder` exists and is no bundle, or cannot be written, or an option is invalid.
    """
    from safetensors.torch import save_model

    description = _description(task, config, sizes, search, provenance)
    with replacing(folder) as made:
        save_model(model, str(made / MODEL), {"format": "pt"})
        tokenizers.save(made)
        write_json(made / CONFIG, description)
        write_json(made / METRICS, hide(metrics))
        write_json(made / CHECKSUMS, {path.name: digest_of(path) for path in sorted(made.iterdir())})
        (made / CARD).write_text(hide(card), encoding="utf-8", newline="\n")
        for path in made.iterdir():
            path.chmod(0o644)


def _description(
    task: str,
    config: Mapping[str, Any],
    sizes: Mapping[str, int],
    search: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of config.json."""
    _search_options(search)
    return {
        "format_version": FORMAT_VERSION,
        "task": task,
        "model": current({name: _of_the_model(node) for name, node in TASKS[task].model_nodes(config).items()}),
        "sizes": dict(sizes),
        "search": {name: value for name, value in search.items() if name not in SPECIALS},
        "provenance": hide(dict(provenance)),
    }


def _of_the_model(node: Any) -> Any:
    """A node without files of the machine that trained: what they began with is in the weights."""
    if not isinstance(node, Mapping):
        return node
    return {key: value for key, value in node.items() if key not in factory.OF_TRAINING}


def check_task(bundle: Bundle, *tasks: str) -> None:
    """Raise `UserError`, with the right command, if a bundle's task is none of these."""
    if bundle.task not in tasks:
        command = TASKS[bundle.task].command
        raise UserError(f"the bundle's task is {bundle.task}, not {' or '.join(tasks)}; use `seq2seq {command}`")


def load_bundle(folder: Path | str, *, trusted: Sequence[str] = (), device: str = "cpu") -> Bundle:
    """Load a bundle. `trusted` are packages, in addition to this one, whose components it may use.

    Raises:
        UserError: a file is missing, damaged, of another format, or does not fit the others; the device does not exist.
    """
    folder, place = Path(folder), _device(device)
    config = described(folder)
    check_place(folder / MODEL)
    header = read_header(folder / MODEL)  # before it is hashed, as its size may be faked
    verify(folder)
    metrics = read_object(folder / METRICS)
    tokenizers, search = _text_side(folder, config)
    model = _blaming(folder / CONFIG, lambda: _build(config, header, trusted))
    load_weights(model, folder / MODEL)
    model = model.to(place).eval()
    return Bundle(config["task"], model, tokenizers, config["model"], metrics, search, config["provenance"])


def read_text_side(folder: Path) -> tuple[Tokenizers, SearchOptions]:
    """Load the tokenizers and search options of a bundle, not its model. Raises `UserError` as `load_bundle` does."""
    config = described(folder)
    verify(folder)
    return _text_side(folder, config)


def _text_side(folder: Path, config: Mapping[str, Any]) -> tuple[Tokenizers, SearchOptions]:
    tokenizers = load_tokenizers(folder)
    for side, tokenizer in (("source", tokenizers.source), ("target", tokenizers.target)):
        if side in config["sizes"] and config["sizes"][side] != len(tokenizer):
            raise UserError(
                f"{folder / CONFIG}: sizes.{side}={config['sizes'][side]!r}, but the tokenizer next to it has "
                f"{len(tokenizer)} tokens; the files are of different bundles: copy the bundle again"
            )
    there = {name: size for name, size in config["sizes"].items() if name.startswith(PLACE)}
    if there != factor_sizes(tokenizers):
        raise UserError(
            f"{folder / CONFIG}: has sizes of other factors than the file next to it; the files are of different "
            "bundles: copy the bundle again"
        )
    return tokenizers, _blaming(folder / CONFIG, lambda: _affordable(_search_options(config["search"])))


def fingerprint(folder: Path) -> str:
    """The sha256 of a bundle's content, computed from its checksums. Raises `UserError` for another folder."""
    described(folder)
    check_place(folder / CHECKSUMS)
    return digest_of(folder / CHECKSUMS)


def read_provenance(folder: Path) -> tuple[dict[str, Any], str]:
    """The provenance of a bundle, and the sha256 of its weights. Raises `UserError` for an incomplete bundle."""
    config = described(folder)
    verify(folder)
    return config["provenance"], str(read_object(folder / CHECKSUMS)[MODEL])


def _build(config: Mapping[str, Any], header: Header, trusted: Sequence[str]) -> nn.Module:
    """The model with random weights; the state of the random generator is unchanged."""
    task, nodes = config["task"], config["model"]
    for name in nodes:
        factory.check_key(name, (*TASKS[task].nodes, *TASKS[task].optional), "model", task)
    check_depth(nodes, header)
    with torch.random.fork_rng(devices=[]):
        return build_within(header, lambda: factory.model(task, nodes, config["sizes"], trusted))


def _search_options(options: Mapping[str, Any]) -> SearchOptions:
    factory.check_options(options, SearchOptions, "search")
    return SearchOptions(**{**options, **SPECIALS})


def _affordable(options: SearchOptions) -> SearchOptions:
    """Raise UserError for stored options that would need too much memory; a caller may still set larger ones."""
    for name, most in MOST.items():
        if (value := getattr(options, name)) > most:
            raise UserError(f"search.{name}={value}: at most {most} is allowed in a bundle")
    return options


def described(folder: Path) -> dict[str, Any]:
    """The content of config.json, upgraded to the current format and class names. Raises `UserError` for a folder that
    is no bundle, and for a format that is newer."""
    if not (folder / CONFIG).exists():
        inside = folder / "bundle"
        hint = f"did you mean {inside}?" if (inside / CONFIG).is_file() else "give the folder that a training run wrote"
        what = (
            f"it has no {CONFIG}"
            if folder.is_dir()
            else "it is a file"
            if folder.exists()
            else "there is no such folder"
        )
        raise UserError(f"{folder}: is not a bundle ({what}); {hint}")
    config = _upgraded(read_object(folder / CONFIG))
    if (version := config.get("format_version")) != FORMAT_VERSION:
        raise UserError(
            f"{folder / CONFIG}: format_version={version!r}, but this seq2seq reads {FORMAT_VERSION} and older; "
            "use the version of seq2seq that wrote it, or train again"
        )
    for key, kind in {"task": str, "model": dict, "sizes": dict, "search": dict, "provenance": dict}.items():
        if not isinstance(config.get(key), kind):
            raise UserError(f"{folder / CONFIG}: {key}={config.get(key)!r} is not what a bundle has; copy it again")
    if config["task"] not in TASKS:
        raise UserError(
            f"{folder / CONFIG}: task={config['task']!r} is not known; this seq2seq knows {', '.join(TASKS)}"
        )
    config["model"] = current(config["model"])
    for name, size in config["sizes"].items():
        known = name in SIZES or name.startswith(PLACE)
        if not known or not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise UserError(f"{folder / CONFIG}: sizes.{name}={size!r} is not what a bundle has; copy it again")
    return config


def _upgraded(config: dict[str, Any]) -> dict[str, Any]:
    """Convert a configuration of format 1 to format 2."""
    if config.get("format_version") != 1:
        return config
    sizes = {side: config.pop(f"{side}_vocabulary_size", None) for side in ("source", "target")}
    return config | {"format_version": 2, "task": "translation", "sizes": sizes}


def _blaming(path: Path, make: Callable[[], Item]) -> Item:
    """Call `make`; add the name of the file to its errors."""
    try:
        return make()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError, RuntimeError) as error:
        raise UserError(f"{path}: describes no model that can be built ({type(error).__name__}: {error})") from error


def _device(name: str) -> torch.device:
    try:
        torch.empty(0, device=name).tolist()  # fails for meta, which has no values
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = textwrap.shorten(str(error), 100, placeholder=" …")
        raise UserError(
            f"device {name!r} cannot be used ({reason}); use cpu, or cuda or mps where torch sees one"
        ) from None
