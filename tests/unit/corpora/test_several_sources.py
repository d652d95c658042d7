"""Corpora with several source files, and the encoders that a configuration has for them."""

from pathlib import Path
from typing import Any

import pytest

from seq2seq.corpora import TSV, Corpus, Multi30k, Parallel
from seq2seq.corpora.corpus import scan
from seq2seq.corpora.files import TSVColumns
from seq2seq.errors import UserError
from seq2seq.text import Column
from seq2seq.training.tasks.pair_data import check_columns


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for language, lines in {"en": "a b\nc\n", "fr": "x\ny z\n", "de": "u\nv\n"}.items():
        for name in ("t", "train", "val", "test_2016_flickr"):
            Path(f"{name}.{language}").write_text(lines, encoding="utf-8")


def test_a_source_has_a_column_for_each_language() -> None:
    corpus = Parallel(None, "de", ["t", ["t.fr", "t.en", "t.de"]], "t", source_languages=["en", "fr"])
    assert list(corpus.pairs("val")) == [("a b\tx", "u"), ("c\ty z", "v")]
    assert list(corpus.pairs("train"))[2:] == [("x\ta b", "u"), ("y z\tc", "v")]
    assert corpus.columns == (Column("en"), Column("fr"))
    assert corpus.source_language == "en+fr"
    pictures = Multi30k("en", "de", source_languages=["en", "fr"])
    assert list(pictures.pairs("train")) == list(corpus.pairs("val"))
    assert [path.name for path in pictures.files("val")] == ["val.en", "val.fr", "val.de"]
    assert Parallel("en", "de", "t", "t").columns == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source_language": None}, "source_language: is missing"),
        (
            {"source_language": "de", "source_languages": ["en", "fr"]},
            "give two or more, each once, and no",
        ),
        ({"source_languages": ["en", "en"]}, "give two or more"),
        ({"source_languages": ["en", "xx"]}, r"^t.xx: no such file .* t.de, t.en, t.fr"),
        ({"source_languages": ["en", "fr"], "train": [["t.en", "t.de"]]}, "a prefix, or 2 source files and a target"),
    ],
)
def test_refused_sources(options: dict[str, Any], words: str) -> None:
    given = {"source_language": "en", "target_language": "de", "train": "t", "val": "t", **options}
    with pytest.raises(UserError, match=words):
        scan(Parallel(**given), "train")


def test_lines_of_several_sources_are_refused_with_their_place() -> None:
    corpus = Parallel(None, "de", "t", "t", source_languages=["en", "fr"])
    Path("t.fr").write_text("x\ny\tz\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^t.fr:2: has a tab, which separates several sources"):
        scan(corpus, "train")
    Path("t.fr").write_text("x\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^t.fr:2: ends after 1 lines, but t.de has 2"):
        scan(corpus, "train")


def test_each_column_has_an_encoder() -> None:
    two: Corpus = Parallel(None, "de", "t", "t", source_languages=["en", "fr"])
    tags: Corpus = TSV("a", "a", "t", "t", columns=TSVColumns(features_column=3))
    one: Corpus = Parallel("en", "de", "t", "t")
    for corpus, encoders in ((two, {"fr": {}}), (tags, {"features": {}}), (tags, {}), (tags, None), (one, None)):
        check_columns({"extra_encoders": encoders}, corpus)
    check_columns({}, tags)
    for corpus, given, words in (
        (two, None, r"a source has 2 texts, .* add \+encoder@extra_encoders.fr=recurrent"),
        (two, {}, r"\+encoder@extra_encoders.fr=recurrent"),
        (one, {"x": {}}, "extra_encoders.x: a source of Parallel has nothing"),
        (two, {"fr": {}, "y": {}}, "extra_encoders.y: a source"),
    ):
        with pytest.raises(UserError, match=words):
            check_columns({"extra_encoders": given}, corpus)
