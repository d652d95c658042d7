"""`seq2seq translate-file`: a file or stream of lines through a trained bundle.

The output has exactly one line for each input line, in order; an empty line stays empty. With `--n-best` above 1 it has
one line for each translation instead, in the layout of Moses and Marian, `INDEX ||| TEXT ||| SCORE`: the index counts
input lines from 0, and the score, best first, is the log-probability over the length penalty, with the coverage penalty
(with `--mbr`: the expected utility). (The text may hold `|||` too: the index stands before the first one, the score
behind the last.) Other formats: seq2seq/cli/formats.py. An output file appears whole or not at all. With `--ensemble`
several bundles translate as one (seq2seq/ensemble.py).
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from itertools import tee
from pathlib import Path

from seq2seq.cli import formats
from seq2seq.cli.files import STREAM, add_errors, add_files, add_running, check, count, lines, output
from seq2seq.cli.searching import add_search, check_search, requests, search_options, utility


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq translate-file`."""
    add_files(parser, "UTF-8 text, a sentence a line: plain, .gz, .xz, .zst; - reads stdin")
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


def run(arguments: Namespace) -> int:
    """Translate; returns the exit code. Raises `UserError` for what is wrong with the files, options or bundle."""
    source, target = arguments.input, arguments.output
    check(source, target)
    formats.check_arguments(arguments.format, arguments.attention, arguments.alignments, source, target)
    check_search(arguments)
    total = count(source, arguments.errors)
    from seq2seq.allocation import keep_freed_memory
    from seq2seq.translator import Translator

    keep_freed_memory()
    translator = Translator.load(
        [arguments.bundle, *arguments.ensemble],
        arguments.device,
        arguments.threads,
        arguments.trust,
        max_source=arguments.max_source,
        int8=arguments.int8,
    )
    form = formats.Formatter(
        translator,
        arguments.format,
        listed=arguments.n_best > 1,
        attention=arguments.attention,
        aligned=arguments.alignments is not None,
        copy=arguments.copy_unknown,
    )
    options = search_options(translator, arguments)
    if form.aligner:
        options = replace(options, return_attention=True)
    if source != STREAM and (arguments.prefixes or arguments.constraints):
        translator.check(requests(lines(source, arguments.errors), arguments), options)
    from tqdm import tqdm

    with (
        output(target) as write,
        formats.maybe_output(arguments.alignments) as write_links,
        tqdm(total=total, unit=" lines", disable=not sys.stderr.isatty()) as bar,
    ):
        given, asked = tee(requests(lines(source, arguments.errors), arguments))
        found = translator.translate_stream(
            given, options, batch_size=arguments.batch_size, progress=bar.update, utility=utility(arguments)
        )
        for index, (request, translations) in enumerate(zip(asked, found, strict=True)):
            text = request if isinstance(request, str) else request.text
            best = translations[: arguments.n_best]
            write(form.lines(index, text, form.complete(text, best)).encode())
            if arguments.alignments:
                write_links(form.alignments(text, best).encode())
    return 0
