"""`seq2seq augment --how hallucinate`: word forms with random stems, which needs no model.

    seq2seq augment --how hallucinate --forms turkish-train-medium --count 10000 --output more

The files have lemma, form and tags (`N;LOC;SG`) in tab-separated columns, and so has OUTPUT/pairs.tsv; its card is
OUTPUT/README.md.
"""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.corpora.hallucination import Form

CARD = """\
# Hallucinated word forms

Stem replacement (Anastasopoulos & Neubig 2019): the longest common substring of a lemma and its form is replaced by
random letters in both. No lemma and no form here is a word of the language, and they are for training only.

- made by: `{command}` (seq2seq {version})
- from: {forms:,} forms of {files}, whose licence holds
- here: {count:,} forms; each letter of a stem was replaced with probability {share:g} by any letter of the lemmas

Train on the forms and these:

```sh
seq2seq train experiment=inflection 'data.corpus.train=[{first}]'
```
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments that only hallucination has."""
    group = parser.add_argument_group("hallucinate", "lemmas and forms with random stems; no bundle, source or target")
    group.add_argument("--forms", type=Path, nargs="+", metavar="FILE", help="lemma<TAB>form<TAB>tags, a form a line")
    group.add_argument("--count", type=int, default=10_000, metavar="N", help="forms to make (%(default)s)")
    group.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the random letters, and of --sample (%(default)s)"
    )
    group.add_argument(
        "--share", type=float, default=1.0, metavar="P", help="probability that a letter is replaced (%(default)s)"
    )
    group.add_argument("--separator", default=";", metavar="SIGN", help="between tags (%(default)s)")


def run(arguments: Namespace) -> int:
    """Write the forms and their card; returns the exit code. Raises `UserError` for lines that are no forms."""
    from seq2seq import __version__
    from seq2seq.corpora.hallucination import hallucinated
    from seq2seq.runtime.atomic_files import digest_of, write_lines

    _check(arguments)
    forms = _read(arguments)
    made = list(hallucinated(forms, arguments.count, arguments.seed, arguments.share))
    arguments.output.mkdir(parents=True, exist_ok=True)
    output = arguments.output / "pairs.tsv"
    write_lines(("\t".join(form) for form in made), output)
    words = ["--how", "hallucinate", "--forms", *map(str, arguments.forms), "--count", str(arguments.count)]
    words += ["--seed", str(arguments.seed), "--share", f"{arguments.share:g}", "--output", str(arguments.output)]
    card = CARD.format(
        command=shlex.join(["seq2seq", "augment", *words]),
        version=__version__,
        forms=len(forms),
        files=", ".join(f"{path} (sha256 {digest_of(path)})" for path in arguments.forms),
        count=len(made),
        share=arguments.share,
        first=", ".join(map(str, [*arguments.forms, output])),
    )
    write_lines(card.splitlines(), arguments.output / "README.md")
    print(f"{len(made):,} forms: {output}")
    return 0


def _check(arguments: Namespace) -> None:
    given = ("bundles", "source", "target", "tag", "beam_size")
    if unused := [name for name in given if getattr(arguments, name)]:
        raise UserError(f"augment: --how hallucinate reads --forms, and no {unused[0].replace('_', '-')}; leave it out")
    if not arguments.forms:
        raise UserError("augment: --how hallucinate needs --forms FILE, with lemma<TAB>form<TAB>tags a line")
    if arguments.count < 1:
        raise UserError(f"--count {arguments.count}: must be at least 1")
    if not 0 < arguments.share <= 1:
        raise UserError(f"--share {arguments.share}: must be above 0 and at most 1")


def _read(arguments: Namespace) -> list[Form]:
    from seq2seq.corpora.hallucination import Form
    from seq2seq.corpora.readers import tsv

    forms = []
    for path in arguments.forms:
        for source, form in tsv(path, 1, 2, (3, arguments.separator)):
            lemma, _, tags = source.rpartition("\t")
            forms.append(Form(lemma, form, tags))
    return forms
