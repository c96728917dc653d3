"""Telephone-events: DTMF digits and tones as RTP payload (RFC 4733 section 2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rtp.errors import PacketError

__all__ = ["TelephoneEvent", "parse"]

_EVENT_BYTES: Final = 4
_DTMF: Final = "0123456789*#ABCD"


@dataclass(frozen=True, slots=True)
class TelephoneEvent:
    """One event block.

    Attributes:
        event: 0–255; 0–15 are the DTMF digits.
        end: Whether this is the end of the event.
        volume: Power level in dBm0, sign dropped; 0–63.
        duration: Time since the packet's timestamp, in clock units.
    """

    event: int
    end: bool
    volume: int
    duration: int

    @property
    def digit(self) -> str | None:
        """The DTMF key, or None for another event (RFC 4733 table 3)."""
        return _DTMF[self.event] if self.event < len(_DTMF) else None


def parse(payload: bytes) -> tuple[TelephoneEvent, ...]:
    """Read the event blocks of one packet.

    Args:
        payload: RTP payload, header stripped.

    Returns:
        At least one event, in order.

    Raises:
        PacketError: The length is not a multiple of 4, or 0.
    """
    if not payload or len(payload) % _EVENT_BYTES:
        raise PacketError(f"telephone-event payload has {len(payload)} bytes, not a multiple of 4")
    return tuple(_block(payload[at : at + _EVENT_BYTES]) for at in range(0, len(payload), _EVENT_BYTES))


def _block(block: bytes) -> TelephoneEvent:
    flags = block[1]
    return TelephoneEvent(
        event=block[0],
        end=bool(flags & 0x80),
        volume=flags & 0x3F,
        duration=int.from_bytes(block[2:4], "big"),
    )
