"""Giving memory back: what images took for a moment must not stay a process's for ever.

glibc keeps what was freed for the next use, in an arena for each thread, and takes ever larger blocks into these arenas
(«dynamic threshold»). A server that has looked at large images in many threads, or a worker that has analyzed several
parts of a video with new threads for each, so keeps several times what it needs.
On other C libraries nothing is done here.
"""

import ctypes
import sys

M_MMAP_THRESHOLD = -3
LARGE_BYTES = 1 << 20  # blocks from this size on are mapped for themselves, and gone when they are freed


def keep_little() -> None:
    """Have large blocks given back as soon as they are free; to be called before the threads start."""
    library = _glibc()
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def give_back() -> None:
    """Give back what is free in all arenas; takes some milliseconds."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
