"""`seq2seq augment`: more training pairs, by translating one side of a corpus, or text of one language.

    seq2seq augment --how forward  A B --source train.en --target train.de --output more    (x, A(x)), (x, B(x))
    seq2seq augment --how backward C   --source train.en --target train.de --output back    (C(y), y)
    seq2seq augment --how distill  A B --source train.en --target train.de --output new     (x, A and B as one (x))
    seq2seq augment --how back-translate C --target news.de --output made --sample          (C(y), y), of other text
    seq2seq augment --how hallucinate  --forms train.tsv --output more                      word forms, random stems

`forward` and `backward` add to the corpus: data diversification (Nguyen et al., NeurIPS 2020), back-translation
(Sennrich et al., ACL 2016). `distill` replaces it: sequence-level knowledge distillation (Kim & Rush, EMNLP 2016), here
from an ensemble. `back-translate` is `backward` for text that has no translation; with `--sample` the sources are drawn
from the model instead of searched for, which teaches more from much text (Edunov et al., EMNLP 2018), and a tag tells
them from real ones in training (Caswell et al., WMT 2019). OUTPUT then has the pairs as two files, `pairs.en` and
`pairs.de`, for `data=parallel`, and a card.

Each translation of the file is a step, kept in OUTPUT/steps: the same command again resumes where it was killed, and
takes from there what an earlier one, with fewer bundles or in another way, has translated already. `hallucinate` needs
no bundle (hallucinate.py).
"""

from __future__ import annotations

import hashlib
import json
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq.cli import hallucinate
from seq2seq.errors import UserError

HALLUCINATE = "hallucinate"
PAPERS = {
    "forward": "data diversification (Nguyen et al. 2020): each model translated the source sides",
    "backward": "back-translation (Sennrich et al. 2016): each model translated the target sides",
    "back-translate": "back-translation (Sennrich et al. 2016): each model translated text of the target language",
    "distill": "sequence-level distillation (Kim & Rush 2016): the models, as an ensemble, translated the source sides",
}
CARD = """\
# Machine-translated pairs: {how}

{paper}. One side of every pair was written by a model and not checked by anyone.

- made by: `{command}` (seq2seq {version})
- models: {models}
- languages: {source_language} to {target_language}
- from: {origin}, whose licence holds
- here: {kept:,} pairs; left out: {empty:,} with an empty side, {known:,} that the corpus or an earlier model has

Train on {use}:

```sh
seq2seq train data=parallel {symbols}\\
  data.corpus.source_language={source_language} data.corpus.target_language={target_language} \\
  'data.corpus.train={train}' data.corpus.val=…
```
"""


SAMPLING = ("temperature", "top_k", "top_p")
"""Arguments of `--sample`, as `translate-file` has them; `--seed` is of hallucination, too."""

BACKWARDS = ("backward", "back-translate")
"""Ways whose models translate the other direction."""

MADE = "<BT>"
"""The tag that the card gives back-translations."""


class Step(NamedTuple):
    """One translation of a whole file, by one bundle or by several as one."""

    bundles: list[Path]
    fingerprints: list[str]
    output: Path


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq augment`."""
    add = parser.add_argument
    add("bundles", type=Path, nargs="*", metavar="BUNDLE", help="trained models of translation")
    how = "forward: each model translates the sources; backward: each, of the other direction, the targets; "
    how += "distill: all models as one translate the sources, and that replaces the targets; "
    how += "back-translate: each model, of the other direction, translates --target, which needs no --source; "
    how += f"{HALLUCINATE}: no model, word forms get random stems"
    add("--how", choices=(*PAPERS, HALLUCINATE), required=True, help=how)
    add("--source", type=Path, metavar="FILE", help="the source sides of the corpus")
    add("--target", type=Path, metavar="FILE", help="the target sides, as many lines")
    add("--output", type=Path, required=True, metavar="FOLDER", help="of the new pairs, their card and the steps")
    add("--beam-size", type=int, metavar="K", help="of the search (default: the bundle's)")
    add("--sample", action="store_true", help="draw the translations, each line reproducibly, instead of searching")
    add("--temperature", type=float, metavar="T", help="of --sample: below 1 sharper, above 1 flatter")
    add("--top-k", type=int, metavar="K", help="of --sample: from the K most likely tokens")
    add("--top-p", type=float, metavar="P", help="of --sample: from the smallest set with probability P")
    add("--workers", type=int, default=1, metavar="N", help="processes, which share the cores (%(default)s)")
    from seq2seq.cli.arguments import add_running, add_tag

    add_tag(parser)
    add_running(parser)
    hallucinate.add_arguments(parser)


def run(arguments: Namespace) -> int:
    """Translate what is missing, then write the pairs; returns the exit code. Raises `UserError` for bundles of
    another direction or task, and for files that do not fit."""
    if arguments.how == HALLUCINATE:
        return hallucinate.run(arguments)
    _check_given(arguments)
    pairs = list(_pairs(arguments))
    languages = _languages(arguments.bundles, arguments.how)
    steps = list(_steps(arguments))
    for number, step in enumerate(steps, 1):
        name = " + ".join(map(str, step.bundles))
        if step.output.exists():
            print(f"step {number} of {len(steps)}: {name}: is there already", flush=True)
            continue
        print(f"step {number} of {len(steps)}: {name} translates {len(pairs):,} lines", flush=True)
        _translate(arguments, step)
    counts = _write(arguments, pairs, steps, languages)
    (arguments.output / "README.md").write_text(
        _card(arguments, steps, languages, counts), encoding="utf-8", newline="\n"
    )
    print(f"{counts['kept']:,} pairs: {arguments.output / 'pairs'}.{{{','.join(languages)}}}")
    return 0


def _check_given(arguments: Namespace) -> None:
    """Raise `UserError` for arguments that are missing or do not go together, before anything is read."""
    alone = arguments.how == "back-translate"
    if alone and arguments.source is not None:
        raise UserError(f"augment: --how {arguments.how} has no use for --source; use --how backward")
    for name, what in (("bundles", "a BUNDLE"), ("source", "--source FILE"), ("target", "--target FILE")):
        if not getattr(arguments, name) and not (alone and name == "source"):
            raise UserError(f"augment: --how {arguments.how} needs {what}")
    if arguments.forms:
        raise UserError(f"augment: --forms is for --how {HALLUCINATE}; --how {arguments.how} reads --source, --target")
    if arguments.sample and arguments.beam_size is not None:
        raise UserError(f"--beam-size {arguments.beam_size}: is of a search, and --sample draws; leave one of them out")
    for name in SAMPLING:
        if not arguments.sample and (value := getattr(arguments, name)) is not None:
            raise UserError(f"--{name.replace('_', '-')} {value}: is for sampling; add --sample")


def _pairs(arguments: Namespace) -> Iterator[tuple[str, str]]:
    """The pairs of the corpus; with an empty source where there is none."""
    from seq2seq.inference.files.input import STREAM, lines

    sides = tuple(filter(None, (arguments.source, arguments.target)))
    for path in sides:
        if path == STREAM or not path.is_file():
            raise UserError(f"{path}: no such file; augment reads its files more than once")
    texts = [list(lines(path)) for path in sides]
    if len(sides) == 1:
        if not any(text.strip() for text in texts[0]):
            raise UserError(f"{sides[0]}: has no text to translate")
        return (("", text) for text in texts[0])
    if len(texts[0]) != len(texts[1]) or not texts[0]:
        raise UserError(
            f"{sides[0]} has {len(texts[0])} lines, {sides[1]} {len(texts[1])}; line n of one must translate line n of "
            "the other, and there must be some"
        )
    return zip(*texts, strict=True)


def _languages(bundles: Sequence[Path], how: str) -> tuple[str, str]:
    """The corpus's source and target language, by what the bundles say of themselves. Raises `UserError` where they
    differ, or one does not translate."""
    from seq2seq.bundle.format import described

    directions: dict[tuple[str, str], Path] = {}
    for bundle in bundles:
        description = described(bundle)
        if description["task"] != "translation":
            raise UserError(f"{bundle}: is a bundle of task={description['task']}, and augment translates")
        provenance = description["provenance"]
        sides = [str(provenance.get(f"{side}_language", side)) for side in ("source", "target")]
        directions.setdefault((sides[0], sides[1]), bundle)
    if len(directions) > 1:
        (one, first), (other, second), *_ = directions.items()
        raise UserError(f"augment: {first} translates {'-'.join(one)}, {second} {'-'.join(other)}; give one direction")
    (source, target), *_ = directions
    if source == target:
        source, target = f"source.{source}", f"target.{target}"
    return (target, source) if how in BACKWARDS else (source, target)


def _steps(arguments: Namespace) -> Iterator[Step]:
    """The translations to make; their files are named by all that decides their content."""
    from seq2seq.bundle.format import fingerprint
    from seq2seq.runtime.atomic_files import digest_of

    if twice := {str(each) for each in arguments.bundles if arguments.bundles.count(each) > 1}:
        raise UserError(f"augment: {min(twice)} is given twice, and would give the same pairs")
    side = _translated_side(arguments)
    groups = [arguments.bundles] if arguments.how == "distill" else [[bundle] for bundle in arguments.bundles]
    for group in groups:
        prints = [fingerprint(bundle) for bundle in group]
        tag = [] if arguments.tag is None else [arguments.tag]
        drawn = [{name: getattr(arguments, name) for name in (*SAMPLING, "seed")}] if arguments.sample else []
        key = json.dumps([*prints, digest_of(side), arguments.beam_size, *tag, *drawn])
        yield Step(group, prints, arguments.output / "steps" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.txt")


def _translated_side(arguments: Namespace) -> Path:
    side: Path = arguments.target if arguments.how in BACKWARDS else arguments.source
    return side


def _translate(arguments: Namespace, step: Step) -> None:
    """Run `seq2seq translate-file --resume`, which writes the output atomically."""
    from seq2seq.cli import translate_file

    step.output.parent.mkdir(parents=True, exist_ok=True)
    parser = ArgumentParser()
    translate_file.add_arguments(parser)
    words = [str(step.bundles[0]), str(_translated_side(arguments)), str(step.output), "--resume"]
    given = ("beam_size", "tag", "workers", "batch_size", "device", "threads", *SAMPLING)
    options = {f"--{name.replace('_', '-')}": getattr(arguments, name) for name in given}
    words += [str(word) for option in options.items() if option[1] is not None for word in option]
    words += ["--sample", "--seed", str(arguments.seed)] if arguments.sample else []
    words += [word for package in arguments.trust for word in ("--trust", package)]
    ensemble = ["--ensemble", *map(str, step.bundles[1:])] if step.bundles[1:] else []
    translate_file.run(parser.parse_args([*words, *ensemble]))


def _write(
    arguments: Namespace, pairs: Sequence[tuple[str, str]], steps: Sequence[Step], languages: tuple[str, str]
) -> dict[str, int]:
    """Write the new pairs; returns how many were kept, and left out as empty or known."""
    from seq2seq.inference.files.input import lines
    from seq2seq.runtime.atomic_files import write_lines

    distilled = arguments.how == "distill"
    known = set() if distilled else set(pairs)
    made: list[tuple[str, str]] = []
    counts = {"kept": 0, "empty": 0, "known": 0}
    for step in steps:
        for (source, target), translation in zip(pairs, lines(step.output), strict=True):
            pair = (translation, target) if arguments.how in BACKWARDS else (source, translation)
            what = "empty" if not all(side.strip() for side in pair) else "known" if pair in known else "kept"
            counts[what] += 1
            if what == "kept":
                made.append(pair)
                known |= set() if distilled else {pair}
    if not made:
        raise UserError(f"augment: no new pairs came out of {len(pairs)}: all are empty, or known already")
    for side, language in enumerate(languages):
        write_lines([pair[side] for pair in made], arguments.output / f"pairs.{language}")
    return counts


def _card(arguments: Namespace, steps: Sequence[Step], languages: tuple[str, str], counts: dict[str, int]) -> str:
    from seq2seq import __version__
    from seq2seq.inference.files.input import count
    from seq2seq.runtime.atomic_files import digest_of

    models = [(path, text) for step in steps for path, text in zip(step.bundles, step.fingerprints, strict=True)]
    sides = [path for path in (arguments.source, arguments.target) if path is not None]
    lines, of = f"{count(sides[-1]):,}", " and ".join(f"{path} (sha256 {digest_of(path)})" for path in sides)
    alone = arguments.how == "back-translate"
    return CARD.format(
        how=arguments.how,
        paper=PAPERS[arguments.how],
        command=shlex.join(["seq2seq", "augment", *_typed(arguments)]),
        version=__version__,
        models=", ".join(f"{path} (sha256 {text})" for path, text in models),
        source_language=languages[0],
        target_language=languages[1],
        origin=f"{lines} {'lines' if alone else 'pairs'} of {of}",
        **counts,
        use="these instead of the corpus" if arguments.how == "distill" else "the corpus and these",
        symbols=f"'tokenizer.symbols=[\"{MADE}\"]' " if alone else "",
        train=_entries(arguments),
    )


def _typed(arguments: Namespace) -> list[str]:
    """The words of the command that decide what comes out."""
    names = ["--how", arguments.how, *map(str, arguments.bundles)]
    files = {name: getattr(arguments, name) for name in ("source", "target", "output")}
    chosen = {name: getattr(arguments, name) for name in ("beam_size", "tag", *SAMPLING)}
    options = {f"--{name.replace('_', '-')}": value for name, value in (files | chosen).items() if value is not None}
    drawn = ["--sample", "--seed", str(arguments.seed)] if arguments.sample else []
    return [*names, *drawn, *(str(word) for each in options.items() for word in each)]


def _entries(arguments: Namespace) -> str:
    """The value of data.corpus.train for the pairs."""
    made = str(arguments.output / "pairs")
    if arguments.how == "distill":
        return made
    if arguments.how == "back-translate":
        return f'[CORPUS, {{files: {made}, tag: "{MADE}"}}]'
    return f"[[{arguments.source}, {arguments.target}], {made}]"
