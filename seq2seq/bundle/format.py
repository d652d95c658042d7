"""A trained model as a folder of plain files, written whole or not at all, and read without trusting it.

    model.safetensors   the weights, a tied one once
    config.json         format version, task, model, sizes, search, provenance
    metrics.json        scores with their signatures
    joint.json, …       the tokenizers (seq2seq/text/tokenizer.py)
    README.md           the model card, for people, who may edit it
    checksums.json      sha256 of all the others

Loading unpickles nothing, and imports nothing but what `factory.resolve` allows.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from seq2seq.bundle.weights import Header, build_within, check_depth, load_weights, read_header
from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.models.old_names import current
from seq2seq.models.task_descriptors import TASKS
from seq2seq.runtime.atomic_files import digest_of
from seq2seq.runtime.redaction import hide
from seq2seq.runtime.strict_json import read_json
from seq2seq.search import SearchOptions
from seq2seq.text import BOS, EOS, PAD, TOKENIZER_FILES, Tokenizers, load_tokenizers

LIMIT = 64 << 20  # bytes of any file but the weights
FORMAT_VERSION = 2  # 1 knew translation only
MODEL, CONFIG, METRICS, CARD, CHECKSUMS = (
    "model.safetensors",
    "config.json",
    "metrics.json",
    "README.md",
    "checksums.json",
)
SIZES = ("source", "target", "features")
SPECIALS = {"bos": BOS, "eos": EOS, "pad": PAD}
MOST = {"beam_size": 1000, "min_length": 100_000, "max_length_ratio": 1000, "max_length_extra": 100_000}
Item = TypeVar("Item")


class Bundle(NamedTuple):
    """A trained model as it was saved; `config` is the configuration that `factory.model` understands for `task`."""

    task: str
    model: Any  # what `factory.model` makes for the task, in eval mode
    tokenizers: Tokenizers
    config: dict[str, Any]
    metrics: dict[str, Any]
    search: SearchOptions  # the defaults of translating
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
    """Write a bundle, in place of an older one; after an exception the older one stands as it did. No secret of the
    environment stands in what it tells of itself.

    Args:
        folder: where to; its parents are made.
        task: a name of `TASKS`.
        model: of any device and mode.
        config: the task's nodes are kept.
        sizes: those that `factory.model` was given.
        tokenizers: of both sides.
        metrics: anything that JSON can say; a number that is not finite becomes null.
        search: `SearchOptions` by name, those that are not the defaults; the special tokens need not be given.
        card: the text of README.md, see `seq2seq.bundle.model_card.model_card`.
        provenance: what decides the result: versions, seed, fingerprint of the data, command.

    Raises:
        UserError: `folder` is something else than a bundle, or cannot be written; a search option is wrong.
    """
    from safetensors.torch import save_model

    _search_options(search)
    described = {
        "format_version": FORMAT_VERSION,
        "task": task,
        "model": current({name: config[name] for name in TASKS[task].nodes}),
        "sizes": dict(sizes),
        "search": {name: value for name, value in search.items() if name not in SPECIALS},
        "provenance": hide(dict(provenance)),
    }
    with replacing(folder) as made:
        save_model(model, str(made / MODEL), {"format": "pt"})
        tokenizers.save(made)
        _write_json(made / CONFIG, described)
        _write_json(made / METRICS, hide(metrics))
        _write_json(made / CHECKSUMS, {path.name: digest_of(path) for path in sorted(made.iterdir())})
        (made / CARD).write_text(hide(card), encoding="utf-8", newline="\n")
        for path in made.iterdir():
            path.chmod(0o644)


def check_task(bundle: Bundle, *tasks: str) -> None:
    """Raise `UserError`, with the right command, for a bundle of none of these tasks."""
    if bundle.task not in tasks:
        command = TASKS[bundle.task].command
        raise UserError(f"the bundle's task is {bundle.task}, not {' or '.join(tasks)}; use `seq2seq {command}`")


def load_bundle(folder: Path | str, *, trusted: Sequence[str] = (), device: str = "cpu") -> Bundle:
    """Read a bundle. `trusted` names packages, beside this one, that its components may come from.

    Raises:
        UserError: a file is missing, damaged, of another format, or does not fit the others; the device is not there.
    """
    folder, place = Path(folder), _device(device)
    config = described(folder)
    _check_place(folder / MODEL)
    header = read_header(folder / MODEL)  # before it is hashed: it need not be as long as it seems
    _verify(folder)
    metrics, tokenizers = _read_json(folder / METRICS), load_tokenizers(folder)
    for side, tokenizer in (("source", tokenizers.source), ("target", tokenizers.target)):
        if side in config["sizes"] and config["sizes"][side] != len(tokenizer):
            raise UserError(
                f"{folder / CONFIG}: sizes.{side}={config['sizes'][side]!r}, but the tokenizer "
                f"beside it has {len(tokenizer)} pieces; the files are of different bundles: copy it again, whole"
            )
    search = _blaming(folder / CONFIG, lambda: _affordable(_search_options(config["search"])))
    model = _blaming(folder / CONFIG, lambda: _build(config, header, trusted))
    load_weights(model, folder / MODEL)
    model = model.to(place).eval()
    return Bundle(config["task"], model, tokenizers, config["model"], metrics, search, config["provenance"])


def read_provenance(folder: Path) -> tuple[dict[str, Any], str]:
    """Where a bundle comes from, and the sha256 of its weights. Raises `UserError` for what is no whole bundle."""
    found = described(folder)
    _verify(folder)
    return found["provenance"], str(_read_json(folder / CHECKSUMS)[MODEL])


def _build(config: Mapping[str, Any], header: Header, trusted: Sequence[str]) -> nn.Module:
    """The model before its weights; the draws of its first weights leave no trace in the random generator."""
    task, nodes = config["task"], config["model"]
    for name in nodes:
        factory.check_key(name, TASKS[task].nodes, "model", task)
    check_depth(nodes, header)
    with torch.random.fork_rng(devices=[]):
        return build_within(header, lambda: factory.model(task, nodes, config["sizes"], trusted))


def _search_options(options: Mapping[str, Any]) -> SearchOptions:
    factory.check_options(options, SearchOptions, "search")
    return SearchOptions(**{**options, **SPECIALS})


def _affordable(options: SearchOptions) -> SearchOptions:
    """The options; UserError where somebody's default would take all memory. Who translates may ask for more."""
    for name, most in MOST.items():
        if (value := getattr(options, name)) > most:
            raise UserError(f"search.{name}={value}: a bundle may ask for {most} at most")
    return options


def described(folder: Path) -> dict[str, Any]:
    """config.json, of a format that is understood; its classes have the names of today."""
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
    config = _upgraded(_read_json(folder / CONFIG))
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
        if name not in SIZES or not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise UserError(f"{folder / CONFIG}: sizes.{name}={size!r} is not what a bundle has; copy it again")
    return config


def _upgraded(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration of format 1 as one of format 2."""
    if config.get("format_version") != 1:
        return config
    sizes = {side: config.pop(f"{side}_vocabulary_size", None) for side in ("source", "target")}
    return config | {"format_version": 2, "task": "translation", "sizes": sizes}


def _verify(folder: Path) -> None:
    """Compare every file with its checksum."""
    known = _read_json(folder / CHECKSUMS)
    there = {name for name in TOKENIZER_FILES if (folder / name).exists()}
    for name in sorted({MODEL, CONFIG, METRICS, *there, *known}):
        path = folder / name
        if name not in known or Path(name).name != name:
            raise UserError(
                f"{folder / CHECKSUMS}: {name!r} should not be, or is missing; copy the bundle again, whole"
            )
        _check_place(path)
        if name != MODEL and path.stat().st_size > LIMIT:
            raise UserError(f"{path}: has more than {LIMIT:,} bytes, which no such file has")
        if digest_of(path) != known[name]:
            raise UserError(f"{path}: is not as it was saved (its checksum differs); copy the bundle again, whole")


def _blaming(path: Path, make: Callable[[], Item]) -> Item:
    """What `make` returns; its errors name the file whose content made them."""
    try:
        return make()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError, RuntimeError) as error:
        raise UserError(f"{path}: describes no model that can be built ({type(error).__name__}: {error})") from error


def _device(name: str) -> torch.device:
    try:
        torch.empty(0, device=name).tolist()  # numbers come back from it, which they do not from meta
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = textwrap.shorten(str(error), 100, placeholder=" …")
        raise UserError(
            f"device {name!r} cannot be used ({reason}); use cpu, or cuda or mps where torch sees one"
        ) from None


def _read_json(path: Path) -> dict[str, Any]:
    _check_place(path)
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path}: is not a JSON object; copy the bundle again, whole")
    return found


def _check_place(path: Path) -> None:
    """Raise `UserError` unless this is a regular file, and not a link to one outside of its folder."""
    if not path.is_file():
        raise UserError(f"{path}: is missing, or is no file; copy the bundle again, whole")
    if path.resolve().parent != path.parent.resolve():
        raise UserError(f"{path}: is a link out of the bundle; copy the files themselves into it (cp -L)")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(_finite(content), ensure_ascii=False, allow_nan=False, indent=2)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def replacing(folder: Path, sign: str = CHECKSUMS, what: str = "a bundle") -> Iterator[Path]:
    """An empty folder to fill, which takes the place of the bundle `folder` (or of what else a file `sign` tells) at
    the end of the block. Raises `UserError` where something else stands there, or nothing can be written."""
    folder = folder.resolve()
    if folder.exists() and not (folder / sign).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder}: is not {what} and is not replaced; choose another folder, or remove it yourself")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    made, old = work / "new", work / "old"
    try:
        made.mkdir()
        yield made
        if folder.exists():
            os.rename(folder, old)
        try:
            os.rename(made, folder)
        except BaseException:
            if old.exists():
                os.rename(old, folder)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
