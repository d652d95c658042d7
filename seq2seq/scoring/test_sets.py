"""sacreBLEU's own test sets by name: downloaded once into its cache (the folder SACREBLEU, or ~/.sacrebleu), as its
command line does.

Post, "A Call for Clarity in Reporting BLEU Scores", WMT 2018.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError

TIMEOUT = 30.0  # seconds without an answer


def reference_files(names: str, pair: str) -> list[list[Path]]:
    """The files of each reference of a test set, downloaded where sacreBLEU's cache lacks them.

    `names` may be several test sets with commas between them: one reference then has a file of each, in this order.

    Raises:
        UserError: there is no such test set or language pair, several have different numbers of references, or one
            cannot be downloaded.
    """
    sets = [_files(name, pair) for name in names.split(",")]
    if len(numbers := {len(files) for files in sets}) > 1:
        raise UserError(
            f"--test-set {names}: the sets have {_listed(map(str, sorted(numbers)))} references; score each"
        )
    return [list(files) for files in zip(*sets, strict=True)]


def target_language(pair: str) -> str:
    """The target language of a pair: `de` of `en-de`."""
    return pair.rpartition("-")[2]


@contextmanager
def downloading(what: str, remedy: str) -> Iterator[None]:
    """Where sacreBLEU fetches something: what it raises, logs or exits with is one `UserError`."""
    logger, patience = logging.getLogger("sacrebleu"), socket.getdefaulttimeout()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    except (Exception, SystemExit) as error:  # it exits for a wrong checksum, and does not say what else it raises
        reason = "wrong checksum" if isinstance(error, SystemExit) else str(getattr(error, "reason", error))
        raise UserError(f"{what}: sacreBLEU cannot get it ({reason}); {remedy}") from None
    finally:
        logger.setLevel(level)
        socket.setdefaulttimeout(patience)


def _files(name: str, pair: str) -> list[Path]:
    from sacrebleu.dataset import DATASETS

    if name not in DATASETS:
        near = get_close_matches(name, DATASETS, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"--test-set {name}: sacreBLEU has no such set; {meant}`sacrebleu --list` names all")
    dataset: Any = DATASETS[name]
    if pair not in dataset.langpairs:
        raise UserError(f"--language-pair {pair}: {name} has {_listed(dataset.langpairs)}")
    remedy = f"without a network, put the set into {dataset._outdir}; delete what is damaged there"
    with downloading(f"--test-set {name}", remedy):
        return [Path(path) for path in dataset.get_reference_files(pair)]


def _listed(names: Iterator[str] | dict[str, list[str]]) -> str:
    return ", ".join(names)
