"""`seq2seq translate-file`: translates a file or stream of lines with a trained bundle.

The output has exactly one line for each input line, in order; an empty line stays empty. With `--n-best` above 1 it has
one line for each translation instead, in the layout of Moses and Marian, `INDEX ||| TEXT ||| SCORE`: the index counts
input lines from 0, and the score, best first, is the log-probability over the length penalty, with the coverage penalty
(with `--mbr`: the expected utility). (The text may contain `|||`, too: the index is before the first one, the score
after the last.) Other formats: seq2seq/inference/files/formats.py. With `--ensemble` several bundles translate as one
(seq2seq/inference/ensemble.py).

The input is read as a stream, with a few chunks in memory; from a terminal or another program, lines are translated as
they arrive. Output files are written atomically; `--resume` resumes a run that was killed
(seq2seq/inference/files/partial.py). `--workers` are processes on this machine, `--shard` is for several machines
(seq2seq/inference/files/shards.py).
"""

from __future__ import annotations

import itertools
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, get_args

from seq2seq import __version__
from seq2seq.cli.arguments import (
    add_attention,
    add_errors,
    add_files,
    add_models,
    add_running,
    check_attention,
    factor_files,
)
from seq2seq.cli.searching import add_search, check_search, load_translator, search_options, utility
from seq2seq.errors import UserError
from seq2seq.inference.files import formats
from seq2seq.inference.files.input import ALL_LINES, CHUNK, STREAM, Chunk, Place, Shard, chunks, count, lines, shard
from seq2seq.inference.files.output import check
from seq2seq.inference.files.partial import check_partial, outputs, resumable
from seq2seq.inference.files.shards import is_complete, write_card
from seq2seq.runtime.malloc import keep_freed_memory
from seq2seq.text.tokenizer import columns_of

if TYPE_CHECKING:
    from seq2seq.inference.request import Request
    from seq2seq.text import Tokenizers

FREE = {
    *("bundle", "ensemble", "lm", "input", "output", "alignments", "factors"),
    *("batch_size", "device", "threads", "trust", "workers"),
}
"""Arguments that may change when a run is resumed: the output does not depend on them, or their content is compared."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq translate-file`."""
    add_files(parser, "UTF-8 text, a sentence a line: plain, .gz, .xz, .zst, .bz2; - reads stdin")
    parser.add_argument(
        "--n-best", type=int, default=1, metavar="N", help="above 1: lines of `INDEX ||| TEXT ||| SCORE`, N a sentence"
    )
    add_models(parser)
    add_errors(parser)
    parser.add_argument(
        "--format",
        choices=get_args(formats.Format),
        default="text",
        help="text (default); tsv: index, rank, score, log_prob, text; json: those, tokens, token_log_probs",
    )
    add_attention(parser)
    parser.add_argument(
        "--copy-unknown", action="store_true", help="replace unknown words by the source word with most attention"
    )
    add_search(parser)
    parser.add_argument("--int8", action="store_true", help="8-bit output layer: faster on a CPU, nearly the same text")
    add_running(parser)
    _add_large(parser)


def _add_large(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("large files")
    group.add_argument("--resume", action="store_true", help="resume an interrupted run of the same command")
    group.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help=f"worker processes, which share the cores; each takes {CHUNK} lines at a time (default: this process)",
    )
    group.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="translate only the lines I, I+N, I+2N, … into OUTPUT.I-of-N; `seq2seq merge OUTPUT` joins the N parts",
    )


def run(arguments: Namespace) -> int:
    """Translate; return the exit code. Raises `UserError` for mistakes in files or options, or a bad bundle."""
    source, targets = arguments.input, _check(arguments)
    total = count(source, arguments.errors)
    made = _made(arguments)
    factors = factor_files(arguments.bundle, arguments.factors)
    translate = ChunkTranslator(arguments) if arguments.workers == 1 else None  # worker processes load their own
    _check_requests(arguments, factors, translate.tokenizers if translate else None)
    part = arguments.shard or ALL_LINES
    if arguments.resume and arguments.shard and is_complete(targets, made, source, part, arguments.errors, factors):
        return 0
    finish = partial(_finish, made, targets) if arguments.shard else None
    from tqdm import tqdm

    cut_off = formats.CutOff()
    with (
        outputs(targets, {**made, "--shard": str(part)}, finish) as written,
        tqdm(unit=" lines", disable=not sys.stderr.isatty()) as bar,
    ):
        bar.total = None if total is None else part.count(total)
        bar.update(part.count(written.place.lines))
        begin = written.place
        given = chunks(source, CHUNK, part, begin, arguments.errors, factors) if not written.ended else ()
        with closing(_translated(arguments, translate, given, bar.update)) as results:
            for chunk, output in results:
                written.write(output.contents, chunk.place)
                cut_off.add(len(chunk.texts), output.cut)
    cut_off.report()
    return 0


class ChunkOutput(NamedTuple):
    """The output for a chunk of lines, one content for each file, and the numbers of the lines whose best translation
    was cut off."""

    contents: list[bytes]
    cut: list[int]


Results: TypeAlias = Generator[tuple[Chunk, ChunkOutput], None, None]


def _translated(
    arguments: Namespace,
    translate: ChunkTranslator | None,
    given: Iterable[Chunk | None],
    progress: Callable[[int], object],
) -> Results:
    """Translate chunks, in order, in this process or in worker processes."""
    if translate is not None:
        for chunk in filter(None, given):
            yield chunk, translate(chunk, progress)
        return
    from seq2seq.runtime.threads import limit_threads
    from seq2seq.runtime.worker_pool import in_order

    workers = arguments.workers
    threads = max(1, limit_threads() // workers) if arguments.threads is None else arguments.threads
    worker_arguments = Namespace(**{**vars(arguments), "threads": threads})
    with closing(in_order(partial(ChunkTranslator, worker_arguments), given, workers)) as results:
        for chunk, output in results:
            yield chunk, output
            progress(len(chunk.texts))


class ChunkTranslator:
    """Translates a chunk of lines, and formats the output. Raises `UserError` as `Translator` does."""

    def __init__(self, arguments: Namespace) -> None:
        from seq2seq.runtime.threads import limit_threads

        keep_freed_memory()
        self._arguments = arguments
        self._translator = load_translator(arguments)
        self.tokenizers = self._translator.bundle.tokenizers
        self._columns = _columns(self.tokenizers)
        limit_threads(arguments.threads)
        self._formatter = formats.Formatter(
            self._translator,
            arguments.format,
            listed=arguments.n_best > 1,
            attention=arguments.attention,
            aligned=arguments.alignments is not None,
            copy=arguments.copy_unknown,
        )
        options = search_options(self._translator.bundle.search, arguments)
        self._options = replace(options, return_attention=True) if self._formatter.aligner else options
        self._utility = utility(arguments)

    def __call__(self, chunk: Chunk, progress: Callable[[int], object] | None = None) -> ChunkOutput:
        """The output for a chunk; `progress` is called after each batch with its number of lines."""
        arguments = self._arguments
        texts: list[str] = []
        links: list[str] = []
        cut: list[int] = []
        requests = list(_requests(arguments, chunk.texts, chunk.numbers, self._columns))
        translated = self._translator.translate_stream(
            requests,
            self._options,
            batch_size=arguments.batch_size,
            chunk=CHUNK,
            progress=progress,
            utility=self._utility,
            numbers=chunk.numbers,
        )
        for number, request, translations in zip(chunk.numbers, requests, translated, strict=True):
            best = translations[: arguments.n_best]
            if best[0].hypothesis.cut_off(self._options):
                cut.append(number)
            texts.append(self._formatter.lines(number, request.text, self._formatter.complete(request.text, best)))
            if arguments.alignments:
                links.append(self._formatter.alignments(request.text, best))
        contents = [texts, links] if arguments.alignments else [texts]
        return ChunkOutput(["".join(content).encode() for content in contents], cut)


def _columns(tokenizers: Tokenizers) -> int:
    """The columns of a source, with those of its factors."""
    columns = len(read.columns) if (read := columns_of(tokenizers.source)) else 1
    return columns + (len(tokenizers.factors.given) if tokenizers.factors else 0)


def _requests(arguments: Namespace, texts: Iterable[str], numbers: Iterable[int], columns: int) -> Iterator[Request]:
    """The requests of lines with these `numbers`, from 0, whose sources have so many `columns`."""
    from seq2seq.inference.request import read_request

    name = "standard input" if arguments.input == STREAM else arguments.input
    for text, number in zip(texts, numbers):
        place = f"{name}:{number + 1}"
        fields = {"prefixes": arguments.prefixes, "constraints": arguments.constraints}
        yield read_request(text, **fields, place=place, tag=arguments.tag, columns=columns)


def _check_requests(arguments: Namespace, factors: Mapping[str, Path], tokenizers: Tokenizers | None) -> None:
    """Raise `UserError`, naming file and line, for the first constraints that no translation can meet, and for the
    first line whose columns, tags or factors are not the bundle's."""
    source = arguments.input
    if source == STREAM:
        return
    from seq2seq.text import load_tokenizers

    known = tokenizers or load_tokenizers(arguments.bundle)
    if not (arguments.prefixes or arguments.constraints or columns_of(known.source) or known.factors):
        return
    from seq2seq.bundle.format import read_text_side
    from seq2seq.inference.protection import SpanKeeper
    from seq2seq.inference.request import check_requests

    tokenizers, defaults = read_text_side(arguments.bundle)
    requests = _requests(arguments, lines(source, arguments.errors, factors), itertools.count(), _columns(tokenizers))
    options = search_options(defaults, arguments)
    try:
        if arguments.protect is not None:
            SpanKeeper(arguments.protect, tokenizers).check(requests, options, arguments.max_source)
        else:
            check_requests(requests, tokenizers, options, arguments.max_source, unknown_tags=arguments.unknown_tags)
    except UserError as error:
        raise UserError(f"{source}: {error}" if str(error).startswith("line ") else str(error)) from None


def _check(arguments: Namespace) -> list[Path]:
    """The files to write. Raises `UserError` for mistakes that can be detected before anything is loaded."""
    part: Shard | None = arguments.shard
    if arguments.workers < 1:
        raise UserError(f"--workers {arguments.workers}: must be at least 1")
    given = [arguments.output, *([arguments.alignments] if arguments.alignments else [])]
    targets = [part.named(path) if part and path != STREAM else path for path in given]
    check(arguments.input, targets[0])
    check_attention(
        arguments.format, arguments.attention, targets[1] if arguments.alignments else None, arguments.input, targets[0]
    )
    check_search(arguments)
    if (arguments.resume or part) and not resumable(targets):
        option = "--resume" if arguments.resume else f"--shard {part}"
        raise UserError(f"{option}: an output is a stream or a device, which is not there later; name a file")
    check_partial(targets[0], arguments.resume)
    return targets


def _made(arguments: Namespace) -> dict[str, Any]:
    """All settings but the input that affect the output, by name. Raises `UserError` for a folder that is no bundle."""
    from seq2seq.bundle.format import fingerprint

    bundles = [fingerprint(bundle) for bundle in (arguments.bundle, *arguments.ensemble)]
    language = fingerprint(arguments.lm) if arguments.lm else None
    options = {name: value for name, value in vars(arguments).items() if name not in FREE | {"resume", "shard"}}
    named = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    aligned = arguments.alignments is not None
    return {"bundle": bundles, "seq2seq": __version__, **named, "--alignments": aligned, "--lm": language}


def _finish(made: dict[str, Any], targets: list[Path], end: Place) -> None:
    write_card(made, end.lines, end.sha256, targets)
