"""The field's terms: docstrings, comments, messages, `--help`, YAML and README use them, and no private ones."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from seq2seq.runtime.paths import PACKAGE

ROOT = PACKAGE.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "conf/README.md")]
PAGES += [ROOT / "conf" / f"{name}.md" for name in ("TRAINING", "TRANSLATING", "INSTALLING")]
PAGES += [PACKAGE / "reference" / name for name in ("README.md", "ERRATA.md")]

INSTEAD = {
    r"go(es)? on\b|going on\b|gone on\b|went on\b": "resume, continue",
    r"pieces?\b": "tokens",
    r"besides?\b": "next to, also",
    r"behind\b": "after",
    r"(stands?|stood) in\b": "is in",
    r"(in )?so far as\b": "as far as",
    r"for want of\b": "without",
    r"complete file\b|(appears?|appear) whole\b": "atomic write",
    r"the first process\b": "rank 0",
    r"by hand\b": "manual, manually",
    r"whole or not at all\b|(written|is there|with its) whole\b": "atomic write",
    r"(is|are) to be had\b|for the sake of\b": "is available, for",
    r"likeliest\b|bolder\b|wilder\b": "most likely, sharper, flatter",
    r"held at once\b": "in memory at once",
    r"makes? no sense\b": "is inconsistent, is invalid",
    r"(eos|the end) (not )?counted\b": "with eos, without eos",
    r"strangers?\b": "untrusted, hostile",
    r"(tell|tells|told|telling)( \w+){0,2} apart\b": "distinguish",
    r"(nobody|somebody)\b": "no process, another user, …",
    r"of today\b": "current",
    r"looked at\b|reads? off\b": "attends to, checks, computes from",
    r"neighbours?\b": "adjacent, the other sentences of the batch",
    r"side by side\b": "concatenated, in parallel",
    r"com(e|es|ing) to (its|their) end\b": "ends, is complete",
    r"one after the other\b": "in order, concatenated",
}
"""Phrases, and the words to use."""

NAMES = {
    "TrainingTask": "TaskModule",
    "Standing": "JobStatus",
    "bury": "mark_stale_as_failed",
    "Moment": "SamplingState",
    "Draws": "Resampling",
    "Asked": "TokenConstraints",
    "Surroundings": "RunContext",
    "Continuing": "ResumeState",
    "Lookup": "DeduplicatedEmbedding",
    "real_rows": "flatten_unpadded",
    "mine": "what the value is",
    "ours": "what the value is",
    "found": "what the value is",
    "whole": "what the value is",
}
"""Names in code, and those to use."""

SHORT = 3
"""Words: a docstring with no more says nothing that the name does not."""

EXCEPTIONS = {
    ("seq2seq/corpora/datasets/grammar_card.py", "one after the other"),  # data/README.md, which it generates
}
"""A file, and a phrase that is right there; at most twenty."""

Line = tuple[str, int, str]


def prose_of_python(path: Path) -> Iterator[Line]:
    """The comments, docstrings and messages of a file, with their lines."""
    name, source = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield name, token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for number, line in enumerate(node.value.split("\n")):
                yield name, node.lineno + number, line


def prose_of_yaml(path: Path) -> Iterator[Line]:
    """The comments of a file, with their lines."""
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if comment := re.search(r"(^|\s)#(.*)", line):
            yield path.relative_to(ROOT).as_posix(), number, comment[2]


def prose_of_page(path: Path) -> Iterator[Line]:
    """The lines of a page, without its code."""
    code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        code ^= line.startswith("```")
        if not code and not line.startswith("    "):
            yield path.relative_to(ROOT).as_posix(), number, re.sub(r"`[^`]*`", "", line)


def complaints(lines: Iterator[Line]) -> list[str]:
    """What to replace, and by which words."""
    return [
        f"{name}:{number}: {phrase[0]!r}: use {words}"
        for name, number, line in lines
        for pattern, words in INSTEAD.items()
        for phrase in re.finditer(rf"\b(?:{pattern})", line, re.IGNORECASE)
        if (name, phrase[0].lower()) not in EXCEPTIONS
    ]


def wrong_names(paths: list[Path]) -> list[str]:
    """Names of functions, classes, variables and arguments that are not to be used."""
    wrong = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node, "name", None) or getattr(node, "id", None) or getattr(node, "arg", None)
            if isinstance(name, str) and name in NAMES:
                line = getattr(node, "lineno", 0)
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {name}: use {NAMES[name]}")
    return wrong


@pytest.mark.parametrize("room", sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()))
def test_the_prose_of_a_room_uses_the_terms_of_the_field(room: str) -> None:
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert [each for path in files for each in complaints(prose_of_python(path))] == []


def test_docstrings_say_something() -> None:
    short = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node)
            if text and (len(text.split()) <= SHORT or text.startswith("See ")):
                short.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}: {text!r}")
    assert short == []


def test_configurations_and_pages_use_the_terms_of_the_field() -> None:
    lines = [*(prose_of_yaml(path) for path in sorted((ROOT / "conf").rglob("*.yaml"))), *map(prose_of_page, PAGES)]
    assert [each for some in lines for each in complaints(some)] == []


def test_names_are_those_of_the_field() -> None:
    assert wrong_names(sorted(PACKAGE.rglob("*.py"))) == []


def test_the_list_of_exceptions_is_short() -> None:
    assert len(EXCEPTIONS) <= 20


@pytest.mark.parametrize(
    "line", ["it goes on here", "two Pieces of text", "Besides, it fails", "stands in the file", "derived by hand"]
)
def test_a_private_word_is_seen(line: str) -> None:
    assert len(complaints(iter([("a.py", 1, line)]))) == 1


@pytest.mark.parametrize(
    "line", ["an algorithm", "piecewise", "id_to_piece", "stand-in", "a whole number", "by handle"]
)
def test_other_words_are_not(line: str) -> None:
    assert complaints(iter([("a.py", 1, line)])) == []
