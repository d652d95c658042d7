"""Arguments that several commands share, and quoting of paths for Hydra."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from seq2seq.errors import UserError
from seq2seq.inference.files.output import check


def add_files(parser: ArgumentParser, what: str) -> None:
    """Declare the arguments of a command that reads a file with a bundle and writes another."""
    parser.add_argument("bundle", type=Path, help="the folder of a trained model")
    parser.add_argument("input", type=Path, help=what)
    parser.add_argument("output", type=Path, help="the file to write, compressed by its suffix; - writes to stdout")


def add_errors(parser: ArgumentParser) -> None:
    """Declare `--errors`, for bytes that are not UTF-8."""
    parser.add_argument(
        "--errors",
        choices=("strict", "replace"),
        default="strict",
        help="bytes that are not UTF-8 end the command (%(default)s), or are replaced by U+FFFD, with a warning",
    )


def add_running(parser: ArgumentParser) -> None:
    """Declare the arguments of a command that runs a bundle."""
    parser.add_argument("--batch-size", type=int, default=128, metavar="N", help="sentences at once (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, …")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads of torch (default: one a CPU that is available)"
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="a package whose components the bundle may use"
    )


def add_models(parser: ArgumentParser) -> None:
    """Declare the arguments of a command that can use several bundles as an ensemble."""
    parser.add_argument(
        "--max-source",
        type=int,
        default=1024,
        metavar="N",
        help="most tokens of a source, the rest is cut (%(default)s)",
    )
    parser.add_argument(
        "--ensemble",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="BUNDLE",
        help="use these bundles as well, with the mean of all probabilities; write it after the files",
    )
    parser.add_argument(
        "--unknown-tags",
        action="store_true",
        help="read tags of words that training did not have (of N;LOC;SG) as unknown ones instead of refusing them",
    )
    add_tag(parser)
    parser.add_argument(
        "--factors",
        type=factor_file,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=FILE",
        help="of a bundle with token factors, a file of each, a value for each word of the source: pos=input.pos",
    )


def factor_file(text: str) -> tuple[str, Path]:
    """Parse `name=file`, as argparse's type of an argument."""
    name, sign, path = text.partition("=")
    if not (name and sign and path):
        raise ArgumentTypeError(f"{text!r} is no factor with its file: write pos=input.pos")
    return name, Path(path)


def factor_files(bundle: Path, given: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    """The files of `--factors` in the order in which a bundle reads them; none where none are given. Raises `UserError`
    for other factors than the bundle's, and a file that is missing."""
    if not given:
        return {}
    from seq2seq.inference.factors import check_factor_names
    from seq2seq.text import load_tokenizers

    factors, files = load_tokenizers(bundle).factors, dict(given)
    names = factors.given if factors else ()
    check_factor_names(files, names, lambda name: f"--factors {name}={files.get(name, 'FILE')}")
    for path in files.values():
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    return {name: files[name] for name in names}


def add_tag(parser: ArgumentParser) -> None:
    """Declare the tag of all sources of a file."""
    parser.add_argument("--tag", metavar="SYMBOL", help="a symbol of the bundle's before each source, such as '<fr>'")


def add_attention(parser: ArgumentParser) -> None:
    """Declare the outputs from attention weights."""
    parser.add_argument(
        "--attention", action="store_true", help="with --format json: weights, source_tokens, alignment"
    )
    parser.add_argument(
        "--alignments", type=Path, metavar="FILE", help="write word alignments to FILE: SOURCE-TARGET from 0 (Pharaoh)"
    )


def check_attention(form: str, attention: bool, alignments: Path | None, source: Path, target: Path) -> None:
    """Raise `UserError` for options that do not fit together."""
    if attention and form != "json":
        raise UserError(f"--attention: --format {form} has no place for weights; use --format json")
    if alignments is not None:
        check(source, alignments)
        if alignments.resolve() == target.resolve():
            raise UserError(f"--alignments {alignments}: is the output as well; choose another file")


def quoted(path: Path | str) -> str:
    """A path, quoted for Hydra's override grammar, in which spaces, commas and = have a meaning."""
    return "'" + str(path).replace("'", "\\'") + "'"
