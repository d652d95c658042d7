"""Words of text without spaces: split before a vocabulary, and put together again, exactly; with the real libraries
where they are installed, and with one that splits after two characters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seq2seq.errors import UserError
from seq2seq.text import (
    SegmentedTokenizer,
    SentencePieceTrainer,
    Tokenizers,
    WhitespaceTrainer,
    description,
    load_tokenizers,
    train_tokenizers,
)
from seq2seq.text import segmented as module
from seq2seq.text.extension import ExtendingTrainer
from seq2seq.text.segmented import joined, segmented
from seq2seq.text.spelling import SpellingTrainer

LINES = ["我来到北京清华大学", "他 来到 GitHub 大学", "  a  b ", "␣ 我\ue582大学", "小明硕士毕业"]


@pytest.fixture
def by_two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without the library: two characters are a word."""
    module.words_of.cache_clear()
    monkeypatch.setattr(module, "_jieba", lambda: lambda text: [text[i : i + 2] for i in range(0, len(text), 2)])
    monkeypatch.setattr(module, "version", lambda name: "1")
    yield
    module.words_of.cache_clear()


@pytest.mark.parametrize("line", LINES)
def test_a_text_comes_back(by_two: None, line: str) -> None:
    assert joined(segmented(line, "jieba")) == line
    assert segmented("我来到北京 大学", "jieba") == "我来 到北 京 ␣ 大学"


@pytest.mark.parametrize("subwords", [False, True])
def test_it_is_kept_and_undone(by_two: None, subwords: bool, tmp_path: Path) -> None:
    trainer: Any = WhitespaceTrainer(segmenter="jieba")
    if subwords:
        trainer = SentencePieceTrainer(vocabulary_size=320, segmenter="jieba")
    made = train_tokenizers(trainer, lambda: [(line, line) for line in LINES], len(LINES))
    made.save(tmp_path)
    kept = load_tokenizers(tmp_path)
    for tokenizers in (made, kept):
        assert isinstance(tokenizers.source, SegmentedTokenizer)
        assert tokenizers.target.decode_batch(tokenizers.source.encode_batch(LINES)) == LINES
        assert tokenizers.source.fingerprint == made.source.fingerprint
    assert subwords or "我来" in made.source.tokens(made.source.encode(LINES[0]))
    assert description(kept)["segmenter"] == "jieba"
    assert trainer.settings()["segmenter"] == {"source": "jieba", "target": "jieba"}
    assert "segmenter" not in WhitespaceTrainer().settings()
    assert "segmenter" not in SentencePieceTrainer().settings()


def test_one_side_alone(by_two: None) -> None:
    trainer = WhitespaceTrainer(segmenter={"source": "jieba"})
    made = train_tokenizers(trainer, lambda: [("我来到", "I came")], 1)
    assert isinstance(made.source, SegmentedTokenizer)
    assert made.target.kind == "whitespace"
    assert made.target.tokens(made.target.encode("I came")) == ["I", "came"]
    assert trainer.settings()["segmenter"] == {"source": "jieba"}


def test_what_is_refused(by_two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="segmenter=x: there is no such segmenter; use jieba or mecab"):
        WhitespaceTrainer(segmenter="x")
    with pytest.raises(UserError, match=r"segmenter.both: is no side"):
        WhitespaceTrainer(segmenter={"both": "jieba"})
    with pytest.raises(UserError, match=r"set tokenizer.joint=false"):
        SentencePieceTrainer(segmenter={"source": "jieba"})
    with pytest.raises(UserError, match="words of a segmenter are not sampled"):
        SentencePieceTrainer(segmenter="jieba", sampling_alpha=0.1)
    with pytest.raises(UserError, match="not for words that are spelled"):
        SpellingTrainer(WhitespaceTrainer(segmenter="jieba"))
    plain = WhitespaceTrainer().train(["a"])
    with pytest.raises(UserError, match="cannot be added; use match or replace"):
        ExtendingTrainer(WhitespaceTrainer(segmenter="jieba"), Tokenizers(plain, plain, joint=False))

    def missing() -> Any:
        raise ImportError

    module.words_of.cache_clear()
    monkeypatch.setattr(module, "_mecab", missing)
    with pytest.raises(UserError, match=r"needs mecab-python3: pip install 'seq2seq-recurrent\[ja\]'"):
        SegmentedTokenizer(plain, "mecab")


def test_a_segmenter_that_changes_the_text_is_not_believed(by_two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    module.words_of.cache_clear()
    monkeypatch.setattr(module, "_jieba", lambda: lambda text: ["x", "y z"])
    assert segmented("我来", "jieba") == "我来"


@pytest.mark.parametrize(
    ("segmenter", "package", "text", "words"),
    [
        ("jieba", "jieba", "我来到北京清华大学", "我 来到 北京 清华大学"),
        ("mecab", "MeCab", "すもももももももものうち", "すもも も もも も もも の うち"),
    ],
)
def test_the_real_words(segmenter: str, package: str, text: str, words: str) -> None:
    pytest.importorskip(package)
    assert segmented(text, segmenter) == words
    for line in LINES:
        assert joined(segmented(line, segmenter)) == line
