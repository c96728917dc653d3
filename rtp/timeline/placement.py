"""Writing one side's packets: at once, or after decoding; what becomes of each is counted."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from rtp.codecs import payload_samples
from rtp.timeline.canvas import Canvas
from rtp.timeline.facts import TimelineFacts
from rtp.timeline.formats import TimelineFormat
from rtp.timeline.packets import Packets
from rtp.timeline.payloadtypes import DEFERRED, DIRECT, G711Table, PayloadTypes
from rtp.timeline.streamclock import StreamClock
from rtp.timeline.transcoder import Transcoder, Undecoded

__all__ = ["FAR_NS", "Placement"]

FAR_NS: Final = 1_000_000_000
"""Timestamps that disagree with arrival by more are not believed."""


class Placement:
    """Puts packets whose time is known on one channel of the canvas.

    Attributes:
        end: The frame after everything written or waiting to be decoded.
        epoch: Counts the anchors; a decoder does not outlive one.
    """

    __slots__ = (
        "_audio",
        "_canvas",
        "_channel",
        "_reorder_ns",
        "_tally",
        "_transcoder",
        "_types",
        "end",
        "epoch",
    )

    def __init__(
        self,
        channel: int,
        audio: TimelineFormat,
        canvas: Canvas,
        types: PayloadTypes,
        tally: TimelineFacts,
        reorder_ns: int,
    ) -> None:
        """Start with an empty channel.

        Args:
            channel: Channel of the canvas.
            audio: Format of the recording.
            canvas: Shared with the other side.
            types: Meaning of the payload types.
            tally: Where packets are counted.
            reorder_ns: How long a packet may come late.
        """
        self._channel = channel
        self._audio = audio
        self._canvas = canvas
        self._types = types
        self._tally = tally
        self._reorder_ns = reorder_ns
        self._transcoder = Transcoder(channel, audio)
        self.end = 0
        self.epoch = 0

    def append(self, frame: int, payloads: npt.NDArray[np.uint8], table: G711Table, count: int) -> bool:
        """Write an unbroken run of G.711 after everything else.

        Args:
            frame: Where it starts.
            payloads: Its bytes.
            table: Of their payload type.
            count: How many packets they were.

        Returns:
            False, with nothing done, if there is no place for it there.
        """
        lookup = table.lookup
        if not self._canvas.append(self._channel, frame, payloads if lookup is None else lookup[payloads]):
            return False
        self.end = max(self.end, frame + len(payloads))
        self._tally.packets += count
        if lookup is not None:
            self._tally.converted += count
        return True

    def decode(self, until: int) -> None:
        """Decode what falls before a frame and waited for its turn."""
        self._transcoder.decode(until, self._canvas, self._tally)

    def erase(self, frame: int) -> None:
        """Take back everything from a frame on that was not given out."""
        self._canvas.erase(self._channel, frame)
        self._transcoder.forget(frame)
        self.end = min(self.end, max(frame, self._canvas.taken))

    def write_near(
        self,
        clock: StreamClock,
        packets: Packets,
        relative: npt.NDArray[np.int64],
        lateness: npt.NDArray[np.int64],
        floor: int,
    ) -> bool:
        """Write the packets that agree with a clock.

        Args:
            clock: Of their stream.
            packets: Audio packets.
            relative: Their timestamps.
            lateness: By how much each came after it was due.
            floor: Nothing is written before this frame.

        Returns:
            False, with nothing done, if none agrees.
        """
        near = (lateness <= self._reorder_ns) & (lateness >= -FAR_NS)
        found = bool(near.any())
        if found:
            self._tally.late += len(near) - int(np.count_nonzero(near))
            self.write(clock, packets[near], relative[near], lateness[near], floor)
        return found

    def write(
        self,
        clock: StreamClock,
        packets: Packets,
        relative: npt.NDArray[np.int64],
        lateness: npt.NDArray[np.int64],
        floor: int,
    ) -> None:
        """Write what is in time; tell the clock of the newest packet and of the delay.

        Args:
            clock: Of their stream.
            packets: Audio packets, none of them far from the clock.
            relative: Their timestamps.
            lateness: By how much each came after it was due.
            floor: Nothing is written before this frame.
        """
        clock.observe(int(lateness.min()), len(packets))
        frames = clock.frames(relative)
        in_time = lateness <= self._reorder_ns
        self._tally.late += len(in_time) - int(np.count_nonzero(in_time))
        self._write_group(packets, frames, in_time, floor)
        newest = int(relative.argmax())
        codec = self._types.codecs[int(packets.payload_type[newest])]
        samples = payload_samples(codec, packets.payload(newest))
        rate = codec.rate_hz or clock.hz
        end = int(relative[newest]) + samples * clock.hz // rate
        clock.saw(int(relative[newest]), int(packets.timestamp[newest]), end)
        self.end = max(self.end, int(frames[newest]) + samples * self._audio.rate_hz // rate)

    def _write_group(
        self,
        packets: Packets,
        frames: npt.NDArray[np.int64],
        chosen: npt.NDArray[np.bool_],
        floor: int,
    ) -> None:
        self._tally.reordered += int(np.count_nonzero(packets.behind & chosen))
        kinds = self._types.kinds[packets.payload_type]
        direct = chosen & (kinds == DIRECT)
        if direct.any():
            self._write_direct(packets[direct], frames[direct], floor)
        for at in np.flatnonzero(chosen & (kinds == DEFERRED)).tolist():
            codec = self._types.codecs[int(packets.payload_type[at])]
            payload = packets.payload(at)
            waiting = Undecoded(int(frames[at]), floor, self.epoch, codec, payload)
            if not self._transcoder.add(waiting):
                self._tally.overrun += 1

    def _write_direct(self, packets: Packets, frames: npt.NDArray[np.int64], floor: int) -> None:
        """Write G.711 at the recording's own rate."""
        alive = frames + packets.length > max(floor, self._canvas.taken)
        if not alive.all():
            self._tally.late += len(alive) - int(np.count_nonzero(alive))
            packets, frames = packets[alive], frames[alive]
        if len(packets) == 0:
            return
        samples, converted = self._samples(packets)
        written, crowded = self._canvas.scatter(self._channel, frames, packets.length, samples, floor)
        self._tally.packets += len(packets) - crowded
        self._tally.overrun += crowded
        self._tally.converted += converted
        if not crowded:
            self._tally.overlapped_samples += len(samples) - written

    def _samples(self, packets: Packets) -> tuple[npt.NDArray[np.generic], int]:
        """Look up the samples of G.711 packets; give them and how many packets were not kept as sent."""
        payloads = packets.payloads()
        samples = np.empty(len(payloads), self._audio.dtype)
        owner = np.repeat(packets.payload_type, packets.length)
        converted = 0
        for payload_type in set(packets.payload_type.tolist()):  # np.unique would load numpy.ma, 1.2 MB
            table = self._types.tables[payload_type]
            which = owner == payload_type
            if table is None or table.lookup is None:
                samples[which] = payloads[which]
            else:
                samples[which] = table.lookup[payloads[which]]
                converted += int(np.count_nonzero(packets.payload_type == payload_type))
        return samples, converted
