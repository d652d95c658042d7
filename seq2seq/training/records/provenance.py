"""The provenance of a model: everything with a name that its weights depend on."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import torch

from seq2seq import __version__
from seq2seq.nn import matmul_library
from seq2seq.runtime.distributed import current_rank
from seq2seq.runtime.paths import PACKAGE


def provenance(config: Mapping[str, Any], data: Any, progress: Mapping[str, int], command: str) -> dict[str, Any]:
    """The provenance of a model: versions, seed, threads, data and command; `progress` is how far it came."""
    return {
        **versions(),
        "seed": config["seed"],
        "threads": torch.get_num_threads(),
        "products": matmul_library.name(),  # of matrices: the library, see seq2seq/nn/matmul_library.py
        "processes": current_rank().world_size,
        "data": data.corpus.name,
        "data_fingerprint": data.fingerprint,
        "data_statistics": data.statistics,
        "source_language": data.corpus.source_language,
        "target_language": data.corpus.target_language,
        **progress,
        "command": command,
    }


def versions() -> dict[str, Any]:
    """What the result depends on in addition to the command and the data, as far as it has a name."""
    return {
        "seq2seq": __version__,
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": version("pytorch-lightning"),
        "platform": sys.platform,
        "instructions": torch.backends.cpu.get_cpu_capability(),  # of the CPU: other ones round differently
    }


def git_revision() -> str | None:
    """The commit of a checkout, with "+" where something tracked was changed since; None for an installed package."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    command = ["git", "-C", str(PACKAGE.parent), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return None
