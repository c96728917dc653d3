"""FLAC, MP3 and Opus, made by FFmpeg through PyAV on all processors.

MP3 and Opus are cut into segments that are encoded at the same time. Each encoder
begins some frames before its segment, so that it has settled, and ends some after
it; of what it gives only the packets of the segment are kept. All encoders have the
same delay and the same grid of frames, so the packets are those of one encoder:
their number, hence the length, is the same, and nothing is heard at a joint. MP3
goes without its bit reservoir for that: no frame leans on bits of the one before.
FLAC numbers its frames; one encoder makes them all, beside the thread that decrypts.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any, BinaryIO, Final

import av
import av.error
import numpy as np
import numpy.typing as npt

from storage.errors import ExportError

__all__ = ["FLAC", "MP3", "OPUS", "Coding", "write_coded"]

_Samples = npt.NDArray[np.int16]

_NARROW_HZ: Final = 8_000
_SEGMENT_S: Final = 24
_SETTLING_FRAMES: Final = 24
"""An encoder begins this many frames early; RFC 7845 section 4.6 asks a decoder of Opus for 80 ms."""
_TRAILING_FRAMES: Final = 4
_AHEAD: Final = 2
"""Segments that wait for each processor, beside the one it encodes."""
_OPUS_FRAME_MS: Final = 60
_MP3_FRAME: Final = {False: 576, True: 1152}
"""Samples in a frame of MPEG-2 and 2.5 (below 32 kHz), and of MPEG-1."""
_MPEG1_HZ: Final = 32_000


@dataclass(frozen=True, slots=True)
class Coding:
    """How FFmpeg makes a format.

    Attributes:
        container: Its muxer.
        codec: Its encoder.
        bit_rate: A channel's at 8 kHz and at more; None for lossless.
        frame: Samples in a frame at a rate, if it can be made in segments; None if not.
        options: Further settings of the encoder.
    """

    container: str
    codec: str
    bit_rate: tuple[int, int] | None = None
    frame: Callable[[int], int] | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def _mp3_frame(rate_hz: int) -> int:
    return _MP3_FRAME[rate_hz >= _MPEG1_HZ]


def _opus_frame(rate_hz: int) -> int:
    return rate_hz * _OPUS_FRAME_MS // 1000


FLAC: Final = Coding("flac", "flac")
MP3: Final = Coding("mp3", "libmp3lame", (32_000, 64_000), _mp3_frame, {"reservoir": "0"})
OPUS: Final = Coding(
    "ogg",
    "libopus",
    (24_000, 32_000),
    _opus_frame,
    {"frame_duration": str(_OPUS_FRAME_MS), "compression_level": "0"},
)


@dataclass(frozen=True, slots=True)
class _Settings:
    """Everything one encoder needs to know."""

    coding: Coding
    rate_hz: int
    channels: int

    @property
    def layout(self) -> str:
        return "mono" if self.channels == 1 else "stereo"

    def set_up(self, context: Any) -> None:  # noqa: ANN401  (of PyAV)
        context.layout = self.layout
        context.format = _sample_format(self.coding.codec)
        if self.coding.bit_rate is not None:
            context.bit_rate = self.channels * self.coding.bit_rate[self.rate_hz > _NARROW_HZ]

    def encoder(self) -> Any:  # noqa: ANN401  (of PyAV)
        context: Any = av.CodecContext.create(self.coding.codec, "w")
        context.sample_rate = self.rate_hz
        context.time_base = Fraction(1, self.rate_hz)
        context.options = dict(self.coding.options)
        self.set_up(context)
        return context

    def frame(self, samples: _Samples, start: int) -> av.AudioFrame:
        packed = np.ascontiguousarray(samples).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=self.layout)
        frame.sample_rate = self.rate_hz
        frame.time_base = Fraction(1, self.rate_hz)
        frame.pts = start
        return frame


@dataclass(frozen=True, slots=True)
class _Segment:
    """Samples from `start` on, and which frames of them count: those that begin in [first, last)."""

    samples: _Samples
    start: int
    first: int | None
    last: int | None


def write_coded(
    blocks: Iterator[_Samples],
    out: BinaryIO,
    coding: Coding,
    *,
    title: str,
    rate_hz: int,
    channels: int,
    processors: int | None = None,
) -> None:
    """Encode samples into a file.

    Args:
        blocks: Samples, one row a frame; at least one.
        out: Where the file goes.
        coding: How.
        title: Goes into its metadata.
        rate_hz: Frames a second.
        channels: 1 or 2.
        processors: How many encode at once; None for all that this process may use.

    Raises:
        ExportError: FFmpeg has no such encoder, or it failed.
        OSError: `out` cannot be written.
    """
    settings = _Settings(coding, rate_hz, channels)
    workers = processors or len(os.sched_getaffinity(0))
    sink = _Sink(out)
    try:
        with (
            av.open(sink, "w", format=coding.container) as container,
            ThreadPoolExecutor(workers if coding.frame is not None else 1) as pool,
        ):
            container.metadata["title"] = title
            stream: Any = container.add_stream(coding.codec, rate=rate_hz, options=dict(coding.options))
            settings.set_up(stream.codec_context)
            encode = _whole(settings, blocks) if coding.frame is None else _segmented(settings, blocks)
            for packets in _in_order(pool, encode, _AHEAD * workers):
                for packet in packets:
                    packet.stream = stream
                    container.mux(packet)
    except (av.error.FFmpegError, av.codec.codec.UnknownCodecError) as err:
        if sink.fault is not None:
            raise sink.fault from err
        raise ExportError(
            f"FFmpeg cannot write {coding.codec} at {rate_hz} Hz: {err}; export to WAV instead"
        ) from err


_Work = Callable[[], list[Any]]


def _in_order(pool: ThreadPoolExecutor, work: Iterator[_Work], most: int) -> Iterator[list[Any]]:
    """Do work in the pool and give its results in order, with no more than `most` under way."""
    under_way: deque[Future[list[Any]]] = deque()
    try:
        for each in work:
            under_way.append(pool.submit(each))
            if len(under_way) > most:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()


def _whole(settings: _Settings, blocks: Iterator[_Samples]) -> Iterator[_Work]:
    """One encoder for all, fed in order by a pool of one."""
    encoder = settings.encoder()
    at = 0
    for block in blocks:
        frame = settings.frame(block, at)
        at += len(block)
        yield partial(_packets, encoder, frame)
    yield partial(_packets, encoder, None)


def _packets(encoder: Any, frame: av.AudioFrame | None) -> list[Any]:  # noqa: ANN401  (of PyAV)
    return list(encoder.encode(frame))


def _segmented(settings: _Settings, blocks: Iterator[_Samples]) -> Iterator[_Work]:
    """An encoder for each segment."""
    assert settings.coding.frame is not None  # noqa: S101  (the caller chose)
    frame = settings.coding.frame(settings.rate_hz)
    delay = -int(_encoded(settings, _silence(settings, 4 * frame))[0].pts)
    for segment in _segments(blocks, frame, max(1, _SEGMENT_S * settings.rate_hz // frame) * frame):
        yield partial(_kept, settings, segment, delay)


def _kept(settings: _Settings, segment: _Segment, delay: int) -> list[Any]:
    """The packets of a segment, without those of the frames around it."""
    return [
        packet
        for packet in _encoded(settings, segment)
        if (segment.first is None or packet.pts >= segment.first - delay)
        and (segment.last is None or packet.pts < segment.last - delay)
    ]


def _silence(settings: _Settings, frames: int) -> _Segment:
    return _Segment(np.zeros((frames, settings.channels), np.int16), 0, None, None)


def _encoded(settings: _Settings, segment: _Segment) -> list[Any]:
    encoder = settings.encoder()
    frame = settings.frame(segment.samples, segment.start)
    return [*_packets(encoder, frame), *_packets(encoder, None)]


def _segments(blocks: Iterator[_Samples], frame: int, size: int) -> Iterator[_Segment]:
    """Cut samples into segments of `size`, each with the frames around it that its encoder needs."""
    lead, trail = _SETTLING_FRAMES * frame, _TRAILING_FRAMES * frame
    held: list[_Samples] = []
    base, start, end = 0, 0, 0  # first sample held, of the segment, behind the last held

    def cut(last: bool) -> _Segment:
        nonlocal held, base, start
        samples = np.concatenate(held)
        here = _Segment(
            samples if last else samples[: start + size + trail - base],
            base,
            start or None,
            None if last else start + size,
        )
        start += size
        keep = max(0, start - lead)
        held, base = [samples[keep - base :]], keep
        return here

    for block in blocks:
        held.append(block)
        end += len(block)
        while end - start > size + trail:
            yield cut(last=False)
    while end - start > size:
        yield cut(last=False)
    yield cut(last=True)


def _sample_format(codec: str) -> str:
    """Choose what the encoder takes: packed 16 bits where it can, else its first format."""
    formats = [known.name for known in av.Codec(codec, "w").audio_formats or ()]
    return next((name for name in ("s16", "s16p") if name in formats), formats[0])


class _Sink(io.RawIOBase):
    """The output as FFmpeg takes it; keeps the fault of a write, which FFmpeg forgets."""

    def __init__(self, out: BinaryIO) -> None:
        self.fault: OSError | None = None
        self._out = out

    def write(self, data: Any) -> int:  # noqa: ANN401  (a buffer)
        try:
            return self._out.write(data)
        except OSError as err:
            self.fault = err
            raise

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._out.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._out.seek(offset, whence)

    def tell(self) -> int:
        return self._out.tell()
