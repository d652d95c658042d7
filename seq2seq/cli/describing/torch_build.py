"""The build of torch, its devices, and the speed of its matrix product on this machine."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from typing import Any

SIZE, SECONDS = 1024, 0.5
"""Rows and columns of the measured matrices, and the time to measure."""


def build() -> dict[str, Any]:
    """torch's version, its libraries, and the instruction set of its kernels."""
    import torch

    blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda or "not built in",
        "blas": blas[1] if blas else "unknown",
        "mkl": torch.backends.mkl.is_available(),
        "onednn": torch.backends.mkldnn.is_available(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def gpus() -> list[str]:
    """The GPUs that torch can use."""
    import torch

    devices = []
    for i in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(i)
        devices.append(
            f"{device.name}, {device.total_memory / 2**30:.0f} GiB, capability {device.major}.{device.minor}"
        )
    return devices + (["mps"] if torch.backends.mps.is_available() else [])


def threads() -> int:
    """The default number of threads for training and translation."""
    from seq2seq.runtime.threads import limit_threads

    return limit_threads()


def speed() -> dict[str, Any]:
    """Median GFLOP/s of a float32 matrix product with torch's BLAS and with oneDNN, and which of them is used."""
    import torch

    from seq2seq.nn import matmul_library

    a, b = (torch.randn(SIZE, SIZE) for _ in range(2))
    speeds: dict[str, Any] = {"torch": _rate(lambda: torch.mm(a, b))}
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if operator is not None and torch.backends.mkldnn.is_available():
        try:
            speeds["onednn"] = _rate(lambda: operator(a, b.t(), None, "none", [], ""))
        except RuntimeError as error:  # processor or build have no such kernel
            speeds["onednn"] = f"does not work here ({str(error).partition(chr(10))[0]})"
    return speeds | {"used": matmul_library.name()}


def _rate(product: Callable[[], object]) -> float:
    times: list[float] = []
    product()
    end = time.perf_counter() + SECONDS
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        product()
        times.append(time.perf_counter() - begin)
    return round(2 * SIZE**3 / statistics.median(times) / 1e9, 1)
