"""A few packets of one side as parallel arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

__all__ = ["Packets"]


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets in order of arrival; all arrays but `data` have one entry a packet.

    Attributes:
        arrival_ns: Arrival since the start of the recording, int64.
        sequence: As received, uint16.
        timestamp: As received, uint32.
        ssrc: As received, uint32.
        payload_type: As received, uint8.
        offset: Where the payload starts in `data`, int64.
        length: Bytes of the payload, int64.
        behind: Whether a later sequence number had come before.
        data: Payload bytes, uint8; may hold those of other packets too.
    """

    arrival_ns: npt.NDArray[np.int64]
    sequence: npt.NDArray[np.uint16]
    timestamp: npt.NDArray[np.uint32]
    ssrc: npt.NDArray[np.uint32]
    payload_type: npt.NDArray[np.uint8]
    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    behind: npt.NDArray[np.bool_]
    data: npt.NDArray[np.uint8]

    @classmethod
    def read(cls, records: npt.NDArray[np.void], data: npt.NDArray[np.uint8], start_ns: int) -> Packets:
        """Take the columns out of the fork's records.

        Args:
            records: Records of one side of one call, in order of arrival.
            data: Payloads they point into.
            start_ns: Start of the recording on the same clock as the arrivals.

        Returns:
            The packets.
        """
        return cls(
            arrival_ns=records["arrival_ns"].astype(np.int64) - start_ns,
            sequence=records["sequence"],
            timestamp=records["timestamp"],
            ssrc=records["ssrc"],
            payload_type=records["payload_type"],
            offset=records["offset"].astype(np.int64),
            length=records["length"].astype(np.int64),
            behind=np.zeros(len(records), np.bool_),
            data=data,
        )

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def __getitem__(self, which: slice | npt.NDArray[np.bool_]) -> Packets:
        return Packets(
            self.arrival_ns[which],
            self.sequence[which],
            self.timestamp[which],
            self.ssrc[which],
            self.payload_type[which],
            self.offset[which],
            self.length[which],
            self.behind[which],
            self.data,
        )

    def marked(self, behind: npt.NDArray[np.bool_]) -> Packets:
        """Give the same packets with `behind` filled in."""
        return Packets(
            self.arrival_ns,
            self.sequence,
            self.timestamp,
            self.ssrc,
            self.payload_type,
            self.offset,
            self.length,
            behind,
            self.data,
        )

    def payloads(self) -> npt.NDArray[np.uint8]:
        """Copy the payloads out, one after the other."""
        ends = np.cumsum(self.length)
        total = int(ends[-1]) if len(ends) else 0
        return self.data[np.repeat(self.offset - (ends - self.length), self.length) + np.arange(total)]

    def payload(self, at: int) -> bytes:
        """Copy one payload out."""
        start = int(self.offset[at])
        return self.data[start : start + int(self.length[at])].tobytes()

    def kept(self) -> Packets:
        """Copy everything, so that the fork's batch can be let go."""
        return Packets(
            self.arrival_ns.copy(),
            self.sequence.copy(),
            self.timestamp.copy(),
            self.ssrc.copy(),
            self.payload_type.copy(),
            np.cumsum(self.length) - self.length,
            self.length.copy(),
            self.behind.copy(),
            self.payloads(),
        )

    @staticmethod
    def joined(parts: Sequence[Packets]) -> Packets:
        """Join kept packets.

        Args:
            parts: At least one, each the result of `kept`.

        Returns:
            All of them, in order.
        """
        if len(parts) == 1:
            return parts[0]
        sizes = [len(part.data) for part in parts]
        starts = np.cumsum([0, *sizes[:-1]])
        columns = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Packets)
        }
        columns["offset"] = np.concatenate(
            [part.offset + start for part, start in zip(parts, starts, strict=True)]
        )
        return Packets(**columns)
