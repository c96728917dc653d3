"""The times from which nothing is kept: before the start, and pauses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rtp.timeline.packets import Packets

__all__ = ["Holds"]

_MOST: Final = 64
_EVER: Final = -(1 << 62)


@dataclass(slots=True)
class _Hold:
    """One such time; `until_ns` is None while it lasts."""

    from_ns: int
    until_ns: int | None


class Holds:
    """Holds that packets may still fall into, in order; at first, all time before 0."""

    __slots__ = ("_holds",)

    def __init__(self) -> None:
        """Start with the time before the start."""
        self._holds = [_Hold(_EVER, 0)]

    def __bool__(self) -> bool:
        return bool(self._holds)

    def begin(self, at_ns: int) -> bool:
        """Begin a pause.

        Args:
            at_ns: When.

        Returns:
            False if one lasts already; nothing changes then.
        """
        if self._holds and self._holds[-1].until_ns is None:
            return False
        self._holds.append(_Hold(at_ns, None))
        if len(self._holds) > _MOST:
            # Nothing came between these two for so long that they count as one.
            first, second = self._holds[:2]
            self._holds[:2] = [_Hold(first.from_ns, second.until_ns)]
        return True

    def end(self, at_ns: int) -> None:
        """End the pause that lasts, if any."""
        if self._holds and self._holds[-1].until_ns is None:
            self._holds[-1].until_ns = at_ns

    def split(self, packets: Packets) -> tuple[Packets, int, Packets]:
        """Part packets by the first hold.

        Args:
            packets: In order of arrival.

        Returns:
            Those before it, the number of those in it, and those after it.
        """
        hold = self._holds[0]
        first = int(np.searchsorted(packets.arrival_ns, hold.from_ns))
        if hold.until_ns is None:
            return packets[:first], len(packets) - first, packets[:0]
        last = max(int(np.searchsorted(packets.arrival_ns, hold.until_ns)), first)
        return packets[:first], last - first, packets[last:]

    def pass_first(self) -> int:
        """Forget the first hold, which has ended; give when."""
        until_ns = self._holds.pop(0).until_ns
        assert until_ns is not None  # noqa: S101  (packets came after it)
        return until_ns
