"""Pretrained vectors: the rows are the file's to the bit, subwords are means by the formula, bad files are named."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.corpora.vectors import read_vectors
from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.text import SentencePieceTrainer, Tokenizers, WhitespaceTokenizer
from seq2seq.training.start import vectors
from tests.conftest import model_config

WORDS = ["haus", "hunde", "katze", "katzen"]
ROWS = np.array([[0.1, -1.5, 3.25], [1e-7, 2, 0.333333343], [4, 5, 6], [-1, -2, -3]], dtype=np.float32)


def write(path: Path, words: list[str] = WORDS, rows: Any = ROWS, header: str | None = "4 3") -> Path:
    """As fastText writes it: a header, and a space at the end of each line."""
    lines = [f"{word} {' '.join(str(value) for value in row)} " for word, row in zip(words, rows, strict=True)]
    text = "".join(f"{line}\n" for line in [*([header] if header else []), *lines])
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize(("name", "header"), [("v.vec", "4 3"), ("v.txt", None), ("v.vec.gz", "4 3")])
def test_the_rows_of_words_are_the_files(tmp_path: Path, name: str, header: str | None) -> None:
    tokenizer = WhitespaceTokenizer(["katzen", "zebra", "haus"])
    found = read_vectors(write(tmp_path / name, [*WORDS[:3], "haus"], header=header), tokenizer, 3)
    assert found.exact.tolist() == [False] * 6 + [True]  # the second haus does not count
    assert np.array_equal(found.values[6], ROWS[0])
    assert not found.composed.any()
    assert str(found) == "1 of 7 tokens (14.3%) have a vector of the file, 6 have none"


def test_subwords_are_means_of_the_words_that_hold_them(tmp_path: Path) -> None:
    tokenizer = SentencePieceTrainer(vocabulary_size=290).train(["haus hunde katze"] * 5)
    found = read_vectors(write(tmp_path / "v.vec"), tokenizer, 3)
    split = [set(tokenizer.encode(word)) for word in WORDS]
    for i, token in enumerate(tokenizer.tokens(range(len(tokenizer)))):
        if token.startswith("\u2581") and token[1:] in WORDS:
            assert found.exact[i]
            assert np.array_equal(found.values[i], ROWS[WORDS.index(token[1:])])
            continue
        holding = [row for row, ids in zip(ROWS, split, strict=True) if i in ids]
        assert found.composed[i] == bool(holding)
        if holding:
            np.testing.assert_allclose(found.values[i], np.mean(holding, 0), rtol=1e-6)
    assert found.composed.any()


def test_a_file_of_subwords_is_looked_up_as_it_is(tmp_path: Path) -> None:
    tokenizer = SentencePieceTrainer(vocabulary_size=290).train(["haus hunde katze"] * 5)
    tokens = tokenizer.tokens(range(len(tokenizer)))
    names = ["haus", "\u2581haus", tokens[-1], "x"]  # the first is no word here
    found = read_vectors(write(tmp_path / "v.vec", names), tokenizer, 3)
    assert np.array_equal(found.values[tokens.index("\u2581haus")], ROWS[1])
    assert np.array_equal(found.values[-1], ROWS[2])
    assert found.exact.sum() == 2
    assert not found.composed.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 5\na 1 2 3 4 5\n", "its vectors are 5 numbers wide, and embedding.size=3; set embedding.size=5"),
        ("haus 1 2\n", "its vectors are 2 numbers wide"),
        ("1 3\nhaus 1 2 x\n", "the vector of 'haus'"),
        ("1 3\nhaus 1 2 nan\n", "v:2: the vector of 'haus' is not 3 finite numbers"),
        ("2 3\nmaus 1 2 3\nhaus 1 2\n", "the vector of 'haus'"),
        ("1 3\nmaus 1 2 3\n", "has a vector for none of the 5 tokens"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "v").write_text(text)
    with pytest.raises(UserError) as told:
        read_vectors(tmp_path / "v", WhitespaceTokenizer(["haus"]), 3)
    assert message in str(told.value)
    assert str(tmp_path / "v") in str(told.value)


def config(path: Path | None, side: str = "source", **embedding: Any) -> dict[str, Any]:
    options = {"size": 3, "vectors": {side: str(path) if path else None}, **embedding}
    return {**model_config(embedding=options), "init_from": None, "task": {"name": "translation"}}


@pytest.mark.parametrize("changes", [{}, {"freeze_vectors": ["source"]}, {"share": True}], ids=str)
def test_a_models_table_has_them(tmp_path: Path, changes: dict[str, Any]) -> None:
    tokenizer = WhitespaceTokenizer(["katzen", "haus", "zebra"])
    given = config(write(tmp_path / "v.vec"), **changes)
    vectors.check(given)
    models = []
    for each in (given, config(None, **changes)):
        torch.manual_seed(3)
        models.append(factory.encoder_decoder(each, {"source": 7, "target": 7}))
    model, drawn = models
    (told,) = vectors.place(model, given, Tokenizers(tokenizer, tokenizer, joint=True))
    assert told.startswith("embedding.vectors.source: 2 of 7 tokens")
    assert np.array_equal(model.source_embedding.weight[[4, 5]].detach().numpy(), ROWS[[3, 0]])
    for name, weight in drawn.state_dict().items():
        same = torch.equal(weight, model.state_dict()[name])
        assert same is not (name == "source_embedding.weight" or ("share" in changes and "embedding" in name))
    assert model.source_embedding.weight.requires_grad is not bool(changes.get("freeze_vectors"))
    assert torch.equal(model.source_embedding.weight[6], drawn.source_embedding.weight[6])


def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "v.vec")
    cases = [
        (config(tmp_path / "none"), "no such file"),
        (config(path) | {"task": {"name": "language_modeling"}}, "of its target only"),
        (config(path) | {"init_from": "b"}, "init_from"),
        (config(path, share=True, vectors={"source": str(path), "target": "w"}), "w: no such file"),
        (config(path, freeze_vectors=["target"]), "embedding.freeze_vectors=target"),
    ]
    for given, message in cases:
        with pytest.raises(UserError, match="embedding") as told:
            vectors.check(given)
        assert message in str(told.value)
