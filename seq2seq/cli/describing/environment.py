"""Environment variables and folders that affect commands."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from seq2seq.runtime.redaction import SECRET

SHOWN = ("SEQ2SEQ_", "OMP_", "GOMP_", "KMP_", "MKL_", "ONEDNN_", "DNNL_", "ATEN_", "CUDA_VISIBLE", "SLURM_CPUS")


def variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that affect speed or paths, with their values, which are hidden if the name suggests a secret."""
    names = sorted(name for name in environment if name.startswith(SHOWN))
    return {name: "set" if SECRET.search(name) else environment[name] for name in names}


def names(prefix: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    """The names of the set variables with a prefix, without their values."""
    return sorted(name for name in environment if name.startswith(prefix))


def writable(folder: Path) -> bool:
    """Whether this folder, or if it does not exist its nearest existing parent, can be written."""
    place = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
