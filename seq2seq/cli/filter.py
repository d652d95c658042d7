"""`seq2seq filter`: a parallel corpus without the pairs that would teach a model nothing, or something wrong.

    seq2seq filter train.en train.de -o clean --length 1:200 --ratio 3 --identical --script --duplicates

writes clean.en and clean.de, and prints how many pairs were left out, by reason. A pair has the first reason that
applies, in the order of `--help`. `--score BUNDLE --quantile 0.05` leaves out, of the pairs that nothing else does, the
twentieth whose translation the bundle finds the least probable (log-probability a token, as `seq2seq force-decode`
computes it).

Words are what is between spaces: for Chinese, Japanese and Thai count `--unit characters`. The script of a side is the
one that most letters of its first 10,000 lines are in. The corpus is streamed; duplicates take about 100 bytes of
memory a pair, scores 8, and with scores the files are read twice.
"""

from __future__ import annotations

import json
import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from seq2seq.cli.arguments import add_running, add_tag
from seq2seq.errors import UserError
from seq2seq.inference.files.input import STREAM
from seq2seq.inference.files.output import check, check_output, maybe_output, output

if TYPE_CHECKING:
    from seq2seq.corpora.filters import Pair, Rule

SCORE = "score"
KEPT = 0  # the verdict on a pair: 0, or the number of a rule from 1


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq filter`."""
    parser.add_argument("source", type=Path, help="the sources, one a line, compressed or not")
    parser.add_argument("target", type=Path, help="their translations, line by line")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="PREFIX",
        help="what is kept: PREFIX with the end of each file's name, so train.en.gz becomes PREFIX.en.gz",
    )
    parser.add_argument("--length", type=_span, metavar="MIN:MAX", help="words a side has; either may be left out")
    parser.add_argument("--ratio", type=float, metavar="R", help="at most so many times the words of the other side")
    parser.add_argument(
        "--unit", choices=("words", "characters"), default="words", help="what those count (%(default)s)"
    )
    parser.add_argument("--identical", action="store_true", help="leave out pairs whose sides are the same")
    parser.add_argument(
        "--script", action="store_true", help="leave out what is mostly in another script than its side"
    )
    parser.add_argument("--duplicates", action="store_true", help="leave out a pair that came before")
    parser.add_argument("--score", type=Path, metavar="BUNDLE", help="leave out the least probable, by this model")
    parser.add_argument("--quantile", type=float, metavar="Q", help="with --score: the share that is left out")
    parser.add_argument(
        "--rejected", type=Path, metavar="FILE", help="write what is left out: LINE<TAB>REASON<TAB>SOURCE<TAB>TARGET"
    )
    parser.add_argument(
        "--alignments",
        type=Path,
        metavar="FILE",
        help="keep its lines with their pairs: PREFIX with the end of its name",
    )
    parser.add_argument(
        "--factors",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="of token factors, such as train.pos: keep their lines with their pairs, as --alignments",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the report (%(default)s)")
    add_tag(parser)
    add_running(parser)


def run(arguments: Namespace) -> int:
    """Filter; returns the exit code. Raises `UserError` for what is wrong with files, options or the bundle."""
    from seq2seq.corpora.readers import parallel

    more = [*([arguments.alignments] if arguments.alignments else []), *arguments.factors]
    outputs = output_paths(arguments.source, arguments.target, arguments.output, *more)
    _check(arguments, outputs)
    rules, pairs = _rules(arguments, parallel(arguments.source, arguments.target))
    counts: Counter[int] = Counter()
    with ExitStack() as stack:
        writes = [stack.enter_context(output(path)) for path in outputs]
        write_rejected = stack.enter_context(maybe_output(arguments.rejected))
        judged = _scored(arguments, rules, pairs) if arguments.score else _judged(rules, pairs)
        for number, ((pair, verdict), aligned) in enumerate(_with_lines(judged, more), 1):
            counts[verdict] += 1
            if verdict == KEPT:
                for write, text in zip(writes, (*pair, *aligned), strict=True):
                    write(f"{text}\n".encode())
            else:
                name = rules[verdict - 1].name if verdict <= len(rules) else SCORE
                write_rejected("\t".join([str(number), name, *pair]).encode() + b"\n")
        if not counts[KEPT]:
            raise UserError(f"{arguments.source}: {_all_rejected(rules, counts)}; nothing was written")
    _report(arguments, rules, counts, outputs)
    return 0


Judged: TypeAlias = tuple["Pair", int]


def _with_lines(judged: Iterator[Judged], paths: Sequence[Path]) -> Iterator[tuple[Judged, tuple[str, ...]]]:
    """Each judged pair with its line of each further file. Raises `UserError` where one has more or fewer lines."""
    from seq2seq.corpora.readers import lines

    streams: list[Iterator[str]] = [lines(path) for path in paths]
    number = 0
    for number, pair in enumerate(judged, 1):
        more = [next(stream, None) for stream in streams]
        for path, line in zip(paths, more, strict=True):
            if line is None:
                raise UserError(f"{path}:{number}: {path} ends after {number - 1} lines, and the corpus does not")
        yield pair, tuple(map(str, more))
    for path, stream in zip(paths, streams, strict=True):
        if next(stream, None) is not None:
            raise UserError(f"{path}:{number + 1}: the corpus ends after {number} lines, and {path} does not")


def output_paths(source: Path, target: Path, prefix: Path, *more: Path) -> list[Path]:
    """PREFIX with the last suffix of each input, and that of its compression; where both sides have the same,
    PREFIX.source and PREFIX.target come first."""
    from seq2seq.corpora.readers import SUFFIXES

    ends = []
    for path in (source, target, *more):
        packed = path.suffix if path.suffix and path.suffix in SUFFIXES else ""
        ends.append(Path(path.name.removesuffix(packed)).suffix + packed)
    if ends[0] == ends[1]:
        ends[:2] = [f".source{ends[0]}", f".target{ends[1]}"]
    return [prefix.with_name(prefix.name + end) for end in ends]


def _span(text: str) -> tuple[int, float]:
    least, colon, most = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return int(least or 0), int(most) if most else math.inf
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not MIN:MAX, such as 1:200, 1: or :200") from None


def _check(arguments: Namespace, outputs: list[Path]) -> None:
    """Raise `UserError` for what would come to nothing, before anything is read."""
    more = {"--alignments": [arguments.alignments] if arguments.alignments else [], "--factors": arguments.factors}
    inputs = [arguments.source, arguments.target, *more["--alignments"], *more["--factors"]]
    if len(set(outputs)) < len(inputs):
        twice = next(i for i, path in enumerate(outputs) if path in outputs[:i])
        option = next(name for name, paths in more.items() if inputs[twice] in paths)
        raise UserError(f"{option} {inputs[twice]}: its name ends as a side's, or as another's; call it something else")
    for path in inputs:
        if path == STREAM:
            raise UserError("-: a corpus to filter is two files; give their names")
        for written in (*outputs, *([arguments.rejected] if arguments.rejected else [])):
            check(path, written)
    if arguments.rejected is not None:
        check_output(arguments.rejected)
        if arguments.rejected.resolve() in [path.resolve() for path in outputs]:
            raise UserError(f"--rejected {arguments.rejected}: is an output as well; choose another file")
    chosen = (arguments.length, arguments.ratio, arguments.score)
    if all(value is None for value in chosen) and not (arguments.identical or arguments.script or arguments.duplicates):
        raise UserError(
            "filter: nothing to filter by; add --length, --ratio, --identical, --script, --duplicates or --score"
        )
    if (arguments.score is None) != (arguments.quantile is None):
        raise UserError(
            "--score BUNDLE and --quantile Q belong together, such as --score runs/first/bundle --quantile 0.05"
        )
    if arguments.tag is not None and arguments.score is None:
        raise UserError(f"--tag {arguments.tag}: is for --score BUNDLE; add it")
    if arguments.quantile is not None and not 0 < arguments.quantile < 1:
        raise UserError(f"--quantile {arguments.quantile:g}: must be above 0 and below 1: the share that is left out")


def _rules(arguments: Namespace, pairs: Iterator[Pair]) -> tuple[list[Rule], Iterator[Pair]]:
    """The rules that were asked for, in order, and the pairs."""
    from seq2seq.corpora import filters

    rules: list[Rule] = []
    if arguments.length is not None:
        least, most = arguments.length
        rules.append(filters.length_rule(least, most, arguments.unit))
    if arguments.ratio is not None:
        rules.append(filters.ratio_rule(arguments.ratio, arguments.unit))
    if arguments.identical:
        rules.append(filters.identical_rule())
    if arguments.script:
        rules, pairs = filters.with_script_rule(rules, pairs, len(rules))
    if arguments.duplicates:
        rules.append(filters.duplicates_rule())
    return rules, pairs


def _judged(rules: list[Rule], pairs: Iterator[Pair]) -> Iterator[tuple[Pair, int]]:
    """Each pair with its verdict: the number of the first rule that leaves it out, from 1."""
    for pair in pairs:
        applying = (number for number, rule in enumerate(rules, 1) if rule.rejects(*pair))
        yield pair, next(applying, KEPT)


def _scored(arguments: Namespace, rules: list[Rule], pairs: Iterator[Pair]) -> Iterator[tuple[Pair, int]]:
    """`_judged`, and of those that are kept the least probable get the number after the last rule."""
    from seq2seq.corpora.filters import threshold
    from seq2seq.corpora.readers import parallel

    verdicts = array("B")

    def kept() -> Iterator[Pair]:
        for pair, verdict in _judged(rules, pairs):
            verdicts.append(verdict)
            if verdict == KEPT:
                yield pair

    scores = array("d", _scores(arguments, kept()))
    if not scores:
        raise UserError(f"{arguments.source}: {_all_rejected(rules, Counter(verdicts))}; nothing was written")
    least, each = threshold(scores, arguments.quantile), iter(scores)
    for pair, verdict in zip(parallel(arguments.source, arguments.target), verdicts, strict=True):
        improbable = verdict == KEPT and next(each) < least
        yield pair, len(rules) + 1 if improbable else verdict


def _scores(arguments: Namespace, pairs: Iterator[Pair]) -> Iterator[float]:
    """The mean log-probability a token of each pair."""
    import sys

    from tqdm import tqdm

    from seq2seq.inference.forced_decoding import ForcedDecoder
    from seq2seq.runtime.malloc import keep_freed_memory
    from seq2seq.runtime.threads import limit_threads

    keep_freed_memory()
    decoder = ForcedDecoder.load(arguments.score, arguments.device, arguments.threads, arguments.trust)
    limit_threads(arguments.threads)
    with tqdm(unit=" pairs", disable=not sys.stderr.isatty()) as bar:
        for forced in decoder.score(pairs, tag=arguments.tag, batch_size=arguments.batch_size, progress=bar.update):
            yield forced.mean_log_prob


def _all_rejected(rules: list[Rule], counts: Counter[int]) -> str:
    read = counts.total()
    if not read:
        return "the corpus has no pair"
    reasons = ", ".join(f"{counts[i]:,} by --{rule.name}" for i, rule in enumerate(rules, 1) if counts[i])
    return f"all {read:,} pairs are left out ({reasons})"


def _report(arguments: Namespace, rules: list[Rule], counts: Counter[int], outputs: list[Path]) -> None:
    """Print what became of the pairs."""
    read, kept = counts.total(), counts[KEPT]
    reasons = [(rule.name, counts[number], rule.meaning) for number, rule in enumerate(rules, 1)]
    if arguments.score:
        meaning = f"the least probable {100 * arguments.quantile:g}% of those that are left"
        reasons.append((SCORE, counts[len(rules) + 1], meaning))
    if arguments.format == "json":
        rejected = {name: count for name, count, _ in reasons}
        print(json.dumps({"read": read, "rejected": rejected, "kept": kept, "outputs": list(map(str, outputs))}))
        return
    print(f"{'read':<12}{read:>14,}")
    for name, count, meaning in reasons:
        print(f"{name:<12}{count:>14,}  {100 * count / read:5.1f}%  {meaning}")
    print(f"{'kept':<12}{kept:>14,}  {100 * kept / read:5.1f}%  {', '.join(map(str, outputs))}")
