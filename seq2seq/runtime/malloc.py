"""Keep freed memory: training frees and asks for the same large blocks again and again, and fresh pages are dear.

glibc gives a freed block above 32 MiB (M_MMAP_THRESHOLD's largest value), and a free top of the heap, back to the
system; the next block comes as fresh pages, which the system zeroes at 2–3 GB/s. `mallopt` tells it to keep both:
https://man7.org/linux/man-pages/man3/mallopt.3.html. The peak stays what it was; it is given back at the process's end.
"""

from __future__ import annotations

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
SWITCH = "SEQ2SEQ_KEEP_MEMORY"
"""The environment variable that turns it off: 0."""


def keep_freed_memory() -> bool:
    """On Linux with glibc, for this process; elsewhere, or where the switch is 0, nothing. Whether it was done."""
    if os.environ.get(SWITCH, "1") == "0" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
