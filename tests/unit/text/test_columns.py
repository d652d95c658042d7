"""Sources of several columns: tags are tokens of their own, as in text that is concatenated by hand, and bad lines are
refused with their place."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from seq2seq.cli.main import main
from seq2seq.corpora import TSV, TranslationData
from seq2seq.corpora.corpus import scan
from seq2seq.corpora.files import TSVColumns
from seq2seq.errors import UserError
from seq2seq.inference.translator import Translator
from seq2seq.models import factory
from seq2seq.text import (
    CharacterTrainer,
    Column,
    ColumnsTokenizer,
    Tokenizers,
    TokenizerTrainer,
    WhitespaceTokenizer,
    WhitespaceTrainer,
    columns_of,
    load_tokenizers,
    train_tokenizers,
    with_columns,
)
from seq2seq.text.tokenizer import difference
from tests import bundles
from tests.conftest import model_config

PAIRS = [("kuzu\tN;LOC;SG", "kuzuda"), ("vade\tN;SG;1", "vadem"), ("Nil\tV;SG", "Nilir")]
COLUMNS = (Column("lemma"), Column("features", ";"))


def trained(trainer: TokenizerTrainer | None = None, *, ends: bool = False) -> Tokenizers:
    trainer = with_columns(trainer or CharacterTrainer(), COLUMNS, ends=ends)
    return train_tokenizers(trainer, lambda: PAIRS, len(PAIRS))


def source_of(tokenizers: Tokenizers) -> ColumnsTokenizer:
    assert isinstance(tokenizers.source, ColumnsTokenizer)
    return tokenizers.source


def test_tags_are_tokens_after_the_letters_and_never_letters(tmp_path: Path) -> None:
    tokenizers = trained()
    source = source_of(tokenizers)
    ids = source.encode("Nil\tN;LOC;1")
    assert source.tokens(ids) == ["N", "i", "l", "N", "LOC", "1"]
    assert len(set(ids)) == 6  # the letter N is not the tag N
    assert source.decode(ids) == "Nil"
    assert tokenizers.target is source  # a joint vocabulary, for shared and tied vectors
    assert source.decode(source.encode("vadem")) == "vadem"
    assert source.tags("Nil\t N ;LOC") == ["N", "LOC"]
    tokenizers.save(tmp_path)
    again = load_tokenizers(tmp_path)
    assert again.source.fingerprint == source.fingerprint
    assert again.source.encode("Nil\tN;LOC;1") == ids
    assert source_of(trained(ends=True)).encode("ku\tN;LOC") == [*source.encode("ku"), 3, *source.encode("\tN;LOC")]


def test_a_vocabulary_a_side_and_columns_with_models() -> None:
    tokenizers = trained(CharacterTrainer(joint=False))
    assert tokenizers.target.kind == "characters"
    assert len(tokenizers.source) > len(tokenizers.target)
    texts = [("a b\tx y", "c"), ("b\tz", "d")]
    two = (Column("en"), Column("fr"))
    for joint in (True, False):
        found = train_tokenizers(with_columns(WhitespaceTrainer(joint=joint), two, ends=True), lambda: texts, 2)
        source = source_of(found)
        assert source.tokens(source.encode("a b\ty x")) == ["a", "b", "</s>", "y", "x"]
        assert len(source) == 4 + (7 if joint else 5)
        assert (difference(found.target, source.columns[0]) is None) == joint


def test_appended_tags_are_what_text_concatenated_by_hand_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    rows = [f"{source.split(chr(9))[0]}\t{form}\t{source.split(chr(9))[1]}" for source, form in PAIRS]
    (tmp_path / "forms").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    by_hand = [f"{' '.join(lemma)} {tags.replace(';', ' ')}\t{form}\n" for lemma, form, tags in map(_cells, rows)]
    (tmp_path / "text").write_text("".join(by_hand).replace("N i l", "<N> i l"), encoding="utf-8")
    files = [str(tmp_path / name) for name in ("forms", "text")]
    data = TranslationData(
        TSV("t", "t", files[0], files[0], columns=TSVColumns(features_column=3)), CharacterTrainer(), seed=1
    )
    source = data.tokenizers.source
    first = len(columns_of(source).columns[0])  # type: ignore[union-attr]
    tokens = [f"<{t}>" if t == "N" and i < first - 4 else t for i, t in enumerate(source.tokens(range(4, len(source))))]
    words = Tokenizers(WhitespaceTokenizer(tokens), source, joint=False)
    hand = TranslationData(TSV("t", "t", files[1], files[1]), CharacterTrainer(), seed=1, tokenizers=words)
    torch.manual_seed(0)
    model = factory.encoder_decoder(model_config(), {"source": len(source), "target": len(source)})
    for one, other in zip(data.train_dataloader(), hand.train_dataloader(), strict=True):
        assert torch.equal(one.source.ids, other.source.ids)
        losses = []
        for batch in (one, other):
            torch.manual_seed(1)  # the same dropout
            losses.append(model.loss(batch.source, batch.target))
        assert torch.equal(*losses)


def _cells(row: str) -> list[str]:
    return row.split("\t")


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("a\tb\tN;SG\nc\td\n", {}, "^forms:2: 2 tab-separated columns, but line 1 has 3"),
        ("a\tb\n", {}, "^forms:1: 2 tab-separated columns, but .*target_column=2 and data.corpus.features_column=3"),
        ("a\tb\tN;SG\na\tb\tN;b\n", {}, "^forms:2: the tag 'b' is a letter; .*features_column"),
        ("a\tb\tN;SG\na\tb\t;\n", {}, "^forms:2: has no tags; .* N;SG"),
        ("a\tb\tN+ş\n", {"features_separator": "+"}, r"^forms:1: the tag 'ş' is a letter; .*N\+SG"),
        ("", {"features_column": 2}, "features_column=2: columns count from 1"),
        ("", {"features_separator": "S"}, "features_separator='S': must be a sign"),
    ],
)
def test_bad_lines_are_refused_with_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, options: dict[str, str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    Path("forms").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=words) as error:
        scan(TSV("a", "a", "forms", "forms", columns=TSVColumns(**{"features_column": 3, **options})), "train")  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.fixture
def translate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str] | str]:
    """Run translate-file on lines with a bundle of lemmas and tags; the lines of its output, or its message."""
    monkeypatch.chdir(tmp_path)
    bundles.save(tmp_path / "bundle", tokenizer=trained().source)

    def run(text: str, *options: str) -> list[str] | str:
        Path("in").write_text(text, encoding="utf-8")
        code = main(["translate-file", "bundle", "in", "out", *options])
        return Path("out").read_text(encoding="utf-8").splitlines() if code == 0 else capsys.readouterr().err

    return run


def test_translate_file_reads_lemma_and_tags(translate: Callable[..., list[str] | str]) -> None:
    out = translate("kuzu\tN;LOC\n\nvade\tSG;1\n")
    assert len(out) == 3
    assert out[1] == ""
    prefixed = translate("kuzu\tN;LOC\tva\n", "--prefixes")
    assert prefixed[0].startswith("va")
    for text, words in (
        ("kuzu\tN\nkuzu\n", "in: line 2: has 1 tab-separated columns, and this model reads 2: lemma<TAB>features"),
        ("kuzu\tN;LOk\n", "in: line 1: the tag 'LOk' is not one of the 5 that .* did you mean LOC"),
        ("kuzu\tN;k\n", "in: line 1: the tag 'k' is a letter"),
    ):
        message = translate(text)
        assert isinstance(message, str)
        assert re.search(words, message)
        assert not Path("out").exists() or Path("out").read_text(encoding="utf-8").startswith("va")
    assert len(translate("kuzu\tN;LOk\n", "--unknown-tags")) == 1


def test_in_python_another_line_changes_nothing_and_long_lemmas_are_cut(tmp_path: Path) -> None:
    bundles.save(tmp_path / "bundle", tokenizer=trained(ends=True).source)
    translator = Translator.load(tmp_path / "bundle", max_source=4)
    together = translator.translate(["kuzu\tN;LOC;SG", "vade\tN"])
    assert together == [translator("kuzu\tN;LOC;SG"), translator("vade\tN")]
    with pytest.raises(UserError, match="line 1: has 3 tab-separated columns"):
        translator("a\tN\tb")
    source = source_of(translator.bundle.tokenizers)
    assert source.tokens(source.cut(source.encode("kuzuda\tN;LOC;SG;1;V"), 4)) == [
        *"kuzu",
        "</s>",
        *"N LOC SG 1".split(),
    ]
