"""All languages of a shared task in one sweep: `seq2seq train -m experiment=g2p data.corpus.language=medium`.

`low`, `medium` and `high` stand for their languages, and a list for each of its members; a language whose files cannot
be had is listed as not run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from seq2seq.errors import UserError

KEY = "data.corpus.language="
CHOICES = ("experiment=g2p", "data=g2p")


def with_languages(words: Sequence[str]) -> list[str]:
    """The command line of a sweep with a value of `data.corpus.language` for each job; others unchanged. Prints the
    languages that cannot be had. Raises `UserError` where none can."""
    given = [word for word in words if word.startswith(KEY)]
    if not given or not {"-m", "--multirun"} & set(words):
        return list(words)
    names = re.sub(r"^\[(.*)\]$", r"\1", given[-1].removeprefix(KEY).strip("'\"")).split(",")
    if any(choice in words for choice in CHOICES):
        names = _available([name.strip() for name in names], words)
    expanded = KEY + ",".join(name.strip() for name in names)
    return [expanded if word == given[-1] else word for word in words if word == given[-1] or word not in given]


def _available(names: Sequence[str], words: Sequence[str]) -> list[str]:
    """The languages of groups and names, as far as their files are there or can be downloaded."""
    from seq2seq.corpora.datasets.g2p import G2P, RESOURCES, URL, languages_of

    if not any(name in RESOURCES for name in names):
        return list(names)
    every = [language for name in names for language in (languages_of(name) if name in RESOURCES else [name])]
    places = dict(word.partition("=")[::2] for word in words)
    there = []
    for language in dict.fromkeys(every):
        try:
            G2P(language, places.get("data.root"), places.get("data.corpus.url", URL)).prepare()
        except UserError as error:
            print(f"not run: {language}: {error}", flush=True)
        else:
            there.append(language)
    if not there:
        raise UserError(f"{KEY}{','.join(names)}: none of its languages can be had; set data.root to their folder")
    return there
