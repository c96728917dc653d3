"""Whose voice comes by which side of a stream: a recording client may let two voices change places."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Sides"]

_SETTLED_NS: Final = 1_000_000_000
"""After so long no packet from before can be waiting in the ring."""


@dataclass(slots=True)
class _Places:
    swapped: bool = False  # before the first of the turns
    at_ns: list[int] = field(default_factory=list)
    to: list[bool] = field(default_factory=list)


class Sides:
    """Streams whose voices have changed places, and when."""

    def __init__(self) -> None:
        """Begin with none."""
        self._places: dict[int, _Places] = {}

    def __len__(self) -> int:
        """Number of streams that are remembered."""
        return len(self._places)

    def swap(self, stream: int, at_ns: int, *, swapped: bool) -> None:
        """From an instant on, the voices of a stream have changed places, or are back.

        Args:
            stream: Of the relay.
            at_ns: When, monotonic; not before the one that was given last for this stream.
            swapped: Whether the caller's voice comes by the callee's side.
        """
        places = self._places.setdefault(stream, _Places())
        places.at_ns.append(at_ns)
        places.to.append(swapped)

    def settle(self, records: npt.NDArray[np.void]) -> None:
        """Give each packet the side of the party whose voice it is, in place.

        Args:
            records: As from ``rtp.Fork``, sorted by arrival.
        """
        for stream, places in list(self._places.items()):
            mine = np.flatnonzero(records["stream"] == stream)
            states = np.array([places.swapped, *places.to])
            turns = np.searchsorted(places.at_ns, records["arrival_ns"][mine], side="right")
            records["side"][mine] ^= states[turns]
            if len(records):
                self._forget(stream, places, int(records["arrival_ns"][-1]) - _SETTLED_NS)

    def _forget(self, stream: int, places: _Places, until_ns: int) -> None:
        past = bisect_right(places.at_ns, until_ns)
        if past:
            places.swapped = places.to[past - 1]
            del places.at_ns[:past], places.to[:past]
        if not places.at_ns and not places.swapped:
            del self._places[stream]
