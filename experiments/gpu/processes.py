"""Two processes that train together: on two GPUs by NCCL where there are two, else a dry run on the CPU by gloo."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from experiments.gpu.check import Cases, Setting
from experiments.gpu.models import distance
from experiments.gpu.runs import COMMON, corpora, new_folder

STEPS = 6


def processes(setting: Setting, cases: Cases) -> None:
    """The weights that two processes come to are those of one."""
    overrides = corpora(setting.folder / "corpora")["translation"]
    for name, model in {"fixed context": "default", "attention": "bahdanau2015"}.items():
        if not setting.quick or name == "attention":
            cases.run(name, _together, setting, [*overrides, f"model={model}"])


def _together(setting: Setting, overrides: Sequence[str]) -> dict[str, Any]:
    there = torch.cuda.device_count() if setting.cuda else 0
    accelerator = "cuda" if there > 1 else "cpu"
    weights = [_trained(setting, count, [*overrides, f"trainer.accelerator={accelerator}"]) for count in (1, 2)]
    errors = {name: distance(weights[1][name], value) for name, value in weights[0].items()}
    worst = max(errors, key=lambda name: errors[name])
    found = {"error": errors[worst], "of": worst, "backend": "nccl" if there > 1 else "gloo", "gpus": min(there, 2)}
    return {"ok": errors[worst] < 1e-4} | found


def _trained(setting: Setting, count: int, overrides: Sequence[str]) -> dict[str, torch.Tensor]:
    """The weights of a bundle that so many processes trained."""
    folder = new_folder(setting).resolve()
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(count)] if count > 1 else []
    options = [f"trainer.max_steps={STEPS}", "trainer.devices=1", "trainer.threads=1", f"hydra.run.dir={folder}"]
    command = [sys.executable, *launcher, "-m", "seq2seq", "train", *COMMON, *overrides, *options]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180)
    if ended.returncode:
        raise RuntimeError(ended.stdout[-2000:])
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "finished", record
    return load_file(Path(folder) / "bundle" / "model.safetensors")
