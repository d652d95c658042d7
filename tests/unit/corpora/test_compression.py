"""Compressed files are known by their bytes: unpacked, or refused in one line that names the form."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard

from seq2seq.corpora.compression import is_zip
from seq2seq.corpora.readers import lines
from seq2seq.errors import UserError
from seq2seq.inference.files.input import arriving
from seq2seq.inference.files.output import check_output, output

TEXT = "größe\n" + "word " * 50_000 + "\nlast\n"
READ: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "lzma": lambda text: lzma.compress(text, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "zstd": zstandard.compress,
    "pzstd": lambda text: b"\x50\x2a\x4d\x18\4\0\0\0abcd" + zstandard.compress(text),
    "gzip of two members": lambda text: gzip.compress(text[:9]) + gzip.compress(text[9:]) + b"\0" * 600,
    "bzip2 of two streams": lambda text: bz2.compress(text[:9]) + bz2.compress(text[9:]),
}


def _tar(form: str) -> bytes:
    stream, entry = io.BytesIO(), tarfile.TarInfo("train.tsv")
    entry.size = 4
    with tarfile.open(fileobj=stream, mode=f"w:{form}") as archive:
        archive.addfile(entry, io.BytesIO(b"a\tb\n"))
    return stream.getvalue()


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("train.tsv", "a\tb\n")
    return stream.getvalue()


REFUSED = {
    "a zip archive": _zip(),
    "a tar archive": _tar(""),
    "a tar archive, .*tar -xf": _tar("gz"),
    "a tar archive, which is not read": _tar("xz"),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\0\4",
    "compressed by lz4": b"\x04\x22\x4d\x18@@",
    "compressed by compress": b"\x1f\x9d\x90\x61",
    "compressed by lzip": b"LZIP\x01\x0c",
    "a Parquet file, .*JSON lines": b"PAR1\x15\x04",
    "compressed twice": gzip.compress(bz2.compress(b"a\n")),
}


@pytest.mark.parametrize("form", READ)
@pytest.mark.parametrize("name", ["text", "text.gz", "text.bz2"])
def test_a_form_is_read_whatever_the_name(form: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(READ[form](TEXT.encode()))
    assert list(lines(tmp_path / name)) == TEXT.split("\n")[:-1]


@pytest.mark.parametrize("form", READ)
def test_standard_input_is_unpacked_too(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(READ[form](TEXT.encode()))))
    assert [line for line in arriving(Path("-")) if line is not None] == TEXT.split("\n")[:-1]


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_not_read_is_named(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t").write_bytes(REFUSED[form])
    with pytest.raises(UserError, match=f"t: is {form}"):
        list(lines(tmp_path / "t"))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(REFUSED[form])))
    with pytest.raises(UserError, match=f"standard input: is {form}"):
        list(arriving(Path("-")))
    assert is_zip(tmp_path / "t") == ("zip archive" in form)


@pytest.mark.parametrize(
    "text", ["BZh is how it begins", "PAR1 and 2", "LZIP", "]\n", "]\0\0 and more than thirteen", "PK", "Rar!"]
)
def test_text_may_begin_like_a_form(text: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_text(text)
    assert list(lines(tmp_path / "t")) == [text.removesuffix("\n")]


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst", ".bz2"])
def test_what_is_written_is_read_again(suffix: str, tmp_path: Path) -> None:
    with output(tmp_path / f"o{suffix}") as write:
        write(TEXT.encode())
    assert list(lines(tmp_path / f"o{suffix}")) == TEXT.split("\n")[:-1]
    assert ((tmp_path / f"o{suffix}").read_bytes() == TEXT.encode()) == (not suffix)


@pytest.mark.parametrize("name", ["o.zip", "o.tar.gz", "o.TGZ", "o.7z", "o.lz4", "o.Z"])
def test_an_output_that_is_not_written_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{name}: .* is not written; end the name with .gz, .xz, .zst, .bz2"):
        check_output(tmp_path / name)
    check_output(tmp_path / "o.br")  # Breton


def test_a_pause_of_a_stream_comes_through() -> None:
    from seq2seq.corpora.compression import unpacked

    def blocks() -> Iterator[bytes | None]:
        yield from (b"a\n", None, b"b\n", None)

    assert list(unpacked(blocks(), "x")) == [b"a\n", None, b"b\n", None]
