"""Corpora: text exactly as it stands, one clear error for each fault, and an encoded form that is made once."""

import bz2
import gzip
import json
import lzma
import multiprocessing
import os
import resource
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import zstandard

from seq2seq.corpora import TSV, Corpus, Embedded, JSONLines, Multi30k, Parallel, TranslationData, store
from seq2seq.corpora.budget import Budget
from seq2seq.corpora.corpus import scan
from seq2seq.corpora.files import TSVColumns
from seq2seq.corpora.folders import atomic_folder
from seq2seq.corpora.readers import lines
from seq2seq.errors import UserError
from seq2seq.nn.types import Pairs
from seq2seq.text import SentencePieceTrainer, Tokenizers, WhitespaceTokenizer, WhitespaceTrainer, load_tokenizers

TEXT = ["a\u00a0b", "", " c\rc", "d\u2028e\u0085f\x0cg", "größe 中", ""]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEQ2SEQ_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def write(name: str, *rows: str) -> None:
    Path(name).write_bytes("".join(f"{row}\n" for row in rows).encode())


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("end", ["\n", ""])
def test_lines_end_at_line_feeds_only(suffix: str, end: str) -> None:
    content = [*TEXT, "x" * 200_000, "last"]
    Path(f"t{suffix}").write_bytes(COMPRESS[suffix](("\n".join(content) + end).encode()))
    assert list(lines(Path(f"t{suffix}"))) == content


def test_a_zstandard_file_may_have_several_frames() -> None:
    Path("t.zst").write_bytes(zstandard.compress(b"a\nb") + zstandard.compress(b"c\nd\n"))
    assert list(lines(Path("t.zst"))) == ["a", "bc", "d"]


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst", ".bz2"])
def test_damaged_files(suffix: str) -> None:
    whole = COMPRESS[suffix](os.urandom(300_000).hex().encode())
    for content in (whole[:-20], whole[:12] + b"\xff" * 50, whole + b"more"):
        Path(f"t{suffix}").write_bytes(content)
        with pytest.raises(UserError, match=rf"^t\{suffix}: cannot be read after line .*is it complete\?"):
            list(lines(Path(f"t{suffix}")))


def _parallel() -> Parallel:
    return Parallel("en", "de", "train", "train")


@pytest.mark.parametrize(
    ("files", "corpus", "words"),
    [
        ({}, lambda: Parallel("en", "de", [["x.en", "x.de"]], "v"), "^x.en: no such file"),
        ({"train.en": b"a\n", "train.fr.gz": b""}, _parallel, r"^train.de: no such file .* train.en, train.fr.gz"),
        (
            {"train.en": b"a\nb\nc\nd\n", "train.de": b"a\nb\n"},
            _parallel,
            r"^train.de:3: ends after 2 .* train.en has 4",
        ),
        ({"train.en": b"a\n", "train.de": b"a\nb\n"}, _parallel, r"^train.en:2: ends after 1 .* train.de has 2"),
        ({"train.en": b"a\nb\xffc\n", "train.de": b"a\nb\n"}, _parallel, "^train.en:2: byte 0xff at position 2"),
        (
            {"train.en": b"", "train.de": b""},
            _parallel,
            "^train.en, train.de: the split 'train' is empty; give data.corpus.train",
        ),
        ({}, lambda: Parallel("en", "de", [["x.en"]], "v"), r"\['x.en'\] must be a prefix, or"),
        ({}, lambda: Parallel("en", "de", "t", "v", {"val": "v"}), "tests.val: is the name of another split"),
        ({}, lambda: TSV("a", "b", [["x", "y"]], "v"), r"\['x', 'y'\] in train must be the name of one file"),
        ({}, lambda: TSV("a", "b", "t", "v", columns=TSVColumns(source_column=0)), "source_column=0.* count from 1"),
        ({"t": b"a\tb\na\tb\tc\n"}, lambda: TSV("a", "b", "t", "v"), "^t:2: 3 tab-separated columns, but line 1 has 2"),
        ({"t": b"a\n"}, lambda: TSV("a", "b", "t", "v"), "^t:1: 1 tab-separated columns, .*target_column=2"),
        ({"t": b'{"source":"a","target":"b"}\n{\n'}, lambda: JSONLines("a", "b", "t", "v"), "^t:2: is not JSON"),
        (
            {"t": b'{"source":"a"}\n'},
            lambda: JSONLines("a", "b", "t", "v"),
            "^t:1: no field 'target' .*it has 'source'",
        ),
        ({"t": b'{"source":"a","target":3}\n'}, lambda: JSONLines("a", "b", "t", "v"), "^t:1: field 'target' is 3"),
        ({"t": rb'{"source":"a\nb","target":""}'}, lambda: JSONLines("a", "b", "t", "v"), "^t:1: .* a line feed"),
        ({"t": b"[1]\n"}, lambda: JSONLines("a", "b", "t", "v"), "^t:1: no field 'source' .*not an object"),
        ({}, lambda: Embedded("en", "fr"), "target_language=fr: the embedded corpus has en, de"),
        ({}, lambda: Multi30k("xx", "de"), "source_language=xx: Multi30k has en, de, fr, cs"),
        (
            {},
            lambda: Multi30k("en", "cs", tests=["test_2017_mscoco"]),
            "no 'test_2017_mscoco' in 'cs'; it has test_2016",
        ),
    ],
)
def test_each_fault_is_one_clear_error(files: dict[str, bytes], corpus: Callable[[], Corpus], words: str) -> None:
    for name, content in files.items():
        Path(name).write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        scan(corpus(), "train")
    assert "\n" not in str(error.value)


def test_the_same_pairs_from_every_kind_of_file() -> None:
    pairs = [("a\u00a0b", "x"), ("", "y z"), (" c", "\u2028"), ("d", "")]
    source, target = (list(side) for side in zip(*pairs, strict=True))
    write("p.en", *source[:2])
    Path("p.de.gz").write_bytes(gzip.compress("\n".join(target[:2]).encode()))
    write("more.1", *source[2:])
    write("more.2", *target[2:])
    write("t.tsv", *(f"{t}\t-\t{s}" for s, t in pairs))
    write("j.jsonl", *(json.dumps({"translation": {"en": s, "de": t}}) for s, t in pairs))
    corpora: list[Corpus] = [
        Parallel("en", "de", ["p", ["more.1", "more.2"]], "p", {"test": ["more.1", "more.2"]}),
        TSV("en", "de", ["t.tsv"], "t.tsv", columns=TSVColumns(3, 1)),
        JSONLines("en", "de", "j.jsonl", "j.jsonl", None, "translation.en", "translation.de"),
    ]
    assert all(list(corpus.pairs("train")) == pairs for corpus in corpora)
    assert len({scan(corpus, "train") for corpus in corpora}) == 1  # the hash is the text's, whatever the files are
    assert corpora[0].splits == ("train", "val", "test")
    assert list(corpora[0].pairs("test")) == pairs[2:]
    with pytest.raises(UserError, match="no split 'dev'; there are train, val, test"):
        scan(corpora[0], "dev")


def test_a_file_is_read_again_only_when_its_content_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    write("t", "a\tb", "c\td")
    os.utime("t", (1e9, 1e9))
    corpus, reads = TSV("a", "b", "t", "t"), []
    pairs = TSV.pairs
    monkeypatch.setattr(TSV, "pairs", lambda self, split: (reads.append(split), pairs(self, split))[1])
    first = scan(corpus, "train")
    os.utime("t", (2e9, 1e9 + 5))
    assert (scan(corpus, "train"), len(reads)) == (first, 1)
    write("t", "a\tb", "c\te")
    os.utime("t", (2e9, 1e9 + 5))  # the size and the time stamp are as before, as cp -p, rsync -t and tar leave them
    assert scan(corpus, "train").sha256 != first.sha256
    assert scan(TSV("a", "b", "t", "t", columns=TSVColumns(2, 1)), "train").sha256 != first.sha256


def test_what_is_written_while_it_is_read_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    write("t", "a\tb", "c\td")
    corpus, pairs = TSV("a", "b", "t", "t"), TSV.pairs

    def disturbed(self: TSV, split: str) -> Iterator[tuple[str, str]]:
        yield from pairs(self, split)
        write("t", "a\tb", "c\tx")

    with monkeypatch.context() as patch:
        patch.setattr(TSV, "pairs", disturbed)
        first = scan(corpus, "train")
    write("t", "a\tb", "c\td")
    assert scan(corpus, "train") == first
    write("t", "a\tb", "c\tx")
    assert scan(corpus, "train") != first


@pytest.mark.parametrize("trainer", [WhitespaceTrainer(), SentencePieceTrainer(vocabulary_size=276)])
def test_text_that_changes_after_it_was_scanned_is_refused(trainer: Any, tmp_path: Path) -> None:
    write("t", *["a b c d e f g h\ti j k l"] * 20)
    made = TranslationData(TSV("a", "b", "t", "t"), trainer, seed=1)
    made._scan("train")
    write("t", *["a b c d e f g h\ti j k x"] * 20)
    with pytest.raises(UserError, match="the split 'train': was changed while it was read; run the command again"):
        _ = made.tokenizers
    assert not list((tmp_path / "cache").glob("tokenizers/[!.]*"))
    write("t", *["a b c d e f g h\ti j k l"] * 20)
    _ = made.tokenizers
    write("t", *["a b c d e f g h\ti j k x"] * 20)
    with pytest.raises(UserError, match="was changed while it was read"):
        made.encoded("train")
    assert not list((tmp_path / "cache").glob("encoded/[!.]*"))


def test_embedded_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def write_embedded(folder: Path) -> None:
        written.append(folder)
        folder.mkdir(parents=True)
        for split in ("train", "val", "test"):
            (folder / f"{split}.en").write_text("a\n")
            (folder / f"{split}.de").write_text("b\n")

    monkeypatch.setattr("seq2seq.corpora.datasets.grammar.write_embedded", write_embedded)
    for _ in range(2):
        corpus = Embedded("de", "en")
        corpus.prepare()
        assert list(corpus.pairs("test")) == [("b", "a")]
    assert len(written) == 1


def test_what_a_killed_process_left_is_deleted_and_what_others_are_at_is_not(tmp_path: Path) -> None:
    target = tmp_path / "target"
    left, young, foreign = (tmp_path / name for name in (".target.left", ".target.young", ".tarot.left"))
    with atomic_folder(target) as held:
        for folder in (left, young, foreign):
            folder.mkdir()
        (left / "large").write_bytes(b"x")
        for folder in (held, left, foreign):
            os.utime(folder, (0, 0))
        with atomic_folder(target) as second:
            assert set(tmp_path.iterdir()) == {held, young, foreign, second}
    assert set(tmp_path.iterdir()) == {target, young, foreign}


def test_a_folder_is_written_atomically(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic_folder(tmp_path / "x" / "y") as folder:
            (folder / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "x").iterdir()) == []


PAIRS = [("a b", "x y"), ("", "x"), ("b b b b b b", "y"), ("b a", "y x x"), ("a", "")]


@pytest.fixture
def data() -> TranslationData:
    write("train.tsv", *(f"{source}\t{target}" for source, target in PAIRS))
    write("val.tsv", "b b b b b b b\tx", "\tq", "a\ty")
    corpus = TSV("en", "de", "train.tsv", "val.tsv")
    return TranslationData(corpus, WhitespaceTrainer(), seed=0, batch_tokens=8, max_length=5)


def test_training_batches_by_their_definition(data: TranslationData) -> None:
    data.prepare_data()
    # source: b 8 times and a 3 times are ids 4 and 5; target: x 4 times and y 3 times are ids 4 and 5
    seen = {int(i): pair for batch in data.train_dataloader() for i, pair in zip(batch.rows, _rows(batch), strict=True)}
    assert seen == {0: ([5, 4, 3], [4, 5, 3]), 3: ([4, 5, 3], [5, 4, 4, 3])}
    assert data.statistics == {
        "pairs": 5,
        "kept": 2,
        "dropped_empty": 2,
        "dropped_long": 1,
        "source_tokens": 6,
        "target_tokens": 7,
        "batches": 1,
        "pad_share": round(1 / 14, 4),
        "vocabulary": {"source": 6, "target": 6},
    }


def test_validation_keeps_every_pair_and_its_place(data: TranslationData) -> None:
    sources, references = data.text("val")
    assert (sources, references) == (["b b b b b b b", "", "a"], ["x", "q", "y"])
    seen = {int(i): pair for batch in data.val_dataloader() for i, pair in zip(batch.rows, _rows(batch), strict=True)}
    assert seen == {0: ([4] * 7 + [3], [4, 3]), 1: ([3], [1, 3]), 2: ([5, 3], [5, 3])}
    assert len(list(data.val_dataloader())) == len(data.val_dataloader())


def _rows(batch: Pairs) -> Iterator[tuple[list[int], list[int]]]:
    """Source and target ids of each pair, cut to their lengths; what is after them must be padding."""
    for i in range(len(batch.rows)):
        sides = [(tokens.ids[i], int(tokens.lengths[i])) for tokens in (batch.source, batch.target)]
        assert all(ids.dtype == torch.int64 and not ids[length:].any() for ids, length in sides)
        source, target = (ids[:length].tolist() for ids, length in sides)
        yield source, target


def test_the_epoch_is_the_trainers(data: TranslationData) -> None:
    data.budget = Budget(8, batch_size=1, max_length=9)
    epochs = {}
    for epoch in range(8):
        data.epoch = epoch
        epochs[epoch] = [batch.rows.tolist() for batch in data.train_dataloader()]
        data.trainer = _trainer(0, 1, epoch)
        data.epoch = -1
        assert [batch.rows.tolist() for batch in data.train_dataloader()] == epochs[epoch]
        data.trainer = None
    assert len({str(order) for order in epochs.values()}) > 1


def test_sampling_changes_the_segmentation_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(["anna", "otto", "und", "große"], 6)) for _ in range(60)]
    write("t.tsv", *(f"{text}\t{text}" for text in texts))
    trainer = SentencePieceTrainer(vocabulary_size=290, sampling_alpha=0.5, sampling_sides="target")
    data = TranslationData(TSV("a", "b", "t.tsv", "t.tsv"), trainer, seed=0, batch_tokens=200)
    epochs = []
    for data.epoch in (0, 1, 0):
        epochs.append(
            {int(i): row for batch in data.train_dataloader() for i, row in zip(batch.rows, _rows(batch), strict=True)}
        )
    encode, decode = data.tokenizers.source.encode, data.tokenizers.target.decode
    assert epochs[0] == epochs[2] != epochs[1]
    for i, text in enumerate(texts):
        assert epochs[0][i][0] == [*encode(text), 3]
        assert decode(epochs[0][i][1]) == text
    assert sum(epochs[0][i][1] != epochs[1][i][1] for i in range(60)) > 40
    assert all(row[1] == [*encode(texts[int(i)]), 3] for b in data.val_dataloader() for i, row in zip(b.rows, _rows(b)))


def test_encoded_once_by_many_at_the_same_time(data: TranslationData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHUNK", 2)
    found: list[store.EncodedPairs] = []
    tokenizers = data.tokenizers
    work = [
        threading.Thread(target=lambda: found.append(store.encoded(PAIRS, 5, "0" * 64, tokenizers))) for _ in range(6)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len(found) == 6
    for side, tokenizer, column in zip(found[-1], tokenizers, (0, 1), strict=False):
        want = [[*tokenizer.encode(pair[column]), 3] for pair in PAIRS]  # type: ignore[union-attr]
        assert [side.values[b:e].tolist() for b, e in zip(side.offsets, side.offsets[1:], strict=False)] == want
        assert side.values.dtype == np.uint16
        assert isinstance(side.values, np.memmap)
    monkeypatch.setattr(store, "_encode", lambda *_: pytest.fail("encoded again"))
    store.encoded(PAIRS, 5, "0" * 64, tokenizers)


@pytest.mark.parametrize("sort", ["words", "subwords"])
def test_several_processes_write_the_same_bytes(
    sort: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pairs = [(f"{source} {i}", target * (i % 4)) for i in range(40) for source, target in PAIRS]
    texts = [text for pair in pairs for text in pair]
    trainer = SentencePieceTrainer(vocabulary_size=280) if sort == "subwords" else WhitespaceTrainer(min_frequency=3)
    tokenizer = trainer.train(texts)
    monkeypatch.setattr(store, "CHUNK", 7)
    found = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        store._encode(pairs, len(pairs), Tokenizers(tokenizer, tokenizer, True), None, folder, workers)
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert found[0] == found[1]
    assert len(store.open_folder(tmp_path / "2")) == len(pairs)
    assert "Traceback" not in capfd.readouterr().err


def test_a_mistake_in_the_text_ends_the_processes_and_leaves_nothing(data: TranslationData, tmp_path: Path) -> None:
    write("train.tsv", *(f"{source}\t{target}" for source, target in PAIRS * 3), "a")
    words = WhitespaceTokenizer(["a", "b"])
    with pytest.raises(UserError, match=r"^train.tsv:16: 1 tab-separated columns"):
        store.encoded(data.corpus.pairs("train"), 16, "2" * 64, Tokenizers(words, words, True), workers=2)
    assert not [child for child in multiprocessing.active_children() if not child.name.startswith("Loky")]
    assert not any((tmp_path / "cache" / "encoded").iterdir())


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_full_disk_is_one_line_and_leaves_nothing(workers: int, tmp_path: Path) -> None:
    words, pairs = WhitespaceTokenizer(["a", "b"]), (("a b a b", "b a") for _ in range(30_000))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"/encoded: cannot be written \(File too large\); set SEQ2SEQ_CACHE"):
            store.encoded(pairs, 30_000, "3" * 64, Tokenizers(words, words, True), workers=workers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not any((tmp_path / "cache" / "encoded").iterdir())


def test_memory_does_not_grow_with_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHUNK", 100)
    words, peaks = WhitespaceTokenizer(["a", "b"]), []
    for count in (1000, 1000, 8000):
        pairs = (("a b a b", "b a") for _ in range(count))
        tracemalloc.start()
        store.encoded(pairs, count, f"{len(peaks)}" * 64, Tokenizers(words, words, True))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[1], peaks


def test_a_large_vocabulary_takes_32_bits(tmp_path: Path) -> None:
    words = WhitespaceTokenizer([f"w{i}" for i in range(70_000)])
    data = store.encoded([("w69999", "w0")], 1, "1" * 64, Tokenizers(words, words, True))
    assert data.source.values.dtype == np.uint32
    assert data.source.values.tolist() == [70_003, 3]


def test_tokenizers_are_trained_once_and_may_be_given(data: TranslationData, monkeypatch: pytest.MonkeyPatch) -> None:
    first = data.tokenizers
    monkeypatch.setattr(WhitespaceTrainer, "train", lambda *_: pytest.fail("trained again"))
    again = TranslationData(data.corpus, WhitespaceTrainer(), seed=1)
    assert again.tokenizers.source.fingerprint == first.source.fingerprint
    first.save(Path("bundle"))
    given = TranslationData(
        data.corpus, WhitespaceTrainer(min_frequency=9), seed=1, tokenizers=load_tokenizers(Path("bundle"))
    )
    assert given.tokenizers.target.fingerprint == first.target.fingerprint
    assert given.fingerprint == data.fingerprint


def test_a_corpus_without_a_usable_pair(data: TranslationData) -> None:
    data.budget = Budget(8, max_length=1)
    with pytest.raises(UserError, match=r"all 5 training pairs are dropped .2 with an empty side, 3 too long"):
        data.train_dataloader()


@pytest.mark.parametrize("size", [2, 5])
def test_the_shares_of_all_processes_are_the_batches(data: TranslationData, size: int) -> None:
    """Every pair is in one share; where there are too few, a process gets one without a row, which does not count."""
    data.budget = Budget(8, batch_size=3, max_length=9)
    for loader in (data.train_dataloader, data.val_dataloader):
        data.trainer = _trainer(0, 1)
        whole = [sorted(batch.rows.tolist()) for batch in loader()]
        shares = []
        for rank in range(size):
            data.trainer = _trainer(rank, size)
            shares.append([batch.rows.tolist() for batch in loader()])
            assert all(len(batch.source.ids) == max(1, len(batch.rows)) for batch in loader())
        assert [sorted(chain(*each)) for each in zip(*shares, strict=True)] == whole


def _trainer(rank: int, size: int, epoch: int = 0) -> Any:
    loop = SimpleNamespace(batch_idx=-1)
    return SimpleNamespace(current_epoch=epoch, fit_loop=loop, global_rank=rank, world_size=size)
