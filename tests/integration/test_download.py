"""Multi30k from a local server: downloaded once, checked, and refused where it is damaged or not available."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seq2seq.corpora import Multi30k
from seq2seq.corpora.datasets import multi30k
from seq2seq.errors import UserError

TEXT = {
    f"{split}.{language}": f"{split} {language}\u00a0!\n"
    for split in ("train", "val", "t")
    for language in ("en", "de")
}


class Handler(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def log_message(self, format: str, *args: object) -> None:
        self.asked.append(self.path)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server whose files and checksums stand for those of Multi30k; t.de has no known checksum."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name, text in TEXT.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    checksums = {name: hashlib.sha256((folder / f"{name}.gz").read_bytes()).hexdigest() for name in TEXT}
    checksums["val.en"] = "md5:" + hashlib.md5((folder / "val.en.gz").read_bytes()).hexdigest()
    monkeypatch.setattr(multi30k, "CHECKSUMS", checksums | {"t.de": None})
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()
        thread.join()


def corpus(url: str, root: str | None = None) -> Multi30k:
    return Multi30k("en", "de", root=root, tests=["t"], url=url)


@pytest.mark.parametrize("watched", [True, False])
def test_downloaded_once_and_checked(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    monkeypatch.setattr("seq2seq.corpora.downloads._terminal", lambda: watched)
    for _ in range(2):
        found = corpus(server)
        found.prepare()
        assert {split: list(found.pairs(split)) for split in found.splits} == {
            split: [(f"{split} en\u00a0!", f"{split} de\u00a0!")] for split in ("train", "val", "t")
        }
    assert sorted(Handler.asked) == sorted(f"/{name}.gz" for name in TEXT)
    seen = capfd.readouterr().err
    assert "100%" in seen if watched else seen == ""  # the progress bar
    folder = tmp_path / "data" / "multi30k"
    assert [path.name for path in folder.glob("*.sha256")] == ["t.de.gz.sha256"]
    assert len(list(folder.iterdir())) == len(TEXT) + 1


@pytest.mark.parametrize("place", ["data", "data/multi30k"])
def test_files_already_there_need_no_server(server: str, tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / "served").rename(tmp_path / place)
    found = corpus("http://127.0.0.1:1/", root=str(tmp_path / "data"))
    found.prepare()
    assert list(found.pairs("val")) == [("val en\u00a0!", "val de\u00a0!")]
    assert Handler.asked == []


def test_a_damaged_download_leaves_nothing(server: str, tmp_path: Path) -> None:
    (tmp_path / "served" / "train.en.gz").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"/train.en.gz: what came is not the file .*put train.en.gz into .*multi30k"):
        corpus(server).prepare()
    assert list((tmp_path / "data" / "multi30k").iterdir()) == []


@pytest.mark.parametrize("name", ["val.en", "val.de", "t.de"])  # md5, sha256, and the checksum of the first download
def test_a_file_damaged_later_is_refused(server: str, tmp_path: Path, name: str) -> None:
    corpus(server).prepare()
    path = tmp_path / "data" / "multi30k" / f"{name}.gz"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(UserError, match=rf"{name}.gz: is damaged .*delete it"):
        corpus(server).prepare()


def test_a_server_that_cannot_be_reached(server: str) -> None:
    with pytest.raises(UserError, match=r"cannot be downloaded .ConnectionError.; put train.en.gz into .*data.root"):
        corpus("http://127.0.0.1:1/").prepare()
    with pytest.raises(UserError, match=r"cannot be downloaded .the server answers 404.; put train.en.gz"):
        corpus(f"{server}/elsewhere").prepare()


def test_a_folder_that_cannot_be_written(server: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UserError, match=r"multi30k: cannot be written .*set data.root"):
        corpus(server).prepare()
