"""A recording that is open: its timeline, its writer, and what is known of it in the end."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Final

from recproxy.call.events import Codec, LegName
from recproxy.logevents import CHANNEL_COUNTS
from recproxy.recorder.jobs import Part, Pause, Resume, Seal
from rtp import CodecSpec, Run, Side, SortedBatch, Timeline, TimelineFacts
from storage import AudioFormat, ChannelFacts, RecordingId, RecordingWriter, SealFacts

Packets = tuple[Run, SortedBatch]
"""Packets of one side, and the batch they came in."""

_CHANNEL_FIELDS: Final = tuple(each.name for each in fields(ChannelFacts))
_COUNTED: Final = tuple(name for name in _CHANNEL_FIELDS if name != "jitter_ms")
_SEALED_LINE: Final = (*CHANNEL_COUNTS, "jitter_ms")


@dataclass(frozen=True, slots=True)
class Pausing:
    """A time in which nothing was recorded; ``until_ns`` is None while it lasts."""

    from_ns: int
    until_ns: int | None = None

    def lasted_ns(self, end_ns: int) -> int:
        """How long it took, until an instant."""
        return max(0, (end_ns if self.until_ns is None else min(self.until_ns, end_ns)) - self.from_ns)


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
        audio: Format of its frames.
        frames: Written so far.
        pauses: From when to when nothing was recorded; the last may last.
        before: What was counted on this timeline for the recording that this one goes on from.
    """

    call: str
    recording: RecordingId
    terms: dict[str, datetime]
    stream: int
    timeline: Timeline
    writer: RecordingWriter
    audio: AudioFormat
    frames: int = 0
    pauses: list[Pausing] = field(default_factory=list)
    before: dict[Side, ChannelFacts] = field(default_factory=dict)

    @property
    def purpose(self) -> str:
        """Its purposes in one word, as logs and the audit chain have them."""
        return ",".join(self.terms)

    def hold(self, job: Pause | Resume) -> None:
        """Begin or end a pause; it counts from its own instant."""
        match job:
            case Pause():
                self.timeline.pause(job.at_ns)
                if not self.pauses or self.pauses[-1].until_ns is not None:
                    self.pauses.append(Pausing(job.at_ns))
            case Resume():
                self.timeline.resume(job.at_ns, specs(job.codecs))
                if self.pauses and self.pauses[-1].until_ns is None:
                    self.pauses[-1] = Pausing(self.pauses[-1].from_ns, job.at_ns)

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
        self._feed(packets)
        self._write(self.timeline.finish(job.end_ns))
        return self._sum_up(job, job.end_ns, ended)

    def cut(self, packets: list[Packets], job: Part, ended: datetime) -> SealFacts:
        """Place the packets until now, write all that lies before an instant, and sum up.

        Raises:
            StorageError: It cannot be written.
        """
        self.advance(packets, job.ripe_ns)
        return self._sum_up(job, job.at_ns, ended)

    def go_on(self, at_ns: int) -> tuple[list[Pausing], dict[Side, ChannelFacts]]:
        """What a recording that goes on from this one at an instant begins with."""
        pauses = [
            Pausing(max(pause.from_ns, at_ns), pause.until_ns)
            for pause in self.pauses
            if pause.until_ns is None or pause.until_ns > at_ns
        ]
        return pauses, {side: _channel(self.timeline.facts(side)) for side in Side}

    def _sum_up(self, job: Part | Seal, end_ns: int, ended: datetime) -> SealFacts:
        paused = [pause.lasted_ns(end_ns) for pause in self.pauses if pause.from_ns < end_ns]
        return SealFacts(
            ended=ended,
            frames=self.frames,
            caller=self._counted(Side.CALLER),
            callee=self._counted(Side.CALLEE),
            dropped_packets=job.dropped,
            paused=timedelta(microseconds=sum(paused) // 1000),
            reason=job.reason,
            pauses=len(paused),
        )

    def _counted(self, side: Side) -> ChannelFacts:
        """The counts of a channel since this recording began; the jitter is the highest of the timeline."""
        now, before = _channel(self.timeline.facts(side)), self.before.get(side)
        if before is None:
            return now
        grown = {name: getattr(now, name) - getattr(before, name) for name in _COUNTED}
        return replace(now, **grown)

    def sealed_fields(self, facts: SealFacts) -> tuple[tuple[str, str | int | float], ...]:
        """What the event log says of it."""
        line: list[tuple[str, str | int | float]] = [
            ("recording", self.recording.text),
            ("purpose", self.purpose),
            ("expiry", max(self.terms.values()).isoformat(timespec="seconds")),
            ("reason", facts.reason),
            ("frames", facts.frames),
            ("duration_s", round(facts.frames / self.audio.rate_hz, 3)),
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
            self.frames += len(frames) // self.audio.frame_bytes


def specs(codecs: tuple[Codec, ...]) -> dict[int, CodecSpec]:
    """What each payload type stands for."""
    return {codec.payload_type: CodecSpec(codec.name, codec.clock_hz, codec.channels) for codec in codecs}


def _channel(facts: TimelineFacts) -> ChannelFacts:
    """What the catalogue keeps of a channel, by the same names."""
    return ChannelFacts(**{name: getattr(facts, name) for name in _CHANNEL_FIELDS})
