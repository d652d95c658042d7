"""`seq2seq train --help` fits on a screen, and what it shows can be typed."""

from __future__ import annotations

import re
import shlex

import pytest

from seq2seq.cli.composing.configurations import composed, composing
from seq2seq.cli.main import main

COLUMNS = 120
"""Those of a terminal, which wraps the longer lines."""


@pytest.fixture(scope="module")
def shown() -> str:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: lines.append(" ".join(map(str, words))))
        assert main(["train", "--help"]) == 0
    return "\n".join(lines)


def test_it_fits_on_a_screen_and_lists_the_groups(shown: str) -> None:
    lines = shown.rstrip("\n").split("\n")
    assert sum(-(-max(len(line), 1) // COLUMNS) for line in lines) <= 50
    assert re.search(r"^cell: .*gru.*lstm", shown, re.MULTILINE)
    assert re.search(r"^context: additive", shown, re.MULTILINE)


def test_its_examples_compose(shown: str) -> None:
    joined = shown.replace("\\\n", " ")
    examples = [re.split(r"   +(?=\S+ \S+ )", line)[0] for line in re.findall(r"^ +seq2seq train (.*)$", joined, re.M)]
    assert len(examples) >= 6
    for example in examples:
        words = [
            word for word in shlex.split(example) if word != "-m" and not word.startswith(("resume=", "init_from="))
        ]
        overrides = [word.partition(",")[0] for word in words]
        with composing():
            assert composed(overrides)["encoder"]["hidden_size"] > 0
