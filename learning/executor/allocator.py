"""Memory that tensors free is kept for those of the next step, where the C library lets a program choose.

The GNU C library maps each large block anew and gives it back when it is freed, and the kernel clears its pages each
time, which takes a fifth of the time of training a small convolutional network on images.
"""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Names of settings in malloc.h (mallopt(3))."""
MIB = 2**20
SETTINGS = {M_MMAP_THRESHOLD: 32 * MIB, M_TRIM_THRESHOLD: 256 * MIB, M_TOP_PAD: 16 * MIB}
"""Blocks up to the largest size that is allowed come from the heap, of which up to 256 MiB that are free are kept."""


def keep_freed_memory() -> bool:
    """Set the C library's thresholds for this process and those that it forks; returns whether that was possible.

    They stay as they are where the environment sets any (MALLOC_...), and on systems without `mallopt`.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, size) == 1 for name, size in SETTINGS.items())
