"""A recording that is open: its timeline, its writer, and what is known of it in the end."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Final

from recproxy.call.events import Codec, LegName
from recproxy.eventlog import CHANNEL_COUNTS
from recproxy.recorder.jobs import Pause, Resume, Seal
from rtp import CodecSpec, Run, Side, SortedBatch, Timeline, TimelineFacts
from storage import ChannelFacts, RecordingId, RecordingWriter, SealFacts

Packets = tuple[Run, SortedBatch]
"""Packets of one side, and the batch they came in."""

_CHANNEL_FIELDS: Final = tuple(field.name for field in fields(ChannelFacts))
_SEALED_LINE: Final = (*CHANNEL_COUNTS, "jitter_ms")


@dataclass(slots=True)
class Live:
    """A recording that is open.

    Attributes:
        call: Of which call.
        recording: Its id.
        terms: Why it is made, and when that expires; what a party said no to is gone.
        stream: Of the relay.
        timeline: Makes frames of packets.
        writer: Takes them.
        frame_bytes: Size of a frame.
        rate_hz: Frames a second.
        frames: Written so far.
        pauses: How many there were.
        paused_ns: How long they took, but for the one that lasts.
        paused_at: When that began.
    """

    call: str
    recording: RecordingId
    terms: dict[str, datetime]
    stream: int
    timeline: Timeline
    writer: RecordingWriter
    frame_bytes: int
    rate_hz: int
    frames: int = 0
    pauses: int = 0
    paused_ns: int = 0
    paused_at: int | None = None

    @property
    def purpose(self) -> str:
        """Its purposes in one word, as logs and the audit chain have them."""
        return ",".join(self.terms)

    def hold(self, job: Pause | Resume) -> None:
        """Begin or end a pause; it counts from its own instant."""
        match job:
            case Pause():
                self.timeline.pause(job.at_ns)
                if self.paused_at is None:
                    self.paused_at = job.at_ns
                    self.pauses += 1
            case Resume():
                self.timeline.resume(job.at_ns, specs(job.codecs))
                if self.paused_at is not None:
                    self.paused_ns += job.at_ns - self.paused_at
                    self.paused_at = None

    def advance(self, packets: list[Packets], until_ns: int) -> None:
        """Place packets and write what became final.

        Raises:
            StorageError: It cannot be written.
        """
        self._feed(packets)
        self._write(self.timeline.take(until_ns))

    def finish(self, packets: list[Packets], job: Seal, ended: datetime) -> SealFacts:
        """Place the last packets, write the rest, and sum up.

        Raises:
            StorageError: It cannot be written.
        """
        if self.paused_at is not None:
            self.paused_ns += max(0, job.end_ns - self.paused_at)
        self._feed(packets)
        self._write(self.timeline.finish(job.end_ns))
        return SealFacts(
            ended=ended,
            frames=self.frames,
            caller=_channel(self.timeline.facts(Side.CALLER)),
            callee=_channel(self.timeline.facts(Side.CALLEE)),
            dropped_packets=job.dropped,
            paused=timedelta(microseconds=self.paused_ns // 1000),
            reason=job.reason,
            pauses=self.pauses,
        )

    def sealed_fields(self, facts: SealFacts) -> tuple[tuple[str, str | int | float], ...]:
        """What the event log says of it."""
        line: list[tuple[str, str | int | float]] = [
            ("recording", self.recording.text),
            ("purpose", self.purpose),
            ("expiry", max(self.terms.values()).isoformat(timespec="seconds")),
            ("reason", facts.reason),
            ("frames", facts.frames),
            ("duration_s", round(facts.frames / self.rate_hz, 3)),
            ("pauses", facts.pauses),
            ("paused_ms", facts.paused // timedelta(milliseconds=1)),
            ("ring_dropped", facts.dropped_packets),
        ]
        for leg, channel in ((LegName.CALLER, facts.caller), (LegName.CALLEE, facts.callee)):
            if channel is not None:
                line += [(f"{leg.value}_{name}", getattr(channel, name)) for name in _SEALED_LINE]
        return tuple(line)

    def _feed(self, packets: list[Packets]) -> None:
        for run, batch in packets:
            self.timeline.push_run(run, batch)

    def _write(self, frames: bytes) -> None:
        if frames:
            self.writer.write(frames)
            self.frames += len(frames) // self.frame_bytes


def specs(codecs: tuple[Codec, ...]) -> dict[int, CodecSpec]:
    """What each payload type stands for."""
    return {codec.payload_type: CodecSpec(codec.name, codec.clock_hz, codec.channels) for codec in codecs}


def _channel(facts: TimelineFacts) -> ChannelFacts:
    """What the catalogue keeps of a channel, by the same names."""
    return ChannelFacts(**{name: getattr(facts, name) for name in _CHANNEL_FIELDS})
