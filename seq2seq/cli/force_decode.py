"""`seq2seq force-decode`: the log-probabilities of given translations, one line for each pair, in order.

The pairs are lines of `SOURCE<TAB>TARGET`, or with `--targets` the lines of two files. By default a line of the output
is `LOG_PROB<TAB>MEAN<TAB>COUNT`: the log-probability of the target in nats, its mean over the target's tokens (with
eos), and their number; `--format json` adds the tokens with their log-probabilities. To filter a corpus, paste it next
to the pairs:

    seq2seq force-decode BUNDLE pairs.tsv | paste - pairs.tsv | awk -F'\\t' '$2+0 > -3' | cut -f 4-

Numbers are rounded as in `seq2seq.inference.files.formats`: another --batch-size may change the last digit by one.

A source without text has only the empty translation: any other has -inf (for which the +0 in awk is needed).
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seq2seq.cli.arguments import add_attention, add_models, add_running, check_attention, factor_files
from seq2seq.errors import UserError
from seq2seq.inference.files import formats
from seq2seq.inference.files.input import STREAM, lines
from seq2seq.inference.files.output import check, maybe_output, output

if TYPE_CHECKING:
    from seq2seq.inference.forced_decoding import Forced, ForcedDecoder


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq force-decode`."""
    parser.add_argument("bundle", type=Path, help="the folder of a trained model")
    parser.add_argument("input", type=Path, help="lines of SOURCE<TAB>TARGET, compressed or not; - reads stdin")
    parser.add_argument("output", type=Path, nargs="?", default=STREAM, help="the file to write (default: stdout)")
    parser.add_argument(
        "--targets", type=Path, metavar="FILE", help="the file of targets; the input has the sources then"
    )
    parser.add_argument(
        "--format", choices=("tsv", "json"), default="tsv", help="tsv: log_prob, its mean a token, number of tokens"
    )
    add_attention(parser)
    add_models(parser)
    add_running(parser)


def run(arguments: Namespace) -> int:
    """Score the pairs; return the exit code. Raises `UserError` for mistakes in files or options, or a bad bundle."""
    check(arguments.input, arguments.output)
    check_attention(arguments.format, arguments.attention, arguments.alignments, arguments.input, arguments.output)
    factors = factor_files(arguments.bundle, arguments.factors)
    total = _count(arguments.input, arguments.targets, arguments.output, factors)
    decoder = _load(arguments)
    from seq2seq.text import sentence_of

    aligner = decoder.aligner() if arguments.attention or arguments.alignments else None
    from tqdm import tqdm

    with (
        output(arguments.output) as write,
        maybe_output(arguments.alignments) as write_links,
        tqdm(total=total, unit=" pairs", disable=not sys.stderr.isatty()) as bar,
    ):
        given, shown = tee(_sources(arguments.input, arguments.targets, factors))
        scored = decoder.score(
            given,
            attention=aligner is not None,
            tag=arguments.tag,
            batch_size=arguments.batch_size,
            progress=bar.update,
        )
        for index, (pair, forced) in enumerate(zip(shown, scored, strict=True)):
            links = aligner.pharaoh(pair[0], forced.tokens, forced.attention) if aligner else ""
            write_links(f"{links}\n".encode())
            if arguments.format == "tsv":
                log_prob, mean = formats.rounded(forced.log_prob), formats.rounded(forced.mean_log_prob)
                write(f"{log_prob}\t{mean}\t{len(forced.token_log_probs)}\n".encode())
                continue
            tokens = decoder.bundle.tokenizers.target.tokens(forced.tokens)
            shown_pair = sentence_of(pair[0], decoder.bundle.tokenizers.factors), pair[1]
            described = _as_json(index, shown_pair, forced, tokens)
            if arguments.attention and aligner:
                described |= {"alignment": links} | formats.weights(aligner, pair[0], forced.attention)
            write(f"{json.dumps(described, ensure_ascii=False)}\n".encode())
    return 0


def _load(arguments: Namespace) -> ForcedDecoder:
    """Load the bundle, or those of an ensemble."""
    from seq2seq.inference.forced_decoding import ForcedDecoder
    from seq2seq.runtime.malloc import keep_freed_memory
    from seq2seq.runtime.threads import limit_threads

    keep_freed_memory()
    decoder = ForcedDecoder.load(
        [arguments.bundle, *arguments.ensemble],
        arguments.device,
        arguments.threads,
        arguments.trust,
        max_source=arguments.max_source,
        unknown_tags=arguments.unknown_tags,
    )
    limit_threads(arguments.threads)
    return decoder


def _as_json(index: int, pair: tuple[str, str], forced: Forced, tokens: list[str]) -> dict[str, Any]:
    """One pair for JSON. `tokens` end with </s>, so that each has a log-probability; null is −∞."""
    return {
        "index": index,
        "source": pair[0],
        "target": pair[1],
        "log_prob": formats.number(forced.log_prob),
        "mean_log_prob": formats.number(forced.mean_log_prob),
        "tokens": tokens + ["</s>"] * (len(forced.token_log_probs) - len(tokens)),
        "token_log_probs": [formats.number(value) for value in forced.token_log_probs],
    }


def _pairs(source: Path, targets: Path | None) -> Iterator[tuple[str, str]]:
    if targets is not None:
        from seq2seq.corpora.readers import parallel

        yield from parallel(source, targets)
        return
    for number, line in enumerate(lines(source), 1):
        before, tab, after = line.partition("\t")
        if not tab or "\t" in after:
            where = "standard input" if source == STREAM else source
            raise UserError(
                f"{where}:{number}: has {line.count(chr(9)) + 1} columns between tabs; a pair is SOURCE<TAB>TARGET "
                "(two files: --targets)"
            )
        yield before, after


def _sources(source: Path, targets: Path | None, factors: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """The pairs, with the values of factors in their sources."""
    from seq2seq.corpora.factored import factored

    pairs = _pairs(source, targets)
    return factored(pairs, source, factors) if factors else pairs


def _count(source: Path, targets: Path | None, target: Path, factors: Mapping[str, Path]) -> int | None:
    """The number of pairs, which are checked by the way; None for a stream."""
    if targets is not None and target.is_file() and targets.is_file() and target.samefile(targets):
        raise UserError(f"{target}: is the targets as well; choose another output")
    if targets == STREAM or (targets is not None and source == STREAM):
        raise UserError("-: with --targets both are files; or give lines of SOURCE<TAB>TARGET on standard input")
    if source == STREAM or not source.is_file():
        return None
    return sum(1 for _ in _sources(source, targets, factors))
