"""What happens to freed memory, switched in one process: kept, as `seq2seq train` and `translate-file` keep it, or
given back to the system, as in any other program."""

from __future__ import annotations

import ctypes
import platform

from seq2seq.runtime.malloc import M_MMAP_MAX, M_TRIM_THRESHOLD, keep_freed_memory

M_MMAP_THRESHOLD = -3  # malloc.h
MMAP_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = 65_536, 32 << 20, 64 << 20
"""glibc's own: the thresholds move with the largest block freed, up to these values, which training soon reaches; once
one of them was set, they no longer move."""


def settle(*, keep: bool) -> None:
    """Keep freed memory from now on, or give it back, what is free now included; nothing where there is no glibc."""
    if keep:
        keep_freed_memory()
    elif platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for option, value in (
            (M_MMAP_MAX, MMAP_MAX),
            (M_MMAP_THRESHOLD, MMAP_THRESHOLD),
            (M_TRIM_THRESHOLD, TRIM_THRESHOLD),
        ):
            library.mallopt(option, value)
        library.malloc_trim(0)
