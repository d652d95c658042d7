"""Groups of a split by tag or language pair, and the table of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from seq2seq.corpora.entries import Part
from seq2seq.corpora.files import Parallel
from seq2seq.corpora.tags import Divided
from seq2seq.training.tasks.by_language import TABLE, Group, groups, language_of, scores, write_table

CORPUS = Parallel("en", "de", "a", "b")
GERMAN, FRENCH = Part("g", tag="<de>"), Part("f", tag="<fr>", target_language="fr")


def test_groups_have_the_rows_of_their_parts() -> None:
    found = groups(Divided([GERMAN, FRENCH, GERMAN], [0, 2, 3, 5]), CORPUS)
    assert found == {"de": ([0, 1, 3, 4], "de"), "fr": ([2], "fr")}
    pairs = groups(Divided([Part("g"), FRENCH._replace(tag=None)], [0, 2, 3]), CORPUS)
    assert pairs == {"en_de": ([0, 1], "de"), "en_fr": ([2], "fr")}
    assert groups(Divided([GERMAN, GERMAN], [0, 2, 3]), CORPUS) == {}
    assert language_of(Divided([FRENCH], [0, 1]), CORPUS) == "fr"
    assert language_of(Divided([FRENCH, GERMAN], [0, 1, 2]), CORPUS) == "de"


def test_a_group_is_scored_by_its_own_lines() -> None:
    references = ["a b c d", "x y z w", "a b c d e"]
    texts = {0: "a b c d", 1: "nothing of that kind", 2: "a b c d e"}
    found = scores({"de": Group([0, 2], "de"), "fr": Group([1], "fr")}, texts, references, ["bleu", "chrf"])
    assert found["val_bleu_de"] == pytest.approx(100)
    assert found["val_bleu_fr"] < 20
    assert set(found) == {f"val_{name}_{label}" for name in ("bleu", "chrf") for label in ("de", "fr")}
    assert scores({"fr": Group([1], "fr")}, {0: "a"}, references, ["bleu"]) == {}


def test_the_table_has_a_row_a_test(tmp_path: Path) -> None:
    tests = {"one": {"BLEU": {"value": 31.256}}, "two": {"BLEU": {"value": 4.0}, "chrF2": {"value": 9}}}
    lines = write_table({"one": [GERMAN], "two": [FRENCH]}, tests, CORPUS, tmp_path)
    rows = [line.split("\t") for line in (tmp_path / TABLE).read_text().splitlines()]
    assert rows == [
        ["test", "source", "target", "tag", "BLEU", "chrF2"],
        ["one", "en", "de", "<de>", "31.26", ""],
        ["two", "en", "fr", "<fr>", "4.00", "9.00"],
    ]
    assert len({len(line) for line in lines}) == 1
    assert write_table({"one": [GERMAN], "two": [GERMAN]}, tests, CORPUS, tmp_path) == []
