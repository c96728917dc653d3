"""The plaintext inside the age payload: a WAV stream that any player opens.

The stream is written while the call goes on, so its sizes are unknown:
`0xFFFFFFFF` stands for "until the end", and 0 for the number of frames in `fact`
(FFmpeg would report another value there as the duration). G.711 keeps the bytes
of the wire. The id and the facts of a recording stand in a LIST INFO chunk before
the samples.
Layout and codes: Multimedia Programming Interface and Data Specifications 1.0
(RIFF, LIST INFO) and RFC 2361 (format tags). FORMAT.md binds this module.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UNKNOWN_SIZE: Final = 0xFFFFFFFF
MAX_HEADER_BYTES: Final = 65536
MAX_DATA_BYTES: Final = UNKNOWN_SIZE - MAX_HEADER_BYTES - 1
"""The most samples of a file of known size: its sizes are 32 bits wide."""

_MAX_CHANNELS: Final = 8
_MAX_RATE_HZ: Final = 192_000
_PCM_FMT_BYTES: Final = 16
_RIFF: Final = struct.Struct("<4sI4s")
_CHUNK: Final = struct.Struct("<4sI")
_FMT: Final = struct.Struct("<HHIIHH")
_UINT16: Final = struct.Struct("<H")
_UINT32: Final = struct.Struct("<I")
_FIRST_PRINTABLE: Final = 0x20
_LAST_PRINTABLE: Final = 0x7E


class ContainerError(StorageError):
    """The plaintext of a recording does not start with the WAV header it must have."""


class Encoding(Enum):
    """How one sample of one channel is written; the value is the WAV format tag."""

    PCM16 = 1
    """Linear, 16 bits, signed, little-endian."""
    ALAW = 6
    """G.711 A-law, 8 bits, as on the wire."""
    ULAW = 7
    """G.711 µ-law, 8 bits, as on the wire."""

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return 2 if self is Encoding.PCM16 else 1

    @property
    def silent_sample(self) -> bytes:
        """The sample nearest to zero: positive zero in µ-law and A-law (ITU-T G.711)."""
        match self:
            case Encoding.PCM16:
                return b"\x00\x00"
            case Encoding.ALAW:
                return b"\xd5"
            case Encoding.ULAW:
                return b"\xff"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Format of the samples of one recording.

    Attributes:
        encoding: How a sample is written.
        rate_hz: Frames a second.
        channels: Samples in a frame; of two, the first is the caller.

    Raises:
        ContainerError: A number is out of range.
    """

    encoding: Encoding
    rate_hz: int
    channels: int = 2

    def __post_init__(self) -> None:
        """Refuse numbers that a WAV header cannot hold."""
        if not 1 <= self.channels <= _MAX_CHANNELS:
            raise ContainerError(
                f"{self.channels} channels is out of range; a recording has 1 to {_MAX_CHANNELS}"
            )
        if not 1 <= self.rate_hz <= _MAX_RATE_HZ:
            raise ContainerError(
                f"rate {self.rate_hz} Hz is out of range; the rates are 1 to {_MAX_RATE_HZ} Hz"
            )

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame: one sample of each channel."""
        return self.encoding.sample_bytes * self.channels

    @property
    def bytes_per_second(self) -> int:
        """Bytes of one second of audio."""
        return self.frame_bytes * self.rate_hz

    def silence(self, frames: int) -> bytes:
        """Give silence on all channels.

        Args:
            frames: How many frames, 0 or more.

        Returns:
            `frames * frame_bytes` bytes.
        """
        return self.encoding.silent_sample * (self.channels * frames)


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What the header says about a recording, readable only with the audio.

    Attributes:
        recording_id: Id of the recording; printable ASCII, at least one character.
        facts: Names and values, any text; empty if there are none.
    """

    recording_id: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """A decoded header.

    Attributes:
        audio: Format of the samples.
        info: Id and facts.
        data_offset: Length of the header; the first frame starts there.
        data_bytes: Length of the samples, or None if they go on until the end.
    """

    audio: AudioFormat
    info: StreamInfo
    data_offset: int
    data_bytes: int | None


def encode_header(audio: AudioFormat, info: StreamInfo, data_bytes: int | None = None) -> bytes:
    """Write the header that stands before the first frame.

    The same arguments give the same bytes.

    Args:
        audio: Format of the samples.
        info: Id and facts.
        data_bytes: Length of the samples if it is known; None for a stream
            whose samples go on until the end.

    Returns:
        The header, of even length and at most 65536 bytes. With an odd
        `data_bytes` a pad byte must follow the samples.

    Raises:
        ContainerError: The id is not printable ASCII, the header gets too long,
            or the samples do not fit in a WAV file.
    """
    if not info.recording_id or not _is_printable(info.recording_id):
        raise ContainerError(f"recording id {info.recording_id!r} must be printable ASCII and not empty")
    if data_bytes is not None and not 0 <= data_bytes <= MAX_DATA_BYTES:
        raise ContainerError(
            f"{data_bytes} bytes of samples do not fit in a WAV file; {MAX_DATA_BYTES} is the most"
        )
    comment = json.dumps(dict(info.facts), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    body = b"".join(_format_chunks(audio, data_bytes)) + _chunk(
        b"LIST",
        b"INFO"
        + _chunk(b"INAM", info.recording_id.encode("ascii") + b"\0")
        + _chunk(b"ICMT", comment.encode("ascii") + b"\0"),
    )
    header_bytes = _RIFF.size + len(body) + _CHUNK.size
    if header_bytes > MAX_HEADER_BYTES:
        raise ContainerError(
            f"the facts make a header of {header_bytes} bytes; {MAX_HEADER_BYTES} is the most"
        )
    if data_bytes is None:
        riff_bytes = data_size = UNKNOWN_SIZE
    else:
        data_size = data_bytes
        riff_bytes = header_bytes - _CHUNK.size + data_bytes + data_bytes % 2
    return _RIFF.pack(b"RIFF", riff_bytes, b"WAVE") + body + _CHUNK.pack(b"data", data_size)


def decode_header(start: bytes) -> StreamHeader:
    """Read the header at the start of a recording's plaintext.

    Chunks of other kinds before the samples are skipped.

    Args:
        start: At least the whole header; its first 65536 bytes are enough.

    Returns:
        The header.

    Raises:
        ContainerError: The bytes are not such a header, or end inside it.
    """
    if len(start) < _RIFF.size:
        raise ContainerError(f"the plaintext ends after {len(start)} bytes, inside the WAV header")
    magic, _riff_bytes, kind = _RIFF.unpack_from(start)
    if (magic, kind) != (b"RIFF", b"WAVE"):
        raise ContainerError(f"the plaintext starts with {magic!r}, not with a WAV header")
    audio: AudioFormat | None = None
    info: StreamInfo | None = None
    offset = _RIFF.size
    while True:
        name, size = _chunk_header(start, offset, len(start))
        offset += _CHUNK.size
        if name == b"data":
            break
        if size > len(start) - offset:
            raise ContainerError(
                f"WAV chunk {name!r} of {size} bytes reaches past the header's {len(start)} bytes"
            )
        content = start[offset : offset + size]
        if name == b"fmt ":
            audio = _decode_format(content)
        elif name == b"LIST" and content.startswith(b"INFO"):
            info = _decode_info(content)
        offset += size + size % 2
    if audio is None:
        raise ContainerError('the WAV header has no "fmt " chunk before its samples')
    if info is None:
        raise ContainerError(
            "the WAV header has no LIST INFO chunk with the recording's id before its samples"
        )
    return StreamHeader(audio, info, offset, None if size == UNKNOWN_SIZE else size)


def _format_chunks(audio: AudioFormat, data_bytes: int | None) -> Iterator[bytes]:
    """Give `fmt ` and, as a format other than PCM needs it, its size field and `fact`."""
    fields = _FMT.pack(
        audio.encoding.value,
        audio.channels,
        audio.rate_hz,
        audio.bytes_per_second,
        audio.frame_bytes,
        8 * audio.encoding.sample_bytes,
    )
    if audio.encoding is Encoding.PCM16:
        yield _chunk(b"fmt ", fields)
        return
    yield _chunk(b"fmt ", fields + _UINT16.pack(0))
    frames = 0 if data_bytes is None else data_bytes // audio.frame_bytes
    yield _chunk(b"fact", _UINT32.pack(frames))


def _decode_format(content: bytes) -> AudioFormat:
    if len(content) < _PCM_FMT_BYTES:
        raise ContainerError(f'the "fmt " chunk has {len(content)} bytes; it has at least {_PCM_FMT_BYTES}')
    tag, channels, rate_hz, bytes_per_second, frame_bytes, sample_bits = _FMT.unpack_from(content)
    try:
        encoding = Encoding(tag)
    except ValueError as err:
        known = ", ".join(str(member.value) for member in Encoding)
        raise ContainerError(f"WAV format tag {tag} is not one of those of a recording ({known})") from err
    audio = AudioFormat(encoding, rate_hz, channels)
    expected = (audio.bytes_per_second, audio.frame_bytes, 8 * encoding.sample_bytes)
    if (bytes_per_second, frame_bytes, sample_bits) != expected:
        raise ContainerError(
            f'the "fmt " chunk contradicts itself: {bytes_per_second} bytes a second, {frame_bytes} a frame '
            f"and {sample_bits} bits a sample are not those of {encoding.name} at {rate_hz} Hz"
        )
    return audio


def _decode_info(content: bytes) -> StreamInfo:
    texts: dict[bytes, bytes] = {}
    offset = len(b"INFO")
    while offset < len(content):
        name, size = _chunk_header(content, offset, len(content))
        offset += _CHUNK.size
        if size > len(content) - offset:
            raise ContainerError(f"INFO entry {name!r} of {size} bytes reaches past its LIST chunk")
        texts[name] = content[offset : offset + size].split(b"\0", 1)[0]
        offset += size + size % 2
    if b"INAM" not in texts:
        raise ContainerError("the LIST INFO chunk has no INAM entry, which holds the recording's id")
    try:
        recording_id = texts[b"INAM"].decode("ascii")
        facts = json.loads(texts.get(b"ICMT", b"{}").decode("ascii"))
    except (ValueError, RecursionError) as err:
        raise ContainerError(f"the LIST INFO chunk holds no ASCII id and JSON facts: {err}") from err
    if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
        raise ContainerError("the ICMT entry is not a JSON object of strings")
    return StreamInfo(recording_id, facts)


def _chunk_header(data: bytes, offset: int, end: int) -> tuple[bytes, int]:
    if offset + _CHUNK.size > end:
        raise ContainerError(f"the WAV header ends after {end} bytes, inside a chunk header")
    name, size = _CHUNK.unpack_from(data, offset)
    return name, size


def _chunk(name: bytes, content: bytes) -> bytes:
    return _CHUNK.pack(name, len(content)) + content + b"\0" * (len(content) % 2)


def _is_printable(text: str) -> bool:
    return all(_FIRST_PRINTABLE <= ord(character) <= _LAST_PRINTABLE for character in text)
