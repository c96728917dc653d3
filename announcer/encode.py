"""Encodes announcements for the codec that a party agreed on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from announcer import g729
from announcer.errors import PromptError
from rtp.codecs import alaw_encode, mulaw_encode, resample

__all__ = ["PCM_HZ", "EncodedPrompt", "encodable_codecs", "encode"]

PCM_HZ: Final = 48_000
"""Rate of the samples that are encoded."""

_G711_HZ: Final = 8_000
_G722_HZ: Final = 16_000
_OPUS_BITS_A_SECOND: Final = 32_000
_OPUS_FRAMES_MS: Final = (10, 20, 40, 60)
_MOST_FRAME_MS: Final = 200


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """An announcement, cut into RTP payloads.

    Attributes:
        frames: The payloads, one after the other.
        lengths: Bytes of each.
        frame_ms: Time that each lasts.
        timestamp_step: RTP timestamp units that each lasts.
    """

    frames: bytes
    lengths: tuple[int, ...]
    frame_ms: int
    timestamp_step: int

    @property
    def duration_ms(self) -> int:
        """Time from the first frame to the end of the last."""
        return len(self.lengths) * self.frame_ms

    def payloads(self) -> Iterator[bytes]:
        """Give the payloads one by one."""
        at = 0
        for length in self.lengths:
            yield self.frames[at : at + length]
            at += length


def encodable_codecs() -> tuple[str, ...]:
    """Tell the codecs that `encode` can make on this machine.

    Returns:
        PCMU, PCMA, G722 and OPUS, and G729 where an encoder for it is installed.
    """
    return ("PCMU", "PCMA", "G722", "OPUS", *(("G729",) if g729.is_available() else ()))


def encode(pcm: npt.NDArray[np.int16], codec: str, ptime_ms: int = 20) -> EncodedPrompt:
    """Encode samples; the last frame is filled up with silence.

    Args:
        pcm: Mono, at `PCM_HZ`.
        codec: PCMU, PCMA, G722, G729 or OPUS, in any case.
        ptime_ms: Time of a frame. Opus has no frames of 30 ms, G.729 only multiples of 10; 20 is
            taken instead.

    Returns:
        The payloads.

    Raises:
        PromptError: There is no such encoder, or no such frame length.
    """
    if not 0 < ptime_ms <= _MOST_FRAME_MS:
        raise PromptError(f"frames of {ptime_ms} ms: give a ptime from 1 to {_MOST_FRAME_MS}")
    if len(pcm) == 0:
        raise PromptError("the announcement is empty; give it words or a recording")
    match codec.upper():
        case "PCMU":
            return _cut(mulaw_encode(_filled(pcm, _G711_HZ, ptime_ms)).tobytes(), ptime_ms)
        case "PCMA":
            return _cut(alaw_encode(_filled(pcm, _G711_HZ, ptime_ms)).tobytes(), ptime_ms)
        case "G722":
            # 16,000 samples and 8,000 bytes a second, with a clock of 8,000 (RFC 3551 4.5.2).
            return _cut(_g722(_filled(pcm, _G722_HZ, ptime_ms)), ptime_ms)
        case "OPUS":
            return _opus(pcm, ptime_ms if ptime_ms in _OPUS_FRAMES_MS else 20)
        case "G729":
            return _g729(pcm, ptime_ms if ptime_ms % g729.FRAME_MS == 0 else 20)
        case _:
            raise PromptError(f"no announcement can be made in {codec}; agree on PCMU, PCMA, G722 or opus")


def _filled(pcm: npt.NDArray[np.int16], rate_hz: int, frame_ms: int) -> npt.NDArray[np.int16]:
    """Change the rate and fill up the last frame."""
    converted = resample(pcm, PCM_HZ, rate_hz)
    return np.pad(converted, (0, -len(converted) % (rate_hz * frame_ms // 1000)))


def _cut(stream: bytes, frame_ms: int) -> EncodedPrompt:
    """Cut a codec of one byte a clock unit into frames."""
    size = _G711_HZ * frame_ms // 1000
    return EncodedPrompt(stream, (size,) * (len(stream) // size), frame_ms, size)


def _g729(pcm: npt.NDArray[np.int16], frame_ms: int) -> EncodedPrompt:
    stream = g729.encode(_filled(pcm, g729.RATE_HZ, frame_ms))
    size = g729.FRAME_BYTES * frame_ms // g729.FRAME_MS
    return EncodedPrompt(stream, (size,) * (len(stream) // size), frame_ms, g729.RATE_HZ * frame_ms // 1000)


def _g722(pcm: npt.NDArray[np.int16]) -> bytes:
    context = _encoder("g722", _G722_HZ)
    frame = _frame(pcm, _G722_HZ, 0)
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def _opus(pcm: npt.NDArray[np.int16], frame_ms: int) -> EncodedPrompt:
    size = PCM_HZ * frame_ms // 1000
    context = _encoder(
        "libopus",
        PCM_HZ,
        bit_rate=_OPUS_BITS_A_SECOND,
        options={"application": "voip", "frame_duration": str(frame_ms)},
    )
    padded = np.pad(pcm, (0, -len(pcm) % size))
    packets: list[bytes] = []
    for at in range(0, len(padded), size):
        frame = _frame(padded[at : at + size], PCM_HZ, at)
        packets.extend(bytes(packet) for packet in context.encode(frame))
    # What the encoder still holds is its look-ahead (6.5 ms): the end of the last word.
    packets.extend(bytes(packet) for packet in context.encode(None))
    return EncodedPrompt(b"".join(packets), tuple(map(len, packets)), frame_ms, size)


def _encoder(name: str, rate_hz: int, **settings: object) -> Any:  # noqa: ANN401  (PyAV's factory)
    import av  # noqa: PLC0415  (a process that only speaks G.711 never loads FFmpeg)

    context: Any = av.CodecContext.create(name, "w")
    context.sample_rate = rate_hz
    context.layout = "mono"
    context.format = "s16"
    for key, value in settings.items():
        setattr(context, key, value)
    context.open()
    return context


def _frame(pcm: npt.NDArray[np.int16], rate_hz: int, at: int) -> Any:  # noqa: ANN401
    import av  # noqa: PLC0415

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm)[None, :], format="s16", layout="mono")
    frame.sample_rate = rate_hz
    frame.pts = at
    return frame
