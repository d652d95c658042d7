"""Corpora with token factors: values from files next to the text, or from columns, stay with their words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.corpora import TSV, Parallel, TranslationData
from seq2seq.corpora.corpus import scan
from seq2seq.corpora.files import TSVColumns
from seq2seq.corpora.store import pack_rows
from seq2seq.corpora.tags import with_tags
from seq2seq.errors import UserError
from seq2seq.nn.types import Tokens
from seq2seq.text import CharacterTrainer, WhitespaceTrainer
from seq2seq.training.optimization.out_of_memory import halves

WORDS = ["a", "b", "c", "d"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(1)
    sources = [" ".join(random.choice(WORDS, random.integers(1, 9))) for _ in range(60)]
    write("train", sources)
    write("val", ["a b", "c x"])


def write(name: str, sources: list[str]) -> None:
    """A split whose factor and target are the words in capitals."""
    for ending, lines in {"en": sources, "de": sources, "pos": [source.upper() for source in sources]}.items():
        Path(f"{name}.{ending}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def data_of(corpus: Any, trainer: Any = None, **options: Any) -> TranslationData:
    return TranslationData(corpus, trainer or WhitespaceTrainer(joint=False), seed=1, batch_tokens=40, **options)


def parallel(**options: Any) -> Parallel:
    return Parallel("en", "de", **{"train": "train", "val": "val", "factors": ["pos"], **options})


def words_of(data: TranslationData, sources: Tokens) -> list[list[tuple[str, str]]]:
    """Each token with its value, without eos."""
    factors = data.tokenizers.factors
    assert factors is not None
    assert sources.factors is not None
    values = [*"....", *factors.values["pos"]]
    values[1] = "⁇"
    return [
        [(token, values[row[0]]) for token, row in zip(data.tokenizers.source.tokens(ids[: n - 1]), rows)]
        for ids, n, rows in zip(sources.ids.tolist(), sources.lengths.tolist(), sources.factors.tolist(), strict=True)
    ]


def test_values_stay_with_their_words_in_all_batches() -> None:
    data = data_of(parallel())
    assert data.tokenizers.factors is not None
    assert data.tokenizers.factors.values == {"pos": ("A", "B", "C", "D")}
    assert data.tokenizers.source.kind == "whitespace"  # it knows nothing of factors
    seen = 0
    for batch in data.train_dataloader():
        assert batch.source.factors.shape == (*batch.source.ids.shape, 1)
        assert not batch.source.factors[~batch.source.mask].any()
        for pairs in words_of(data, batch.source):
            assert all(word.upper() == value for word, value in pairs)
            seen += len(pairs)
    lines = Path("train.en").read_text().split()
    assert seen == len(lines)
    (val,) = data.val_dataloader()
    by_row = dict(zip(val.rows.tolist(), words_of(data, val.source), strict=True))
    assert by_row == {0: [("a", "A"), ("b", "B")], 1: [("c", "C"), ("<unk>", "⁇")]}  # X was never seen
    assert data.text("val")[0] == ["a b\tA B", "c x\tC X"]
    assert data.sentence("a b\tA B") == "a b"


def test_batches_are_those_of_the_text_alone() -> None:
    factored, plain = data_of(parallel()), data_of(parallel(factors=None))
    assert factored.fingerprint != plain.fingerprint
    assert factored.statistics == plain.statistics
    for one, other in zip(factored.train_dataloader(), plain.train_dataloader(), strict=True):
        assert torch.equal(one.source.ids, other.source.ids)
        assert torch.equal(one.rows, other.rows)
        assert other.source.factors is None


def test_columns_mixtures_and_letters() -> None:
    rows = [f"{line}\t{line.upper()}\t{line}\n" for line in Path("train.en").read_text().splitlines()]
    Path("rows.tsv").write_text("".join(rows))
    columns = TSVColumns(target_column=3, factors={"pos": 2, "subword": None})
    table = TSV("en", "de", "rows.tsv", "rows.tsv", columns=columns)
    assert list(table.pairs("train"))[:1] == [(rows[0].rstrip("\n").rsplit("\t", 1)[0], rows[0].split("\t")[0])]
    letters = data_of(table, CharacterTrainer())
    batch = next(iter(letters.train_dataloader()))
    assert batch.source.factors.size(2) == 2  # pos and subword, by name
    entries = [{"files": "train", "weight": 2}, {"files": ["val.en", "val.de", "val.pos"], "weight": 1, "tag": "<x>"}]
    mixed = data_of(parallel(train=entries), WhitespaceTrainer(joint=False, symbols=["<x>"]))
    tags = 0
    for batch in mixed.train_dataloader():
        for pairs in words_of(mixed, batch.source):
            tags += pairs[0] == ("<x>", ".")  # a tag is of no word
            assert all(word.upper() == value for word, value in pairs if word not in ("<x>", "<unk>"))
    assert tags


def test_rows_on_disk_and_in_halves() -> None:
    rows = pack_rows([[5, 6], []], [[(7, 1), (8, 2)], []], 2)
    assert rows.values.tolist() == [[5, 7, 1], [6, 8, 2], [3, 0, 0], [3, 0, 0]]
    assert (rows.offsets.tolist(), rows.end_marks, rows.ids.tolist()) == ([0, 3, 4], 1, [5, 6, 3, 3])
    padded, lengths = rows.padded(np.array([1, 0]))
    assert padded.tolist() == [[[3, 0, 0], [0, 0, 0], [0, 0, 0]], [[5, 7, 1], [6, 8, 2], [3, 0, 0]]]
    assert lengths.tolist() == [1, 3]
    data = data_of(parallel())
    assert data.encoded("train").source.values.dtype == np.uint16
    batch = next(iter(data.train_dataloader()))
    for half, begin in zip(halves(batch), (0, len(batch.rows) // 2), strict=True):
        size = half.source.ids.size(1)
        assert torch.equal(half.source.factors, batch.source.factors[begin : begin + len(half.rows), :size])
    tagged = with_tags(batch.source, torch.full((len(batch.rows),), 9))
    assert torch.equal(tagged.factors[:, 1:], batch.source.factors)
    assert not tagged.factors[:, 0].any()


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"train.pos": "A\n"}, {}, r"^train.pos:1: the factor pos has 1 value for \d words"),
        ({"val.pos": "A B\n"}, {}, r"^val.pos:2: ends after 1 lines, but val.en has more"),
        ({"val.pos": "A B\nC X\nD\n"}, {}, r"^val.en: ends after 2 lines, but val.pos has more"),
        ({"val.en": "a\tb\nc x\n"}, {}, r"^val.en:1: has a tab, which separates a text from its factors"),
        ({}, {"factors": ["lemma"]}, r"^train.lemma: no such file .*train.pos"),
        ({}, {"factors": ["pos", "pos"]}, r"^data.corpus.factors: 'pos' is there twice"),
        ({}, {"factors": []}, r"^data.corpus.factors: there is none"),
        ({}, {"train": [["train.en", "train.de"]]}, r"a source file and a target file, then one of pos"),
        (
            {},
            {"source_language": None, "source_languages": ["en", "de"]},
            r"^data.corpus.factors=\['pos'\]: are of a source that is one text",
        ),
    ],
)
def test_refused_files(changes: dict[str, str], options: dict[str, Any], words: str) -> None:
    for name, content in changes.items():
        Path(name).write_text(content)
    given = {"source_language": "en", "target_language": "de", "train": "train", "val": "val", "factors": ["pos"]}
    with pytest.raises(UserError, match=words):
        assert [scan(Parallel(**given | options), split) for split in ("train", "val")]


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"pos": 1}, "data.corpus.factors.pos=1: give the column"),
        ({"pos": None}, "data.corpus.factors.pos=None"),
        ({"pos": 4}, r"rows:1: 3 tab-separated columns, but .*data.corpus.factors.pos=4"),
        ({"pos": 3}, r"rows:1: the factor pos has 1 value for 2 words"),
    ],
)
def test_refused_columns(factors: dict[str, int], words: str) -> None:
    Path("rows").write_text("a b\tc\tX\n")
    with pytest.raises(UserError, match=words):
        scan(TSV("a", "a", "rows", "rows", columns=TSVColumns(factors=factors)), "train")
