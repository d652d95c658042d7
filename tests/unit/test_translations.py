"""The pages in Chinese have the headings, blocks of code, tables and numbers of the English ones."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from seq2seq.runtime.paths import PACKAGE

ROOT = PACKAGE.parent
TRANSLATED = [
    "README",
    "CONTRIBUTING",
    "conf/README",
    "conf/TRAINING",
    "conf/TRANSLATING",
    "conf/INSTALLING",
    "data/README",
    "experiments/lessons/README",
    "seq2seq/reference/README",
    "seq2seq/reference/ERRATA",
]
FENCED = re.compile(r"^```\w*\n.*?^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}.+\n?)+", re.MULTILINE)
WITH_THE_SAME_SPANS = ["CONTRIBUTING", "conf/README", "seq2seq/reference/ERRATA"]


def page(name: str, language: str) -> str:
    return (ROOT / f"{name}{language}.md").read_text(encoding="utf-8")


def headings(text: str) -> list[int]:
    """The level of each heading."""
    return [len(marks) for marks in re.findall(r"^(#+) ", FENCED.sub("", text), re.MULTILINE)]


def rows(text: str) -> list[list[str]]:
    """The numbers in each row of the tables."""
    return [re.findall(r"\d[\d.,]*", line) for line in text.split("\n") if line.startswith("|")]


def listed(text: str) -> list[str]:
    """The first word of each line of indented blocks; what follows it in a listing of files is prose."""
    return [line.split()[0] for block in INDENTED.findall(FENCED.sub("", text)) for line in block.splitlines()]


@pytest.mark.parametrize("name", TRANSLATED)
def test_the_chinese_page_has_the_same_headings_and_code(name: str) -> None:
    english, chinese = page(name, ""), page(name, ".zh")
    assert headings(english) == headings(chinese)
    assert FENCED.findall(english) == FENCED.findall(chinese)
    assert listed(english) == listed(chinese)
    assert len(rows(english)) == len(rows(chinese))


def test_the_numbers_of_the_corpus_are_the_same() -> None:
    assert rows(page("data/README", "")) == rows(page("data/README", ".zh"))
    assert set(re.findall(r"[0-9a-f]{64}", page("data/README", ""))) == set(
        re.findall(r"[0-9a-f]{64}", page("data/README", ".zh"))
    )


@pytest.mark.parametrize("name", WITH_THE_SAME_SPANS)
def test_the_chinese_page_names_the_same_code(name: str) -> None:
    english, chinese = (Counter(re.findall(r"`([^`\n]+)`", page(name, language))) for language in ("", ".zh"))
    assert english - chinese == Counter()
    assert chinese - english == Counter()


@pytest.mark.parametrize("name", TRANSLATED)
def test_links_of_the_chinese_page_lead_somewhere(name: str) -> None:
    folder = (ROOT / name).parent
    targets = re.findall(r"\]\(([^)#:]+)\)", page(name, ".zh"))
    assert [target for target in targets if not (folder / target).exists()] == []
