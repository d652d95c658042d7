"""Float sequences: read from every form of file, refused with file and place, memory-mapped, batched with zeros."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq.corpora import TSV, TranslationData
from seq2seq.corpora.corpus import scan
from seq2seq.corpora.datasets.digits import Digits, _pool, in_words
from seq2seq.corpora.feature_data import FeatureData
from seq2seq.corpora.features import FeatureFiles, describe, read_examples, read_features
from seq2seq.corpora.store import stack
from seq2seq.errors import UserError
from seq2seq.nn.types import Captions
from seq2seq.text import SentencePieceTrainer, WhitespaceTrainer

SEQUENCES = [np.arange(n * 2, dtype=np.float32).reshape(n, 2) / 4 for n in (3, 1, 2)]
TEXTS = ["a b", "c", "b"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def lines(path: str, *items: Any) -> Path:
    text = "".join(f"{item if isinstance(item, str) else json.dumps(item)}\n" for item in items)
    Path(path).write_text(text, encoding="utf-8")
    return Path(path)


def npz(**arrays: Any) -> Path:
    np.savez("f.npz", **arrays)
    return Path("f.npz")


def spoilt(mark: bytes, place: int, value: int) -> Path:
    """One byte of an archive is changed, so many bytes after a mark."""
    content = bytearray(npz(features=np.ones((2, 2))).read_bytes())
    content[content.index(mark) + place] = value
    Path("f.npz").write_bytes(content)
    return Path("f.npz")


def written(form: str) -> Path:
    match form:
        case "lines":
            rows = zip(SEQUENCES, TEXTS, strict=True)
            return lines("f.jsonl", *({"features": frames.tolist(), "target": text} for frames, text in rows))
        case "offsets":
            return npz(values=np.concatenate(SEQUENCES), offsets=np.array([0, 3, 4, 6]), targets=TEXTS)
        case _:
            return npz(**{f"arr_{i}": frames for i, frames in enumerate(SEQUENCES)}, targets=TEXTS)


@pytest.mark.parametrize("form", ["lines", "offsets", "arrays"])
def test_the_same_sequences_from_every_form(form: str) -> None:
    path = written(form)
    found = list(read_examples(path))
    assert [text for _, text in found] == TEXTS
    for frames, again, want in zip((f for f, _ in found), read_features(path), SEQUENCES, strict=True):
        assert frames.dtype == again.dtype == np.float32
        assert frames.tolist() == again.tolist() == want.tolist()


def test_dense_arrays_and_flat_rows() -> None:
    dense = np.random.default_rng(0).normal(size=(2, 3, 4))
    assert [f.shape for f in read_features(npz(features=dense))] == [(3, 4), (3, 4)]
    assert [f.shape for f in read_features(npz(features=dense[0]))] == [(1, 4)] * 3
    assert [f.tolist() for f in read_features(lines("f.jsonl", {"features": [1, 2]}))] == [[[1.0, 2.0]]]
    assert [len(f) for f in read_features(npz(**{f"arr_{i}": np.ones((i + 1, 1)) for i in range(11)}))] == [
        *range(1, 12)
    ]


GOOD: dict[str, Any] = {"features": [[1, 2], [3, 4]], "target": "a"}


def bad(**changes: Any) -> Callable[[], Path]:
    return lambda: lines("f.jsonl", GOOD, GOOD | changes)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (bad(features=[[1, 2], [3]]), "^f.jsonl:2: row 2 has 1 numbers, row 1 has 2"),
        (bad(features=[[1, 2], 3]), "^f.jsonl:2: row 2 has 0 numbers, row 1 has 2"),
        (bad(features=[[1, 2, 3]]), "^f.jsonl:2: has 3 numbers a row, but 2 are needed"),
        (bad(features=[[1, 2], [3, float("nan")]]), "^f.jsonl:2: number 2 of row 2 is nan"),
        (bad(features=[[1e39, 2]]), "^f.jsonl:2: number 1 of row 1 is 1e.39"),
        (bad(features=[["1", "2"]]), "^f.jsonl:2: has shape .1, 2. and holds str"),
        (bad(features=[]), "^f.jsonl:2: is empty"),
        (bad(features=[[[1, 2]]]), "^f.jsonl:2: has shape .1, 1, 2."),
        (bad(features=None), "^f.jsonl:2: has shape .. and holds object"),
        (bad(target="a\nb"), r"^f.jsonl:2: its target holds a line feed"),
        (bad(target=3), "^f.jsonl:2: its target is 3"),
        (lambda: lines("f.jsonl", GOOD, "{"), "^f.jsonl:2: is not JSON"),
        (lambda: lines("f.jsonl", {"target": "a"}), "^f.jsonl:1: no field 'features' .*it has 'target'"),
        (lambda: Path("f.jsonl"), "^f.jsonl: no such file"),
        (lambda: Path("f.npz"), "^f.npz: no such file"),
        (lambda: lines("f.npz", "no archive"), "^f.npz: is no .npz file of plain arrays"),
        (lambda: spoilt(b"PK\1\2", 10, 99), r"^f.npz: is no .npz file of plain arrays \(That compression method"),
        (lambda: spoilt(b"PK\1\2", 8, 1), r"^f.npz: is no .npz file of plain arrays \(File .* is encrypted"),
        (lambda: npz(features=np.array([{}])), "^f.npz: is no .npz file of plain arrays .*without objects"),
        (lambda: npz(other=np.ones(2)), "^f.npz: has neither 'features', .*it has other"),
        (lambda: npz(features=np.ones((2, 2, 2))), "^f.npz: has no array 'targets' .*it has features"),
        (lambda: npz(features=np.ones((2, 2, 2)), targets=["a"]), "^f.npz: 2 sequences, but 1 targets"),
        (lambda: npz(features=np.ones((2, 1, 2, 2)), targets=["a"] * 2), r"^f.npz: features has shape \[2, 1, 2, 2\]"),
        (
            lambda: npz(features=np.array([[[1.0]], [[np.inf]]]), targets=["a", "b"]),
            r"^f.npz: features\[1\]: number 1 of row 1 is inf",
        ),
        (lambda: npz(values=np.ones((3, 2)), offsets=[0, 2], targets=["a"]), "^f.npz: offsets must .* 0 to the 3 rows"),
        (lambda: npz(values=np.ones((3, 2)), offsets=[0, 0, 3], targets=["a"] * 2), "^f.npz: sequence 0: is empty"),
        (lambda: npz(arr_0=np.ones((1, 2)), arr_1=np.ones((1, 3)), targets=["a"] * 2), "^f.npz: arr_1: has 3 numbers"),
    ],
)
def test_each_fault_names_file_and_place(write: Callable[[], Path], words: str) -> None:
    path = write()
    with pytest.raises(UserError, match=words) as error:
        scan(FeatureFiles("en", str(path), str(path)), "train")
    assert "\n" not in str(error.value)


def files(**changes: Any) -> FeatureFiles:
    """Training from the three sequences, validation from two others."""
    val = lines("val.jsonl", *({"features": [[i, i + 1]] * (i + 1), "target": "a"} for i in range(2)))
    return FeatureFiles("en", str(written("lines")), str(val), **changes)


def test_the_width_is_the_training_datas_in_every_split() -> None:
    corpus = files()
    lines("val.jsonl", {"features": [[1, 2, 3]], "target": "a"})
    with pytest.raises(UserError, match=r"^val.jsonl:1: has 3 numbers a row, but 2 are needed"):
        scan(corpus, "val")
    with pytest.raises(UserError, match=r"^f.jsonl:1: has 2 numbers a row, but 64 are needed.*height times"):
        scan(files(width=64), "train")


def data(**changes: Any) -> FeatureData:
    return FeatureData(files(), WhitespaceTrainer(), seed=0, batch_tokens=8, **changes)


def test_batches_are_padded_with_zeros_and_memory_mapped() -> None:
    found = data()
    found.prepare_data()
    assert found.width == 2
    assert isinstance(found.encoded("train").source.values, np.memmap)
    rows = {}
    for batch in found.train_dataloader():
        assert isinstance(batch, Captions)
        assert (batch.source.values[~batch.source.mask] == 0).all()
        for i, row in enumerate(batch.rows.tolist()):
            length = int(batch.source.lengths[i])
            target = batch.target.ids[i, : int(batch.target.lengths[i])].tolist()
            rows[row] = batch.source.values[i, :length].tolist(), found.tokenizers.target.decode(target)
    assert rows == {i: (SEQUENCES[i].tolist(), TEXTS[i]) for i in range(3)}  # one row is no empty source
    assert found.statistics["source_rows"] == 6
    assert found.statistics["vocabulary"] == {"target": 4 + 3}
    assert sum(len(batch.rows) for batch in found.val_dataloader()) == 2
    assert found.text("val")[0] == [describe(np.full((1, 2), [0, 1], "f")), describe(np.full((2, 2), [1, 2], "f"))]


def test_long_sequences_are_left_out_and_the_hash_is_of_the_numbers() -> None:
    assert data(max_length=2).training_batches.census.dropped_long == 1
    before = scan(files(), "train")
    SEQUENCES[0][0, 0] += 1e-3
    after = scan(files(), "train")
    SEQUENCES[0][0, 0] -= 1e-3
    assert before.sha256 != after.sha256


def test_padded_rows_are_what_a_loop_makes() -> None:
    side = stack(SEQUENCES)
    values, lengths = side.padded(np.array([2, 0]))
    assert (values.dtype, lengths.tolist()) == (np.float32, [2, 3])
    assert values.tolist() == [[*SEQUENCES[2].tolist(), [0, 0]], SEQUENCES[0].tolist()]


def test_text_and_numbers_are_not_mistaken_for_each_other() -> None:
    Path("t.tsv").write_text("a\tb\n")
    with pytest.raises(UserError, match=r"FeatureFiles holds numbers, .* use task=captioning"):
        TranslationData(files(), WhitespaceTrainer(), seed=0)
    with pytest.raises(UserError, match="TSV holds text, and task=captioning reads numbers"):
        FeatureData(TSV("a", "b", "t.tsv", "t.tsv"), WhitespaceTrainer(), seed=0)
    sampling = SentencePieceTrainer(vocabulary_size=280, sampling_alpha=0.5)
    with pytest.raises(UserError, match="sampling_sides: the source is numbers"):
        FeatureData(files(), sampling, seed=0).tokenizers  # noqa: B018


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (20, "twenty"),
        (42, "forty two"),
        (100, "one hundred"),
        (307, "three hundred seven"),
        (1000, "one thousand"),
        (9019, "nine thousand nineteen"),
        (5678, "five thousand six hundred seventy eight"),
    ],
)
def test_numbers_in_words(number: int, words: str) -> None:
    assert in_words(number) == words


def test_every_number_has_its_own_words() -> None:
    assert len({in_words(number) for number in range(10_000)}) == 10_000


def test_digits_show_what_they_say_and_share_no_image() -> None:
    corpus = Digits(train=60, val=30, test=30)
    seen: dict[str, set[bytes]] = {}
    spoken = {in_words(number): str(number) for number in range(10_000)}
    for split in corpus.splits:
        images, labels = _pool(split, 1)
        digit = {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
        seen[split] = set(digit)
        for strip, text in corpus.examples(split):
            assert "".join(str(digit[image.tobytes()]) for image in strip) == spoken[text]
            assert 0 <= strip.min() < strip.max() <= 1
    assert not seen["train"] & seen["val"] | seen["train"] & seen["test"] | seen["val"] & seen["test"]
    assert scan(corpus, "val") == scan(Digits(train=1, val=30, test=1), "val")
    assert scan(corpus, "val") != scan(Digits(val=30, seed=2), "val")


@pytest.mark.parametrize(
    ("changes", "words"), [({"train": 0}, "corpus.train=0"), ({"max_digits": 5}, "max_digits=5: must be from 1 to 4")]
)
def test_digits_that_cannot_be(changes: dict[str, int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Digits(**changes)
