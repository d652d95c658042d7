"""`seq2seq lessons`: copies the course's notebooks into a folder of one's own, and opens them in Jupyter."""

import json
import locale
import os
import re
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError
from seq2seq.runtime.paths import packaged

LANGUAGES = ("en", "zh")
LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./){3}([^)]+)\)")
"""A link out of the folder of the lessons, into the project's files."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq lessons`."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path("lessons"), help="where to (default: lessons)")
    parser.add_argument("--language", choices=LANGUAGES, help="English or Chinese (default: that of this system)")
    parser.add_argument("--no-open", action="store_true", help="only copy; do not start Jupyter")


def run(arguments: Namespace) -> int:
    """Copy the notebooks that are not there yet and open Jupyter in their folder; return Jupyter's exit code."""
    if not arguments.no_open and find_spec("jupyterlab") is None:
        raise UserError(
            "lessons: Jupyter is not installed; pip install 'seq2seq-recurrent[lessons]', or only copy with --no-open"
        )
    copy(arguments.folder, arguments.language or _language())
    if arguments.no_open:
        return 0
    return subprocess.call([sys.executable, "-m", "jupyterlab", str(arguments.folder)])


def copy(folder: Path, language: str) -> None:
    """Copy the notebooks of a language into `folder`. One that is there already is kept: someone has worked in it.

    Raises `UserError` if the folder cannot be written.
    """
    notebooks = sorted(packaged("experiments/lessons").joinpath(language).glob("*.ipynb"))
    kept = [notebook for notebook in notebooks if (folder / notebook.name).exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for notebook in notebooks:
            if notebook not in kept:
                (folder / notebook.name).write_text(without_links(notebook), encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"lessons: {folder}: {error.strerror}; name another folder") from error
    also = f", {len(kept)} kept as they are" if kept else ""
    print(f"{len(notebooks) - len(kept)} lessons copied to {folder}{also}")


def without_links(notebook: Path) -> str:
    """The text of a notebook whose links into the project, which lead nowhere from another folder, are file names."""
    content: dict[str, Any] = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = [LINK.sub(r"\1 (`\2`)", line) for line in cell["source"]]
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _language() -> str:
    named = os.environ.get("LC_ALL") or os.environ.get("LANG") or locale.getlocale()[0] or ""
    return "zh" if named.lower().startswith(("zh", "chinese")) else "en"
