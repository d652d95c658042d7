"""`seq2seq score REFERENCE... -i HYPOTHESIS...`: scores with signatures, with the arguments of sacreBLEU's command;
intervals, paired tests and breakdowns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq.errors import UserError
from seq2seq.inference.files.input import lines
from seq2seq.scoring import DEFAULT, NAMES, SAMPLES, TOKENIZERS, Measurement, Resampling, Scorer, Scores

if TYPE_CHECKING:
    from seq2seq.scoring.breakdowns import Breakdown

STDIN = "-"
TESTS = {"bs": "paired bootstrap", "ar": "paired approximate randomisation"}
FORMATS = ("text", "json", "markdown", "latex")
FEWEST = 100
"""Least number of resamples for a 95% interval."""
MOST = 6
"""Systems in a figure."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `seq2seq score`."""
    add = parser.add_argument
    add(
        "references",
        nargs="*",
        metavar="REFERENCE",
        help="raw reference text, one sentence a line, compressed or not; several files are several references; "
        "or give a --test-set",
    )
    add(
        "-i",
        "--input",
        nargs="+",
        default=[STDIN],
        metavar="HYPOTHESIS",
        dest="systems",
        help="translations, one file a system; - is standard input (default: %(default)s)",
    )
    add(
        "-m",
        "--metrics",
        nargs="+",
        choices=NAMES,
        default=DEFAULT,
        metavar="METRIC",
        help=f"of {', '.join(NAMES)} (default: {' '.join(DEFAULT)}); wer and per are of phonemes, one word a line",
    )
    add("-f", "--format", choices=FORMATS, default="text", help="what to print (default: %(default)s)")
    add("-l", "--language", metavar="CODE", help="language of the translations; zh, ja and ko have special tokenizers")
    add_published(parser.add_argument_group("published scores", "options of sacreBLEU, with the same result"))
    add_draws(parser.add_argument_group("significance"))
    add_breakdowns(parser.add_argument_group("breakdowns"))


def add_published(group: argparse._ArgumentGroup) -> None:
    """sacreBLEU's test sets, and its other ways to count words."""
    group.add_argument(
        "-t",
        "--test-set",
        metavar="NAME",
        help="sacreBLEU's references instead of files, downloaded once: wmt14, multi30k/2016, …; several with commas",
    )
    group.add_argument("--language-pair", metavar="CODE-CODE", help="of the test set: en-de")
    group.add_argument(
        "--tokenize",
        "-tok",
        choices=TOKENIZERS,
        metavar="NAME",
        help=f"BLEU's words, of {', '.join(TOKENIZERS)} (default: the language's, or else 13a)",
    )
    group.add_argument(
        "--lowercase", "-lc", action="store_true", help="BLEU of lower-cased text; chrF and TER do not change"
    )


def add_draws(group: argparse._ArgumentGroup) -> None:
    """Declare the options of intervals and tests; names and defaults are sacreBLEU's."""
    group.add_argument("--confidence", action="store_true", help="95%% intervals, by bootstrap over the lines")
    tests = group.add_mutually_exclusive_group()
    tests.add_argument("--paired-bs", dest="test", action="store_const", const="bs", help=f"p-values by {TESTS['bs']}")
    tests.add_argument("--paired-ar", dest="test", action="store_const", const="ar", help=f"p-values by {TESTS['ar']}")
    group.add_argument(
        "--baseline", metavar="HYPOTHESIS", help="the system to test the others against (default: the first)"
    )
    numbers = f"(default: {SAMPLES['bs']:,}; {SAMPLES['ar']:,} for --paired-ar)"
    group.add_argument("--samples", type=int, metavar="N", help=f"number of resamples {numbers}")


def add_breakdowns(group: argparse._ArgumentGroup) -> None:
    """Declare the files for breakdowns."""
    group.add_argument("--source", metavar="FILE", help="the source text, for scores by its length")
    group.add_argument("--source-language", metavar="CODE", help="language of the source")
    group.add_argument(
        "--train-source", metavar="FILE", help="with --source: scores by the share of words that are not in this file"
    )
    group.add_argument("--train-target", metavar="FILE", help="F1 of words by their frequency in this file")
    group.add_argument("--plot", type=Path, metavar="PNG", help="also draw the first metric of each breakdown")


def run(arguments: argparse.Namespace) -> int:
    """Score every system against the references and print the scores."""
    from seq2seq.reporting.scores import FORMATS, Report

    _check(arguments)
    _check_published(arguments)
    arguments.tokenize = _tokenizer(arguments)
    words = {"tokenize": arguments.tokenize, "lowercase": arguments.lowercase}
    scorer = Scorer(arguments.metrics, language=arguments.language, **words)
    references = _test_set(arguments) if arguments.test_set else _references(arguments.references)
    systems = {system: _aligned(system, references) for system in arguments.systems}
    _judge(arguments, list(references.values()))
    draws, baseline = _draws(arguments), arguments.baseline or arguments.systems[0]
    measured = {system: scorer.measure(lines, list(references.values())) for system, lines in systems.items()}
    breakdowns = list(_breakdowns(arguments, references, systems, measured))
    scores = {
        system: Scores({each.name: each.score(draws, other) for each, other in zip(scorings, against, strict=True)})
        for system, scorings in measured.items()
        for against in [[None] * len(scorings) if system == baseline else measured[baseline]]
    }
    if arguments.plot:
        from seq2seq.reporting.breakdown_pictures import breakdown_plot

        breakdown_plot(breakdowns, arguments.plot)
    print(FORMATS[arguments.format](Report(scores, breakdowns, _remarks(draws, baseline))))
    return 0


def _judge(arguments: argparse.Namespace, references: Sequence[Sequence[str]]) -> None:
    """Print a warning for each metric that cannot distinguish systems on these references."""
    from seq2seq.scoring.suitability import weakness

    lines = [line for stream in references for line in stream]
    for metric in arguments.metrics:
        if weak := weakness(metric, lines, arguments.language, arguments.tokenize):
            option = "" if weak.instead in arguments.metrics else f" (-m {weak.instead})"
            print(
                f"seq2seq: warning: {NAMES[metric]} hardly distinguishes systems here: {weak.reason}; go by "
                f"{NAMES[weak.instead]}{option}",
                file=sys.stderr,
            )


def _check(arguments: argparse.Namespace) -> None:
    """Raise `UserError` for options that do not fit together, before any file is read."""
    systems = arguments.systems
    optional = [path for path in (arguments.source, arguments.train_source, arguments.train_target) if path]
    files = [*arguments.references, *systems, *optional]
    if files.count(STDIN) > 1:
        raise UserError(f"score: {STDIN} (standard input) is given more than once; it can be read only once")
    if absent := next((path for path in files if path != STDIN and not Path(path).exists()), None):
        raise UserError(f"{absent}: no such file")
    if twice := next((system for system in systems if systems.count(system) > 1), None):
        raise UserError(f"score: -i {twice} is given more than once; give each system once")
    if arguments.test and len(systems) < 2:
        raise UserError(f"score: --paired-{arguments.test} compares systems, and there is one; give several with -i")
    if arguments.baseline and not arguments.test:
        raise UserError("score: --baseline belongs to a test; choose --paired-bs or --paired-ar")
    if arguments.baseline and arguments.baseline not in systems:
        raise UserError(f"score: --baseline {arguments.baseline} is not among the systems: {', '.join(systems)}")
    if arguments.samples is not None and not (arguments.test or arguments.confidence):
        raise UserError("score: --samples belongs to --confidence, --paired-bs or --paired-ar")
    if arguments.samples is not None and arguments.samples < FEWEST:
        raise UserError(f"score: --samples {arguments.samples} must be at least {FEWEST}")
    if not arguments.source and (arguments.train_source or arguments.source_language):
        raise UserError("score: --train-source and --source-language need --source")
    if arguments.plot and not (arguments.source or arguments.train_target):
        raise UserError("score: --plot draws breakdowns; ask for one with --source or --train-target")
    if arguments.plot and (arguments.plot.suffix != ".png" or arguments.plot.is_dir()):
        raise UserError(f"score: --plot {arguments.plot}: give the name of a .png file")
    if arguments.plot and len(systems) > MOST:
        raise UserError(f"score: --plot distinguishes at most {MOST} systems, not {len(systems)}")


def _check_published(arguments: argparse.Namespace) -> None:
    """Raise `UserError` for references that are missing or given twice, and for options of BLEU without BLEU."""
    name, pair = arguments.test_set, arguments.language_pair
    if not arguments.references and not name:
        raise UserError("score: no references; give files of raw text before -i, or --test-set and --language-pair")
    if arguments.references and name:
        raise UserError(f"score: references are given as files and as --test-set {name}; give one of the two")
    if name and not pair:
        raise UserError(f"score: --test-set {name} needs --language-pair, as en-de")
    if pair and not name:
        raise UserError(f"score: --language-pair {pair} belongs to --test-set; for your own files give --language")
    if arguments.tokenize and "bleu" not in arguments.metrics:
        raise UserError(f"score: --tokenize {arguments.tokenize} is of bleu, which -m leaves out")
    if arguments.lowercase and not {"bleu", "bleu-char"}.intersection(arguments.metrics):
        raise UserError("score: --lowercase is of bleu and bleu-char, which -m leaves out")


def _tokenizer(arguments: argparse.Namespace) -> str | None:
    """What `--tokenize` says, or else the one of a test set's target language; TER of a test set is sacreBLEU's, of
    words in any language, unless `--language` is given."""
    given: str | None = arguments.tokenize
    if not arguments.test_set:
        return given
    from seq2seq.scoring.metrics import LANGUAGES, primary
    from seq2seq.scoring.test_sets import target_language

    target = target_language(arguments.language_pair)
    if arguments.language and primary(arguments.language) != target:
        raise UserError(
            f"score: --language {arguments.language}: --language-pair {arguments.language_pair} says {target}"
        )
    return given or LANGUAGES.get(target)


def _draws(arguments: argparse.Namespace) -> Resampling:
    test, samples = arguments.test, arguments.samples
    resamples = (samples or SAMPLES["bs"]) if arguments.confidence else 0
    return Resampling(resamples, test, (samples or SAMPLES[test]) if test else 0)


def _remarks(draws: Resampling, baseline: str) -> list[str]:
    """Notes that explain brackets and p-values."""
    from seq2seq.reporting.scores import SIGNIFICANT

    interval = f"[low, high]: 95% interval, bootstrap over the lines, {draws.resamples:,} resamples"
    test = (
        f"p: {TESTS[draws.test]} against {baseline}, {draws.trials:,} draws; *: p < {SIGNIFICANT}" if draws.test else ""
    )
    return [*([interval] if draws.resamples else []), *([test] if test else [])]


def _breakdowns(
    arguments: argparse.Namespace,
    references: Mapping[str, Sequence[str]],
    systems: Mapping[str, Sequence[str]],
    measured: Mapping[str, Sequence[Measurement]],
) -> Iterator[Breakdown]:
    """The breakdowns for which there are files."""
    from seq2seq.scoring.breakdowns import by_frequency, by_lines, counts, length_groups, unseen_groups
    from seq2seq.scoring.metrics import LANGUAGES, Words, primary

    draws = Resampling(_draws(arguments).resamples)
    if arguments.source:
        sources, words = _aligned(arguments.source, references), Words(arguments.source_language)
        split = words if primary(arguments.source_language) in LANGUAGES else str.split
        yield by_lines("source words", length_groups(sources, split), measured, draws)
        if arguments.train_source:
            known = counts(lines(Path(arguments.train_source)), words)
            yield by_lines("unseen source words", unseen_groups(sources, known, words), measured, draws)
    if arguments.train_target:
        words = Words(arguments.language, arguments.tokenize, lowercase=arguments.lowercase)
        training = counts(lines(Path(arguments.train_target)), words)
        yield by_frequency(systems, list(references.values()), training, words, draws)


def _test_set(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """The lines of each reference of sacreBLEU's set; of several sets, concatenated."""
    from seq2seq.scoring.test_sets import reference_files

    name, pair = arguments.test_set, arguments.language_pair
    numbered = enumerate(reference_files(name, pair), 1)
    return _equally_many(
        {
            f"{name} {pair}, reference {number}": [line for path in files for line in lines(path)]
            for number, files in numbered
        }
    )


def _references(paths: Sequence[str]) -> dict[str, list[str]]:
    """The lines of each reference file. Raises `UserError` if there are none, or their numbers differ."""
    return _equally_many({path: list(lines(Path(path))) for path in paths})


def _equally_many(texts: dict[str, list[str]]) -> dict[str, list[str]]:
    """The same, unless their numbers of lines differ."""
    first, *others = texts
    if not texts[first]:
        raise UserError(f"{first}: no lines, so there is nothing to score; give the raw reference text")
    for path in others:
        if len(texts[path]) != len(texts[first]):
            raise UserError(
                f"{path}: {len(texts[path])} lines, but {first} has {len(texts[first])}; "
                "line n of each must be a translation of the same sentence"
            )
    return texts


def _aligned(path: str, references: Mapping[str, Sequence[str]]) -> list[str]:
    """The lines of a file. Raises `UserError` if there are not as many as in the references."""
    hypotheses, (name, reference) = list(lines(Path(path))), next(iter(references.items()))
    if len(hypotheses) != len(reference):
        raise UserError(
            f"{path}: {len(hypotheses)} lines, but {name} has {len(reference)}; "
            "line n of one must be the translation of line n of the other"
        )
    return hypotheses
