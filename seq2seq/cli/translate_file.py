"""`seq2seq translate-file`: a file or stream of lines through a trained bundle.

The output has exactly one line for each input line, in order; an empty line stays empty. With `--n-best` above 1 it has
one line for each translation instead, in the layout of Moses and Marian, `INDEX ||| TEXT ||| SCORE`: the index counts
input lines from 0, and the score, best first, is the log-probability over the length penalty. (The text may hold `|||`
too: the index stands before the first one, the score behind the last.) An output file appears whole or not at all.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.translator import Translation

STREAM = Path("-")
Write: TypeAlias = Callable[[bytes], object]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq translate-file`."""
    parser.add_argument("bundle", type=Path, help="the folder of a trained model")
    parser.add_argument("input", type=Path, help="UTF-8 text, a sentence a line: plain, .gz, .xz, .zst; - reads stdin")
    parser.add_argument("output", type=Path, help="where to write, compressed by its name likewise; - writes to stdout")
    parser.add_argument("--beam-size", type=int, metavar="K", help="1 is greedy search (default: the bundle's)")
    parser.add_argument(
        "--length-penalty", type=float, metavar="A", help="Wu et al. 2016; 0 is none (default: the bundle's)"
    )
    parser.add_argument(
        "--n-best", type=int, default=1, metavar="N", help="above 1: lines of `INDEX ||| TEXT ||| SCORE`, N a sentence"
    )
    parser.add_argument(
        "--max-length", type=int, metavar="N", help="most pieces of a translation (default: by its source)"
    )
    parser.add_argument(
        "--max-source", type=int, default=1024, metavar="N", help="a longer source is cut (%(default)s pieces)"
    )
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="sentences at once (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, …")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of torch (default: torch's own choice)")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="a package whose components the bundle may use"
    )


def run(arguments: Namespace) -> int:
    """Translate; returns the exit code. Raises `UserError` for what is wrong with the files, options or bundle."""
    source, target = arguments.input, arguments.output
    _check(source, target)
    total = None if source == STREAM or not source.is_file() else sum(1 for _ in _lines(source))  # and all is UTF-8
    from seq2seq.translator import Translator

    translator = Translator.load(
        arguments.bundle, arguments.device, arguments.threads, arguments.trust, max_source=arguments.max_source
    )
    options = translator.options(
        beam_size=arguments.beam_size,
        length_penalty=arguments.length_penalty,
        n_best=arguments.n_best,
        max_length=arguments.max_length,
    )
    from tqdm import tqdm

    with _output(target) as write, tqdm(total=total, unit=" lines", disable=not sys.stderr.isatty()) as bar:
        found = translator.translate_stream(
            _lines(source), options, batch_size=arguments.batch_size, progress=bar.update
        )
        _write(found, write, listed=arguments.n_best > 1)
    return 0


def _check(source: Path, target: Path) -> None:
    if source != STREAM and not source.exists():
        raise UserError(f"{source}: no such file")
    if STREAM not in (source, target) and target.is_file() and target.samefile(source):
        raise UserError(f"{target}: is the input as well; choose another output")
    if target.is_dir() or not target.parent.is_dir():
        raise UserError(f"{target}: is a folder, or in none that exists; give the name of a file")


def _write(found: Iterable[list[Translation]], write: Write, *, listed: bool) -> None:
    for index, translations in enumerate(found):
        if listed:
            lines = [f"{index} ||| {text} ||| {hypothesis.score:.6f}" for text, hypothesis in translations]
        else:
            lines = [translations[0].text]
        write("".join(f"{line}\n" for line in lines).encode())


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, or of standard input."""
    if path != STREAM:
        from seq2seq.corpora.readers import lines

        yield from lines(path)
        return
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.removesuffix(b"\n").decode()
        except UnicodeDecodeError as error:
            raise UserError(f"standard input:{number}: is not UTF-8 ({error.reason}); convert it to UTF-8") from None


@contextmanager
def _output(path: Path) -> Iterator[Write]:
    """Writes to the file `path`, which is there at the end of the block and not before.

    Compressed bytes depend on neither name nor time. What is no regular file is written directly.
    """
    if path == STREAM:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
    elif path.exists() and not path.is_file():  # a pipe or a device, /dev/null among them
        with path.open("wb") as file:
            yield file.write
    else:
        from seq2seq.reporting.whole import whole

        with (
            whole(path.resolve()) as temporary,
            temporary.open("wb") as file,
            _compressing(file, path.suffix) as packed,
        ):
            yield packed.write


def _compressing(file: BinaryIO, suffix: str) -> AbstractContextManager[Any]:
    if suffix == ".gz":
        import gzip

        return gzip.GzipFile("", "wb", fileobj=file, mtime=0)
    if suffix == ".xz":
        import lzma

        return lzma.LZMAFile(file, "wb")
    if suffix == ".zst":
        import zstandard

        return zstandard.ZstdCompressor().stream_writer(file, closefd=False)
    return nullcontext(file)
