"""Is it right on a GPU, and how fast? The one command for a machine with a CUDA device.

    python -m experiments.gpu.check --output DIR                      # all of it: under 8 minutes on an H100
    python -m experiments.gpu.check --output DIR --device cpu --quick # only to see that the script runs
    python -m experiments.gpu.check --output DIR --only models train  # these sections; the others keep what DIR has
    python -m experiments.gpu.check --output DIR --keep               # what failed in DIR, or was left out

Writes results.json (after each case, so that what is killed is not lost), results.md and speed.png. A section that
fails is recorded with its traceback, and the next one runs. The exit code is 1 where one failed, or a check did.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NEEDED = {
    "hydra": "hydra-core",
    "omegaconf": "omegaconf",
    "antlr4": "antlr4-python3-runtime",
    "pydantic": "pydantic",
    "pydantic_core": "pydantic-core",
    "annotated_types": "annotated-types",
    "typing_inspection": "typing-inspection",
    "platformdirs": "platformdirs",
    "pooch": "pooch",
    "rapidfuzz": "rapidfuzz",
    "seqeval": "seqeval",
    "zstandard": "zstandard",
    "jaxtyping": "jaxtyping",
    "pytorch_lightning": "pytorch-lightning",
    "portalocker": "portalocker",
    "sacrebleu": "sacrebleu",
    "sentencepiece": "sentencepiece",
    "safetensors": "safetensors",
    "sklearn": "scikit-learn",
    "tensorboard": "tensorboard",
    "joblib": "joblib",
    "jinja2": "jinja2",
}
"""Modules that a training from a configuration imports, by the packages that bring them."""

OPTIONAL = {
    "matplotlib": "matplotlib",
    "plotly": "plotly",
    "wandb": "wandb",
    "optuna": "optuna",
    "beartype": "beartype",
    "hypothesis": "hypothesis",
}
"""Those that pictures, the command line and the tests need: the script does without."""

SECTIONS = {
    "peaks": ("experiments.gpu.timing", "peaks"),
    "models": ("experiments.gpu.models", "models"),
    "sync": ("experiments.gpu.sync", "sync"),
    "graphs": ("experiments.gpu.graphs", "graphs"),
    "train": ("experiments.gpu.train", "train"),
    "speed": ("experiments.gpu.speed", "training"),
    "layers": ("experiments.gpu.parts", "layers"),
    "loss": ("experiments.gpu.parts", "losses"),
    "searching": ("experiments.gpu.parts", "searching"),
    "paths": ("experiments.gpu.models", "paths"),
    "texts": ("experiments.gpu.texts", "texts"),
    "resume": ("experiments.gpu.resume", "resume"),
    "processes": ("experiments.gpu.processes", "processes"),
}
"""By name, in the order in which they run: the module and its function, which fills in a dict of cases."""

ALONE = {"resume": {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}}
"""Sections that run in a process of their own, for they need these variables from its start."""


@dataclass
class Setting:
    """What every section is told."""

    device: str
    quick: bool
    folder: Path
    deadline: float  # of the monotonic clock: what a section has not begun by then is left out
    results: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)  # results of before, whose cases that passed are not run again

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def late(self) -> bool:
        return time.monotonic() > self.deadline

    def save(self) -> None:
        """Write results.json, atomically."""
        partial = self.folder / "results.json.part"
        partial.write_text(json.dumps(self.results, indent=1, default=str) + "\n", encoding="utf-8")
        partial.replace(self.folder / "results.json")


class Cases(dict[str, Any]):
    """The cases of one section: each is run by itself, and saved when it is done."""

    def __init__(self, setting: Setting, name: str) -> None:
        super().__init__()
        self.setting, self.name = setting, name
        self.setting.results[name] = self

    def run(self, name: str, function: Any, *arguments: Any, **options: Any) -> Any:
        """Call a function and keep its result, or its traceback; not after the deadline."""
        before = self.setting.kept.get(self.name, {}).get(name)
        if passed(before):
            self[name] = before
            return before
        if self.setting.late:
            self[name] = {"left_out": "time"}
            return None
        began = time.perf_counter()
        try:
            self[name] = function(*arguments, **options)
        except KeyboardInterrupt:
            raise
        except BaseException:  # SystemExit and what torch raises from C++, too: the next case is to run
            self[name] = {"ok": False, "error": traceback.format_exc()[-3000:]}
            self._recover()
        if isinstance(self[name], dict):
            self[name]["seconds"] = round(time.perf_counter() - began, 2)
        self.setting.save()
        return self[name]

    def _recover(self) -> None:
        """Free what a failed case left on the device."""
        import gc

        gc.collect()
        if self.setting.cuda:
            import torch

            torch.cuda.set_sync_debug_mode("default")
            torch.cuda.empty_cache()


def missing(modules: dict[str, str]) -> list[str]:
    """The packages of those modules that are not installed."""
    return sorted(package for name, package in modules.items() if importlib.util.find_spec(name) is None)


def facts(device: str) -> dict[str, Any]:
    """What every number depends on."""
    import platform

    import torch

    found: dict[str, Any] = {
        "device": device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cpus": os.cpu_count(),
        "cudnn": torch.backends.cudnn.version(),
        "lacks": {"needed": missing(NEEDED), "optional": missing(OPTIONAL)},
    }
    if device.startswith("cuda"):
        card = torch.cuda.get_device_properties(device)
        found |= {
            "card": card.name,
            "gibibytes": round(card.total_memory / 2**30, 1),
            "multiprocessors": card.multi_processor_count,
            "capability": f"{card.major}.{card.minor}",
        }
    return found


def run(setting: Setting, only: Sequence[str]) -> None:
    """All sections, or those named."""
    setting.results["facts"] = facts(setting.device)
    setting.save()
    for name, (module, function) in SECTIONS.items():
        if only and name not in only:
            continue
        began = time.perf_counter()
        cases = Cases(setting, name)
        try:
            if any(os.environ.get(key) != value for key, value in ALONE.get(name, {}).items()):
                _alone(setting, name)
            else:
                getattr(importlib.import_module(module), function)(setting, cases)
        except Exception:
            cases["section"] = {"ok": False, "error": traceback.format_exc()[-3000:]}
        seconds = round(time.perf_counter() - began, 1)
        setting.results.setdefault("seconds", {})[name] = seconds
        setting.save()
        failed = failures(setting.results[name])
        print(f"{name}: {seconds} s, {len(setting.results[name])} cases, {len(failed)} failed", flush=True)
        for case in failed:
            print(f"  {case}: {reason(setting.results[name][case])}", flush=True)


def _alone(setting: Setting, name: str) -> None:
    """Run a section in another process, and take its cases from the results that it writes."""
    folder = setting.folder / name
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "experiments.gpu.check", "--device", setting.device, "--only", name]
    command += ["--output", str(folder), "--seconds", str(max(1, round(setting.deadline - time.monotonic())))]
    command += ["--quick"] if setting.quick else []
    if setting.kept:
        (folder / "results.json").write_text(json.dumps(setting.kept), encoding="utf-8")
        command.append("--keep")
    subprocess.run(command, env={**os.environ, **ALONE[name]}, stdout=subprocess.DEVNULL, timeout=240)
    setting.results[name] = json.loads((folder / "results.json").read_text(encoding="utf-8"))[name]


def passed(case: Any) -> bool:
    """Whether a case was run, and nothing was wrong."""
    return isinstance(case, dict) and case.get("ok") is not False and "left_out" not in case


def failures(cases: dict[str, Any]) -> list[str]:
    """The cases that did not pass."""
    return [name for name, case in cases.items() if isinstance(case, dict) and case.get("ok") is False]


def reason(case: dict[str, Any]) -> str:
    """Why a case failed, in a line."""
    if "error" in case:
        return str(case["error"]).strip().split("\n")[-1][:300]
    return ", ".join(f"{key}={value}" for key, value in case.items() if key not in ("ok", "seconds"))[:300]


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:1 …, or cpu")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only to see that all of it runs")
    parser.add_argument("--only", nargs="+", default=[], choices=SECTIONS, metavar="NAME", help=", ".join(SECTIONS))
    parser.add_argument("--keep", action="store_true", help="run only the cases that failed in DIR, or were left out")
    parser.add_argument("--seconds", type=float, default=470, help="after these, no further case begins (default: 470)")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    chosen = arguments(words)
    lacks = {kind: missing(modules) for kind, modules in (("needed", NEEDED), ("optional", OPTIONAL))}
    print(f"not installed, and done without: {', '.join(lacks['optional']) or 'nothing'}")
    if lacks["needed"]:
        print(f"not installed, and needed: {', '.join(lacks['needed'])}; the sections that import them will fail")
    import torch

    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        print(f"--device {chosen.device}: torch {torch.__version__} sees no CUDA device; use --device cpu")
        return 2
    chosen.output.mkdir(parents=True, exist_ok=True)
    setting = Setting(chosen.device, chosen.quick, chosen.output, time.monotonic() + chosen.seconds)
    if (chosen.only or chosen.keep) and (chosen.output / "results.json").is_file():
        setting.results = json.loads((chosen.output / "results.json").read_text(encoding="utf-8"))
        card = setting.results.get("facts", {}).get("card")
        if chosen.keep and card == facts(chosen.device).get("card"):
            setting.kept = dict(setting.results)
        elif chosen.keep:
            print(f"--keep: {chosen.output} has the results of another card, {card}; all cases are run")
    run(setting, chosen.only)
    try:
        from experiments.gpu import report

        report.write(setting.results, setting.folder)
        print((setting.folder / "results.md").read_text(encoding="utf-8")[-9000:])
    except Exception:
        traceback.print_exc()
    return int(any(failures(setting.results.get(name, {})) for name in SECTIONS))


if __name__ == "__main__":
    sys.exit(main())
