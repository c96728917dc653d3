"""A batch of the fork, sorted by stream and side, and what is known of each side's packets at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["RUN_CLOCK_HZ", "Run", "SortedBatch"]

RUN_CLOCK_HZ: Final = 8000
"""RTP clock of the codecs whose runs are told; one byte is one unit of it, as in G.711."""

_SECOND_NS: Final = 1_000_000_000


class Run(NamedTuple):
    """Packets of one side of a stream; the fields of `struct relay_run`, in its order.

    A tuple, because there are two for each call in each batch.

    Attributes:
        stream: Of the relay.
        first_ns: Arrival of the first packet.
        last_ns: Of the last one.
        least_ns: Least of (arrival - 125 us for each byte before) of the packets.
        most_ns: The most of it.
        first: Where the records begin in `SortedBatch.records`.
        packets: How many there are.
        offset: Where the payloads begin in `SortedBatch.data`.
        bytes: All payloads together.
        timestamp: Of the first packet, as the fields that follow.
        ssrc: As received.
        sequence: As received.
        length: Bytes of the payload.
        side: 0 the caller, 1 the callee.
        payload_type: As received.
        even: 1 if they are an unbroken run: one SSRC, payload type and length, which is not 0,
            sequence numbers one after the other, timestamps that count the bytes.
        reserved: Nothing.
    """

    stream: int
    first_ns: int
    last_ns: int
    least_ns: int
    most_ns: int
    first: int
    packets: int
    offset: int
    bytes: int
    timestamp: int
    ssrc: int
    sequence: int
    length: int
    side: int
    payload_type: int
    even: int
    reserved: int


@dataclass(frozen=True, slots=True)
class SortedBatch:
    """The packets of a batch that are to be recorded.

    Attributes:
        records: Records of `rtp.fork`: each side of each stream in one piece, in order of arrival.
        data: Their payloads, in the same order.
        swings: Of each packet but the first of its side, by how many nanoseconds its distance to
            the one before is not that of an even run.
        runs: Each side of each stream once.
    """

    records: npt.NDArray[np.void]
    data: npt.NDArray[np.uint8]
    swings: list[int]
    runs: list[Run]

    def records_of(self, run: Run) -> npt.NDArray[np.void]:
        """The records of one side.

        Args:
            run: Of this batch.

        Returns:
            A view.
        """
        return self.records[run.first : run.first + run.packets]

    def parted(self, run: Run, packets: int) -> tuple[Run, Run]:
        """Part an even run in two.

        Args:
            run: Of this batch.
            packets: How many go into the first; fewer than it has, at least 1.

        Returns:
            Both parts, each told of as a run of its own.
        """
        arrival_ns = self.records_of(run)["arrival_ns"]
        step_ns = run.length * _SECOND_NS // RUN_CLOCK_HZ
        level_ns = arrival_ns - np.arange(run.packets) * step_ns
        size = packets * run.length
        head = run._replace(
            last_ns=int(arrival_ns[packets - 1]),
            least_ns=int(level_ns[:packets].min()),
            most_ns=int(level_ns[:packets].max()),
            packets=packets,
            bytes=size,
        )
        rest = run._replace(
            first_ns=int(arrival_ns[packets]),
            least_ns=int(level_ns[packets:].min()) + packets * step_ns,
            most_ns=int(level_ns[packets:].max()) + packets * step_ns,
            first=run.first + packets,
            packets=run.packets - packets,
            offset=run.offset + size,
            bytes=run.bytes - size,
            timestamp=(run.timestamp + size) & 0xFFFFFFFF,
            sequence=(run.sequence + packets) & 0xFFFF,
        )
        return head, rest
