"""How the C library gives memory back, in a process whose recorder needs megabytes for milliseconds."""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ["return_large_blocks"]

_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 128 << 10
_SPARE_BYTES: Final = 1 << 20


def return_large_blocks() -> None:
    """Have every block of 128 KiB or more go back to the system when it is freed.

    Twice a second the recorder makes arrays of all packets that came. glibc starts with this very
    size, but unless it is set raises it to that of whatever was freed last: then they come out of the
    recorder's heap, what a call keeps is put between them, and the heap stays as large as ever. A C
    library without ``mallopt`` is left as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _SPARE_BYTES)
