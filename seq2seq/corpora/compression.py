"""Compressed files, recognised by their first bytes, not by their names: decompressed as a stream, or refused."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from seq2seq.errors import UserError

SUFFIXES = (".gz", ".xz", ".zst", ".bz2")
"""Suffixes of the compressed formats that are read and written."""

SLICE = 1 << 10  # compressed bytes decompressed at once: the result can be 30,000 times as large
HEAD = 512  # bytes that identify the format: tar's magic number comes after the name of the archive's first file


class Form(NamedTuple):
    """A format that is not supported: its name, and the remedy for the message."""

    name: str
    remedy: str


Decompressor = Callable[[], Any]
READ: dict[bytes, Decompressor] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    b"\xfd7zXZ\0": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ),
    b"BZh": bz2.BZ2Decompressor,
}
"""Decompressors of the standard library, by the magic number of their format."""

UNPACK, CONVERT = "unpack it first ({} FILE)", "write it as tab-separated text or JSON lines first"
REFUSED: dict[bytes, Form] = {
    magic: Form(name, UNPACK.format(command) if command else CONVERT)
    for magic, name, command in (
        (b"PK\x03\x04", "a zip archive (as .xlsx and .docx are, too)", "unzip"),
        (b"PK\x05\x06", "a zip archive without files", "unzip"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x"),
        (b"Rar!\x1a\x07", "a rar archive", "unrar x"),
        (b"\x04\x22\x4d\x18", "compressed by lz4", "lz4 -d"),
        (b"\x02\x21\x4c\x18", "compressed by lz4", "lz4 -d"),
        (b"\x1f\x9d", "compressed by compress (.Z)", "uncompress"),
        (b"\x1f\xa0", "compressed by compress (.Z)", "uncompress"),
        (b"LZIP\x01", "compressed by lzip", "lzip -d"),
        (b"\x89LZO\0", "compressed by lzop", "lzop -d"),
        (b"\xff\x06\0\0sNaPpY", "compressed by snappy", "snzip -d"),
        (b"PAR1\x15", "a Parquet file", ""),
        (b"ARROW1\0\0", "an Arrow file", ""),
    )
}
"""Formats that are not read, by their magic number."""

ZSTD = rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"  # a frame, or one to skip
LZMA = rb"\x5d"  # the usual properties of a .lzma file, which has no magic number
MARK = re.compile(b"|".join((*map(re.escape, (*READ, *REFUSED)), ZSTD, LZMA, rb".{257}ustar")), re.DOTALL)
"""Matches the first bytes of all formats above, and of some text: what it does not match is a plain file."""

TAR = Form("a tar archive", UNPACK.format("tar -xf"))
NOT_WRITTEN = tuple(".tar .tgz .tbz2 .tbz .txz .tzst .zip .7z .rar .lz4 .z .lz .lzma .lzo".split())
"""Suffixes (in lower case) of formats that are not written."""


def unpacked(blocks: Iterable[bytes | None], name: object) -> Iterator[bytes | None]:
    """The content of a stream of blocks, decompressed if it is compressed; a None (no data yet) is passed on.

    Raises `UserError`, with the `name`, for an archive or an unsupported format, and EOFError or the library's own
    error for damaged data.
    """
    stream = _with_head(iter(blocks))
    head = next(stream, None) or b""
    _check(head, name)
    if (make := _decompressor(head)) is None:
        yield from _chain(head, stream)
        return
    content = _with_head(_members(_chain(head, stream), make))
    first = next(content, None) or b""
    _check(first, name, inner=True)
    yield from _chain(first, content)


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, as .npz files are; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def _check(head: bytes, name: object, inner: bool = False) -> None:
    """Raise `UserError` if the first bytes are those of an archive or of an unsupported format."""
    form = TAR if head[257:262] == b"ustar" else None
    form = form or next((form for magic, form in REFUSED.items() if head.startswith(magic)), None)
    if form:
        raise UserError(f"{name}: is {form.name}, which is not read; {form.remedy}")
    if inner and _decompressor(head):
        raise UserError(f"{name}: is compressed twice; unpack it once, and give what comes out")


def _decompressor(head: bytes) -> Decompressor | None:
    if re.match(ZSTD, head):
        import zstandard

        return lambda: zstandard.ZstdDecompressor().decompressobj()
    if head.startswith(b"BZh") and head[4:10] not in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"):
        return None  # text that begins with "BZh"
    if _is_lzma(head):
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    return next((make for magic, make in READ.items() if head.startswith(magic)), None)


def _is_lzma(head: bytes) -> bool:
    """Whether this is the header of a .lzma file, which has no magic number: the usual properties, a dictionary of 2^n
    or 2^n + 2^(n−1) bytes, and a size that is unknown or below 2^38, the same conditions as in XZ Utils."""
    if len(head) < 13 or head[0] != 0x5D:
        return False
    dictionary, size = int.from_bytes(head[1:5], "little"), head[5:13]
    plausible = dictionary.bit_count() == 1 or (dictionary.bit_count() == 2 and dictionary & dictionary << 1 > 0)
    return plausible and (size == b"\xff" * 8 or int.from_bytes(size, "little") < 1 << 38)


def _members(blocks: Iterable[bytes | None], make: Decompressor) -> Iterator[bytes | None]:
    """The content of a file of one or more concatenated compressed streams; zeros between them are padding."""
    stream: Any = None
    for block in blocks:
        if block is None:
            yield None
            continue
        for begin in range(0, len(block), SLICE):
            rest = block[begin : begin + SLICE]
            while rest:
                if stream is None and not (rest := rest.lstrip(b"\0")):
                    break
                stream = stream or make()
                if content := stream.decompress(rest):
                    yield content
                rest = stream.unused_data if stream.eof else b""
                stream = None if stream.eof else stream
    if stream is not None:
        raise EOFError("compressed file ended before its end mark did")


def _with_head(blocks: Iterator[bytes | None]) -> Iterator[bytes | None]:
    """The same blocks, but the first has at least HEAD bytes, or all bytes before the end or the first None."""
    head = b""
    for block in blocks:
        if block is None or len(head := head + block) >= HEAD:
            yield head
            yield from () if block else (None,)
            yield from blocks
            return
    yield head


def _chain(head: bytes, rest: Iterable[bytes | None]) -> Iterator[bytes | None]:
    if head:
        yield head
    yield from rest


def compressing(file: BinaryIO, suffix: str) -> AbstractContextManager[Any]:
    """A file object that writes to `file`, compressed in the format of `suffix`; the bytes depend on neither name nor
    time."""
    if suffix == ".gz":
        import gzip

        return gzip.GzipFile("", "wb", fileobj=file, mtime=0)
    if suffix == ".xz":
        return lzma.LZMAFile(file, "wb")
    if suffix == ".bz2":
        return bz2.BZ2File(file, "wb")
    if suffix == ".zst":
        import zstandard

        return zstandard.ZstdCompressor().stream_writer(file, closefd=False)
    return nullcontext(file)


def check_suffix(name: str) -> None:
    """Raise `UserError` if an output's name has the suffix of a format that is not written."""
    small = name.lower()
    if suffix := next((end for end in NOT_WRITTEN if small.endswith((end, *(end + s for s in SUFFIXES)))), None):
        raise UserError(f"{name}: {suffix} is not written; end the name with {', '.join(SUFFIXES)}, or none of them")


def errors() -> tuple[type[Exception], ...]:
    """The exceptions that reading a damaged file raises."""
    import zstandard

    return (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
