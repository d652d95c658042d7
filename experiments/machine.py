"""Which machine a study's numbers come from: written next to them as machine.json, whenever they are."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """The model of the processor, what its instructions are for torch, and the versions that numbers depend on."""
    import torch

    from seq2seq.cli.describing.machine import processor

    return {
        "cpu": processor()["model"],
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def write_results(path: Path, results: Any, **options: Any) -> None:
    """Write a study's results as JSON (`options` are those of `json.dumps`), and machine.json into the same folder."""
    path.write_text(json.dumps(results, **options) + "\n", encoding="utf-8")
    path.with_name("machine.json").write_text(json.dumps(machine(), indent=1) + "\n", encoding="utf-8")
