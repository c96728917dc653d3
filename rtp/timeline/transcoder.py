"""Decoding for channels whose codec is not the recording's own format."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import numpy as np
import numpy.typing as npt

from rtp.codecs import CodecSpec, Decoder, Resampler, alaw_encode, decoder_for, mulaw_encode
from rtp.errors import PacketError
from rtp.timeline.canvas import Canvas
from rtp.timeline.facts import TimelineFacts
from rtp.timeline.formats import Encoding, TimelineFormat

__all__ = ["Transcoder", "Undecoded"]

_MOST_WAITING: Final = 2_048
"""Packets; 20 s of 10 ms."""
_SEAM_FRAMES: Final = 8
"""Pieces this close follow each other: rates that do not divide round to different frames."""

_by_frame = attrgetter("frame")


@dataclass(frozen=True, slots=True)
class Undecoded:
    """A payload that waits for its turn.

    Attributes:
        frame: Where its first sample falls.
        floor: The first frame it may be written to.
        epoch: Counts the anchors of the side; a decoder does not outlive one.
        codec: What it is.
        payload: Its bytes.
    """

    frame: int
    floor: int
    epoch: int
    codec: CodecSpec
    payload: bytes


class Transcoder:
    """Keeps payloads until their order is certain, then decodes them in order.

    Converted samples lie 2 ms late by the resampling filter, where the rate changes.
    """

    __slots__ = ("_audio", "_channel", "_codec", "_decoder", "_epoch", "_next", "_resampler", "_waiting")

    def __init__(self, channel: int, audio: TimelineFormat) -> None:
        """Start with nothing to decode.

        Args:
            channel: Channel of the recording.
            audio: Its format.
        """
        self._channel = channel
        self._audio = audio
        self._waiting: list[Undecoded] = []
        self._codec: CodecSpec | None = None
        self._decoder: Decoder | None = None
        self._resampler = Resampler(1, 1)
        self._epoch = -1
        self._next = 0

    def add(self, packet: Undecoded) -> bool:
        """Keep one payload.

        Args:
            packet: In any order.

        Returns:
            False if too many wait already; it was not kept.
        """
        if len(self._waiting) >= _MOST_WAITING:
            return False
        self._waiting.append(packet)
        return True

    def forget(self, frame: int) -> None:
        """Drop what waits and starts at or after a frame."""
        self._waiting = [packet for packet in self._waiting if packet.frame < frame]

    def decode(self, until: int, canvas: Canvas, tally: TimelineFacts) -> None:
        """Decode what falls before a frame.

        Args:
            until: Packets that start at or after this frame go on waiting.
            canvas: Where the samples go.
            tally: Where they are counted.
        """
        if not self._waiting:
            return
        self._waiting.sort(key=_by_frame)
        ready = [packet for packet in self._waiting if packet.frame < until]
        del self._waiting[: len(ready)]
        run: list[npt.NDArray[np.int16]] = []
        head: Undecoded | None = None
        for packet in ready:
            if head is None or not self._follows(head, run, packet):
                self._write(head, run, canvas, tally)
                head, run = packet, []
            try:
                run.append(self._decoder_of(packet).decode(packet.payload))
            except PacketError:
                tally.undecodable += 1
                self._write(head, run, canvas, tally)
                head = None
        self._write(head, run, canvas, tally)

    def _follows(self, head: Undecoded, run: list[npt.NDArray[np.int16]], packet: Undecoded) -> bool:
        """Tell whether a packet's audio goes on where the run's ends."""
        if (packet.codec, packet.epoch, packet.floor) != (head.codec, head.epoch, head.floor):
            return False
        samples = sum(map(len, run))
        end = head.frame + samples * self._audio.rate_hz // (head.codec.rate_hz or 1)
        return abs(packet.frame - end) <= _SEAM_FRAMES

    def _write(
        self, head: Undecoded | None, run: list[npt.NDArray[np.int16]], canvas: Canvas, tally: TimelineFacts
    ) -> None:
        """Convert a run to the format of the recording and put it on the canvas."""
        if head is None or not run:
            return
        frame = head.frame
        if abs(frame - self._next) <= _SEAM_FRAMES:
            frame = self._next
        else:
            self._resampler.reset()
        converted = self._encoded(self._resampler.process(np.concatenate(run)))
        self._next = frame + len(converted)
        if self._next <= max(head.floor, canvas.taken):
            tally.late += len(run)
            return
        written, crowded = canvas.scatter(
            self._channel, np.array([frame]), np.array([len(converted)]), converted, head.floor
        )
        if crowded:
            tally.overrun += len(run)
            return
        tally.packets += len(run)
        tally.converted += len(run)
        tally.overlapped_samples += len(converted) - written

    def _decoder_of(self, packet: Undecoded) -> Decoder:
        if self._decoder is None or packet.codec != self._codec or packet.epoch != self._epoch:
            self._decoder = decoder_for(packet.codec)
            self._codec = packet.codec
            self._epoch = packet.epoch
            self._resampler = Resampler(self._decoder.rate_hz, self._audio.rate_hz)
        return self._decoder

    def _encoded(self, pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.generic]:
        match self._audio.encoding:
            case Encoding.MULAW:
                return mulaw_encode(pcm)
            case Encoding.ALAW:
                return alaw_encode(pcm)
            case Encoding.PCM16:
                return pcm
