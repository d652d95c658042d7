"""`seq2seq translate-file`: a file or stream of lines through a trained bundle.

The output has exactly one line for each input line, in order; an empty line stays empty. With `--n-best` above 1 it has
one line for each translation instead, in the layout of Moses and Marian, `INDEX ||| TEXT ||| SCORE`: the index counts
input lines from 0, and the score, best first, is the log-probability over the length penalty, with the coverage penalty
(with `--mbr`: the expected utility). (The text may hold `|||` too: the index stands before the first one, the score
behind the last.) Other formats: seq2seq/inference/files/formats.py. With `--ensemble` several bundles translate as one
(seq2seq/inference/ensemble.py).

The input is a stream, of which a few chunks are held; from a terminal or another program, what has arrived is
translated. An output file appears whole or not at all; a run that was killed goes on with `--resume`
(seq2seq/inference/files/partial.py). `--workers` are processes of this machine, `--shard` is for several
(seq2seq/inference/files/shards.py).
"""

from __future__ import annotations

import hashlib
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq import __version__
from seq2seq.cli.arguments import add_errors, add_files, add_running
from seq2seq.cli.cut_off import CutOff
from seq2seq.cli.searching import add_search, check_search, requests, search_options, utility
from seq2seq.errors import UserError
from seq2seq.inference.files import formats
from seq2seq.inference.files.chunks import Chunk, Place, chunks
from seq2seq.inference.files.journal import difference, journal_of
from seq2seq.inference.files.partial import check_partial, outputs, resumable
from seq2seq.inference.files.shards import WHOLE, Shard, card_of, check_outputs, read_card, shard, write_card
from seq2seq.inference.files.streams import STREAM, check, count, lines
from seq2seq.runtime.malloc import keep_freed_memory

CHUNK = 4096
"""Lines that a process has at once, and sorts by length."""

FREE = {"bundle", "ensemble", "input", "output", "alignments", "batch_size", "device", "threads", "trust", "workers"}
"""Arguments that may change where a run goes on: no content depends on them, or what they name is compared."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq translate-file`."""
    add_files(parser, "UTF-8 text, a sentence a line: plain, .gz, .xz, .zst, .bz2; - reads stdin")
    parser.add_argument(
        "--n-best", type=int, default=1, metavar="N", help="above 1: lines of `INDEX ||| TEXT ||| SCORE`, N a sentence"
    )
    parser.add_argument(
        "--max-source", type=int, default=1024, metavar="N", help="a longer source is cut (%(default)s pieces)"
    )
    parser.add_argument(
        "--ensemble",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="BUNDLE",
        help="translate together with these bundles, by the mean of their probabilities; write it behind the files",
    )
    add_errors(parser)
    formats.add_arguments(parser)
    add_search(parser)
    parser.add_argument("--int8", action="store_true", help="8-bit output layer: faster on a CPU, nearly the same text")
    add_running(parser)
    _add_large(parser)


def _add_large(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("large files")
    group.add_argument("--resume", action="store_true", help="go on where an interrupted run of the same command stood")
    group.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help=f"processes, which share the cores; each takes {CHUNK} lines at a time (default: only this one)",
    )
    group.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="translate only the lines I, I+N, I+2N, … into OUTPUT.I-of-N; `seq2seq merge OUTPUT` joins the N parts",
    )


def run(arguments: Namespace) -> int:
    """Translate; returns the exit code. Raises `UserError` for what is wrong with the files, options or bundle."""
    source, targets = arguments.input, _check(arguments)
    total = count(source, arguments.errors)
    work = Work(arguments)
    if source != STREAM and (arguments.prefixes or arguments.constraints):
        work.check()
    made = _made(arguments)
    if arguments.resume and _complete(arguments, targets, made):
        return 0
    part, workers = arguments.shard or WHOLE, arguments.workers
    finish = partial(_finish, made, targets) if arguments.shard else None
    from tqdm import tqdm

    cut_off = CutOff()

    def write(chunk: Chunk, made: Made) -> None:
        written.write(made.contents, chunk.place)
        cut_off.add(len(chunk.texts), made.cut)

    with (
        outputs(targets, {**made, "--shard": str(part)}, finish) as written,
        tqdm(unit=" lines", disable=not sys.stderr.isatty()) as bar,
    ):
        bar.total = None if total is None else part.count(total)
        bar.update(part.count(written.place.lines))
        given = chunks(source, CHUNK, part, written.place, arguments.errors) if not written.ended else ()
        if workers > 1:
            threads = max(1, work.threads // workers) if arguments.threads is None else arguments.threads
            del work  # each process has its own
            _side_by_side(partial(_worker, arguments, threads), given, workers, write, bar.update)
        else:
            keep_freed_memory()
            for chunk in filter(None, given):
                write(chunk, work(chunk, bar.update))
    cut_off.report()
    return 0


def _side_by_side(
    make: Callable[[], Work],
    given: Iterable[Chunk | None],
    workers: int,
    write: Callable[[Chunk, Made], None],
    progress: Callable[[int], object],
) -> None:
    from seq2seq.runtime.worker_pool import in_order

    with closing(in_order(make, given, workers)) as results:
        for chunk, made in results:
            write(chunk, made)
            progress(len(chunk.texts))


def _worker(arguments: Namespace, threads: int) -> Work:
    """What a process of several begins with."""
    keep_freed_memory()
    arguments.threads = threads
    return Work(arguments)


class Made(NamedTuple):
    """What is written for a chunk of lines, a content a file, and the numbers of the lines whose best output was cut
    off."""

    contents: list[bytes]
    cut: list[int]


class Work:
    """From a chunk of lines to what is written for it. Raises `UserError` as `Translator` does."""

    def __init__(self, arguments: Namespace) -> None:
        from seq2seq.inference.translator import Translator
        from seq2seq.runtime.threads import limit_threads

        self._arguments = arguments
        self.translator = Translator.load(
            [arguments.bundle, *arguments.ensemble],
            arguments.device,
            arguments.threads,
            arguments.trust,
            max_source=arguments.max_source,
            int8=arguments.int8,
        )
        self.threads = limit_threads(arguments.threads)
        self._form = formats.Formatter(
            self.translator,
            arguments.format,
            listed=arguments.n_best > 1,
            attention=arguments.attention,
            aligned=arguments.alignments is not None,
            copy=arguments.copy_unknown,
        )
        options = search_options(self.translator, arguments)
        self.options = replace(options, return_attention=True) if self._form.aligner else options
        self._utility = utility(arguments)

    def check(self) -> None:
        """Raise `UserError`, with the file and its first such line, for what cannot be asked for."""
        source = self._arguments.input
        try:
            self.translator.check(requests(lines(source, self._arguments.errors), self._arguments), self.options)
        except UserError as error:
            raise UserError(f"{source}: {error}" if str(error).startswith("line ") else str(error)) from None

    def __call__(self, chunk: Chunk, progress: Callable[[int], object] | None = None) -> Made:
        """`progress` is called with numbers of translated lines."""
        arguments, texts, links = self._arguments, [], []
        cut: list[int] = []
        asked = list(requests(chunk.texts, arguments, chunk.numbers))
        found = self.translator.translate_stream(
            asked,
            self.options,
            batch_size=arguments.batch_size,
            chunk=CHUNK,
            progress=progress,
            utility=self._utility,
            numbers=chunk.numbers,
        )
        for index, request, translations in zip(chunk.numbers, asked, found, strict=True):
            text = request if isinstance(request, str) else request.text
            best = translations[: arguments.n_best]
            cut += [index] if best[0].hypothesis.cut_off(self.options) else []
            texts.append(self._form.lines(index, text, self._form.complete(text, best)))
            if arguments.alignments:
                links.append(self._form.alignments(text, best))
        contents = [texts, links] if arguments.alignments else [texts]
        return Made(["".join(content).encode() for content in contents], cut)


def _check(arguments: Namespace) -> list[Path]:
    """The files to write. Raises `UserError` for what can be known to be wrong before anything is loaded."""
    part: Shard | None = arguments.shard
    if arguments.workers < 1:
        raise UserError(f"--workers {arguments.workers}: must be at least 1")
    given = [arguments.output, *([arguments.alignments] if arguments.alignments else [])]
    targets = [part.named(path) if part and path != STREAM else path for path in given]
    check(arguments.input, targets[0])
    formats.check_arguments(
        arguments.format, arguments.attention, targets[1] if arguments.alignments else None, arguments.input, targets[0]
    )
    check_search(arguments)
    if (arguments.resume or part) and not resumable(targets):
        option = "--resume" if arguments.resume else f"--shard {part}"
        raise UserError(f"{option}: an output is a stream or a device, which is not there later; name a file")
    check_partial(targets[0], arguments.resume)
    return targets


def _made(arguments: Namespace) -> dict[str, Any]:
    """What decides the content of the output beside the input, by name."""
    from seq2seq.bundle.format import CHECKSUMS

    bundles = [arguments.bundle, *arguments.ensemble]
    hashes = [hashlib.sha256((bundle / CHECKSUMS).read_bytes()).hexdigest() for bundle in bundles]
    options = {name: value for name, value in vars(arguments).items() if name not in FREE | {"resume", "shard"}}
    named = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    aligned = arguments.alignments is not None
    return {"bundle": hashes, "seq2seq": __version__, **named, "--alignments": aligned}


def _complete(arguments: Namespace, targets: list[Path], made: dict[str, Any]) -> bool:
    """Whether this shard is there already. Raises `UserError` where it is, but damaged, or not what is asked for."""
    if not arguments.shard or journal_of(targets[0]).exists() or not card_of(targets[0]).is_file():
        return False
    card = read_card(card_of(targets[0]))
    if found := difference(card.made, made):
        raise UserError(f"{targets[0]}: is complete, but was made with {found}; delete {card_of(targets[0])}")
    check_outputs(card, targets)
    for chunk in filter(
        None, chunks(arguments.input, CHUNK, arguments.shard, Place(card.lines, card.sha256), arguments.errors)
    ):
        if chunk.place.lines > card.lines:
            raise UserError(
                f"{targets[0]}: is complete, but was made of the first {card.lines} lines of the input only"
            )
    print(f"seq2seq: {targets[0]}: is complete", file=sys.stderr)
    return True


def _finish(made: dict[str, Any], targets: list[Path], end: Place) -> None:
    write_card(made, end.lines, end.sha256, targets)
