"""The course: both languages have the same cells, all of which run, and what the prose says is what they print."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from experiments import run_lessons
from seq2seq.cli import lessons
from seq2seq.cli.main import main
from seq2seq.errors import UserError
from seq2seq.runtime.paths import PACKAGE

ROOT = PACKAGE.parent
FOLDER = ROOT / "experiments" / "lessons"
NAMES = sorted(path.name for path in (FOLDER / "en").glob("*.ipynb"))
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
WORDS = {
    "en": ("**Predict {}.**", "**Exercise {}.**"),
    "zh": ("**先猜一猜 {}。**", "**练习 {}。**"),
}


@functools.cache
def cells(language: str, name: str) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = json.loads((FOLDER / language / name).read_text(encoding="utf-8"))["cells"]
    return made


def code(language: str, name: str) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(language, name) if cell["cell_type"] == "code"]


def prose(language: str, name: str) -> str:
    return "\n\n".join("".join(cell["source"]) for cell in cells(language, name) if cell["cell_type"] == "markdown")


def outputs(name: str, language: str = "en") -> list[dict[str, Any]]:
    return [output for cell in cells(language, name) if cell["cell_type"] == "code" for output in cell["outputs"]]


def test_the_course_has_its_lessons_in_both_languages() -> None:
    numbers = [int(name[0]) for name in NAMES]
    assert numbers == [*range(1, 9)]
    assert sorted(path.name for path in (FOLDER / "zh").glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_run_the_same(name: str) -> None:
    """So running one runs both."""
    assert code("en", name) == code("zh", name)
    assert CODE.findall(prose("en", name)) == CODE.findall(prose("zh", name))
    assert outputs(name) == outputs(name, "zh")
    assert prose("en", name).count("\n## ") == prose("zh", name).count("\n## ")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", lessons.LANGUAGES)
def test_a_lesson_has_its_parts(language: str, name: str) -> None:
    """At least 12 cells of code, a picture that they draw, four predictions, four exercises with hidden answers."""
    text = prose(language, name)
    assert len(code(language, name)) >= 12
    assert any("image/png" in output.get("data", {}) for output in outputs(name))
    for mark in WORDS[language]:
        assert [mark.format(number) in text for number in range(1, 5)] == [True] * 4
    hidden = re.findall(r"<details>.*?</details>", text, re.DOTALL)
    assert len(hidden) == 4
    assert all(CODE.search(answer) and "assert" in answer for answer in hidden)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", lessons.LANGUAGES)
def test_links_lead_somewhere_and_numbers_come_from_the_cells(language: str, name: str) -> None:
    text = CODE.sub("", prose(language, name))
    targets = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text)
    assert len(targets) >= 3
    assert [target for target in targets if not (FOLDER / language / target).exists()] == []
    printed = "".join("".join(output.get("text", [])) for output in outputs(name))
    numbers = re.findall(r"`(-?\d+(?:\.\d+)?%?)`", text)
    assert [number for number in numbers if number not in printed] == []


@pytest.mark.slow
def test_every_cell_and_every_answer_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All lessons in one kernel, small, each in an empty namespace."""
    nbclient = pytest.importorskip("nbclient", reason="needs the extra `lessons`")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("SEQ2SEQ_QUICK_LESSONS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    book = nbformat.v4.new_notebook()
    for name in NAMES:
        answers = CODE.findall(prose("en", name))
        first, *others = [*code("en", name), *answers]
        all_cells = ["%reset -f", f"# {name}\n{first}", *(f"# {name}\n{cell}" for cell in others)]
        book.cells += [nbformat.v4.new_code_cell(cell) for cell in all_cells]
    place = {"metadata": {"path": tmp_path}}
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3", resources=place).execute()
    drawn = [output for cell in book.cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(drawn) >= len(NAMES)


def test_outputs_are_stored_in_both_languages() -> None:
    def book(code: str, outputs: list[dict[str, str]]) -> dict[str, Any]:
        cell = {
            "cell_type": "code",
            "source": code,
            "outputs": outputs,
            "execution_count": 1,
            "metadata": {"execution": {}},
        }
        metadata = {"language_info": {"name": "python", "version": "3.11.2"}}
        return {"cells": [{"cell_type": "markdown", "source": code}, cell], "metadata": metadata}

    english, chinese = book("print(1)", [{"name": "stderr"}, {"name": "stdout", "text": "1"}]), book("print(1)", [])
    run_lessons.tidy(english)
    run_lessons.copy_outputs(english, chinese, "1.ipynb")
    assert chinese["cells"][1]["outputs"] == [{"name": "stdout", "text": "1"}]
    assert (english["cells"][1]["metadata"], english["metadata"]) == ({}, {"language_info": {"name": "python"}})
    with pytest.raises(UserError, match=r"1\.ipynb: code cell 1 differs"):
        run_lessons.copy_outputs(english, book("print(2)", []), "1.ipynb")


def test_the_command_copies_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    assert main(["lessons", str(folder), "--language", "zh", "--no-open"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    copied = (folder / NAMES[0]).read_text(encoding="utf-8")
    assert "](../../../" not in copied
    assert "练习" in copied
    (folder / NAMES[0]).write_text("my own notes", encoding="utf-8")
    (folder / NAMES[1]).unlink()
    assert main(["lessons", str(folder), "--language", "en", "--no-open"]) == 0
    assert (folder / NAMES[0]).read_text(encoding="utf-8") == "my own notes"
    assert "1 lessons copied" in capsys.readouterr().out


def test_without_jupyter_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lessons, "find_spec", lambda name: None)
    assert main(["lessons", str(tmp_path / "mine")]) != 0
    assert "--no-open" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(("variable", "language"), [("zh_CN.UTF-8", "zh"), ("de_DE.UTF-8", "en")])
def test_the_language_is_that_of_the_system(variable: str, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", variable)
    assert lessons._language() == language
