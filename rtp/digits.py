"""Keys pressed on a telephone, heard in the packets of a stream (RFC 4733), recorded or not."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from rtp.codecs.telephone_event import parse
from rtp.endpoints import Side
from rtp.errors import PacketError

__all__ = ["DigitDetector", "may_hold_events"]

_LONGEST_BYTES: Final = 16
_BLOCK_BYTES: Final = 4
_HALF_CLOCK: Final = 1 << 31


def may_hold_events(records: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Tell by their length alone which packets may hold telephone-events: few do.

    Args:
        records: Records of `rtp.fork`.

    Returns:
        One flag a record.
    """
    length = records["length"]
    found: npt.NDArray[np.bool_] = (length > 0) & (length <= _LONGEST_BYTES) & (length % _BLOCK_BYTES == 0)
    return found


class DigitDetector:
    """Tells each key of one stream once, as its event begins, however often its packets come."""

    def __init__(self, payload_types: Collection[int]) -> None:
        """Begin with no key heard.

        Args:
            payload_types: Those that stand for telephone-event, from either party.
        """
        self._types = frozenset(payload_types)
        self._last: dict[Side, tuple[int, int]] = {}

    def agree(self, payload_types: Collection[int]) -> None:
        """Take note of newly agreed payload types; a key that is being pressed is not told again."""
        self._types = frozenset(payload_types)

    def hear(self, records: npt.NDArray[np.void], data: npt.NDArray[np.uint8]) -> Iterator[tuple[Side, str]]:
        """Find the keys in packets.

        Args:
            records: Records of the stream, in order of arrival; others than events are passed over.
            data: The batch's payloads.

        Yields:
            Side and key (``0``-``9``, ``*``, ``#``, ``A``-``D``), in order.
        """
        for record in records:
            if int(record["payload_type"]) not in self._types:
                continue
            start = int(record["offset"])
            try:
                event = parse(data[start : start + int(record["length"])].tobytes())[0]
            except PacketError:
                continue  # which key it was cannot be told
            side = Side(int(record["side"]))
            if self._begins(side, int(record["ssrc"]), int(record["timestamp"])) and event.digit is not None:
                yield side, event.digit

    def _begins(self, side: Side, ssrc: int, timestamp: int) -> bool:
        """True for the first packet of an event.

        All packets of one event carry its start as timestamp (RFC 4733 section 2.2.1); one of an
        earlier event that comes late is not a new one.
        """
        last = self._last.get(side)
        if last is not None and last[0] == ssrc and not 0 < (timestamp - last[1]) & 0xFFFFFFFF < _HALF_CLOCK:
            return False
        self._last[side] = ssrc, timestamp
        return True
