"""The studies of protected spans and of languages: what they insert and take out again, and which data a run reads."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from pathlib import Path

from experiments.languages import run as languages
from experiments.protection import run as protection

LINES = ["A man sleeps.", "Two dogs, one ball.", "The end."] * 60


def test_lines_have_the_spans_that_were_inserted_and_are_the_same_without() -> None:
    made = protection.insert(LINES, seed=3)
    assert made == protection.insert(LINES, seed=3)
    counts = [protection.spans_of(line.text).total() for line in made]
    assert set(counts) == set(range(protection.MOST + 1))
    assert [protection.without(line.text) for line in made if line.scored] == [
        text for text, line in zip(LINES, made, strict=True) if line.scored
    ]
    assert any(max(protection.spans_of(line.text).values(), default=0) > 1 for line in made)
    assert made[50].text == ""
    assert protection.spans_of(made[51].text) == Counter([made[51].text])
    assert all(re.fullmatch(protection.PATTERN, tag) for tag in protection.TAGS)


def test_a_third_of_the_pairs_and_a_tenth(tmp_path: Path) -> None:
    for split, count in (("train", 60), ("val", 7), ("test_2016_flickr", 3)):
        for language in ("en", "de", "fr"):
            text = "".join(f"{language} {i}\n" for i in range(count)).encode()
            (tmp_path / f"{split}.{language}.gz").write_bytes(gzip.compress(text))
    folder = languages.write_corpus(tmp_path, tmp_path / "corpus")
    lines = {path.name: path.read_text(encoding="utf-8").splitlines() for path in folder.iterdir()}
    assert lines["train.fr"] == [f"fr {i}" for i in range(0, 60, 3)]
    assert lines["tenth.en"] == [f"en {i}" for i in range(0, 60, 10)]
    assert [len(lines[f"{name}.de"]) for name in ("val", "test")] == [3, 3]
