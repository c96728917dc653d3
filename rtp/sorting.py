"""Sorts a batch of the fork by stream and side, natively: once for all calls."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtp._binding import ffi, lib
from rtp.errors import RelayError
from rtp.runs import Run, SortedBatch

__all__ = ["RUN_DTYPE", "sort_batch"]

_WORDS = [("stream", "u8"), ("first_ns", "i8"), ("last_ns", "i8"), ("least_ns", "i8"), ("most_ns", "i8")]
_HALVES = [(name, "u4") for name in ("first", "packets", "offset", "bytes", "timestamp", "ssrc")]
_REST = [("sequence", "u2"), ("length", "u2"), *((name, "u1") for name in Run._fields[-4:])]

RUN_DTYPE = np.dtype([*_WORDS, *_HALVES, *_REST])
"""The layout of `struct relay_run`."""

_SCRATCH = 6
"""Numbers that the engine needs for each packet."""


def sort_batch(records: npt.NDArray[np.void], data: npt.NDArray[np.uint8]) -> SortedBatch:
    """Put each side of each stream in one piece.

    Args:
        records: As from `Fork.drain`, in order of arrival.
        data: Their payloads.

    Returns:
        The packets that are to be recorded: all but those that are `event_only`. It owns its arrays.

    Raises:
        ValueError: The records are not laid out as those of the fork.
        RelayError: The records point outside of the payloads (a fault of the engine).
    """
    count = len(records)
    if records.dtype.itemsize != ffi.sizeof("struct relay_record"):
        raise ValueError(f"records of {records.dtype.itemsize} bytes are not those of the fork")
    records, data = np.ascontiguousarray(records), np.ascontiguousarray(data)
    ranked, payloads = np.empty_like(records), np.empty_like(data)
    swings, runs = np.empty(count, np.int64), np.empty(count, RUN_DTYPE)
    scratch = np.empty(_SCRATCH * count, np.uint32)
    found = lib.relay_runs(
        ffi.from_buffer("struct relay_record[]", records),
        count,
        ffi.from_buffer("uint8_t[]", data),
        len(data),
        ffi.from_buffer("uint32_t[]", scratch, require_writable=True),
        ffi.from_buffer("struct relay_record[]", ranked, require_writable=True),
        ffi.from_buffer("uint8_t[]", payloads, require_writable=True),
        ffi.from_buffer("int64_t[]", swings, require_writable=True),
        ffi.from_buffer("struct relay_run[]", runs, require_writable=True),
    )
    if found < 0:
        raise RelayError(f"fork: {count} records point outside of their {len(data)} bytes of payload")
    sides = [Run._make(side) for side in runs[:found].tolist()]
    kept = sum(run.packets for run in sides)
    return SortedBatch(ranked[:kept], payloads, swings[:kept].tolist(), sides)
