"""Silence in place of a voice that is not the asker's to have (GDPR art. 15(4)); no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from storage.container import AudioFormat
from storage.errors import ExportError

__all__ = ["CALLEE", "CALLER", "Mute", "muted"]

CALLER: Final = 0
CALLEE: Final = 1
"""Channels of a recording."""


@dataclass(frozen=True, slots=True)
class Mute:
    """A part of one channel that is left out.

    Attributes:
        channel: ``CALLER`` or ``CALLEE``.
        start_s: Seconds from the start of the recording.
        end_s: Likewise; None is its end.

    Raises:
        ExportError: It ends before it starts, or the channel does not exist.
    """

    channel: int
    start_s: float = 0.0
    end_s: float | None = None

    def __post_init__(self) -> None:
        if self.channel not in {CALLER, CALLEE}:
            raise ExportError(f"channel {self.channel}: a recording has channels 0 and 1")
        if self.start_s < 0 or (self.end_s is not None and self.end_s <= self.start_s):
            raise ExportError(f"a mute from {self.start_s:g} s ends before it starts, or starts before 0 s")


def muted(block: bytes, first_frame: int, audio: AudioFormat, mutes: Iterable[Mute]) -> bytes:
    """Put silence where it is wanted; all else stays as it was, bit for bit.

    Args:
        block: Whole frames.
        first_frame: Place of the first of them in the recording.
        audio: Their format.
        mutes: What is left out.

    Returns:
        As many bytes. A frame that is muted in part is muted whole.
    """
    wide, frames = audio.frame_bytes, len(block) // audio.frame_bytes
    quiet = audio.silence(1)[: audio.encoding.sample_bytes]
    made = bytearray(block)
    for mute in mutes:
        start = max(int(mute.start_s * audio.rate_hz) - first_frame, 0)
        end = frames
        if mute.end_s is not None:
            end = min(math.ceil(mute.end_s * audio.rate_hz) - first_frame, frames)
        if end <= start:
            continue
        for byte, value in enumerate(quiet):
            at = mute.channel * len(quiet) + byte
            made[start * wide + at : end * wide : wide] = bytes([value]) * (end - start)
    return bytes(made)
