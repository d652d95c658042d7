"""`seq2seq augment`: more training pairs from the same data, by translating one side of it.

    seq2seq augment --how forward  A B --source train.en --target train.de --output more    (x, A(x)), (x, B(x))
    seq2seq augment --how backward C   --source train.en --target train.de --output back    (C(y), y)
    seq2seq augment --how distill  A B --source train.en --target train.de --output new     (x, A and B as one (x))
    seq2seq augment --how hallucinate  --forms train.tsv --output more                      word forms, random stems

`forward` and `backward` add to the corpus: data diversification (Nguyen et al., NeurIPS 2020), back-translation
(Sennrich et al., ACL 2016). `distill` replaces it: sequence-level knowledge distillation (Kim & Rush, EMNLP 2016), here
from an ensemble. OUTPUT then has the pairs as two files, `pairs.en` and `pairs.de`, for `data=parallel`, and a card.

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
from typing import Any, NamedTuple

from seq2seq.cli import hallucinate
from seq2seq.errors import UserError

HALLUCINATE = "hallucinate"
PAPERS = {
    "forward": "data diversification (Nguyen et al. 2020): each model translated the source sides",
    "backward": "back-translation (Sennrich et al. 2016): each model translated the target sides",
    "distill": "sequence-level distillation (Kim & Rush 2016): the models, as an ensemble, translated the source sides",
}
CARD = """\
# Machine-translated pairs: {how}

{paper}. One side of every pair was written by a model and not checked by anyone.

- made by: `{command}` (seq2seq {version})
- models: {models}
- languages: {source_language} to {target_language}
- from: {lines:,} pairs of {source} (sha256 {source_digest}) and {target} (sha256 {target_digest}), whose licence holds
- here: {kept:,} pairs; left out: {empty:,} with an empty side, {known:,} that the corpus or an earlier model has

Train on {use}:

```sh
seq2seq train data=parallel \\
  data.corpus.source_language={source_language} data.corpus.target_language={target_language} \\
  'data.corpus.train={train}' data.corpus.val=…
```
"""


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
    how += f"{HALLUCINATE}: no model, word forms get random stems"
    add("--how", choices=(*PAPERS, HALLUCINATE), required=True, help=how)
    add("--source", type=Path, metavar="FILE", help="the source sides of the corpus")
    add("--target", type=Path, metavar="FILE", help="the target sides, as many lines")
    add("--output", type=Path, required=True, metavar="FOLDER", help="of the new pairs, their card and the steps")
    add("--beam-size", type=int, metavar="K", help="of the search (default: the bundle's)")
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
    for name, what in (("bundles", "a BUNDLE"), ("source", "--source FILE"), ("target", "--target FILE")):
        if not getattr(arguments, name):
            raise UserError(f"augment: --how {arguments.how} needs {what}")
    if arguments.forms:
        raise UserError(f"augment: --forms is for --how {HALLUCINATE}; --how {arguments.how} reads --source, --target")


def _pairs(arguments: Namespace) -> Iterator[tuple[str, str]]:
    from seq2seq.inference.files.streams import STREAM, lines

    sides = (arguments.source, arguments.target)
    for path in sides:
        if path == STREAM or not path.is_file():
            raise UserError(f"{path}: no such file; augment reads its files more than once")
    texts = [list(lines(path)) for path in sides]
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
    return (target, source) if how == "backward" else (source, target)


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
        key = json.dumps([*prints, digest_of(side), arguments.beam_size, *tag])
        yield Step(group, prints, arguments.output / "steps" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.txt")


def _translated_side(arguments: Namespace) -> Path:
    side: Path = arguments.target if arguments.how == "backward" else arguments.source
    return side


def _translate(arguments: Namespace, step: Step) -> None:
    """Run `seq2seq translate-file --resume`, which writes the output atomically."""
    from seq2seq.cli import translate_file

    step.output.parent.mkdir(parents=True, exist_ok=True)
    parser = ArgumentParser()
    translate_file.add_arguments(parser)
    words = [str(step.bundles[0]), str(_translated_side(arguments)), str(step.output), "--resume"]
    given = ("beam_size", "tag", "workers", "batch_size", "device", "threads")
    options = {f"--{name.replace('_', '-')}": getattr(arguments, name) for name in given}
    words += [str(word) for option in options.items() if option[1] is not None for word in option]
    words += [word for package in arguments.trust for word in ("--trust", package)]
    ensemble = ["--ensemble", *map(str, step.bundles[1:])] if step.bundles[1:] else []
    translate_file.run(parser.parse_args([*words, *ensemble]))


def _write(
    arguments: Namespace, pairs: Sequence[tuple[str, str]], steps: Sequence[Step], languages: tuple[str, str]
) -> dict[str, int]:
    """Write the new pairs; returns how many were kept, and left out as empty or known."""
    from seq2seq.inference.files.streams import lines
    from seq2seq.runtime.atomic_files import write_lines

    distilled = arguments.how == "distill"
    known = set() if distilled else set(pairs)
    made: list[tuple[str, str]] = []
    counts = {"kept": 0, "empty": 0, "known": 0}
    for step in steps:
        for (source, target), translation in zip(pairs, lines(step.output), strict=True):
            pair = (translation, target) if arguments.how == "backward" else (source, translation)
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
    from seq2seq.inference.files.streams import count
    from seq2seq.runtime.atomic_files import digest_of

    files: dict[str, Any] = {"source": arguments.source, "target": arguments.target}
    made = str(arguments.output / "pairs")
    original = f"[{arguments.source}, {arguments.target}]"
    names = ["--how", arguments.how, *map(str, arguments.bundles)]
    names += [word for name in ("source", "target", "output") for word in (f"--{name}", str(getattr(arguments, name)))]
    chosen = {"--beam-size": arguments.beam_size, "--tag": arguments.tag}
    names += [str(word) for option in chosen.items() if option[1] is not None for word in option]
    models = [(path, text) for step in steps for path, text in zip(step.bundles, step.fingerprints, strict=True)]
    return CARD.format(
        how=arguments.how,
        paper=PAPERS[arguments.how],
        command=shlex.join(["seq2seq", "augment", *names]),
        version=__version__,
        models=", ".join(f"{path} (sha256 {text})" for path, text in models),
        source_language=languages[0],
        target_language=languages[1],
        lines=count(arguments.source),
        **files,
        **{f"{name}_digest": digest_of(path) for name, path in files.items()},
        **counts,
        use="these instead of the corpus" if arguments.how == "distill" else "the corpus and these",
        train=made if arguments.how == "distill" else f"[{original}, {made}]",
    )
