"""The operating system, processor, memory and load of this machine, from the system's files, without torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from seq2seq.cli.describing.bundles import human
from seq2seq.runtime.threads import available_cpus

INSTRUCTIONS = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16"),
    *("asimd", "sve", "bf16"),
)
"""The instruction sets that matter for torch's kernels."""

CGROUP = Path("/sys/fs/cgroup")
PATIENCE = 10  # seconds: timeout of other programs


def system() -> str:
    """The operating system and its release."""
    name = ""
    with suppress(OSError, AttributeError):
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    return f"{name or platform.system()} ({platform.platform(terse=True)})"


def processor() -> dict[str, Any]:
    """The processor's model and its INSTRUCTIONS."""
    text = _read(Path("/proc/cpuinfo"))
    lines = dict(line.split(":", 1) for line in reversed(text.splitlines()) if ":" in line)
    cpu = {key.strip(): value.strip() for key, value in lines.items()}
    model = cpu.get("model name") or _answer("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    flags = set((cpu.get("flags") or cpu.get("Features") or "").split())
    return {
        "model": model or platform.machine(),
        "instructions": [each for each in INSTRUCTIONS if each in flags] or platform.machine(),
    }


def cores() -> dict[str, Any]:
    """The numbers of CPUs of the machine, of each limit, and available to this process."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    slurm = {name: os.environ[name] for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE") if name in os.environ}
    return {
        "available": available_cpus(),
        "machine": os.cpu_count(),
        "affinity": affinity,
        "cgroup": _quota(_read(CGROUP / "cpu.max")),
        "slurm": slurm or None,
    }


def _quota(text: str) -> float | None:
    """The CPUs of a cgroup's limit, from "quota period"; None if there is no limit."""
    quota, _, period = text.partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.strip().isdigit() else None


def memory() -> dict[str, str]:
    """Total and available memory, and a cgroup's limit."""
    rows = (line.split(":") for line in _read(Path("/proc/meminfo")).splitlines())
    sizes_by_name = {key: int(value.split()[0]) * 1024 for key, value in rows}
    sizes = {"total": sizes_by_name.get("MemTotal") or _pages(), "available": sizes_by_name.get("MemAvailable")}
    limit = _read(CGROUP / "memory.max").strip()
    sizes["cgroup"] = int(limit) if limit.isdigit() else None
    return {name: human(size) for name, size in sizes.items() if size}


def _pages() -> int | None:
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def load() -> float | None:
    """The load average over the last minute; None if the system has none."""
    with suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return None


def gpu_driver() -> list[str]:
    """Name, driver and memory of each GPU, from nvidia-smi; empty without it."""
    text = _answer("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    return [line.strip() for line in text.splitlines() if line.strip()]


def python() -> str:
    """Version, implementation and path of the interpreter."""
    inside = "" if sys.prefix == sys.base_prefix else ", virtual environment"
    return f"{platform.python_version()} ({platform.python_implementation()}{inside}) {sys.executable}"


def _read(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def _answer(*command: str) -> str:
    """The output of a program; empty if it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout.strip()
    return ""
