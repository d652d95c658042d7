"""Tokenizers: exact round trips, reproducible training, plain files, and errors that name the remedy."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.text import (
    EOS,
    PAD,
    UNK,
    SentencePieceTokenizer,
    SentencePieceTrainer,
    TokenizerTrainer,
    WhitespaceTokenizer,
    WhitespaceTrainer,
    load_tokenizer,
    load_tokenizers,
    train_tokenizers,
)

TEXT = "the dog sees a cat and two birds in the old garden while it rains der Hund sieht eine Katze größer"
LINES = [" ".join(random.Random(i).choices(TEXT.split(), k=8)) for i in range(300)]
SIZES = {"bpe": 330, "unigram": 300, "char": None, "word": None}
ODD = [
    "",
    " ",
    "a  b",
    "  the dog",
    "the dog  ",
    " xyz",
    "no\u00a0break",
    "tab\there\r",
    "\u2009thin \u2028 line\x00",
    "x▁y ▁ ▁▁",
    "\ue581 \ue5811 ▁\ue581",
    "▅ reserved",
    "e\u0301 é 😀 中文",
    "<s> </s> <unk> <0x41>",
]


@pytest.fixture(scope="module", params=SIZES)
def subwords(request: pytest.FixtureRequest) -> SentencePieceTokenizer:
    return SentencePieceTrainer(model_type=request.param, vocabulary_size=SIZES[request.param]).train(LINES)


def test_text_comes_back_exactly(subwords: SentencePieceTokenizer) -> None:
    texts = ODD + LINES
    ids = subwords.encode_batch(texts)
    assert subwords.decode_batch(ids) == texts
    assert ids == [subwords.encode(text) for text in texts]
    assert all(EOS < i < len(subwords) for sentence in ids for i in sentence)


@settings(max_examples=200, deadline=None, database=None)
@given(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])))
def test_any_line_comes_back(text: str) -> None:
    for model_type in ("bpe", "word"):
        tokenizer = _trained(model_type)
        assert tokenizer.decode(tokenizer.encode(text)) == text


TRAINED: dict[str, SentencePieceTokenizer] = {}


def _trained(model_type: str) -> SentencePieceTokenizer:
    if model_type not in TRAINED:
        trainer = SentencePieceTrainer(model_type=model_type, vocabulary_size=SIZES[model_type])
        TRAINED[model_type] = trainer.train(LINES)
    return TRAINED[model_type]


@pytest.mark.parametrize("model_type", SIZES)
def test_same_text_same_model(model_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _trained(model_type)
    monkeypatch.chdir(tmp_path)
    again = SentencePieceTrainer(model_type=model_type, vocabulary_size=SIZES[model_type]).train(iter(LINES))
    assert again.model == first.model
    assert again.fingerprint == first.fingerprint
    assert SentencePieceTrainer("char", None).train(LINES[1:]).fingerprint != first.fingerprint


def test_a_long_line_is_learned_from() -> None:
    tokenizer = SentencePieceTrainer("word", None).train([" ".join([*["filler"] * 5000, "needle"])])
    assert tokenizer.tokens(tokenizer.encode("needle")) == ["▁needle"]


@pytest.mark.parametrize("model_type", SIZES)
def test_a_long_line_teaches_what_its_words_do(model_type: str) -> None:
    """In bounded time: unigram would take minutes for this line as one."""
    one, many = " ".join(LINES * 20), LINES * 20
    assert len(one) > 100_000
    trainer = SentencePieceTrainer(model_type, SIZES[model_type])
    of_one, of_many = trainer.train([one]), trainer.train(many)
    ids = range(len(of_many))
    assert set(of_one.tokens(range(len(of_one)))) == set(of_many.tokens(ids))
    assert len(SentencePieceTrainer("char", None).train(["x" * 1_000_000])) == len(
        SentencePieceTrainer("char", None).train(["x"])
    )


def test_ids_of_the_special_tokens() -> None:
    tokenizer = _trained("bpe")
    ids = tokenizer.encode("the dog")
    assert tokenizer.decode([2, *ids, 3, 0, 0]) == "the dog"
    assert tokenizer.tokens([0, 1, 2, 3]) == ["<pad>", "<unk>", "<s>", "</s>"]
    assert tokenizer.decode(tokenizer.encode("a") + _bytes(tokenizer, "\n") + tokenizer.encode("b")) == "a  b"
    plain = SentencePieceTrainer("char", None, byte_fallback=False).train(LINES)
    assert UNK in plain.encode("中")
    assert "⁇" in plain.decode(plain.encode("中"))


def _bytes(tokenizer: SentencePieceTokenizer, text: str) -> list[int]:
    tokens = tokenizer.tokens(range(len(tokenizer)))
    return [tokens.index(f"<0x{byte:02X}>") for byte in text.encode()]


@pytest.mark.parametrize("model_type", SIZES)
def test_a_vocabulary_too_large_names_the_largest_that_works(model_type: str) -> None:
    with pytest.raises(UserError, match=r"tokenizer.vocabulary_size=90000: .* at most \d+ ") as error:
        SentencePieceTrainer(model_type, 90_000).train(LINES)
    largest = int(str(error.value).split("at most ")[1].split()[0])
    assert len(SentencePieceTrainer(model_type, largest).train(LINES)) == largest
    with pytest.raises(UserError, match=f"at most {largest} "):
        SentencePieceTrainer(model_type, largest + 1).train(LINES)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model_type": "bpee"}, "model_type='bpee' is not known; use bpe, unigram"),
        ({"vocabulary_size": 260}, "260 are taken by .* bytes"),
        ({"vocabulary_size": None}, "char or word only"),
        ({"normalization": "lower"}, "normalization='lower'"),
        ({"training_lines": 0}, "training_lines=0"),
        ({"sampling_alpha": 1.5}, "sampling_alpha=1.5"),
        ({"sampling_alpha": 0.1, "byte_fallback": False}, "needs byte_fallback"),
        ({"sampling_alpha": 0.1, "model_type": "word"}, "knows one segmentation"),
        ({"sampling_alpha": 0.1, "sampling_sides": "left"}, "sampling_sides='left'"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], words: str) -> None:
    node = {"_target_": "seq2seq.text.SentencePieceTrainer", **settings}
    with pytest.raises(UserError, match=words):
        factory.component(node, "tokenizer", base=TokenizerTrainer)()


def test_text_that_cannot_be_learned_from() -> None:
    with pytest.raises(UserError, match="no sentence to learn from"):
        SentencePieceTrainer().train(["", ""])
    with pytest.raises(UserError, match=r"characters alone need \d+"):
        SentencePieceTrainer(vocabulary_size=262).train(LINES)
    with pytest.raises(UserError, match="no word to learn from"):
        WhitespaceTrainer().train([" "])


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_sampling_is_a_pure_function_of_its_seed(model_type: str) -> None:
    tokenizer = _trained(model_type)
    sampling = SentencePieceTrainer(model_type, sampling_alpha=0.3).sampling
    assert sampling is not None
    assert (sampling.source, sampling.target) == (True, False)
    first, other = (tokenizer.sample_batch(LINES, sampling, seed) for seed in (5, 6))
    assert tokenizer.sample_batch(LINES, sampling, 5) == first != other
    assert tokenizer.decode_batch(first) == tokenizer.decode_batch(other) == LINES


def test_whitespace_tokens_of_a_small_text() -> None:
    tokenizer = WhitespaceTrainer().train(["b a b", "c b\u00a0c a"])
    # b and a are seen twice, in code point order; then the NO-BREAK SPACE keeps one word together
    assert tokenizer.tokens(range(len(tokenizer)))[4:] == ["a", "b", "b\u00a0c", "c"]
    assert tokenizer.encode(" a  b x b\u00a0c") == [4, 5, UNK, 6]
    assert tokenizer.decode([2, 4, 5, UNK, 6, EOS, PAD]) == "a b ⁇ b\u00a0c"
    assert len(WhitespaceTrainer(min_frequency=2).train(["b a b", "c b\u00a0c a"])) == 6
    assert WhitespaceTrainer(vocabulary_size=5).train(["b a b", "c"]).encode_batch(["a b", ""]) == [[UNK, 4], []]
    with pytest.raises(UserError, match="vocabulary_size=9: this text supports 5 to 7"):
        WhitespaceTrainer(vocabulary_size=9).train(["b a b", "c"])


def test_joint_or_a_tokenizer_a_side(tmp_path: Path) -> None:
    pairs = [("a b", "x"), ("c", "y z")]
    for joint, sizes in ((True, (10, 10)), (False, (7, 7))):
        tokenizers = train_tokenizers(WhitespaceTrainer(joint=joint), lambda: pairs, count=2)
        assert (len(tokenizers.source), len(tokenizers.target)) == sizes
        assert (tokenizers.source is tokenizers.target) == tokenizers.joint == joint
        tokenizers.save(tmp_path / str(joint))
        loaded = load_tokenizers(tmp_path / str(joint))
        assert (loaded.source is loaded.target) == loaded.joint == joint
        assert loaded.target.encode("y z") == tokenizers.target.encode("y z")


def test_of_a_large_corpus_every_nth_pair_is_taken() -> None:
    pairs = [(f"s{i}", f"t{i}") for i in range(10)]
    tokenizers = train_tokenizers(WhitespaceTrainer(joint=True, training_lines=4), lambda: pairs, count=10)
    assert tokenizers.source.tokens(range(4, len(tokenizers.source))) == sorted(
        f"{k}{i}" for k in "st" for i in (0, 3, 6, 9)
    )


@pytest.mark.parametrize("tokenizer", [_trained("bpe"), WhitespaceTokenizer(["a", "ä\u00a0b"])], ids=lambda t: t.kind)
def test_plain_files_and_back(tokenizer: SentencePieceTokenizer | WhitespaceTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path, "source")
    loaded = load_tokenizer(tmp_path, "source")
    assert type(loaded) is type(tokenizer)
    assert (loaded.fingerprint, len(loaded)) == (tokenizer.fingerprint, len(tokenizer))
    assert loaded.encode("a ä\u00a0b") == tokenizer.encode("a ä\u00a0b")
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".json", ".model")]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: (d / "x.json").unlink(), "x.json: cannot be read"),
        (lambda d: (d / "x.json").write_bytes(b"\x80\x04pickle"), "x.json: is not JSON"),
        (lambda d: (d / "x.json").write_text("[]"), "x.json: is not a tokenizer's description"),
        (lambda d: _edit(d, kind="builtins.eval"), "x.json: kind 'builtins.eval'"),
        (lambda d: _edit(d, format=9), "x.json: format 9"),
        (lambda d: (d / "x.model").unlink(), "x.json: x.model is damaged or missing"),
        (lambda d: (d / "x.model").write_bytes(b"garbage"), "x.json: x.model is damaged or missing"),
    ],
)
def test_damaged_files(damage: object, words: str, tmp_path: Path) -> None:
    _trained("bpe").save(tmp_path, "x")
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(UserError, match=words):
        load_tokenizer(tmp_path, "x")


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "x.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_foreign_model_is_refused() -> None:
    with pytest.raises(UserError, match="not a sentencepiece model"):
        SentencePieceTokenizer(b"garbage")


def test_readers_and_tokenizers_need_no_torch() -> None:
    code = "import seq2seq.corpora, seq2seq.text, sys; sys.exit('torch' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
