"""Keep the memory that a step on a CPU frees for the next step."""

from __future__ import annotations

import ctypes
import functools
import os

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 2**25
"""The largest value that glibc accepts for the second threshold; a larger tensor is returned and cleared each time."""


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep the memory that this process frees, up to the most that it has held.

    By default it returns memory to the system as soon as a few megabytes are free at the end of the heap, and every step
    requests it again, page by page and cleared, which slows down the steps of small networks. Without glibc, or if the user
    has set its thresholds, nothing is changed.
    """
    is_set = "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None and not is_set:
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
