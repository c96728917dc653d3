"""What a payload type stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["COMFORT_NOISE", "G711_NAMES", "TELEPHONE_EVENT", "CodecSpec"]

TELEPHONE_EVENT: Final = "TELEPHONE-EVENT"
COMFORT_NOISE: Final = "CN"
G711_NAMES: Final = frozenset({"PCMU", "PCMA"})

_OPUS_RATE_HZ: Final = 48_000
_G729_RATE_HZ: Final = 8_000


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """One encoding as SDP names it (RFC 8866 section 6.6).

    Attributes:
        name: Encoding name; kept in upper case, in whatever case it is given.
        clock_hz: RTP clock rate.
        channels: From rtpmap, 1 if not given. Opus always says 2, whatever it carries (RFC 7587).
    """

    name: str
    clock_hz: int
    channels: int = 1

    def __post_init__(self) -> None:
        """Make names comparable: SDP encoding names ignore case."""
        object.__setattr__(self, "name", self.name.upper())

    @property
    def rate_hz(self) -> int | None:
        """Audio samples a second after decoding; None if this codec cannot be decoded here.

        G.722 samples at 16 kHz although its RTP clock says 8000, an error that RFC 3551
        section 4.5.2 keeps for the sake of old peers.
        """
        if self.name in G711_NAMES and self.channels == 1:
            return self.clock_hz
        if self.name == "G729" and self.channels == 1 and self.clock_hz == _G729_RATE_HZ:
            return _G729_RATE_HZ
        if self.name == "G722" and self.channels == 1:
            return 2 * self.clock_hz
        if self.name == "OPUS" and self.clock_hz == _OPUS_RATE_HZ:
            return _OPUS_RATE_HZ
        return None
