"""The packets of a batch, stream by stream."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["by_stream"]


def by_stream(records: npt.NDArray[np.void]) -> list[tuple[int, npt.NDArray[np.void]]]:
    """Part the records of a batch by stream.

    Args:
        records: As from ``rtp.Fork``, sorted by arrival.

    Returns:
        Stream and its records, each stream once, still sorted by arrival.
    """
    ranked = records[np.argsort(records["stream"], kind="stable")]
    numbers = ranked["stream"]
    cuts = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist(), len(ranked)]
    return [(int(numbers[start]), ranked[start:stop]) for start, stop in pairwise(cuts) if start < stop]
