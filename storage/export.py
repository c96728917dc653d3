"""From a recording's plaintext to a file that people play: WAV, FLAC, MP3 or Opus.

Streams: no temporary file, and no more than a few minutes of audio in memory. WAV keeps the samples of
the recording bit for bit, G.711 included; the others are made by `storage.encoders`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from storage.container import (
    MAX_HEADER_BYTES,
    AudioFormat,
    ContainerError,
    Encoding,
    StreamHeader,
    decode_header,
    encode_header,
)
from storage.errors import ExportError
from storage.muting import Mute, muted

__all__ = ["ExportError", "ExportFormat", "Exported", "Mix", "export", "format_named"]

_BLOCK_FRAMES: Final = 65_536
_STEREO: Final = 2


class ExportFormat(Enum):
    """What to make; the value is the usual file suffix."""

    WAV = "wav"
    """As recorded: G.711 stays G.711, 16-bit PCM stays 16-bit PCM."""
    FLAC = "flac"
    """Lossless, 16 bits."""
    MP3 = "mp3"
    OPUS = "opus"
    """Opus in Ogg."""


class Mix(Enum):
    """What becomes of the two channels."""

    STEREO = "stereo"
    """Caller left, callee right."""
    MONO = "mono"
    """The mean of both, as 16-bit PCM where the format is WAV."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        frames: Sample frames of the recording.
        rate_hz: Frames a second.
        channels: Channels of the file.
        incomplete_bytes: Bytes at the end that made no whole frame; 0 for a sound recording.
    """

    frames: int
    rate_hz: int
    channels: int
    incomplete_bytes: int

    @property
    def duration_s(self) -> float:
        """Length of the recording."""
        return self.frames / self.rate_hz


def format_named(text: str) -> ExportFormat:
    """Find a format by its name or file suffix.

    Args:
        text: Such as `flac`, `.MP3` or `ogg`.

    Returns:
        The format.

    Raises:
        ExportError: There is none of that name.
    """
    name = text.lower().lstrip(".")
    try:
        return ExportFormat("opus" if name == "ogg" else name)
    except ValueError as err:
        known = ", ".join(member.value for member in ExportFormat)
        raise ExportError(f"cannot export to {text!r}; choose one of {known}") from err


def export(
    plaintext: Iterable[bytes],
    out: BinaryIO,
    file_format: ExportFormat,
    mix: Mix = Mix.STEREO,
    progress: Callable[[int], None] | None = None,
    mutes: Sequence[Mute] = (),
) -> Exported:
    """Write a recording as an audio file.

    Args:
        plaintext: The decrypted WAV stream, in pieces of any size.
        out: Where the file goes. If it can seek, sizes and lengths in its header are made right
            at the end; otherwise they stay open, which players accept.
        file_format: What to make.
        mix: What becomes of the channels.
        progress: Told the frames written so far, now and then.
        mutes: What is left out, on which channel.

    Returns:
        What was written.

    Raises:
        ExportError: FFmpeg has no such encoder, or it failed.
        ContainerError: The plaintext is not a recording.
        OSError: `out` cannot be written.
    """
    pieces = iter(plaintext)
    header, rest = _header(pieces)
    blocks = _Blocks(header, rest, pieces, progress or _no_progress, mutes)
    channels = 1 if mix is Mix.MONO else header.audio.channels
    if file_format is ExportFormat.WAV:
        _write_wav(header, blocks, out, mix)
    else:
        _write_coded(header, blocks, out, file_format, channels)
    return Exported(blocks.frames, header.audio.rate_hz, channels, blocks.incomplete_bytes)


def _no_progress(frames: int) -> None:
    """Tell nobody."""


def _header(pieces: Iterator[bytes]) -> tuple[StreamHeader, bytes]:
    """Read the header; give it and the samples that came with it."""
    start = bytearray()
    while True:
        try:
            header = decode_header(bytes(start))
        except ContainerError:
            piece = next(pieces, None)
            if piece is None or len(start) > MAX_HEADER_BYTES:
                raise
            start += piece
        else:
            return header, bytes(start[header.data_offset :])


class _Blocks:
    """Cuts the sample bytes into blocks of whole frames."""

    def __init__(
        self,
        header: StreamHeader,
        first: bytes,
        pieces: Iterator[bytes],
        progress: Callable[[int], None],
        mutes: Sequence[Mute],
    ) -> None:
        self.frames = 0
        self.incomplete_bytes = 0
        self._audio = header.audio
        self._left = header.data_bytes
        self._first = first
        self._pieces = pieces
        self._progress = progress
        self._mutes = mutes

    def raw(self) -> Iterator[bytes]:
        """Give blocks of bytes as recorded."""
        size = self._audio.frame_bytes
        waiting = bytearray()
        for piece in self._within():
            waiting += piece
            if len(waiting) >= _BLOCK_FRAMES * size:
                whole = len(waiting) - len(waiting) % size
                yield self._counted(bytes(waiting[:whole]))
                del waiting[:whole]
        self.incomplete_bytes = len(waiting) % size
        whole = len(waiting) - self.incomplete_bytes
        if whole:
            yield self._counted(bytes(waiting[:whole]))

    def linear(self) -> Iterator[npt.NDArray[np.int16]]:
        """Give blocks of 16-bit samples, one row a frame."""
        table = _TABLES.get(self._audio.encoding)
        for block in self.raw():
            if table is None:
                samples = np.frombuffer(block, "<i2").astype(np.int16, copy=False)
            else:
                samples = table[np.frombuffer(block, np.uint8)]
            yield samples.reshape(-1, self._audio.channels)

    def _within(self) -> Iterator[bytes]:
        """Give the samples' bytes: all, or as many as the header says."""
        left = self._left
        for piece in self._all():
            if left is None:
                yield piece
                continue
            if left > 0:
                yield piece[:left]
            left -= len(piece)

    def _all(self) -> Iterator[bytes]:
        yield self._first
        yield from self._pieces

    def _counted(self, block: bytes) -> bytes:
        if self._mutes:
            block = muted(block, self.frames, self._audio, self._mutes)
        self.frames += len(block) // self._audio.frame_bytes
        self._progress(self.frames)
        return block


def _mixed(frames: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Take the mean of the channels, rounded down."""
    if frames.shape[1] == 1:
        return frames
    if frames.shape[1] == _STEREO:
        total: npt.NDArray[np.int32] = frames[:, 0].astype(np.int32) + frames[:, 1]
        return (total >> 1).astype(np.int16)[:, None]
    mean: npt.NDArray[np.int16] = frames.mean(axis=1).astype(np.int16)
    return mean[:, None]


def _write_wav(header: StreamHeader, blocks: _Blocks, out: BinaryIO, mix: Mix) -> None:
    audio = header.audio
    mono = mix is Mix.MONO and audio.channels > 1
    if mono:
        audio = AudioFormat(Encoding.PCM16, audio.rate_hz, 1)
    seekable = out.seekable()
    start = out.tell() if seekable else 0
    out.write(encode_header(audio, header.info))
    written = 0
    source = (_mixed(block).astype("<i2").tobytes() for block in blocks.linear()) if mono else blocks.raw()
    for block in source:
        out.write(block)
        written += len(block)
    if written % 2:
        out.write(b"\0")
    if seekable:
        try:
            sized = encode_header(audio, header.info, written)
        except ContainerError:
            return  # beyond 4 GiB, where WAV ends: the sizes stay open
        end = out.tell()
        out.seek(start)
        out.write(sized)
        out.seek(end)


def _write_coded(
    header: StreamHeader, blocks: _Blocks, out: BinaryIO, file_format: ExportFormat, channels: int
) -> None:
    # Not before it is needed: a process that exports WAV only never loads FFmpeg.
    from storage import encoders  # noqa: PLC0415

    codings = {
        ExportFormat.FLAC: encoders.FLAC,
        ExportFormat.MP3: encoders.MP3,
        ExportFormat.OPUS: encoders.OPUS,
    }
    if channels > _STEREO:
        raise ExportError(f"{channels} channels: export them as WAV, or mixed to mono")
    sound = _never_empty(blocks.linear(), header.audio)
    encoders.write_coded(
        (_mixed(block) for block in sound) if channels == 1 else sound,
        out,
        codings[file_format],
        title=header.info.recording_id,
        rate_hz=header.audio.rate_hz,
        channels=channels,
    )


def _never_empty(
    blocks: Iterator[npt.NDArray[np.int16]], audio: AudioFormat
) -> Iterator[npt.NDArray[np.int16]]:
    """Give 20 ms of silence if there is no audio: FFmpeg makes no file of nothing."""
    first = next(blocks, None)
    yield np.zeros((audio.rate_hz // 50, audio.channels), np.int16) if first is None else first
    yield from blocks


def _expanded(encoding: Encoding) -> npt.NDArray[np.int16]:
    """Build the table of 16-bit values of a G.711 law (ITU-T G.711, tables 1 and 2)."""
    code = np.arange(256, dtype=np.int32) ^ (0xFF if encoding is Encoding.ULAW else 0xD5)
    segment, step = (code >> 4) & 7, code & 0x0F
    if encoding is Encoding.ULAW:
        magnitude = (((step << 3) + 132) << segment) - 132
    else:
        magnitude = ((step << 4) + 8 + np.where(segment, 256, 0)) << np.maximum(segment - 1, 0)
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


_TABLES: Final = {law: _expanded(law) for law in (Encoding.ULAW, Encoding.ALAW)}
