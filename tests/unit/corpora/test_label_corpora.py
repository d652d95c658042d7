"""Labels as text: tokenizers, corpora and scores, and one clear error for each fault."""

import gzip
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.corpora import LabelCorpus, Labelled, Snips, Tagged
from seq2seq.corpora.corpus import scan
from seq2seq.corpora.datasets import snips
from seq2seq.errors import UserError
from seq2seq.reporting.label_pictures import confusion, label_f1, label_figures
from seq2seq.scoring.label_metrics import LabelScorer
from seq2seq.text import (
    BOS,
    EOS,
    LabelTokenizer,
    LabelTrainer,
    SourceAndTarget,
    SpellingTokenizer,
    SpellingTrainer,
    WhitespaceTokenizer,
    WhitespaceTrainer,
    load_tokenizer,
    train_tokenizers,
)

SHARED = Path(os.environ.get("SEQ2SEQ_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEQ2SEQ_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def write(name: str, text: str) -> None:
    Path(name).write_bytes(text.encode())


# Tokenizers


@pytest.mark.parametrize(
    ("form", "text", "ids"),
    [
        ("one", "B O B", [5, 4, 5]),
        ("one", "", []),
        ("sets", "A|B O B|A B", [BOS, 4, 5, BOS, BOS, 5, 4, BOS, 5]),
        ("set", "B A", [BOS, 5, 4]),
        ("set", "", [BOS]),
    ],
)
def test_labels_as_ids_and_back(form: str, text: str, ids: list[int], tmp_path: Path) -> None:
    tokenizer = LabelTokenizer(["O", "B"] if form == "one" else ["A", "B"], form)
    assert tokenizer.encode(text) == ids
    assert tokenizer.decode([*ids, EOS, 0]) == text
    tokenizer.save(tmp_path, "target")
    loaded = load_tokenizer(tmp_path, "target")
    assert (loaded.encode(text), loaded.fingerprint) == (ids, tokenizer.fingerprint)


def test_other_signs_and_unknown_labels() -> None:
    tokenizer = LabelTrainer("sets", "+", "-").train(["a+b -", "b c"])
    assert tokenizer.labels == ("a", "b", "c")
    assert tokenizer.decode(tokenizer.encode("b+a - c")) == "b+a - c"
    with pytest.raises(UserError, match="label 'O' was never seen in training"):
        tokenizer.encode("O")
    with pytest.raises(UserError, match="no label"):
        LabelTrainer("sets").train(["O O"])
    with pytest.raises(UserError, match="form='two'"):
        LabelTokenizer([], "two")


@settings(deadline=None)
@given(st.lists(st.text("aBcé中|'", min_size=1), max_size=6).map(" ".join))
def test_a_spelt_text_comes_back_exactly_whatever_its_words(text: str) -> None:
    tokenizer = SpellingTokenizer(WhitespaceTokenizer(["abc", "a"], lowercase=True))
    ids = tokenizer.encode(text)
    assert tokenizer.decode([*ids, EOS]) == text
    assert all(i < len(tokenizer) for i in ids)


def test_spelling_is_saved_and_sees_case_where_words_do_not(tmp_path: Path) -> None:
    trained = SpellingTrainer(WhitespaceTrainer(lowercase=True, min_frequency=2)).train(["a A b", "B c"])
    trained.save(tmp_path, "source")
    loaded = load_tokenizer(tmp_path, "source")
    assert loaded.encode("A x") == trained.encode("A x") == [260, 4 + ord("A"), 1, 4 + ord("x")]
    assert trained.tokens([260, 1, 4 + ord("x")]) == ["a", "<unk>", "<0x78>"]
    assert len(loaded) == 4 + 256 + 2


def test_each_side_has_its_trainer() -> None:
    words, labels = WhitespaceTrainer(min_frequency=2, lowercase=True, training_lines=1), LabelTrainer()
    both = train_tokenizers(SourceAndTarget(lambda: words, lambda: labels), lambda: [("A a", "X Y"), ("b b", "Z Z")], 2)
    assert both.source.tokens(both.source.encode("A b")) == ["a", "<unk>"]  # of one line
    assert both.target.tokens([4, 5, 6]) == ["X", "Y", "Z"]  # of all


# Corpora


def tagged(**options: str) -> Tagged:
    return Tagged("en", "tags", "train", "val", **options)


def labelled() -> Labelled:
    return Labelled("en", "labels", "train", "val")


CONLL = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects\tVBZ\tO\n\n\n call  NN I-X \n"


def test_the_same_rows_from_lines_and_from_conll() -> None:
    write("train", "EU rejects\tB-ORG O\ncall\tI-X\n")
    assert [row[:2] for row in tagged().rows("train")] == [("EU rejects", "B-ORG O"), ("call", "I-X")]
    write("train", CONLL)
    rows = list(tagged(format="conll").rows("train"))
    assert [row[:2] for row in rows] == [("EU rejects", "B-ORG O"), ("call", "I-X")]
    assert [row.line for row in rows] == [3, 7]
    write("train", CONLL.removesuffix("\n"))
    assert list(tagged(format="conll").rows("train")) == rows


def test_texts_with_any_number_of_labels() -> None:
    write("train", "a b\tx y\nc\t\n\tz\n")
    assert list(labelled().pairs("train")) == [("a b", "x y"), ("c", ""), ("", "z")]


@pytest.mark.parametrize(
    ("text", "corpus", "words"),
    [
        ("a b\tO O\na b\tO\n", tagged, "^train:2: 2 words, but 1 tags; each word needs one$"),
        ("a\tO\n\nb c\tO\n", tagged, "^train:2: 1 tab-separated columns; text and labels are two$"),
        ("a\tO\tO\n", tagged, "^train:1: 3 tab-separated columns"),
        ("a O\nb\n", lambda: tagged(format="conll"), "^train:2: 'b' has no tag"),
        ("a O\n", lambda: tagged(format="bio"), "format='bio' is not known; use lines or conll"),
        ("a\n", labelled, "^train:1: 1 tab-separated columns"),
        ("", labelled, "the split 'train' is empty"),
    ],
)
def test_each_fault_is_one_clear_error(text: str, corpus: type, words: str) -> None:
    write("train", text)
    with pytest.raises(UserError, match=words) as error:
        scan(corpus(), "train")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("corpus", "form", "val", "words"),
    [
        (tagged, "one", "a b\tX O\na\tB-new\n", "^val:2: label 'B-new' was never seen in training"),
        (tagged, "sets", "a b\tX|Z X\n", "^val:1: label 'Z' was never seen"),
        (labelled, "one", "a\tX\nb\tX O\n", "^val:2: 'X O' is not exactly one label; .*labels.many=true"),
        (labelled, "one", "a\t\n", "^val:1: '' is not exactly one label"),
        (labelled, "set", "a\tX O\na\t\nb\tQ\n", "^val:3: label 'Q' was never seen"),
    ],
)
def test_labels_that_training_never_saw(corpus: type, form: str, val: str, words: str) -> None:
    write("train", "a\tX\nb\tO\n")
    write("val", val)
    found: LabelCorpus = corpus()
    labels = LabelTrainer(form).train(text for _, text in found.pairs("train"))
    with pytest.raises(UserError, match=words):
        found.check_labels(labels)
    write("val", "a\tX\n")
    found.check_labels(labels)


# SNIPS, in the benchmark's own form: https://github.com/sonos/nlu-benchmark, CC0

RAW = {
    "GetWeather": [
        {
            "data": [
                {"text": "What will the weather be "},
                {"text": "faraway", "entity": "spatial_relation"},
                {"text": " from "},
                {"text": "here", "entity": "current_location"},
                {"text": "?"},
            ]
        },
        {
            "data": [
                {"text": "Will there be "},
                {"text": "fog", "entity": "condition_description"},
                {"text": " in "},
                {"text": "Tahquamenon Falls State Park", "entity": "geographic_poi"},
                {"text": "?"},
            ]
        },
    ]
}
RESHAPED = [
    ("What will the weather be faraway from here ?", "O O O O O B-spatial_relation O B-current_location O"),
    (
        "Will there be fog in Tahquamenon Falls State Park ?",
        "O O O B-condition_description O B-geographic_poi I-geographic_poi I-geographic_poi I-geographic_poi O",
    ),
]


def test_the_benchmarks_own_form() -> None:
    found = [(" ".join(item["tokens"]), " ".join(item["tags"])) for item in snips.reshape(RAW)]
    assert found == RESHAPED
    assert {item["intent"] for item in snips.reshape(RAW)} == {"GetWeather"}
    assert snips.decode("é".encode()) == snips.decode("é".encode("latin-1")) == "é"


@pytest.mark.skipif(not (SHARED / "snips").is_dir(), reason="needs the SNIPS files")
def test_the_real_files() -> None:
    corpus = Snips(root=str(SHARED))
    corpus.prepare()
    found = {split: list(corpus.pairs(split)) for split in corpus.splits}  # as many words as tags, in each
    assert {split: len(pairs) for split, pairs in found.items()} == snips.SIZES
    assert set(RESHAPED) <= set(found["test"])
    labels = LabelTrainer().train(tags for _, tags in found["train"])
    assert len(labels.labels) == 72
    corpus.check_labels(labels)
    intents = {label for _, label in Snips("intents", root=str(SHARED)).pairs("test")}
    assert intents == set(snips.INTENTS)


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server with the benchmark's files: per intent 3 utterances to train on, and 2 to test."""
    for intent in snips.INTENTS:
        folder = tmp_path / "served" / intent
        folder.mkdir(parents=True)
        for name, count in ((f"train_{intent}_full.json", 3), (f"validate_{intent}.json", 2)):
            utterances = [{"data": [{"text": f"{intent} {i} é"}]} for i in range(count)]
            content = json.dumps({intent: utterances}, ensure_ascii=False)
            (folder / name).write_bytes(content.encode("latin-1" if count == 3 else "utf-8"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "served")) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()
        thread.join()


def test_downloaded_and_reshaped(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snips, "SIZES", {"train": 16, "val": 5, "test": 14})
    corpus = Snips("intents", root=str(tmp_path / "data"), url=server)
    corpus.prepare()
    found = {split: list(corpus.pairs(split)) for split in corpus.splits}
    assert [len(found[split]) for split in corpus.splits] == [16, 5, 14]
    texts = [text for split in ("train", "val") for text, _ in found[split]]
    assert sorted(texts) == sorted(f"{intent} {i} é" for intent in snips.INTENTS for i in range(3))
    assert all(text.startswith(f"{label} ") for pairs in found.values() for text, label in pairs)
    Snips(root=str(tmp_path / "data"), url="http://127.0.0.1:1/").prepare()  # all is there


def test_what_cannot_be_had_says_how_to_get_it(server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be downloaded .*ConnectionError"):
        Snips(url="http://127.0.0.1:1/", root=str(tmp_path / "data")).prepare()
    with pytest.raises(UserError, match=r"gave 21 \+ 14 utterances, not .*put train.jsonl, val.jsonl and test.jsonl"):
        Snips(url=server, root=str(tmp_path / "data")).prepare()
    assert not list((tmp_path / "data" / "snips").glob("*.jsonl"))
    (tmp_path / "data" / "snips" / "raw" / "train_PlayMusic_full.json").write_text('{"PlayMusic": [{"text": 1}]}')
    with pytest.raises(UserError, match=r"train_PlayMusic_full.json: is of another form .KeyError."):
        Snips(url=server, root=str(tmp_path / "data")).prepare()
    with pytest.raises(UserError, match="labels='tags' is not known; use slots or intents"):
        Snips("tags")
    for split in ("train", "val", "test"):
        Path(f"{split}.jsonl.gz").write_bytes(gzip.compress(b'{"tokens": ["a"], "tags": ["O"]}\n'))
    with pytest.raises(UserError, match=r"train.jsonl.gz:1: is not of the form .*KeyError"):
        scan(Snips(root="."), "train")


# Scores


def test_entities_are_complete_or_wrong() -> None:
    scorer = LabelScorer(LabelTokenizer([]), entities=True)
    right = ["B-x I-x O B-y", "O B-x", "O"]
    assert scorer(right, right)["F1"].value == 100
    found = ["B-x O O B-y", "O B-x", "B-y"]  # 4 found, 3 expected, 2 right
    scores = scorer(found, right)
    assert scores["F1"].value == pytest.approx(100 * 2 * 2 / 7)
    assert scores["accuracy"].value == pytest.approx(100 * 5 / 7)
    assert scores["F1"].signature.startswith("nrefs:1|average:micro|of:entities|mode:conlleval|seqeval:")
    assert scorer(["O"], ["O"])["F1"].value == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.lists(st.sampled_from("abcd"), unique=True)] * 2), min_size=1, max_size=8))
def test_micro_f1_is_scikit_learns(pairs: list[tuple[list[str], list[str]]]) -> None:
    from sklearn.metrics import accuracy_score, f1_score
    from sklearn.preprocessing import MultiLabelBinarizer

    scorer = LabelScorer(LabelTokenizer([], "sets"))
    found, right = ([" ".join("|".join(one[i]) or "O" for one in pairs)] for i in (0, 1))
    scores = scorer(found, right)
    binary = MultiLabelBinarizer(classes=list("abcd"))
    matrices = [binary.fit_transform([one[i] for one in pairs]) for i in (1, 0)]
    assert scores["F1"].value == pytest.approx(100 * f1_score(*matrices, average="micro", zero_division=0))
    assert scores["accuracy"].value == pytest.approx(100 * accuracy_score(*matrices))


def test_plain_tags_leave_out_the_sign_for_none() -> None:
    scores = LabelScorer(LabelTokenizer([]))(["N O V"], ["N V O"])
    assert scores["F1"].value == pytest.approx(100 * 2 * 1 / 4)
    assert scores["accuracy"].value == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LabelScorer(LabelTokenizer([], "sets"), entities=True), "task.entities=true needs one IOB2 tag"),
        (lambda: LabelScorer(LabelTokenizer([]))(["O"], []), "1 hypotheses but 0 references"),
        (
            lambda: LabelScorer(LabelTokenizer([]))(["O", "O O"], ["O", "O"]),
            "line 2 has 2 words, but 1 in the reference",
        ),
    ],
)
def test_scoring_errors(make: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()  # type: ignore[operator]


def test_pictures_hold_what_they_show(tmp_path: Path) -> None:
    from collections import Counter

    bars = label_f1(Counter({("x", 1): 1, ("x", 2): 1, ("z", 3): 1}), Counter({("x", 1): 1, ("y", 2): 1}))
    assert [(bar.label, round(bar.f1), bar.expected) for bar in bars] == [("x", 67, 1), ("y", 0, 1), ("z", 0, 0)]
    assert confusion(["a", "b", "b"], ["a", "a", "b"], ["a", "b"]).tolist() == [[1, 1], [0, 1]]
    texts = LabelScorer(LabelTokenizer(["a", "b"]), unit="text")
    paths = label_figures(texts, ["a", "b", "b"], ["a", "a", "b"], tmp_path, "test")
    words = LabelScorer(LabelTokenizer(["O", "B-x"]), entities=True)
    paths += label_figures(words, ["B-x O"], ["B-x O"], tmp_path, "words")
    assert [path.name for path in paths] == ["f1_by_label.test.png", "confusion.test.png", "f1_by_label.words.png"]
    assert all(path.stat().st_size > 1000 for path in paths)
    assert label_figures(words, ["O"], ["O"], tmp_path, "none") == []
