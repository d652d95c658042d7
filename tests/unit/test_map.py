"""The map for readers of tutorials: what it names and quotes exists, and its commands compose."""

from __future__ import annotations

import ast
import functools
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from seq2seq.runtime.paths import PACKAGE

ROOT = PACKAGE.parent
PAGES = [PACKAGE / "reference" / name for name in ("README.md", "README.zh.md")]
ERRATA = [PACKAGE / "reference" / name for name in ("ERRATA.md", "ERRATA.zh.md")]
NAMED = re.compile(r"(?:seq2seq|tests|conf|experiments)/[\w./-]+")


def spans(text: str) -> list[str]:
    """The texts of `code spans`."""
    return re.findall(r"`([^`\n]+)`", text)


def rows(page: Path, columns: int) -> list[list[str]]:
    """The rows of its tables of so many columns, without their headings."""
    lines = [line.strip().strip("|") for line in page.read_text(encoding="utf-8").split("\n") if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return [row for row in cells if len(row) == columns and any(spans(cell) for cell in row)]


@functools.cache
def functions(path: Path) -> set[str]:
    """The functions that a file of Python defines."""
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}


def missing(span: str) -> str | None:
    """Why a code span that names a file, or a file and a test, is wrong."""
    name, _, test = span.partition("::")
    path = ROOT / name
    if not path.exists():
        return f"{name} does not exist"
    return f"{name} has no {test}" if test and test not in functions(path) else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_test_exists(page: Path) -> None:
    named = [span for span in spans(page.read_text(encoding="utf-8")) if NAMED.match(span)]
    assert len(named) > 150
    assert [fault for span in named if (fault := missing(span))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_leads_to_a_file_and_a_test(page: Path) -> None:
    table = rows(page, 4)
    assert len(table) > 70
    for row in table:
        (test,) = spans(row[3])
        assert re.fullmatch(r"tests/[\w/]+\.py::test_\w+", test), row
        assert any(span.startswith(("seq2seq/", "experiments/")) for span in spans(row[1] + row[2])), row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_quoted_lines_stand_in_their_files(page: Path) -> None:
    table = rows(page, 3)
    assert len(table) == 17
    for _, line, file in table:
        code = (ROOT / spans(file)[0]).read_text(encoding="utf-8").split("\n")
        assert spans(line)[0] in [written.strip() for written in code], line


def test_both_languages_name_the_same() -> None:
    english, chinese = (sorted(spans(page.read_text(encoding="utf-8"))) for page in PAGES)
    assert english == chinese


def test_the_commands_compose() -> None:
    commands = [span for span in spans(PAGES[0].read_text(encoding="utf-8")) if span.startswith("seq2seq train")]
    assert len(commands) == 7
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for command in commands:
            compose("train", overrides=shlex.split(command)[2:])


@pytest.mark.parametrize(
    "page",
    [*PAGES, *ERRATA],
    ids=lambda page: page.name,
)
def test_no_symbol_is_taken_for_html(page: Path) -> None:
    """A bare <t> is a tag to Markdown, and vanishes; links lead somewhere."""
    text = re.sub(r"`[^`\n]*`", "", page.read_text(encoding="utf-8"))
    assert re.findall(r"(?<!\\)<[a-z]", text) == []
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize(
    ("span", "fault"),
    [
        ("seq2seq/reference/network.py", None),
        ("tests/unit/test_map.py::test_quoted_lines_stand_in_their_files", None),
        ("seq2seq/reference/nowhere.py", "does not exist"),
        ("tests/unit/test_map.py::test_nothing", "has no test_nothing"),
    ],
)
def test_the_reader_of_names_sees_faults(span: str, fault: str | None) -> None:
    found = missing(span)
    assert found is None if fault is None else fault in str(found)
