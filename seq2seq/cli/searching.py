"""The search options of translate-file, and the constraints on single lines.

With `--prefixes`, `--constraints`, or both, an input line has tab-separated fields: the source, the prefix, and any
number of constraints. All but the source may be missing:

    A man sleeps.<TAB>Ein Mann                   --prefixes
    A man sleeps.<TAB>Mann<TAB>schläft           --constraints
    A man sleeps.<TAB>Ein<TAB>schläft            both; without a prefix, its field is empty
"""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq.errors import UserError
from seq2seq.inference.minimum_risk import DEFAULT, METRICS, Utility

if TYPE_CHECKING:
    from seq2seq.inference.translator import Translator
    from seq2seq.search import SearchOptions

SAMPLING = ("temperature", "top_k", "top_p", "seed")
UNPROTECTED = ("copy_unknown", "attention", "alignments")
"""Arguments with which `--protect` does not go: they are about text or tokens that the symbols of spans replace."""


def add_search(parser: ArgumentParser) -> None:
    """Declare the search options, whose defaults are the bundle's."""
    group = parser.add_argument_group("search", "Defaults are those of the bundle.")
    group.add_argument("--beam-size", type=int, metavar="K", help="prefixes kept a sentence; 1 is greedy search")
    group.add_argument("--length-penalty", type=float, metavar="A", help="alpha of Wu et al. 2016, eq. 14; 0 is none")
    group.add_argument(
        "--coverage-penalty", type=float, metavar="B", help="beta of eq. 14, for models with attention; 0 is none"
    )
    group.add_argument("--min-length", type=int, metavar="N", help="least tokens of a translation, without eos")
    group.add_argument("--max-length", type=int, metavar="N", help="most tokens, with eos (default: by the source)")
    group.add_argument("--no-repeat-ngram", type=int, metavar="N", help="no n-gram of N tokens occurs twice; 0 is off")
    group.add_argument(
        "--diversity-groups",
        type=int,
        metavar="G",
        help="G groups of the beam avoid each other's tokens: with --n-best, translations that differ",
    )
    group.add_argument("--diversity-penalty", type=float, metavar="L", help="how strongly: 0.2 to 0.8 are usual")
    group.add_argument("--lm", type=Path, metavar="BUNDLE", help="a language model of the same tokens joins the search")
    group.add_argument("--lm-weight", type=float, metavar="L", help="of its log-probabilities (default: 0.2)")
    _add_requests(parser)
    group = parser.add_argument_group("protection", "Of a bundle that was trained with data.protect.")
    group.add_argument(
        "--protect",
        metavar="PATTERN",
        help="what matches this regular expression is kept as it is, each exactly once: '<[^>]+>|https?://\\S+'",
    )
    _add_sampling(parser)


def _add_requests(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("constraints on single lines", "Both at once: source<TAB>prefix<TAB>phrase<TAB>…")
    group.add_argument(
        "--prefixes",
        action="store_true",
        help="input is source<TAB>prefix: the translation begins with the prefix, which best ends with a word and has "
        "no space after it",
    )
    group.add_argument(
        "--constraints",
        action="store_true",
        help="input is source<TAB>phrase<TAB>phrase…: the translation contains the phrases, as often as they are "
        "listed; use a beam that is wider than their number of tokens",
    )


def _add_sampling(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("sampling", "Samples instead of a search, reproducible by seed and line number.")
    group.add_argument(
        "--sample", action=BooleanOptionalAction, help="sample --n-best translations a line instead of searching"
    )
    group.add_argument("--temperature", type=float, metavar="T", help="below 1 sharper, above 1 flatter")
    group.add_argument("--top-k", type=int, metavar="K", help="sample from the K most likely tokens")
    group.add_argument("--top-p", type=float, metavar="P", help="sample from the smallest set with probability P")
    group.add_argument("--seed", type=int, metavar="S", help="seed of the samples, together with the line number")
    group.add_argument(
        "--mbr",
        type=int,
        metavar="N",
        help="minimum Bayes risk decoding: of N samples, write the one with the largest expected utility, its score",
    )
    group.add_argument(
        "--mbr-metric", choices=METRICS, help=f"the utility, a sentence score of sacreBLEU (default: {DEFAULT})"
    )


def check_search(arguments: Namespace) -> None:
    """Raise `UserError` for options that do not fit together, before anything is loaded."""
    if arguments.mbr is not None and arguments.sample is False:
        raise UserError("--no-sample: --mbr draws; leave one of them out")
    if arguments.mbr is not None and arguments.mbr < max(2, arguments.n_best):
        raise UserError(f"--mbr {arguments.mbr}: it must be at least 2, and at least --n-best; 32 is usual")
    if arguments.mbr is None and arguments.mbr_metric is not None:
        raise UserError(f"--mbr-metric {arguments.mbr_metric}: is for --mbr N; add it")
    if arguments.protect is not None:
        _check_protection(arguments)
    if arguments.lm is None and arguments.lm_weight is not None:
        raise UserError(f"--lm-weight {arguments.lm_weight:g}: is for --lm BUNDLE; add it")
    if arguments.lm is not None and (arguments.sample or arguments.mbr):
        raise UserError("--lm: joins a search, and --sample and --mbr draw; leave one of them out")
    if arguments.lm_weight is not None and not arguments.lm_weight > 0:
        raise UserError(f"--lm-weight {arguments.lm_weight:g}: must be above 0; leave --lm out to translate without")


def _check_protection(arguments: Namespace) -> None:
    from seq2seq.text.protection import compiled

    compiled(arguments.protect)
    for name in UNPROTECTED:
        if getattr(arguments, name, None):
            raise UserError(f"--protect: does not go with --{name.replace('_', '-')}; leave one of them out")


def load_translator(arguments: Namespace) -> Translator:
    """The translator of a bundle and an ensemble, with what joins its search: a language model, and spans to keep.

    Raises `UserError` as the translator does.
    """
    from seq2seq.inference.protection import ProtectingTranslator
    from seq2seq.inference.shallow_fusion import LM_WEIGHT
    from seq2seq.inference.translator import Translator

    translator = (Translator if arguments.protect is None else ProtectingTranslator).load(
        [arguments.bundle, *arguments.ensemble],
        arguments.device,
        arguments.threads,
        arguments.trust,
        max_source=arguments.max_source,
        int8=arguments.int8,
        unknown_tags=arguments.unknown_tags,
    )
    if isinstance(translator, ProtectingTranslator):
        translator.protect(arguments.protect)
    if arguments.lm is not None:
        translator.add_language_model(arguments.lm, arguments.lm_weight or LM_WEIGHT, arguments.trust)
    return translator


def search_options(defaults: SearchOptions, arguments: Namespace) -> SearchOptions:
    """A bundle's search options, changed by the given arguments. Raises `UserError` for an invalid argument, or one
    without effect."""
    from seq2seq.inference.request import change_options

    options = change_options(
        defaults,
        beam_size=arguments.beam_size,
        length_penalty=arguments.length_penalty,
        coverage_penalty=arguments.coverage_penalty,
        n_best=arguments.mbr or arguments.n_best,
        min_length=arguments.min_length,
        max_length=arguments.max_length,
        no_repeat_ngram=arguments.no_repeat_ngram,
        diversity_groups=arguments.diversity_groups,
        diversity_penalty=arguments.diversity_penalty,
        sample=True if arguments.mbr else arguments.sample,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        seed=arguments.seed,
    )
    for name in SAMPLING:
        if not options.sample and (value := getattr(arguments, name)) is not None:
            raise UserError(f"--{name.replace('_', '-')} {value}: is for sampling; add --sample or --mbr N")
    if arguments.diversity_penalty is not None and options.diversity_groups == 1:
        raise UserError(f"--diversity-penalty {arguments.diversity_penalty}: is for groups; add --diversity-groups G")
    return options


def utility(arguments: Namespace) -> Utility | None:
    """The utility for `--mbr`; None without it."""
    if arguments.mbr is None:
        return None
    from seq2seq.inference.minimum_risk import ExpectedUtility

    return ExpectedUtility(arguments.mbr_metric or DEFAULT)
