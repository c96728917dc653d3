"""The compiled engine; the only file that names it."""

from rtp._native import ffi, lib

__all__ = ["ffi", "lib"]
