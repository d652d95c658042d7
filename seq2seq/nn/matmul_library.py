"""Which of the two libraries that torch includes computes this process's float32 matrix products: its BLAS, or oneDNN.

torch.mm calls its BLAS (MKL in the x86 builds). Which of the two is faster is a matter of the processor and of the
versions of both: on AMD processors with AVX-512 oneDNN takes half of MKL's time, on others they are equal. So the first
product of a machine measures both (about 50 ms), and the answer is kept in the user's cache, by processor, instruction
set and version of torch: the same command gives the same bytes there. SEQ2SEQ_PRODUCTS=torch or =onednn forces one, and
a run that is resumed or reproduced takes that of its record (`use`): the two add in different orders, so that results
differ in the last bits, as between any two BLAS.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from seq2seq.runtime.paths import optional_cache

log = logging.getLogger(__name__)

LIBRARIES = ("torch", "onednn")

FASTER = 1.15
"""oneDNN is taken where it is faster by this factor at least: less than that changes with the hour on most machines."""

SIZE, ROUNDS = 512, 7
"""Rows and columns of the matrices that are measured, and measurements of each library, of which the fastest counts."""

ROWS = 64
"""The number of rows that packed weights are ordered for; any other number works as well."""

LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE")
"""Environment variables that limit the instructions that either library uses."""

used: str | None = None
"""The library that this process uses; None before the first product."""


def name() -> str:
    """The library that this process uses, torch or onednn; chosen at the first call."""
    global used
    if used is None:
        used = _choose()
    return used


def use(library: str | None) -> None:
    """Let this process use the library of a record from here on, for the same bits; a warning says why it cannot.

    SEQ2SEQ_PRODUCTS comes first. Records of older versions name none: then nothing changes.
    """
    global used
    if library not in LIBRARIES or library == name():
        return
    if _asked() != "auto":
        log.warning("SEQ2SEQ_PRODUCTS=%s: the run was computed with %s, so bits may differ", _asked(), library)
    elif library == "onednn" and not works():
        log.warning("the run was computed with oneDNN, which does not work on this machine; bits may differ")
    else:
        used = library


@functools.cache
def works() -> bool:
    """Whether oneDNN's operator is there and gives, in the three forms that are used here, torch's own result."""
    if not torch.backends.mkldnn.is_available():
        return False
    a, weight, plus = torch.eye(2, 4), torch.arange(12.0).view(3, 4), torch.ones(2, 3)
    try:
        operator = torch.ops.mkldnn._linear_pointwise
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        products = [operator(a, w, plus[0], "none", [], "") for w in (weight, packed)]
        products.append(operator.binary(a, plus, weight, None, "add"))
    except (AttributeError, RuntimeError):
        return False
    return all(torch.equal(one, plus + a @ weight.t()) for one in products)


def _choose() -> str:
    asked = _asked()
    if asked not in ("auto", *LIBRARIES):
        log.warning("SEQ2SEQ_PRODUCTS=%s: is not one of auto, torch and onednn; auto is taken", asked)
    if asked == "onednn" and not works():
        log.warning("SEQ2SEQ_PRODUCTS=onednn: this torch or this processor has no such operator; torch's is taken")
    if asked == "torch" or not works():
        return "torch"
    return "onednn" if asked == "onednn" else _faster()


def _asked() -> str:
    return os.environ.get("SEQ2SEQ_PRODUCTS") or "auto"


def _faster() -> str:
    """The library that the cache names for this machine; measured where it names none."""
    key = machine()
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    file = optional_cache("matmul", f"{digest}.json")
    if kept := _read(file):
        return kept
    seconds = measure()
    chosen = "onednn" if seconds["torch"] > FASTER * seconds["onednn"] else "torch"
    if file is None:
        return chosen
    try:
        with file.open(
            "x", encoding="utf-8", newline="\n"
        ) as out:  # of processes that start together, the first decides for all
            out.write(json.dumps({"machine": key, "seconds": seconds, "used": chosen}))
    except FileExistsError:
        return _read(file) or chosen
    except OSError:
        pass
    return chosen


def machine() -> list[str]:
    """What decides which library is faster, as far as it has a name."""
    limits = [f"{variable}={os.environ[variable]}" for variable in LIMITS if variable in os.environ]
    return [processor(), torch.backends.cpu.get_cpu_capability(), torch.__version__, *limits]


def processor() -> str:
    """The name of the processor, as the operating system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def measure() -> dict[str, float]:
    """The fastest of a few products with each library in turn, in seconds."""
    generator = torch.Generator().manual_seed(0)  # the seed of training stays untouched
    a, b = (torch.randn(SIZE, SIZE, generator=generator) for _ in range(2))
    products: dict[str, Callable[[], Any]] = {
        "torch": lambda: torch.mm(a, b),
        "onednn": lambda: torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], ""),
    }
    seconds = dict.fromkeys(products, float("inf"))
    for attempt in range(1 + ROUNDS):  # the first one of each loads its code
        for library, product in products.items():
            begin = time.perf_counter()
            product()
            if attempt:
                seconds[library] = min(seconds[library], time.perf_counter() - begin)
    return seconds


def _read(file: Path | None) -> str | None:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))["used"] if file else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return kept if kept in LIBRARIES else None
