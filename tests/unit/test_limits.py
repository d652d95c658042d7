"""The limits of size: lines of a file, lines of a function, arguments of a constructor."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from seq2seq.runtime.paths import PACKAGE

LINES, FUNCTION, ARGUMENTS = 300, 45, 10

FLAT = {"SearchOptions", "SentencePieceTrainer"}
"""Groups of options with more fields than `ARGUMENTS`: their keys in YAML and in bundles are one flat list."""


def lines_of(node: ast.AST) -> int:
    """The lines of a definition, without its decorators."""
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    return (node.end_lineno or 0) - node.lineno + 1


def arguments_of(node: ast.ClassDef) -> int:
    """What a class's constructor takes: the arguments of `__init__` with self, or the fields of a dataclass."""
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
        return sum("ClassVar" not in ast.unparse(each.annotation) for each in fields)
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            given = each.args
            return len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
    return 0


def excesses(source: str, name: str) -> Iterator[str]:
    """What is too large in a file."""
    if (count := len(source.splitlines())) > LINES:
        yield f"{name}: {count} lines; split it"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and lines_of(node) > FUNCTION:
            yield f"{name}: {node.name} has {lines_of(node)} lines; split it"
        elif isinstance(node, ast.ClassDef) and node.name not in FLAT and arguments_of(node) > ARGUMENTS:
            yield f"{name}: {node.name} takes {arguments_of(node)} arguments; make a group of options of some"


def files() -> list[Path]:
    """The files of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def test_nothing_is_too_large() -> None:
    found = [each for path in files() for each in excesses(path.read_text("utf-8"), str(path.relative_to(PACKAGE)))]
    assert found == []


def test_the_exceptions_are_needed() -> None:
    trees = [ast.parse(path.read_text("utf-8")) for path in files()]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert {node.name for node in classes if arguments_of(node) > ARGUMENTS} == FLAT


def test_what_is_too_large_is_found() -> None:
    wide = ", ".join(f"a{i}" for i in range(ARGUMENTS + 1))
    fields = "".join(f"    a{i}: int\n" for i in range(ARGUMENTS + 1))
    long = "def f():\n" + "    pass\n" * FUNCTION
    source = (
        f"class A:\n    def __init__(self, {wide}): pass\n\n\n@dataclass(frozen=True)\nclass B:\n{fields}\n\n{long}"
    )
    assert [each.split()[1] for each in excesses(source, "x")] == ["A", "B", "f"]
    assert list(excesses("x = 1\n" * (LINES + 1), "x")) == [f"x: {LINES + 1} lines; split it"]
