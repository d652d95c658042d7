"""Which machine a study's numbers come from: written next to them as machine.json, whenever they are."""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """The model of the processor, what its instructions are for torch, and the versions that numbers depend on."""
    import torch

    return {
        "cpu": cpu(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def cpu() -> str:
    """The processor's model as the system names it; its architecture where the system has no name for it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def write_results(path: Path, results: Any, **options: Any) -> None:
    """Write a study's results as JSON (`options` are those of `json.dumps`), and machine.json into the same folder."""
    path.write_text(json.dumps(results, **options) + "\n", encoding="utf-8")
    path.with_name("machine.json").write_text(json.dumps(machine(), indent=1) + "\n", encoding="utf-8")
