"""Sending an announcement: what goes to the relay, and when each frame is due.

The relay's own thread does the sending; `Pacer` says what it must do, for tests and simulations.
"""

from __future__ import annotations

from announcer.encode import EncodedPrompt
from rtp.playback import Playout

__all__ = ["Pacer", "playout"]

_MS_NS = 1_000_000


def playout(
    encoded: EncodedPrompt, *, payload_type: int, ssrc: int, sequence: int, timestamp: int
) -> Playout:
    """Make an announcement ready for the relay.

    Args:
        encoded: In the codec that the party agreed on.
        payload_type: That codec's number with this party.
        ssrc: Random, 32 bits.
        sequence: Random, 16 bits.
        timestamp: Random, 32 bits.

    Returns:
        What `rtp.Relay.play` takes.
    """
    return Playout(
        frames=encoded.frames,
        lengths=encoded.lengths,
        payload_type=payload_type,
        frame_ms=encoded.frame_ms,
        timestamp_step=encoded.timestamp_step,
        ssrc=ssrc,
        sequence=sequence,
        timestamp=timestamp,
    )


class Pacer:
    """When the frames of a playout are due; pure.

    Frame n is due n frame times after the first, by absolute deadlines, so that lateness of one
    never delays the next.
    """

    __slots__ = ("_frame_ns", "_frames", "_sent", "_start_ns")

    def __init__(self, value: Playout, start_ns: int) -> None:
        """Start at a moment.

        Args:
            value: What is sent.
            start_ns: When the first frame is due.
        """
        self._frames = len(value.lengths)
        self._frame_ns = value.frame_ms * _MS_NS
        self._start_ns = start_ns
        self._sent = 0

    def due(self, now_ns: int) -> range:
        """Give the frames to be sent now.

        Args:
            now_ns: The time.

        Returns:
            Indexes of frames not given before whose time has come, in order.
        """
        if now_ns < self._start_ns:
            return range(0)
        until = min((now_ns - self._start_ns) // self._frame_ns + 1, self._frames)
        first, self._sent = self._sent, max(self._sent, until)
        return range(first, self._sent)

    def heard(self, now_ns: int) -> bool:
        """Tell whether the last frame was given and has had the time to be heard."""
        return self._sent == self._frames and now_ns >= self._start_ns + self._frames * self._frame_ns
