"""Facts about a bundle, from its files. A bundle may be hostile: files are read up to a limit, nothing is unpickled or
imported, and weights are hashed but never loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from seq2seq.cli.describing.tensors import Weights, read_weights
from seq2seq.errors import UserError
from seq2seq.runtime.atomic_files import digest_of
from seq2seq.runtime.strict_json import read_json

CONFIG, METRICS, CHECKSUMS, MODEL = "config.json", "metrics.json", "checksums.json", "model.safetensors"
FORMAT = 2  # newest format version that is supported
HASHED = 2 << 30  # most bytes that are hashed (a few seconds)
FILES = 1000  # most files that are read
KIND = re.compile(rb'"kind":\s*"([a-z_]{1,40})"')


def describe_bundle(folder: Path) -> dict[str, Any]:
    """The facts of a bundle; `problems` lists what is wrong with its files.

    Raises `UserError` for a folder without a readable config.json.
    """
    config = _json(folder / CONFIG)
    problems: list[str] = []
    metrics, weights = _or_problem(folder / METRICS, problems), _weights(folder / MODEL, problems)
    provenance = _mapping(config, "provenance")
    version = config.get("format_version")
    if version not in (1, FORMAT):
        problems.append(f"{CONFIG}: format {version!r}; this seq2seq reads {FORMAT} and older")
    checksums = _checksums(folder, weights, problems)
    facts = {
        "bundle": str(folder),
        "task": config.get("task", "translation" if version == 1 else None),
        "languages": [provenance.get(f"{side}_language") for side in ("source", "target")],
        "model": _model(_mapping(config, "model")),
        "sizes": _mapping(config, "sizes") or {side: config.get(f"{side}_vocabulary_size") for side in _SIDES},
        "parameters": {"all": weights.numbers, "type": weights.kinds} | weights.parts if weights else None,
        "tokenizers": _tokenizers(folder),
        "search": _mapping(config, "search") or "the defaults",
        "scores": _scores(metrics),
        "training": _training(provenance, metrics),
        "files": _files(folder),
        "format_version": version,
        "checksums": checksums,
        "problems": problems,
    }
    return {key: value for key, value in facts.items() if value not in (None, {}, [None, None])}


_SIDES = ("source", "target")


def _json(path: Path) -> dict[str, Any]:
    if path.is_symlink() and path.resolve().parent != path.parent.resolve():
        raise UserError(f"{path}: is a link out of the bundle; copy the files themselves into it (cp -L)")
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a JSON object; copy the bundle again")
    return content


def _or_problem(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return _json(path)
    except UserError as error:
        problems.append(str(error))
        return {}


def _weights(path: Path, problems: list[str]) -> Weights | None:
    try:
        return read_weights(path)
    except UserError as error:
        problems.append(str(error))
        return None


def _mapping(parent: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _model(nodes: Mapping[str, Any]) -> dict[str, str]:
    """The components of a model, each as one line: its class and its hyper-parameters."""
    return {name: _component(node) for name, node in nodes.items()}


def _component(node: Any, depth: int = 4) -> str:
    if not isinstance(node, dict) or not depth:
        return str(node)
    target = node.get("_target_")
    name = [str(target).rpartition(".")[2]] if target is not None else []
    options = [
        f"{key}=({component})" if " " in (component := _component(value, depth - 1)) else f"{key}={component}"
        for key, value in node.items()
        if not key.startswith("_") and value is not None
    ]
    return " ".join(name + options)


def _tokenizers(folder: Path) -> dict[str, str]:
    """The kind of each tokenizer, from the beginning of its file."""
    kinds = {}
    for name in ("joint", *_SIDES):
        path = folder / f"{name}.json"
        if path.is_file():
            with path.open("rb") as file:
                kind = KIND.search(file.read(1024))
            kinds[name] = kind[1].decode() if kind else "unknown"
    return kinds


def _scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The test scores with their signatures, by test set and metric."""
    tests = metrics.get("tests", {name: value for name, value in metrics.items() if isinstance(value, dict)})
    return {
        f"{split} {metric}": {key: score.get(key) for key in ("value", "low", "high", "signature") if key in score}
        for split, scores in (tests.items() if isinstance(tests, dict) else ())
        for metric, score in (scores.items() if isinstance(scores, dict) else ())
        if isinstance(score, dict)
    }


def _training(provenance: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    languages = [f"{side}_language" for side in _SIDES]
    validation = {key: value for key, value in metrics.items() if isinstance(value, (int, float))}
    return {key: value for key, value in provenance.items() if key not in languages} | (
        {"validation": validation} if validation else {}
    )


def _names(folder: Path) -> Iterator[Path]:
    for count, path in enumerate(folder.iterdir()):
        if count == FILES:
            return
        yield path


def _files(folder: Path) -> dict[str, Any]:
    sizes = [path.lstat().st_size for path in _names(folder) if path.is_file()]
    written = datetime.fromtimestamp((folder / CONFIG).stat().st_mtime).astimezone()
    return {
        "count": len(sizes),
        "bytes": sum(sizes),
        "size": human(sum(sizes)),
        "written": written.isoformat(sep=" ", timespec="seconds"),
    }


def _checksums(folder: Path, weights: Weights | None, problems: list[str]) -> str:
    """Compare all files with their checksums; the first difference is returned and added to the problems."""
    known = _or_problem(folder / CHECKSUMS, problems)
    if not known:
        return "none that can be read"
    bad = next(_differing(folder, known, weights is not None), None)
    if bad is not None:
        problems.append(f"{CHECKSUMS}: {bad}; copy the bundle again")
    return bad or f"right for {len(known)} files"


def _differing(folder: Path, known: Mapping[str, Any], sound: bool) -> Iterator[str]:
    """What is wrong with each file. Weights that are not `sound` are not read, as their size may be faked."""
    left = HASHED
    for name in sorted(known)[:FILES]:
        path = folder / name
        if Path(name).name != name or not path.is_file() or path.resolve().parent != folder.resolve():
            yield f"{name!r} is missing, or is no file of this folder"
            return
        left -= path.stat().st_size
        if left < 0 or (name == MODEL and not sound):
            yield f"{name!r} was not checked: it is {'damaged' if left >= 0 else 'too large'}"
            return
        if digest_of(path) != known[name]:
            yield f"{name!r} is not as it was saved"


def human(count: float) -> str:
    """A number of bytes with a unit, such as 1.5 MiB."""
    power = min(int(math.log(max(count, 1), 1024)), 4)
    return f"{count / 1024**power:.{1 if power else 0}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
