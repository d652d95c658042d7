"""`seq2seq reproduce BUNDLE`: prints the command that trained a model, and what differs on this machine; with `--run`
trains again and compares the weights."""

from __future__ import annotations

import re
import shlex
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seq2seq.cli.arguments import quoted
from seq2seq.errors import UserError

DIFFERENT = 1  # the exit code if the weights differ


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq reproduce`."""
    parser.add_argument("bundle", type=Path, help="the folder of a trained model")
    parser.add_argument("--run", action="store_true", help="train, and compare the weights; code 1 if they differ")
    parser.add_argument("--folder", type=Path, help="the folder of the new run (default: runs/reproduced/TIME)")
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="the folder of your YAML files, if the run had some"
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="a package that the command may trust"
    )


def run(arguments: Namespace) -> int:
    """Print the command and what differs; with `--run` train and compare. Return the exit code."""
    from seq2seq.bundle.format import read_provenance

    provenance, weights = read_provenance(arguments.bundle)
    overrides = recorded(provenance, arguments.trust, arguments.config_dir)
    options = [f"--config-dir={arguments.config_dir}"] if arguments.config_dir else []
    folder = arguments.folder or Path("runs/reproduced") / time.strftime("%Y-%m-%d_%H-%M-%S")
    print(shlex.join(["seq2seq", "train", *options, *overrides]))
    for line in differences(provenance, overrides, arguments.config_dir):
        print(f"warning: {line}")
    print(f"weights: sha256 {weights}", flush=True)
    return _again(options, overrides, folder, weights, provenance.get("products")) if arguments.run else 0


def recorded(provenance: Mapping[str, Any], trusted: Sequence[str], config_dir: Path | None) -> list[str]:
    """The overrides that a bundle was trained with, with its number of threads.

    A bundle may be hostile: raises `UserError` for a command that would run code outside this project.
    """
    command = provenance.get("command")
    if not isinstance(command, str) or not command.isprintable():
        raise UserError("the bundle does not say by which command it was trained")
    try:
        program, task, *words = [*shlex.split(command), "", ""]
    except ValueError as error:
        raise UserError(f"the bundle's command cannot be read ({error}): {command}") from None
    overrides = [word for word in words if word and not word.startswith("--config-dir=")]
    if (program, task) != ("seq2seq", "train") or any(_beyond(word, trusted) for word in overrides):
        wanted = "; name the packages that you trust by --trust" if any("trust" in word for word in overrides) else ""
        raise UserError(f"the bundle's command is not run, because it would do more than train: {command}{wanted}")
    if len(overrides) < len([word for word in words if word]) and config_dir is None:
        raise UserError(f"the run had YAML files of its own, by {words[0]}; give yours by --config-dir")
    if not any(word.startswith("trainer.threads=") for word in overrides) and isinstance(
        provenance.get("threads"), int
    ):
        overrides.append(f"trainer.threads={provenance['threads']}")
    return overrides


def _beyond(override: str, trusted: Sequence[str]) -> bool:
    form = re.fullmatch(r"[~+]*([\w.@/-]+)(?:=(.*))?", override, re.DOTALL)
    if form is None or override.startswith("-") or "${" in override:
        return True
    if form[1] == "trust":
        return not set((form[2] or "").strip("[]").replace(" ", "").split(",")) - {""} <= set(trusted)
    return "hydra" in re.split(r"[.@/]", form[1])


def differences(provenance: Mapping[str, Any], overrides: Sequence[str], config_dir: Path | None) -> list[str]:
    """What differs from the bundle's training, one line each: versions, the platform, the data."""
    from seq2seq.training.records.provenance import versions

    differences = [
        f"{key} was {provenance[key]}, is {now}"
        for key, now in versions().items()
        if key in provenance and provenance[key] != now  # older bundles do not have all of them
    ]
    if (world_size := provenance.get("processes", 1)) != 1:
        differences.append(f"world size was {world_size}, is 1")
    if config_dir is not None:
        return differences  # composed by the run itself
    try:
        fingerprint = _fingerprint(overrides)
    except UserError as error:
        return [*differences, f"the data cannot be compared: {error}"]
    if fingerprint != provenance.get("data_fingerprint"):
        differences.append(f"the data differ: their sha256 was {provenance.get('data_fingerprint')}, is {fingerprint}")
    return differences


def _fingerprint(overrides: Sequence[str]) -> str:
    """The hash of the data of these overrides, which are downloaded if they are missing."""
    from seq2seq.cli.composing.configurations import composed, composing
    from seq2seq.training.base import load_task

    with composing():
        config = composed([*overrides, "name=reproduced"])
    data = load_task(config["task"]).data(config)
    data.corpus.prepare()
    return str(data.fingerprint)


def _again(options: Sequence[str], overrides: Sequence[str], folder: Path, weights: str, products: Any) -> int:
    from seq2seq.bundle.format import read_provenance
    from seq2seq.cli import train
    from seq2seq.nn import matmul_library

    matmul_library.use(products)
    code = train.run([*options, *overrides, f"hydra.run.dir={quoted(folder)}"])
    if code:
        return code
    _, actual = read_provenance(folder / "bundle")
    print(f"weights: {'the same, bit by bit' if actual == weights else f'others, sha256 {actual}'} ({folder}/bundle)")
    return 0 if actual == weights else DIFFERENT
