"""From payloads to samples, codec by codec, behind one interface.

G.711 needs numpy only. G.722, G.729 and Opus are decoded by FFmpeg through PyAV, which is loaded when the
first such decoder is made: a process that only ever sees G.711 never loads it.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from rtp.codecs.g711 import ALAW_TO_LINEAR, MULAW_TO_LINEAR
from rtp.codecs.spec import CodecSpec
from rtp.errors import PacketError

__all__ = ["Decoder", "decoder_for", "payload_samples"]

_G729_FRAME_BYTES: Final = 10
_G729_SILENCE_BYTES: Final = 2
"""A silence descriptor of annex B; at most one a packet, at its end (RFC 3551 section 4.5.6)."""
_G729_FRAME_SAMPLES: Final = 80
_OPUS_RATE_HZ: Final = 48_000
_OPUS_MAX_SAMPLES: Final = 5_760
"""120 ms, the longest packet (RFC 6716 section 3.2.5)."""
_OPUS_SILK_SAMPLES: Final = (480, 960, 1_920, 2_880)
_OPUS_HYBRID_SAMPLES: Final = (480, 960)
_OPUS_CELT_SAMPLES: Final = (120, 240, 480, 960)
_OPUS_FIRST_HYBRID: Final = 12
_OPUS_FIRST_CELT: Final = 16


class Decoder(Protocol):
    """Decodes one stream; packets must come in order."""

    @property
    def rate_hz(self) -> int:
        """Rate of the samples returned."""

    def decode(self, payload: bytes) -> npt.NDArray[np.int16]:
        """Decode one payload.

        Args:
            payload: RTP payload, header and padding stripped.

        Returns:
            Mono samples at `rate_hz`.

        Raises:
            PacketError: The bytes are not of this codec.
        """


class _TableDecoder:
    """G.711: a table look-up, no state."""

    __slots__ = ("_table", "rate_hz")

    def __init__(self, table: npt.NDArray[np.int16], rate_hz: int) -> None:
        self._table = table
        self.rate_hz = rate_hz

    def decode(self, payload: bytes) -> npt.NDArray[np.int16]:
        return self._table[np.frombuffer(payload, np.uint8)]


class _FfmpegDecoder:
    """A decoder of FFmpeg that gives 16-bit mono."""

    __slots__ = ("_context", "_errors", "_packet", "rate_hz")

    def __init__(self, codec: str, rate_hz: int) -> None:
        import av  # noqa: PLC0415  (only when such a codec is met)
        import av.error  # noqa: PLC0415

        context: Any = av.CodecContext.create(codec, "r")
        context.sample_rate = rate_hz
        context.layout = "mono"
        context.open()
        self._context = context
        self._packet = av.Packet
        self._errors = av.error.FFmpegError
        self.rate_hz = rate_hz

    def decode(self, payload: bytes) -> npt.NDArray[np.int16]:
        try:
            frames = self._context.decode(self._packet(payload))
        except self._errors as err:
            raise PacketError(f"{self._context.name} payload of {len(payload)} bytes: {err}") from err
        if not frames:
            return np.zeros(0, np.int16)
        samples: npt.NDArray[np.int16] = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        return samples


class _G729Decoder:
    """G.729 and annex A by FFmpeg, which knows no silence of annex B: that becomes digital silence."""

    __slots__ = ("_speech", "rate_hz")

    def __init__(self, rate_hz: int) -> None:
        self._speech = _FfmpegDecoder("g729", rate_hz)
        self.rate_hz = rate_hz

    def decode(self, payload: bytes) -> npt.NDArray[np.int16]:
        frames, rest = divmod(len(payload), _G729_FRAME_BYTES)
        if rest not in (0, _G729_SILENCE_BYTES):
            raise PacketError(
                f"g729 payload of {len(payload)} bytes: not frames of 10 bytes with one of 2 bytes at most"
            )
        speech = payload[: frames * _G729_FRAME_BYTES]
        samples = self._speech.decode(speech) if speech else np.zeros(0, np.int16)
        return np.pad(samples, (0, _G729_FRAME_SAMPLES)) if rest else samples


def decoder_for(codec: CodecSpec) -> Decoder:
    """Make a decoder for one stream of one codec.

    Args:
        codec: PCMU, PCMA, G722, G729 or OPUS.

    Returns:
        A decoder with no packet behind it.

    Raises:
        PacketError: This codec cannot be decoded here.
    """
    rate_hz = codec.rate_hz
    if rate_hz is None:
        raise PacketError(f"no decoder for {codec.name}/{codec.clock_hz}/{codec.channels}")
    match codec.name:
        case "PCMU":
            return _TableDecoder(MULAW_TO_LINEAR, rate_hz)
        case "PCMA":
            return _TableDecoder(ALAW_TO_LINEAR, rate_hz)
        case "G722":
            return _FfmpegDecoder("g722", rate_hz)
        case "G729":
            return _G729Decoder(rate_hz)
        case _:
            return _FfmpegDecoder("libopus", rate_hz)


def payload_samples(codec: CodecSpec, payload: bytes) -> int:
    """Tell how many samples a payload decodes to, without decoding it.

    Args:
        codec: PCMU, PCMA, G722, G729 or OPUS.
        payload: RTP payload.

    Returns:
        Samples at the codec's `rate_hz`; 0 if the payload is empty or not of this codec.
    """
    if codec.name == "G722":
        return 2 * len(payload)
    if codec.name == "OPUS":
        return _opus_samples(payload)
    if codec.name == "G729":
        return _g729_samples(payload)
    return len(payload)


def _g729_samples(payload: bytes) -> int:
    frames, rest = divmod(len(payload), _G729_FRAME_BYTES)
    if rest not in (0, _G729_SILENCE_BYTES):
        return 0
    return (frames + (rest > 0)) * _G729_FRAME_SAMPLES


def _opus_samples(payload: bytes) -> int:
    """Read the length from the table-of-contents byte (RFC 6716 section 3.1)."""
    if not payload:
        return 0
    config = payload[0] >> 3
    if config < _OPUS_FIRST_HYBRID:
        frame = _OPUS_SILK_SAMPLES[config & 3]
    elif config < _OPUS_FIRST_CELT:
        frame = _OPUS_HYBRID_SAMPLES[config & 1]
    else:
        frame = _OPUS_CELT_SAMPLES[config & 3]
    match payload[0] & 3:
        case 0:
            count = 1
        case 1 | 2:
            count = 2
        case _:
            count = payload[1] & 0x3F if len(payload) > 1 else 0
    samples = frame * count
    return samples if samples <= _OPUS_MAX_SAMPLES else 0
