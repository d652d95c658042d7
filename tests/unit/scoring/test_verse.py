"""Rhyme and tones of verse by hand; the sounds are a table here, and those of pypinyin where it is installed."""

from __future__ import annotations

import pytest

from seq2seq.errors import UserError
from seq2seq.scoring import Scorer, verse
from seq2seq.scoring.verse import rhyme, sounds_of

TABLE = {
    "光": "uang1",
    "霜": "uang1",
    "乡": "iang1",
    "月": "ve4",
    "雪": "ve3",
    "别": "ie2",
    "春": "uen1",
    "门": "en2",
    "子": "i",
}


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    verse.finals.cache_clear()
    monkeypatch.setattr(verse, "finals", lambda: lambda character: TABLE.get(character, ""))
    monkeypatch.setattr(verse, "version", lambda name: "1")


def test_rhymes_and_tones_by_hand(table: None) -> None:
    outputs, references = ["月光", "春雪", "门，"], ["雪乡", "光门", "霜子"]
    scores = Scorer(("rhyme", "tones"))(outputs, references)
    assert scores["Rhyme"].value == pytest.approx(100 / 3)  # ang and ang; not e and en, en and i
    # oblique level against oblique level; level oblique against level level; level against level oblique
    assert scores["Tones"].value == pytest.approx(100 * (2 + 1 + 1) / 6)
    assert "sounds:mandarin" in scores["Rhyme"].signature
    assert (
        Scorer(("rhyme",))(["，", "光"], ["光", "，"])["Rhyme"].value == 0
    )  # one line cannot rhyme, the other does not count


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("uang1", "iang2", True),
        ("uen1", "en4", True),
        ("ve4", "ie2", True),
        ("ve4", "e2", False),
        ("ing1", "in1", False),
    ],
)
def test_what_rhymes(one: str, other: str, alike: bool) -> None:
    assert (rhyme(one) == rhyme(other)) == alike


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError

    verse.finals.cache_clear()
    monkeypatch.setattr(verse, "import_module", missing)
    with pytest.raises(UserError, match=r"rhyme and tones need pypinyin: pip install 'seq2seq-recurrent\[zh\]'"):
        Scorer(("rhyme",))(["光"], ["光"])


def test_the_real_sounds() -> None:
    pytest.importorskip("pypinyin")
    verse.finals.cache_clear()
    assert sounds_of("霜a，月") == ["uang1", "ve4"]
