"""A text as a stream: every token once, in order, whatever the rows and windows; splits, characters and errors."""

import gzip
import lzma
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.corpora import StreamData, Text, TinyShakespeare, readers, store
from seq2seq.corpora.stream import Windows
from seq2seq.errors import UserError
from seq2seq.text import EOS, UNK, CharacterTokenizer, CharacterTrainer, WhitespaceTrainer, load_tokenizer

SHARED = Path(os.environ.get("SEQ2SEQ_DATA", Path(__file__).parents[4] / "shared" / "data"))
LINES = ["To be, or not to be,", "", "that is the question:", "沙塞經時不寄書\t深閨愁獨意何如", "x" * 40, "the end"]
TEXT = "".join(f"{line}\n" for line in LINES)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))


def write(path, text=TEXT):
    content = text.encode()
    pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(content))
    return str(path)


def data(corpus, window=4, rows=3, trainer=None):
    made = StreamData(corpus, trainer or CharacterTrainer(), seed=1, window=window, batch_size=rows)
    made.prepare_data()
    return made


@given(st.integers(1, 60), st.integers(1, 7), st.one_of(st.none(), st.integers(1, 70)))
def test_windows_hold_every_token_once_with_the_one_before_it(count, rows, size):
    stream = np.arange(4, 4 + count, dtype=np.uint16)
    if count < rows:
        with pytest.raises(UserError, match="only"):
            Windows(stream, rows, size)
        return
    windows = Windows(stream, rows, size)
    found = list(windows)
    assert len(found) == len(windows)
    assert [window.begin for window in found] == [True] + [False] * (len(found) - 1)
    assert all(window.inputs.size(1) == min(size or count, count // rows) for window in found[:-1])
    inputs, targets = (torch.cat([getattr(window, part) for window in found], 1) for part in ("inputs", "targets"))
    length = count // rows
    assert targets.flatten().tolist() == stream[: rows * length].tolist()
    assert inputs.flatten().tolist() == [EOS, *stream[: rows * length - 1].tolist()]


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_a_text_comes_back_from_its_stream(tmp_path, suffix):
    corpus = Text(write(tmp_path / f"a.txt{suffix}"), val=write(tmp_path / "b.txt"), test_share=0)
    found = data(corpus)
    assert corpus.splits == ("train", "val")
    ids = found.stream("train")
    assert isinstance(ids, np.memmap)
    assert len(ids) == len(TEXT) == found.characters("train") == found.statistics["train_tokens"]
    tokenizer = found.tokenizers.target
    assert "".join("\n" if i == EOS else tokenizer.decode([i]) for i in ids.tolist()) == TEXT


@pytest.mark.parametrize("shares", [(0.05, 0.1), (0.2, 0.3), (0.4, 0.0)])
def test_held_out_shares_are_the_end_of_the_text_cut_at_lines(tmp_path, shares):
    lines = [f"{i} {'y' * (i * 7 % 23)}" for i in range(200)]
    names = [write(tmp_path / f"{i}.txt", "".join(f"{x}\n" for x in lines[i::4])) for i in range(4)]
    corpus = Text(names, val_share=shares[0], test_share=shares[1])
    parts = {split: [line for _, line in corpus.pairs(split)] for split in corpus.splits}
    assert [line for part in parts.values() for line in part] == [line for i in range(4) for line in lines[i::4]]
    total = sum(len(line) + 1 for line in lines)
    for split, share in zip(("val", "test"), shares, strict=True):
        if share:
            assert sum(len(line) + 1 for line in parts[split]) == pytest.approx(share * total, abs=30)
    assert ("test" in parts) == (shares[1] > 0)


def test_subwords_and_words_count_characters_too(tmp_path):
    path = write(tmp_path / "a.txt")
    found = data(Text(path, val=path, test_share=0), trainer=WhitespaceTrainer(joint=True))
    assert len(found.stream("val")) == sum(len(line.split()) for line in LINES[:3]) + 1 + 1 + 2 + len(LINES)
    assert found.characters("val") == len(TEXT)


def test_the_characters_unk_is_counted_and_saved(tmp_path):
    found = data(Text(write(tmp_path / "a.txt"), val=write(tmp_path / "b.txt", "to beQ\n"), test_share=0))
    assert found.statistics["val_unk"] == 1
    tokenizer = CharacterTrainer(min_frequency=2).train(["abca", "b"])
    tokenizer.save(tmp_path, "joint")
    again = load_tokenizer(tmp_path, "joint")
    assert isinstance(again, CharacterTokenizer)
    assert again.encode("abc\u2581") == [4, 5, UNK, UNK]
    assert again.decode([1, 4, 3, 5]) == "⁇ab"
    assert again.tokens([3, 5]) == ["</s>", "b"]
    assert again.fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_share": 1.5}, "val_share=1.5"),
        ({"val_share": 0.6, "test_share": 0.5}, "no text to train on"),
        ({"val_share": 0}, "nothing to validate on"),
        ({"tests": {"train": "b.txt"}}, "names of other splits"),
    ],
)
def test_wrong_shares(changes, message):
    with pytest.raises(UserError, match=message):
        Text("a.txt", **changes)


def test_faults_of_files_and_sizes(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"ok\nno\xff\n")
    with pytest.raises(UserError, match=r"bad\.txt:2: byte 0xff"):
        data(Text(str(tmp_path / "bad.txt")))
    with pytest.raises(UserError, match="the split 'val' is empty"):
        data(Text(write(tmp_path / "one.txt", "a single line\n"), test_share=0))
    with pytest.raises(UserError, match=r"task\.window=0"):
        data(Text("a.txt"), window=0)
    with pytest.raises(UserError, match=r"data\.batch_size=0"):
        data(Text("a.txt"), rows=0)


def test_a_damaged_shakespeare_is_refused(tmp_path):
    (tmp_path / "tinyshakespeare").mkdir()
    write(tmp_path / "tinyshakespeare" / "input.txt.gz", "First Citizen:\n")
    with pytest.raises(UserError, match="damaged"):
        TinyShakespeare(str(tmp_path)).prepare()


def test_an_unreachable_server_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot be downloaded.*yourself"):
        TinyShakespeare(str(tmp_path), url="http://127.0.0.1:9/input.txt").prepare()


@pytest.mark.skipif(not (SHARED / "tinyshakespeare").is_dir(), reason="tiny Shakespeare is not here")
@pytest.mark.slow
def test_the_real_shakespeare():
    corpus = TinyShakespeare(str(SHARED))
    corpus.prepare()
    found = data(corpus, 64, 32)
    sizes = [found.characters(split) for split in ("train", "val", "test")]
    assert sum(sizes) == 1_115_394
    assert sizes[2] == pytest.approx(111_539, abs=80)
    assert found.statistics["test_unk"] == 0


ONE = " ".join(f"word{i}" for i in range(4000))


@pytest.mark.parametrize("text", [ONE, "汉" * 5000, f"{ONE}\n{ONE}\n{ONE}", ONE + "\n" + "x\n" * 20])
def test_a_text_of_one_line_is_cut_into_splits(tmp_path, text):
    corpus = Text(write(tmp_path / "t", text))
    parts = {split: "\n".join(line for _, line in corpus.pairs(split)) for split in ("train", "val", "test")}
    joined = "\n".join(parts.values())
    if " " in text:  # a space, or a line feed that was there, between the splits, and nothing else changes
        assert joined.replace("\n", " ") == text.rstrip("\n").replace("\n", " ")
    assert joined.replace("\n", "").replace(" ", "") == text.replace("\n", "").replace(" ", "")
    for split, share in (("val", 0.05), ("test", 0.1)):
        assert len(parts[split]) == pytest.approx(share * len(text), abs=12)
    found = data(corpus)
    assert sum(found.characters(split) for split in corpus.splits) == pytest.approx(len(text), abs=3)


def test_a_line_longer_than_a_part_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "PART", 100)
    corpus = Text(write(tmp_path / "t", f"{ONE}\nshort\n\n{'é' * 130}\n"), val=write(tmp_path / "v"), test_share=0)
    lines = [line for _, line in corpus.pairs("train")]
    assert max(len(line.encode()) for line in lines) <= 100
    assert " ".join(lines[: lines.index("short")]) == ONE
    assert lines[lines.index("short") :] == ["short", "", "é" * 50, "é" * 50, "é" * 30]
    (tmp_path / "t").write_bytes(ONE.encode() + b"\n\xff\n")
    with pytest.raises(UserError, match=r"t:2: byte 0xff at position 1"):
        list(corpus.pairs("train"))


def test_a_long_line_of_other_data_is_refused_with_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "LONGEST", 1000)
    monkeypatch.setattr(readers, "BLOCK", 64)
    with pytest.raises(UserError, match=r"t:2: has more than .* Split it into sentences .*language_modeling reads"):
        list(readers.lines(Path(write(tmp_path / "t", f"a\n{ONE}"))))


def test_a_split_that_is_empty_says_what_to_do(tmp_path):
    with pytest.raises(
        UserError, match=r"the split 'val' is empty; the text is too short: raise data.corpus.val_share"
    ):
        data(Text(write(tmp_path / "t", "abc")))
    with pytest.raises(UserError, match=r"v: the split 'val' is empty; give data.corpus.val a file with text$"):
        data(Text(write(tmp_path / "t"), val=write(tmp_path / "v", "")))
    with pytest.raises(UserError, match=r"'x' is empty; give data.corpus.tests.x a file with text, or leave it out"):
        data(Text(write(tmp_path / "t"), val=write(tmp_path / "v"), tests={"x": write(tmp_path / "x", "")}))


def test_few_long_lines_are_encoded_at_once(monkeypatch):
    monkeypatch.setattr(store, "HELD", 5000)
    pairs = [("", "x" * 1000)] * 30 + [("", "y")] * 25
    assert [len(chunk) for chunk in store._chunks(iter(pairs), 10)] == [5] * 6 + [10, 10, 5]
