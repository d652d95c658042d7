"""Time on a device: how long calls take, what share of it kernels do, and what the card can do at most."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from experiments.gpu.check import Cases, Setting


def synchronize(setting: Setting) -> None:
    if setting.cuda:
        torch.cuda.synchronize()


def seconds(setting: Setting, function: Callable[[], Any], repeats: int, warm: int = 2) -> list[float]:
    """How long each of some calls takes, by the device's clock; after some that are not counted."""
    for _ in range(warm):
        function()
    synchronize(setting)
    if not setting.cuda:
        found = []
        for _ in range(repeats):
            began = time.perf_counter()
            function()
            found.append(time.perf_counter() - began)
        return found
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    marks[0].record()
    for mark in marks[1:]:
        function()
        mark.record()
    synchronize(setting)
    return [one.elapsed_time(other) / 1000 for one, other in itertools.pairwise(marks)]


def kernels(setting: Setting, function: Callable[[], Any]) -> dict[str, Any]:
    """Seconds in kernels and copies, how many there were, and the largest, of one call, by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    if not setting.cuda:
        return {}
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        function()
        synchronize(setting)
    events = [event for event in profiler.events() if str(event.device_type).endswith("CUDA")]
    by_name: dict[str, float] = {}
    for event in events:
        by_name[event.name] = by_name.get(event.name, 0.0) + event.time_range.elapsed_us() / 1e6
    top = sorted(by_name.items(), key=lambda item: -item[1])[:8]
    return {
        "kernel_seconds": sum(by_name.values()),
        "kernels": len(events),
        "largest": {name[:80]: round(1000 * value, 3) for name, value in top},
    }


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """`float32` in full, `tf32` with matrix units, `bf16` under autocast."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if name == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = name != "float32"
    try:
        if name != "bf16":
            yield
            return
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):  # as Lightning's: weights change within
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def peaks(setting: Setting, cases: Cases) -> None:
    """The rates that shares are of: products of 8192² matrices, and a large copy; and what a launch costs."""
    size = 8192 if setting.cuda else 256
    for name, dtype in (("float32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        cases.run(name, _product_rate, setting, name, dtype, size)
    cases.run("copy", _copy_rate, setting)
    cases.run("launch", _launch_rate, setting)


def _product_rate(setting: Setting, name: str, dtype: torch.dtype, size: int) -> dict[str, float]:
    one, other = (torch.randn(size, size, device=setting.device).to(dtype) for _ in range(2))
    out = torch.empty_like(one)
    with precision("float32" if name == "float32" else "tf32"):
        taken = seconds(setting, lambda: torch.mm(one, other, out=out), 10)
    return {"flops": 2 * size**3 / statistics.median(taken)}


def _copy_rate(setting: Setting) -> dict[str, float]:
    one = torch.randn(1 << (29 if setting.cuda else 20), device=setting.device)
    other = torch.empty_like(one)
    taken = seconds(setting, lambda: other.copy_(one), 10)
    return {"bytes": 8 * one.numel() / statistics.median(taken)}


def _launch_rate(setting: Setting) -> dict[str, float]:
    x = torch.zeros(8, device=setting.device)

    def many() -> None:
        for _ in range(1000):
            x.add_(1.0)

    return {"microseconds": 1000 * statistics.median(seconds(setting, many, 5))}


def peak(setting: Setting, name: str) -> float | None:
    """FLOP a second of the products of that precision, measured before."""
    value: float | None = setting.results.get("peaks", {}).get(name, {}).get("flops")
    return value
