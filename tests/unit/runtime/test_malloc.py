"""Freed memory stays with the process, and the switch turns that off."""

import platform
import subprocess
import sys

import pytest

CHILD = """
import ctypes, resource, sys
from seq2seq.runtime.malloc import keep_freed_memory
assert keep_freed_memory() is (sys.argv[1] == "1")
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def use():
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_large_blocks_are_used_again():
    faults = {
        switch: int(
            subprocess.run(
                [sys.executable, "-c", CHILD, switch],
                capture_output=True,
                check=True,
                text=True,
                env={"SEQ2SEQ_KEEP_MEMORY": switch, "PATH": ""},
            ).stdout
        )
        for switch in "01"
    }
    assert faults["1"] < 1000 < faults["0"]  # 4 × 64 MiB are 65,536 pages, unless pages are huge
