"""Numbers as text: exact as float32, with the scale of the training lines, and refused where they are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seq2seq.errors import UserError
from seq2seq.text import NumberTokenizer, NumberTrainer, Tokenizers, description, load_tokenizers

LINES = ["1 10.5", "-3 10.5", "2.5e-3 10.5", "16777216 10.5"]


def test_numbers_come_back_exactly(tmp_path: Path) -> None:
    tokenizer = NumberTrainer().train(LINES)
    values = np.array([[float(word) for word in line.split()] for line in LINES])
    assert tokenizer.means == pytest.approx(values.mean(0).tolist(), rel=1e-6)
    assert tokenizer.deviations == pytest.approx([values[:, 0].std(), 1], rel=1e-6)  # 1 for what never changes
    random = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32) * [1e-30, 1e30]
    for one, other in random.astype(np.float32).tolist():
        ids = tokenizer.encode(f"{one!r} {other!r}")
        assert len(ids) == 4
        assert all(4 <= i < len(tokenizer) for i in ids)
        assert [np.float32(word) for word in tokenizer.decode(ids).split()] == [np.float32(one), np.float32(other)]
        assert tokenizer.values(np.array([ids])).tolist() == [[one, other]]
    Tokenizers(tokenizer, tokenizer, joint=True).save(tmp_path)
    kept = load_tokenizers(tmp_path)
    assert kept.target.fingerprint == tokenizer.fingerprint
    assert description(kept)["_target_"] == "seq2seq.text.NumberTrainer"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 two", "is not numbers with spaces between them"),
        ("", "is not a finite number"),
        ("1 nan", "is not a finite number"),
        ("1 1e39", "is not a finite number"),
        ("1 2 3", "is 3 numbers, and the first line of training has 2"),
    ],
)
def test_what_is_no_number(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        NumberTrainer().train([*LINES, text])
    with pytest.raises(UserError, match=message):
        NumberTokenizer([0, 0], [1, 1]).encode(text)
    with pytest.raises(UserError, match="deviations above 0"):
        NumberTokenizer([0], [0])
