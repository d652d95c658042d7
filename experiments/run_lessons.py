"""Run lessons and store their outputs in both languages: `python -m experiments.run_lessons [NUMBER ...]`."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError

FOLDER = Path(__file__).parent / "lessons"


def main(numbers: Sequence[str]) -> None:
    """Execute the English notebook of each lesson (all by default); its outputs are those of the Chinese one, too."""
    import nbformat
    from nbclient import NotebookClient

    for path in sorted((FOLDER / "en").glob("*.ipynb")):
        if numbers and path.name.partition("_")[0] not in numbers:
            continue
        english, chinese = (nbformat.read(FOLDER / language / path.name, as_version=4) for language in ("en", "zh"))
        begin = time.monotonic(), cpu_seconds()
        with tempfile.TemporaryDirectory() as folder:
            place = {"metadata": {"path": folder}}
            NotebookClient(english, timeout=3600, coalesce_streams=True, resources=place).execute()
        tidy(english)
        copy_outputs(english, chinese, path.name)
        for language, book in (("en", english), ("zh", chinese)):
            nbformat.write(book, FOLDER / language / path.name)
        seconds, cpu = time.monotonic() - begin[0], cpu_seconds() - begin[1]
        print(f"{path.name}: {seconds:.0f} s, of which {cpu:.0f} s on a CPU", flush=True)


def cpu_seconds() -> float:
    """The time on CPUs of the kernels that have ended: on a busy machine they wait for the rest."""
    return os.times().children_user + os.times().children_system


def tidy(book: Mapping[str, Any]) -> None:
    """Remove progress bars and warnings (stderr), and what differs from run to run and from machine to machine."""
    book["metadata"]["language_info"] = {"name": "python"}
    for cell in code_cells(book):
        cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
        cell["metadata"].pop("execution", None)


def copy_outputs(source: Mapping[str, Any], target: Mapping[str, Any], name: str) -> None:
    """Copy the outputs of each code cell. Raises `UserError` unless both notebooks have the same code."""
    pairs = [*zip(code_cells(source), code_cells(target))]
    codes = [[cell["source"] for cell in code_cells(book)] for book in (source, target)]
    if codes[0] != codes[1]:
        cell = next((i for i, (one, other) in enumerate(zip(*codes), 1) if one != other), len(pairs) + 1)
        raise UserError(f"{name}: code cell {cell} differs between the languages; make it the same in both")
    for one, other in pairs:
        other["outputs"], other["execution_count"] = one["outputs"], one["execution_count"]


def code_cells(book: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


if __name__ == "__main__":
    main(sys.argv[1:])
