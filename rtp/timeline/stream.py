"""One RTP stream of one side: its account, its clock, and packets still on trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from rtp.timeline.ledger import SequenceLedger
from rtp.timeline.packets import Packets
from rtp.timeline.streamclock import StreamClock

__all__ = ["Stream", "Trial"]

_STUCK_NS: Final = 1_000_000_000
"""After this long with nothing but late packets, the anchor is not believed."""


@dataclass(slots=True)
class Trial:
    """Packets kept until it is certain where they belong in time.

    Attributes:
        since_ns: Arrival of the first.
        parts: The packets, copied.
        count: How many.
    """

    since_ns: int
    parts: list[Packets] = field(default_factory=list)
    count: int = 0

    def add(self, packets: Packets) -> None:
        """Keep some more."""
        if len(packets):
            self.parts.append(packets.kept())
            self.count += len(packets)

    def forget(self, at_ns: int) -> None:
        """Drop what arrived at or after a moment."""
        parts = [part[part.arrival_ns < at_ns] for part in self.parts]
        self.parts = [part for part in parts if len(part)]
        self.count = sum(map(len, self.parts))


@dataclass(slots=True)
class Stream:
    """What is known of one SSRC.

    Attributes:
        ssrc: As received.
        ledger: Account of its sequence numbers.
        clock: None until its first packets have been placed.
        clock_hz: RTP clock rate of its codec; 0 before the first audio packet.
        trial: Packets to be placed; None when there are none.
        ended: Whether another SSRC came after it; its stragglers are placed, but nothing begins anew.
        suspect: Whether the next packet must show that the clock still holds.
        late_since_ns: Arrival of the first of an unbroken row of late packets; None when the last
            one was in time.
        last_event: Timestamp of the last telephone-event.
    """

    ssrc: int
    ledger: SequenceLedger = field(default_factory=SequenceLedger)
    clock: StreamClock | None = None
    clock_hz: int = 0
    trial: Trial | None = None
    ended: bool = False
    suspect: bool = False
    late_since_ns: int | None = None
    last_event: int | None = None

    def first_stuck(self, late: npt.NDArray[np.bool_], arrival_ns: npt.NDArray[np.int64]) -> int | None:
        """Find the packet at which an unbroken row of late ones has lasted for over a second.

        Args:
            late: Of each packet, whether it came too late.
            arrival_ns: Arrivals, in order.

        Returns:
            Its index, or None.
        """
        if not late.any():
            if len(late):
                self.late_since_ns = None
            return None
        order = np.arange(len(late))
        last_in_time = np.maximum.accumulate(np.where(late, -1, order))
        since = arrival_ns[np.minimum(last_in_time + 1, len(late) - 1)]
        if self.late_since_ns is not None:
            since = np.where(last_in_time < 0, self.late_since_ns, since)
        stuck = np.flatnonzero(late & (arrival_ns - since > _STUCK_NS))
        if len(stuck):
            return int(stuck[0])
        self.late_since_ns = int(since[-1]) if late[-1] else None
        return None
