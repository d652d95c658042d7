"""Keep freed memory: training allocates and frees the same large blocks repeatedly, and fresh pages are slow.

glibc returns a freed block above 32 MiB (M_MMAP_THRESHOLD's largest value), and a free top of the heap, to the system;
the next block consists of fresh pages, which the system zeroes at 2–3 GB/s. `mallopt` lets glibc keep both:
https://man7.org/linux/man-pages/man3/mallopt.3.html. The peak memory does not change.
"""

from __future__ import annotations

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
SWITCH = "SEQ2SEQ_KEEP_MEMORY"
"""The environment variable that turns it off, if it is 0."""


def keep_freed_memory() -> bool:
    """Keep freed memory in this process, on Linux with glibc and unless the switch is 0. Returns whether it does."""
    if os.environ.get(SWITCH, "1") == "0" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
