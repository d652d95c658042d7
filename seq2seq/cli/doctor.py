"""`seq2seq doctor`: describes this machine and installation, and what is wrong with them.

Its output belongs into a bug report (`--format json` for programs). Values of variables that may be secret are hidden.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

from seq2seq import __version__
from seq2seq.cli.info import add_format
from seq2seq.runtime.redaction import hide

BUSY = 0.5  # load per CPU above which other processes slow training down


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq doctor`."""
    add_format(parser)


def run(arguments: Namespace) -> int:
    """Print facts, problems and notes; return 1 if there are problems."""
    report = Report()
    examine(report)
    report.facts, report.problems, report.notes = hide(report.facts), hide(report.problems), hide(report.notes)
    if arguments.format == "json":
        report_of = {"facts": report.facts, "problems": report.problems, "notes": report.notes}
        print(json.dumps(report_of, indent=2, default=str))
    else:
        report.show()
    return 1 if report.problems else 0


class Report:
    """Facts by name, problems (something needed is broken), and notes (something could be better)."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []

    def find(self, name: str, fact: Callable[[], Any], *, needed: bool = False) -> Any:
        """Record the result of `fact()`; an exception is recorded as a note, or as a problem if `needed`."""
        try:
            self.facts[name] = fact()
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            self.facts[name] = f"failed ({reason})"
            (self.problems if needed else self.notes).append(f"{name}: {reason}")
            return None
        return self.facts[name]

    def show(self) -> None:
        """Print the report as text."""
        from seq2seq.cli.describing.text import lines, printable, shown

        flat = {name: shown(fact) for name, fact in self.facts.items()}
        for line in lines(flat):
            print(line)
        for kind, texts in (("problem", self.problems), ("note", self.notes)):
            for text in texts:
                print(f"{kind}: {printable(text)}")
        if not self.problems:
            print("nothing that is needed is broken")


def examine(report: Report) -> None:
    """Collect all facts for a bug report. The load is read first, before this command adds to it."""
    from seq2seq.cli.describing import environment, installation, machine, torch_build

    load = machine.load()
    report.find("seq2seq", lambda: f"{__version__}, {installation.kind()}")
    report.find("python", machine.python)
    report.find("system", machine.system)
    report.find("processor", machine.processor)
    cores = report.find("cores", lambda: _known(machine.cores()))
    report.find("memory", machine.memory)
    _load(report, load, cores)
    _packages(report)
    built = report.find("torch", torch_build.build, needed=True)
    if built is not None:
        report.find("threads", torch_build.threads)
        report.find("gflops", torch_build.speed)
        report.find("revision", _revision)
    _gpus(report, built)
    report.find("wandb", _wandb)
    for name, place in (("cache", "cache_root"), ("data", "data_root")):
        _folder(report, name, place)
    report.find("variables", lambda: environment.variables() or "none of seq2seq, OpenMP or MKL")


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _revision() -> str:
    from seq2seq.training.records.provenance import git_revision

    return git_revision() or "not a git checkout"


def _wandb() -> dict[str, Any]:
    """The mode in which `logger=wandb` would run, and the variables that affect it."""
    from seq2seq.cli.describing.environment import names
    from seq2seq.training.configuration.wandb_options import logged_in, read_settings, resolve

    mode, account = resolve(None).mode, logged_in(read_settings())
    state = "logged in" if account else "not logged in (`wandb login`; `wandb sync` uploads later)"
    return {"mode": mode, "account": state, "set": names("WANDB_") or "no WANDB_ variable"}


def _load(report: Report, load: float | None, cores: dict[str, Any] | None) -> None:
    if load is None:
        return
    report.facts["load"] = round(load, 2)
    if cores and load > BUSY * cores["machine"]:
        report.notes.append(
            f"load: {load:.1f} processes wanted {cores['machine']} CPUs in the last minute; training is slower next to "
            "them: end them, or use fewer threads (trainer.threads)"
        )


def _packages(report: Report) -> None:
    from seq2seq.cli.describing import installation

    packages = report.find("packages", lambda: list(installation.requirements()))
    if not packages:
        report.facts["packages"] = "unknown: the package is not installed (pip install -e .)"
        return
    report.facts["packages"] = {each.name: each.description for each in packages if not each.extra}
    for each in packages:
        if not each.extra and not each.right:
            report.problems.append(f"{each.name}: {each.description}; pip install '{each.name}{each.needed}'")
    extras = dict.fromkeys(each.extra for each in packages if each.extra)
    report.facts["extras"] = {extra: _extra(extra, packages) for extra in extras}


def _extra(extra: str, packages: list[Any]) -> str:
    lacking = [each.name for each in packages if each.extra == extra and not each.right]
    return f"lacks {' '.join(lacking)}" if lacking else "present"


def _gpus(report: Report, built: dict[str, Any] | None) -> None:
    from seq2seq.cli.describing import machine, torch_build

    driver = machine.gpu_driver()
    gpus = (report.find("gpu", torch_build.gpus) if built else None) or []
    report.facts["gpu"] = gpus or "none that torch can use"
    if driver:
        report.facts["gpu_driver"] = driver
    if driver and not any(each != "mps" for each in gpus):
        report.notes.append("gpu: there is one, but this torch cannot use it; install a build of torch for its CUDA")


def _folder(report: Report, name: str, place: str) -> None:
    from seq2seq.cli.describing.environment import writable
    from seq2seq.runtime import paths

    folder = report.find(name, getattr(paths, place), needed=name == "cache")
    if folder is None:
        return
    report.facts[name] = f"{folder} ({'writable' if (can := writable(folder)) else 'not writable'})"
    if not can:
        variable = {"cache": "SEQ2SEQ_CACHE", "data": "SEQ2SEQ_DATA"}[name]
        text = f"{name}: {folder} cannot be written; set {variable} to a folder that can"
        (report.problems if name == "cache" else report.notes).append(text)
