"""`seq2seq demo`: all steps on the embedded corpus: train, score, translate a file, and show translations."""

import json
import shlex
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from seq2seq.cli.arguments import quoted
from seq2seq.errors import UserError

FOLDER = Path("runs/demo")
SHOWN = 5
"""How many translations are printed, spread evenly over the test set."""

EXTRAS = {"serve": "fastapi", "lessons": "jupyterlab"}
"""Commands that are offered in the end, and a package that each needs: its extra has the same name."""

FIXED = ("data", "data.corpus", "hydra.run.dir")
"""Keys that must not be overridden: the demo has its own corpus and folder."""


class Result(NamedTuple):
    """A test score and its signature."""

    value: float
    signature: str


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq demo`."""
    where = f"the folder of the run (default: {FOLDER}, and the next time {FOLDER}-2)"
    parser.add_argument("--folder", type=Path, help=where)
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="a Hydra override, as for `train`: cell=lstm")


def run(arguments: Namespace) -> int:
    """Train, then show the test scores, a few translations, and the paths of all results; return the exit code."""
    from seq2seq.cli import train

    _check(arguments.overrides)
    folder = arguments.folder or next(folder for folder in _numbered() if not folder.exists())
    if (folder / "run.json").exists():
        raise UserError(f"demo: --folder {folder} already holds a run; name another folder")
    code = train.run(["experiment=demo", f"hydra.run.dir={quoted(folder)}", *arguments.overrides])
    return code or _show(folder)


def _numbered() -> Iterator[Path]:
    return chain([FOLDER], (FOLDER.with_name(f"{FOLDER.name}-{number}") for number in count(2)))


def _check(overrides: list[str]) -> None:
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key in FIXED or key.startswith("data.corpus."):
            raise UserError(f"demo: {override!r}: it has its own corpus and --folder; use `seq2seq train {override}`")


def _show(folder: Path) -> int:
    bundle, results = folder / "bundle", read_results(folder / "run.json")
    print("\nThe test set, translated and scored (sacreBLEU's signatures):")
    for name, result in results.items():
        print(f"  {name:4} = {result.value:5.2f}  {result.signature}")
    if code := _translate(folder, bundle):
        return code
    print("\nFigures:", *sorted(folder.glob("*.png")), sep="\n  ")
    print("\nWhat to try next: your own sentences, here or in a browser; attention; this run as a page; a course")
    if missing := [extra for extra, module in EXTRAS.items() if find_spec(module) is None]:
        print(f"(For {' and '.join(missing)}: pip install 'seq2seq-recurrent[{','.join(missing)}]')")
    tries = [["translate", str(bundle)], ["serve", str(bundle)], ["train", "model=bahdanau2015"]]
    tries += [["report", str(folder), "-o", "report.html"], ["lessons"]]
    print(*(f"  $ {shlex.join([_program(), *words])}" for words in tries), sep="\n")
    print(f"\ntest BLEU = {results['BLEU'].value:.2f}\nbundle: {bundle}")
    return 0


def _program() -> str:
    """This command as it was called, where the shell would not find it by its name: .venv/bin/seq2seq."""
    called = Path(sys.argv[0])
    installed = shutil.which("seq2seq")
    if called.name != "seq2seq" or (installed and Path(installed).resolve() == called.resolve()):
        return "seq2seq"
    return str(called)


def read_results(path: Path) -> dict[str, Result]:
    """The test scores in a run's `run.json`. Raises `UserError` if it has none."""
    test = json.loads(path.read_text(encoding="utf-8")).get("test") or {}
    if "BLEU" not in test:
        raise UserError(f"{path}: the run ended before its test; start it again and let it finish")
    return {name: Result(score["value"], score["signature"]) for name, score in test.items()}


def _translate(folder: Path, bundle: Path) -> int:
    """Translate the test set's source by `seq2seq translate-file`, and print a few lines next to their references."""
    from seq2seq.cli.main import main
    from seq2seq.corpora.datasets.embedded import Embedded

    corpus = Embedded()
    corpus.prepare()
    sources, references = zip(*corpus.pairs("test"), strict=True)
    source = folder / f"test.{corpus.source_language}"
    output = folder / f"test.translated.{corpus.target_language}"
    source.write_text("".join(f"{line}\n" for line in sources), encoding="utf-8", newline="\n")
    command = ["translate-file", str(bundle), str(source), str(output)]
    print("\n$ seq2seq", shlex.join(command), flush=True)
    if code := main(command):
        return code
    translations = output.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    rows = list(zip(sources, translations, references, strict=True))
    for row in rows[:: -(-len(rows) // SHOWN)]:
        print("", *map("  {:12}{}".format, ("source", "translation", "reference"), row), sep="\n")
    return 0
