"""What is played to a party, and how that ended."""

import enum
from dataclasses import dataclass

from rtp.errors import RelayError

__all__ = ["MAX_FRAME_BYTES", "PlaybackEvent", "PlaybackState", "Playout", "check_playout"]

MAX_FRAME_BYTES = 9000
"""As in relay_api.h."""


@dataclass(frozen=True, slots=True)
class Playout:
    """Encoded audio, ready to be sent frame by frame.

    Attributes:
        frames: The frames, one after the other.
        lengths: Bytes of each frame, 1..9000; they add up to `frames`.
        payload_type: 0..127, as negotiated with the party that hears it.
        frame_ms: Time between two frames, 1..1000.
        timestamp_step: RTP timestamp units of a frame (G.711 at 20 ms: 160).
        ssrc: Synchronization source of this playback, 32 bits.
        sequence: Sequence number of the first frame, 16 bits.
        timestamp: RTP timestamp of the first frame, 32 bits.
    """

    frames: bytes
    lengths: tuple[int, ...]
    payload_type: int
    frame_ms: int
    timestamp_step: int
    ssrc: int
    sequence: int
    timestamp: int


class PlaybackState(enum.IntEnum):
    """How a playback ended."""

    COMPLETED = 0
    FAILED = 1
    STOPPED = 2


@dataclass(frozen=True, slots=True)
class PlaybackEvent:
    """The end of one playback; each has exactly one.

    Attributes:
        playback: As returned by `Relay.play`.
        state: COMPLETED only if every frame was handed to the network.
        frames_sent: Frames that left.
        at_ns: When it ended. For COMPLETED one frame after the last frame left: it has then
            been heard to its end, but for the delay of the network and the telephone.
    """

    playback: int
    state: PlaybackState
    frames_sent: int
    at_ns: int


def check_playout(playout: Playout) -> None:
    """Refuse a playout that contradicts itself.

    Args:
        playout: As it would be given to `Relay.play`.

    Raises:
        RelayError: A field is out of range, or the lengths do not add up.
    """
    if not playout.lengths:
        raise RelayError("playout: it has no frames")
    if sum(playout.lengths) != len(playout.frames):
        raise RelayError(
            f"playout: the lengths add up to {sum(playout.lengths)} bytes, "
            f"the frames are {len(playout.frames)}"
        )
    limits = (
        ("length", min(playout.lengths), 1, MAX_FRAME_BYTES),
        ("length", max(playout.lengths), 1, MAX_FRAME_BYTES),
        ("payload_type", playout.payload_type, 0, 0x7F),
        ("frame_ms", playout.frame_ms, 1, 1000),
        ("timestamp_step", playout.timestamp_step, 0, 0xFFFF_FFFF),
        ("ssrc", playout.ssrc, 0, 0xFFFF_FFFF),
        ("sequence", playout.sequence, 0, 0xFFFF),
        ("timestamp", playout.timestamp, 0, 0xFFFF_FFFF),
    )
    for name, value, lowest, highest in limits:
        if not lowest <= value <= highest:
            raise RelayError(f"playout: {name} is {value}, must be {lowest} to {highest}")
