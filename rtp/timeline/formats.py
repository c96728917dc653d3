"""The format of a recording, chosen from the codecs that the parties agreed on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from rtp.codecs import ALAW_SILENCE, G711_NAMES, MULAW_SILENCE, CodecSpec
from rtp.errors import RelayError

__all__ = ["Encoding", "TimelineFormat", "choose_format"]


class Encoding(Enum):
    """How one sample is written."""

    MULAW = "mulaw"
    """G.711 µ-law, the bytes of the wire."""
    ALAW = "alaw"
    """G.711 A-law, the bytes of the wire."""
    PCM16 = "pcm16"
    """Linear, 16 bits, signed, little-endian."""


@dataclass(frozen=True, slots=True)
class TimelineFormat:
    """Format of a recording: two channels, left the caller, right the callee.

    Attributes:
        encoding: How one sample is written.
        rate_hz: Frames a second; a frame is one sample of each channel.
    """

    encoding: Encoding
    rate_hz: int

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Array type of one sample."""
        return np.dtype("<i2" if self.encoding is Encoding.PCM16 else "u1")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return 2 * self.dtype.itemsize

    @property
    def silent_sample(self) -> int:
        """The sample that is silence: positive zero in G.711."""
        match self.encoding:
            case Encoding.MULAW:
                return MULAW_SILENCE
            case Encoding.ALAW:
                return ALAW_SILENCE
            case Encoding.PCM16:
                return 0

    def frames_at(self, elapsed_ns: int) -> int:
        """Count the whole frames of a time span.

        Args:
            elapsed_ns: Time since the recording began; may be negative.

        Returns:
            Frames, rounded down.
        """
        return elapsed_ns * self.rate_hz // 1_000_000_000


def choose_format(codecs: Iterable[CodecSpec]) -> TimelineFormat:
    """Choose the format that keeps the most of what was agreed.

    With one G.711 codec as the only audio codec, its bytes are kept as they are. Otherwise both
    channels become 16-bit PCM at the highest of the codecs' rates.

    Args:
        codecs: All codecs that were agreed; telephone-event, comfort noise and codecs that cannot
            be decoded here have no say.

    Returns:
        The format.

    Raises:
        RelayError: None of the codecs can be recorded.
    """
    named = list(codecs)
    audio = {(codec.name, codec.rate_hz) for codec in named if codec.rate_hz is not None}
    if not audio:
        offered = ", ".join(f"{codec.name}/{codec.clock_hz}" for codec in named) or "no codec at all"
        raise RelayError(f"cannot record {offered}; agree on PCMU, PCMA, G722, G729 or opus")
    rate_hz = max(rate for _, rate in audio if rate is not None)
    if len(audio) == 1:
        ((name, _),) = audio
        if name in G711_NAMES:
            return TimelineFormat(Encoding.MULAW if name == "PCMU" else Encoding.ALAW, rate_hz)
    return TimelineFormat(Encoding.PCM16, rate_hz)
