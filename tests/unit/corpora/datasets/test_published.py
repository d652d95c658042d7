"""Corpora by name from a local server and from generated files of their layout: none of them is the real one."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from seq2seq.corpora.datasets.hub import Fields, HuggingFace
from seq2seq.corpora.datasets.iwslt import IWSLT14, IWSLT15, TESTS
from seq2seq.corpora.datasets.unimorph import UniMorph
from seq2seq.corpora.datasets.wmt import WMT
from seq2seq.errors import UserError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path / "data"))
    (tmp_path / "served").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "served")) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_vietnamese_talks_are_downloaded_once_and_held_to_what_came(
    server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("train", "tst2012", "tst2013"):
        for language in ("en", "vi"):
            (tmp_path / "served" / f"{name}.{language}").write_text(f"{name} {language} &apos;s\n", encoding="utf-8")
    corpus = IWSLT15(url=server)
    corpus.prepare()
    assert {split: list(corpus.pairs(split)) for split in corpus.splits} == {
        "train": [("train en &apos;s", "train vi &apos;s")],
        "val": [("tst2012 en &apos;s", "tst2012 vi &apos;s")],
        "tst2013": [("tst2013 en &apos;s", "tst2013 vi &apos;s")],
    }
    folder = tmp_path / "data" / "iwslt15"
    digest = hashlib.sha256((folder / "train.en").read_bytes()).hexdigest()
    assert (folder / "train.en.sha256").read_text() == f"{digest}  train.en\n"
    assert digest in caplog.text
    reverse = IWSLT15("vi", "en", url="http://127.0.0.1:1")
    reverse.prepare()
    assert list(reverse.pairs("val")) == [("tst2012 vi &apos;s", "tst2012 en &apos;s")]
    (folder / "train.en").write_text("damaged\n")
    with pytest.raises(UserError, match=r"train.en: is damaged .wrong checksum."):
        reverse.prepare()
    (folder / "train.en").unlink()
    (tmp_path / "served" / "train.en").write_text("another\n")
    with pytest.raises(UserError, match=r"train.en: what came is not the file"):
        corpus.prepare()
    with pytest.raises(UserError, match=r"target_language=fr: IWSLT15 has en and vi"):
        IWSLT15("en", "fr")


def test_forms_are_split_by_their_lemmas(server: str, tmp_path: Path) -> None:
    rows = [(f"lemma{i}", f"form{i}{tag}", f"N;{tag}") for i in range(300) for tag in ("SG", "PL")]
    text = "".join("\t".join(row) + ("\tmore" if row[2] == "N;PL" else "") + "\n" for row in [*rows, rows[0]])
    (tmp_path / "served" / "tur" / "HEAD").mkdir(parents=True)
    (tmp_path / "served" / "tur" / "HEAD" / "tur").write_text(text.replace("lemma7\t", "\nlemma7\t"), encoding="utf-8")
    corpus = UniMorph("tur", None, url=server)
    corpus.prepare()
    splits = {split: list(corpus.pairs(split)) for split in corpus.splits}
    assert sorted(pair for pairs in splits.values() for pair in pairs) == sorted((f"{a}\t{c}", b) for a, b, c in rows)
    lemmas = {split: {source.split("\t")[0] for source, _ in pairs} for split, pairs in splits.items()}
    assert not any(lemmas[one] & lemmas[other] for one, other in (("train", "val"), ("train", "test"), ("val", "test")))
    assert all(15 < len(lemmas[split]) < 50 for split in ("val", "test"))
    few = list(UniMorph("tur", 50, url=server).pairs("train"))
    assert len(few) == 50
    assert [pair for pair in splits["train"] if pair in few] == few
    assert (tmp_path / "data" / "unimorph" / "tur.sha256").exists()
    (tmp_path / "data" / "unimorph" / "deu").write_text("a\tb\tN\nc\td\n")
    with pytest.raises(UserError, match=r"deu:2: is not lemma<TAB>form<TAB>tags"):
        list(UniMorph("deu").pairs("train"))
    with pytest.raises(UserError, match=r"data.corpus.language=turkish: is no code of ISO 639-3"):
        UniMorph("turkish")


def archive(path: Path, *, without: str = "", longer: str = "") -> None:
    """An archive of the layout of the talks: 30 training pairs, and two segments in each test."""
    head = ["<url>http://x</url>", "<keywords>talks</keywords>", "<talkid>1</talkid>"]
    texts = {}
    for language in ("de", "en"):
        lines = [*head, f"<title>title {language}</title>", f"<description>about {language}</description>"]
        lines += [f" {i} {language} " for i in range(28)] + ["" if language == "de" else "no pair"]
        lines += ["one more"] * (longer == language)
        texts[f"train.tags.de-en.{language}"] = "".join(f"{line}\n" for line in lines)
        for test in TESTS:
            body = [f'<seg id="{i}"> {test} {i} {language} &amp; </seg>' for i in (1, 2)]
            texts[f"IWSLT14.{test}.de-en.{language}.xml"] = "\n".join(['<doc docid="1">', *body, "</doc>"])
    with tarfile.open(path, "w:gz") as made:
        for name, text in texts.items():
            if name != without:
                info = tarfile.TarInfo(f"de-en/{name}")
                info.size = len(text.encode())
                made.addfile(info, io.BytesIO(text.encode()))


def test_german_talks_are_read_from_their_archive(server: str, tmp_path: Path) -> None:
    archive(tmp_path / "served" / "de-en.tgz")
    corpus = IWSLT14(url=server)
    corpus.prepare()
    every = [("title de", "title en"), ("about de", "about en"), *((f"{i} de", f"{i} en") for i in range(28))]
    assert list(corpus.pairs("val")) == [every[22]]
    assert list(corpus.pairs("train")) == [*every[:22], *every[23:]]
    test = list(IWSLT14("en", "de", url=server).pairs("test"))
    assert test[:2] == [("TED.dev2010 1 en &", "TED.dev2010 1 de &"), ("TED.dev2010 2 en &", "TED.dev2010 2 de &")]
    assert len(test) == 2 * len(TESTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"without": "train.tags.de-en.en"}, r"de-en.tgz: has no train.tags.de-en.en"),
        ({"longer": "en"}, r"differ in length after 31 texts"),
    ],
)
def test_an_archive_that_does_not_fit(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    archive(tmp_path / "de-en.tgz", **changes)
    with pytest.raises(UserError, match=message):
        list(IWSLT14(root=str(tmp_path)).pairs("train"))
    (tmp_path / "de-en.tgz").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"de-en.tgz: cannot be read"):
        list(IWSLT14(root=str(tmp_path)).pairs("train"))


def test_test_sets_of_sacrebleu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for language in ("en", "de"):
        (tmp_path / f"t.{language}").write_text(f"own {language}\n")
    folder = tmp_path / "wmt19"
    folder.mkdir()
    (folder / "wmt19.en-de.src").write_text("a test\n")
    (folder / "wmt19.en-de.ref").write_text("ein Test\n")
    from sacrebleu.dataset import DATASETS

    monkeypatch.setattr(DATASETS["wmt19"], "_outdir", str(folder))
    monkeypatch.setattr(type(DATASETS["wmt19"]), "fieldnames", lambda self, pair: ["src", "ref"])
    where = str(tmp_path / "t")
    corpus = WMT("en", "de", where, where, ["wmt19"])
    corpus.prepare()
    assert corpus.splits == ("train", "val", "wmt19")
    assert list(corpus.pairs("wmt19")) == [("a test", "ein Test")]
    assert list(corpus.pairs("train")) == [("own en", "own de")]
    assert [part.tag for part in corpus.parts("wmt19")] == [None]
    with pytest.raises(UserError, match=r"sacreBLEU has no 'wmt91'; did you mean wmt"):
        WMT("en", "de", where, where, ["wmt91"])
    with pytest.raises(UserError, match=r"wmt19 has no en-la; it has"):
        WMT("en", "la", where, where, ["wmt19"])


def test_a_corpus_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, subset: str | None, *, split: str, revision: str | None) -> list[dict[str, object]]:
        asked.append((name, subset, split, revision))
        if split == "none":
            raise ValueError("Unknown split\nmore")
        return [{"translation": {"de": f"{split}\nde", "en": f"{split} en"}, "id": 1}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    corpus = HuggingFace("opus_books", "de", "en", "de-en", tests={"test": "test[:10]"}, revision="main")
    corpus.prepare()
    assert list(corpus.pairs("test")) == [("test[:10] de", "test[:10] en")]
    assert asked[0] == ("opus_books", "de-en", "train", "main")
    assert corpus.name == "opus_books/de-en"
    with pytest.raises(UserError, match=r"x, train, row 1: id is 1, not text"):
        list(HuggingFace("x", "de", "en", fields=Fields(source_field="id")).pairs("train"))
    with pytest.raises(UserError, match=r"x: none cannot be loaded .ValueError: Unknown split.$"):
        HuggingFace("x", "de", "en", val="none").prepare()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'seq2seq-recurrent\[huggingface\]'"):
        corpus.prepare()
