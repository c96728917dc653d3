"""The fork: takes what the relay copied, in batches, and counts what was lost."""

import threading
import typing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rtp._binding import ffi, lib
from rtp.errors import RelayError

if typing.TYPE_CHECKING:
    from rtp.relay import Relay

__all__ = ["FORK_DTYPE", "Fork", "ForkBatch", "ring_bytes_for"]

_CALL_BYTES_A_SECOND = 2 * 8000
"""Both directions of G.711, the codec with the largest payload that telephony uses."""

FORK_DTYPE = np.dtype(
    {
        "names": [
            "stream",
            "arrival_ns",
            "timestamp",
            "ssrc",
            "offset",
            "sequence",
            "length",
            "side",
            "payload_type",
            "marker",
            "event_only",
        ],
        "formats": ["u8", "i8", "u4", "u4", "u4", "u2", "u2", "u1", "u1", "u1", "u1"],
        "offsets": [0, 8, 16, 20, 24, 28, 30, 32, 33, 34, 35],
        "itemsize": 40,
    }
)
"""One record a packet; the layout of `struct relay_record`.

`event_only` is 1 for a telephone-event that `Relay.set_events` asked for and that came outside of
the fork's window: it belongs to no recording.
"""


def ring_bytes_for(calls: int, *, threads: int = 1, seconds: float = 4.0) -> int:
    """Tell what `Relay` needs as `ring_bytes` so that a slow consumer loses nothing.

    Args:
        calls: Most calls that are recorded at once.
        threads: Relay threads that they are spread over.
        seconds: How long the consumer may stand still.

    Returns:
        Payload bytes of each thread's ring: a power of two, within what `Relay` accepts.
    """
    wanted = seconds * _CALL_BYTES_A_SECOND * -(-calls // threads)
    size = int(lib.RELAY_MIN_RING)
    while size < wanted and size < lib.RELAY_MAX_RING:
        size *= 2
    return size


@dataclass(frozen=True, slots=True)
class ForkBatch:
    """Packets that passed the relay since the last batch.

    Attributes:
        data: Their payloads, uint8; record i owns `data[offset:offset + length]`.
        records: Array of FORK_DTYPE, sorted by arrival within the batch.
        dropped: Packets lost since the last batch because the ring was full.
    """

    data: npt.NDArray[np.uint8]
    records: npt.NDArray[np.void]
    dropped: int

    def payload(self, index: int) -> bytes:
        """Copy one payload out.

        Args:
            index: Which record.

        Returns:
            Its bytes.
        """
        record = self.records[index]
        return self.data[int(record["offset"]) : int(record["offset"]) + int(record["length"])].tobytes()


class Fork:
    """The consumer of a relay's rings; a relay has one."""

    def __init__(self, relay: "Relay") -> None:
        """Attach to a relay.

        Args:
            relay: Stays owned by the caller.
        """
        self._relay = relay
        self._lock = threading.Lock()
        self._dropped = 0

    def drain(self, max_bytes: int = 4 << 20) -> ForkBatch:
        """Take what waits; returns at once.

        Args:
            max_bytes: Most payload bytes to take, at least 9,216. When a batch comes near to it,
                more may wait.

        Returns:
            A batch, perhaps empty. Its arrays belong to the caller.

        Raises:
            RelayError: The relay is closed, or max_bytes is too small for the largest packet.
        """
        if max_bytes < lib.RELAY_MAX_DATAGRAM:
            raise RelayError(f"fork: max_bytes is {max_bytes}, must be {lib.RELAY_MAX_DATAGRAM} or more")
        waiting = ffi.new("uint64_t[4]")
        with self._lock, self._relay.native() as handle:
            lib.relay_waiting(handle, waiting, waiting + 1)
            records = np.empty(waiting[0], FORK_DTYPE)
            data = np.empty(min(waiting[1], max_bytes), np.uint8)
            count = lib.relay_drain(
                handle,
                ffi.from_buffer("struct relay_record[]", records, require_writable=True),
                len(records),
                ffi.from_buffer("uint8_t[]", data, require_writable=True),
                len(data),
                waiting + 2,
                waiting + 3,
            )
            dropped = waiting[3] - self._dropped
            self._dropped = waiting[3]
        records = records[:count]
        records = records[np.argsort(records["arrival_ns"], kind="stable")]
        return ForkBatch(data[: waiting[2]], records, dropped)
