"""One side of a call: from its packets to one channel of the canvas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from rtp.codecs import CodecSpec
from rtp.runs import RUN_CLOCK_HZ, Run, SortedBatch
from rtp.timeline.canvas import Canvas
from rtp.timeline.facts import TimelineFacts
from rtp.timeline.formats import TimelineFormat
from rtp.timeline.holds import Holds
from rtp.timeline.jitter import Jitter
from rtp.timeline.packets import Packets
from rtp.timeline.payloadtypes import DEFERRED, DIRECT, EVENT, NOISE, UNKNOWN, G711Table, PayloadTypes
from rtp.timeline.placement import FAR_NS, Placement
from rtp.timeline.stream import Stream, Trial
from rtp.timeline.streamclock import StreamClock

__all__ = ["Lane"]

TRIAL_NS: Final = 60_000_000
"""A stream's first packets are compared this long before the earliest sets its anchor."""
_TRIAL_PACKETS: Final = 512
_YIELD_NS: Final = 20_000_000
"""A stream may start this much late, so as not to overlap what is placed already."""
_CHUNK: Final = 1_024
_SECOND_NS: Final = 1_000_000_000
_HALF_CLOCK: Final = 1 << 31


class Lane:
    """Places one side's packets; belongs to a `Timeline`.

    Times are nanoseconds since the start of the recording.
    """

    def __init__(
        self,
        channel: int,
        audio: TimelineFormat,
        canvas: Canvas,
        codecs: Mapping[int, CodecSpec],
        *,
        reorder_ns: int,
        max_drift_ns: int,
    ) -> None:
        """Start with no stream.

        Args:
            channel: Channel of the canvas.
            audio: Format of the recording.
            canvas: Shared with the other side.
            codecs: What each payload type stands for.
            reorder_ns: How long a packet may come late.
            max_drift_ns: How far a stream's clock may stray.
        """
        self._audio = audio
        self._reorder_ns = reorder_ns
        self._max_drift_ns = max_drift_ns
        self._trial_slack_ns = max(reorder_ns - TRIAL_NS, 0)
        self._tally = TimelineFacts()
        self._types = PayloadTypes(audio, codecs)
        self._placement = Placement(channel, audio, canvas, self._types, self._tally, reorder_ns)
        self._stream: Stream | None = None
        self._previous: Stream | None = None
        self._changed_ns = 0
        self._floor = 0
        self._latest_ns = -(1 << 62)
        self._holds = Holds()
        self._jitter = Jitter()

    def agree(self, codecs: Mapping[int, CodecSpec]) -> None:
        """Take note of payload types; others keep their meaning.

        Args:
            codecs: What each payload type stands for from now on.
        """
        self._types.agree(codecs)

    def pause(self, at_ns: int) -> None:
        """Keep nothing that comes from a moment on; a second pause changes nothing."""
        if not self._holds.begin(at_ns):
            return
        if self._latest_ns >= at_ns:
            # The news came after packets it concerns: take back what has not been given out.
            self._placement.erase(self._audio.frames_at(at_ns))
            if self._stream is not None and self._stream.trial is not None:
                self._stream.trial.forget(at_ns)

    def resume(self, at_ns: int) -> None:
        """Keep again what comes from a moment on; ignored if not paused."""
        self._holds.end(at_ns)

    def push_run(self, run: Run, batch: SortedBatch, start_ns: int) -> None:
        """Place packets, all at once if they are a run that follows what was placed before.

        Args:
            run: This side's part of the batch.
            batch: The batch.
            start_ns: Start of the recording on the clock of the arrivals.
        """
        if not (run.even and self._push_run(run, batch, start_ns)):
            self.push(batch.records_of(run), batch.data, start_ns)

    def push(self, records: npt.NDArray[np.void], data: npt.NDArray[np.uint8], start_ns: int) -> None:
        """Place packets.

        Args:
            records: Records of this side, in order of arrival.
            data: Payloads they point into.
            start_ns: Start of the recording on the clock of the arrivals.
        """
        if len(records) == 0:
            return
        packets = Packets.read(records, data, start_ns)
        self._latest_ns = max(self._latest_ns, int(packets.arrival_ns[-1]))
        for at in range(0, len(packets), _CHUNK):
            for part in self._unheld(packets[at : at + _CHUNK]):
                self._push_streams(part)

    def ready(self, now_ns: int, until: int) -> None:
        """Finish what must be on the canvas before frames are taken.

        Args:
            now_ns: The time.
            until: The frame to stop before.
        """
        stream = self._stream
        while stream is not None and stream.trial is not None and now_ns >= stream.trial.since_ns + TRIAL_NS:
            self._settle(stream)
        self._placement.decode(until)

    def finish(self, until: int) -> None:
        """Place everything that still waits.

        Args:
            until: The frame after the last.
        """
        if self._stream is not None:
            self._settle_all(self._stream)
        self._placement.decode(until)

    def silence(self, samples: int) -> None:
        """Count samples of silence that were given out."""
        self._tally.silence_samples += samples

    def facts(self) -> TimelineFacts:
        """Give the counts so far, as a copy."""
        lost = sum(stream.ledger.lost for stream in (self._stream, self._previous) if stream is not None)
        return replace(self._tally, lost=self._tally.lost + lost, jitter_ms=self._jitter.peak_ms)

    # --- the common case: one stream, nothing missing, nothing out of order ---------------------

    def _follows(self, run: Run) -> tuple[Stream, StreamClock, G711Table] | None:
        """Tell whether a run goes on where everything that came before it ends; what it is placed by."""
        stream = self._stream
        if (
            stream is None
            or stream.clock is None
            or stream.trial is not None
            or stream.suspect
            or stream.late_since_ns is not None
            or self._holds
            or run.packets > _CHUNK
            or run.ssrc != stream.ssrc
        ):
            return None
        highest, table = stream.ledger.highest, self._types.tables[run.payload_type]
        if (
            highest is None
            or run.sequence != (highest + 1) & 0xFFFF
            or table is None
            or not stream.clock.hz == table.clock_hz == RUN_CLOCK_HZ
            or run.length > table.longest_bytes
        ):
            return None
        return stream, stream.clock, table

    def _push_run(self, run: Run, batch: SortedBatch, start_ns: int) -> bool:
        """Place an unbroken run of equal G.711 packets; False, with nothing done, if it cannot be."""
        found = self._follows(run)
        if found is None:
            return False
        stream, clock, table = found
        start = clock.relative(run.timestamp)
        if clock.moved_at is not None and start < clock.moved_at:
            return False
        due_ns = start_ns + clock.due_ns(start)
        least_ns = run.least_ns - due_ns
        if least_ns < -FAR_NS or run.most_ns - due_ns > self._reorder_ns:
            return False
        closing = clock.closes_window(run.last_ns - start_ns, run.packets)
        if closing:
            room = clock.window_room(batch.records_of(run)["arrival_ns"] - start_ns)
            if room < run.packets:
                head, rest = batch.parted(run, room)
                if not self._push_run(head, batch, start_ns):
                    return False
                self.push_run(rest, batch, start_ns)
                return True
        frame = clock.anchor_frame + start
        if frame < self._floor:
            return False
        payloads = batch.data[run.offset : run.offset + run.bytes]
        if not self._placement.append(frame, payloads, table, run.packets):
            return False
        end = start + run.bytes
        clock.saw(end - run.length, (run.timestamp + run.bytes - run.length) & 0xFFFFFFFF, end)
        clock.observe(least_ns, run.packets)
        if closing and clock.close_window(run.last_ns - start_ns):
            self._tally.drift_shifts += 1
        last_ns = run.last_ns - due_ns - (run.bytes - run.length) * _SECOND_NS // RUN_CLOCK_HZ
        swings = batch.swings[run.first + 1 : run.first + run.packets]
        self._jitter.observe_run(run.first_ns - due_ns, swings, last_ns)
        self._latest_ns = max(self._latest_ns, run.last_ns - start_ns)
        stream.ledger.advance(run.packets)
        return True

    # --- every other case -----------------------------------------------------------------------

    def _unheld(self, packets: Packets) -> Iterator[Packets]:
        """Give what came outside of pauses, in parts that were not parted by one."""
        while self._holds:
            kept, held, packets = self._holds.split(packets)
            self._tally.held += held
            if len(kept):
                yield kept
            if len(packets) == 0:
                return
            self._after_hold(self._audio.frames_at(self._holds.pass_first()))
        if len(packets):
            yield packets

    def _after_hold(self, frame: int) -> None:
        self._forget_previous()
        stream = self._stream
        if stream is not None:
            self._settle_all(stream)
            stream.suspect = True
            stream.late_since_ns = None
            stream.ledger.restart()
            self._jitter.begin()
        self._floor = max(self._floor, frame)

    def _push_streams(self, packets: Packets) -> None:
        """Part packets by SSRC."""
        edges = np.flatnonzero(packets.ssrc[1:] != packets.ssrc[:-1]) + 1
        for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(packets)], strict=True):
            part = packets[start:stop]
            ssrc = int(part.ssrc[0])
            previous = self._previous
            if previous is not None and previous.ssrc == ssrc:
                # Stragglers of the stream before keep its clock; after that it counts as new.
                strays = int(
                    np.searchsorted(part.arrival_ns, self._changed_ns + self._reorder_ns, side="right")
                )
                self._push_strays(previous, part[:strays])
                part = part[strays:]
                if len(part) == 0:
                    continue
            if self._stream is None:
                self._stream = Stream(ssrc)
            elif self._stream.ssrc != ssrc:
                self._change(ssrc, int(part.arrival_ns[0]))
            self._enter(self._stream, part)

    def _push_strays(self, previous: Stream, packets: Packets) -> None:
        """Place stragglers; what the stream after them has on trial is written when its time is over."""
        trial = self._stream.trial if self._stream is not None else None
        if self._stream is not None and trial is not None:
            before = int(np.searchsorted(packets.arrival_ns, trial.since_ns + TRIAL_NS))
            if before < len(packets):
                if before:
                    self._enter(previous, packets[:before])
                self._settle(self._stream)
                self._push_strays(previous, packets[before:])
                return
        if len(packets):
            self._enter(previous, packets)

    def _change(self, ssrc: int, at_ns: int) -> None:
        assert self._stream is not None  # noqa: S101  (a change needs something to change from)
        self._settle_all(self._stream)
        self._forget_previous()
        self._stream.ended = True
        self._previous = self._stream
        self._stream = Stream(ssrc)
        self._changed_ns = at_ns
        self._tally.ssrc_changes += 1

    def _forget_previous(self) -> None:
        if self._previous is not None:
            self._tally.lost += self._previous.ledger.lost
            self._previous = None

    def _enter(self, stream: Stream, packets: Packets) -> None:
        """Account for packets of one stream and place those with audio."""
        fresh, behind = stream.ledger.enter(packets.sequence)
        self._tally.duplicates += len(fresh) - int(np.count_nonzero(fresh))
        packets = packets.marked(behind)[fresh]
        kinds = self._types.kinds[packets.payload_type]
        self._count_others(stream, packets, kinds)
        lengths = packets.length
        audio = (kinds == DIRECT) | (kinds == DEFERRED)
        sound = audio & (lengths > 0) & (lengths <= self._types.longest_bytes[packets.payload_type])
        self._tally.undecodable += int(np.count_nonzero(audio & ~sound))
        packets = packets[sound]
        if len(packets) == 0:
            return
        clocks = self._types.clocks_hz[packets.payload_type]
        edges = np.flatnonzero(clocks[1:] != clocks[:-1]) + 1
        for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(packets)], strict=True):
            hz = int(clocks[start])
            if stream.ended:
                self._place_strays(stream, packets[start:stop], hz)
                continue
            if stream.clock_hz != hz:
                # Timestamps before and after cannot be compared (RFC 7160 section 3).
                self._settle_all(stream)
                if stream.clock is not None:
                    self._tally.reanchored += 1
                stream.clock, stream.clock_hz, stream.suspect = None, hz, False
            self._place(stream, packets[start:stop])

    def _count_others(self, stream: Stream, packets: Packets, kinds: npt.NDArray[np.int8]) -> None:
        self._tally.undecodable += int(np.count_nonzero(kinds == UNKNOWN))
        self._tally.comfort_noise += int(np.count_nonzero(kinds == NOISE))
        for at in np.flatnonzero(kinds == EVENT).tolist():
            # All packets of one event carry its start as timestamp (RFC 4733 section 2.2.1); one of
            # an earlier event that comes late is not a new one.
            start = int(packets.timestamp[at])
            last = stream.last_event
            if last is None or 0 < (start - last) & 0xFFFFFFFF < _HALF_CLOCK:
                stream.last_event = start
                self._tally.telephone_events += 1

    def _place(self, stream: Stream, packets: Packets) -> None:
        """Place audio packets of one stream and one clock rate."""
        while len(packets):
            if stream.trial is not None:
                limit_ns = stream.trial.since_ns + TRIAL_NS
                here = int(np.searchsorted(packets.arrival_ns, limit_ns))
                here = min(here, _TRIAL_PACKETS - stream.trial.count)
                stream.trial.add(packets[:here])
                packets = packets[here:]
                if len(packets):
                    self._settle(stream)
            elif stream.clock is None or stream.suspect:
                stream.trial = Trial(int(packets.arrival_ns[0]))
            else:
                room = stream.clock.window_room(packets.arrival_ns)
                placed = self._place_on_clock(stream, stream.clock, packets[:room])
                if placed == room and stream.clock.close_window(int(packets.arrival_ns[room - 1])):
                    self._tally.drift_shifts += 1
                packets = packets[placed:]

    def _place_strays(self, stream: Stream, packets: Packets, hz: int) -> None:
        """Place packets of a stream that was followed by another: on its clock, or not at all."""
        clock = stream.clock
        if clock is None or clock.hz != hz:
            self._tally.late += len(packets)
            return
        relative = clock.relatives(packets.timestamp)
        lateness = clock.lateness_ns(relative, packets.arrival_ns)
        if not self._placement.write_near(clock, packets, relative, lateness, self._floor):
            self._tally.late += len(packets)

    def _place_on_clock(self, stream: Stream, clock: StreamClock, packets: Packets) -> int:
        """Place packets until one disagrees with the clock; give how many there were."""
        relative = clock.relatives(packets.timestamp)
        lateness = clock.lateness_ns(relative, packets.arrival_ns)
        far = np.flatnonzero(np.abs(lateness) > FAR_NS)
        count = int(far[0]) if len(far) else len(packets)
        stuck = stream.first_stuck(lateness[:count] > self._reorder_ns, packets.arrival_ns[:count])
        if stuck is not None:
            count = stuck
            stream.clock = None
            stream.late_since_ns = None
            self._tally.reanchored += 1
        elif count < len(packets):
            stream.trial = Trial(int(packets.arrival_ns[count]))
        if count:
            self._jitter.observe(lateness[:count].tolist())
            self._placement.write(clock, packets[:count], relative[:count], lateness[:count], self._floor)
        return count

    def _settle_all(self, stream: Stream) -> None:
        while stream.trial is not None:
            self._settle(stream)

    def _settle(self, stream: Stream) -> None:
        """End a trial: keep the stream's clock if a packet agrees with it, else anchor anew."""
        trial = stream.trial
        stream.trial = None
        stream.suspect = False
        if trial is None or not trial.parts:
            return
        packets = Packets.joined(trial.parts)
        floor = max(self._floor, self._audio.frames_at(trial.since_ns - self._trial_slack_ns))
        clock = stream.clock
        if clock is not None:
            relative = clock.relatives(packets.timestamp)
            lateness = clock.lateness_ns(relative, packets.arrival_ns)
            if self._placement.write_near(clock, packets, relative, lateness, floor):
                return
            self._tally.reanchored += 1
        agreeing = self._anchor(stream, packets, trial.since_ns, floor)
        if agreeing < len(packets):
            self._place(stream, packets[agreeing:])

    def _anchor(self, stream: Stream, packets: Packets, since_ns: int, floor: int) -> int:
        """Put a stream on the clock by its first packets; give how many of them agreed."""
        first = int(packets.timestamp[0])
        clock = StreamClock(
            hz=stream.clock_hz,
            timestamp=first,
            anchor_ns=0,
            arrival_ns=since_ns,
            rate_hz=self._audio.rate_hz,
            max_drift_ns=self._max_drift_ns,
        )
        relative = clock.relatives(packets.timestamp)
        starts = packets.arrival_ns - clock.span_ns(relative)
        far = np.flatnonzero(np.abs(starts - starts[0]) > FAR_NS)
        count = int(far[0]) if len(far) else len(packets)
        anchor_ns = max(int(starts[:count].min()), since_ns - self._trial_slack_ns)
        overlap = self._placement.end - self._audio.frames_at(anchor_ns)
        if 0 < overlap <= self._audio.frames_at(_YIELD_NS):
            anchor_ns = -(-self._placement.end * _SECOND_NS // self._audio.rate_hz)
        clock = StreamClock(
            hz=stream.clock_hz,
            timestamp=first,
            anchor_ns=anchor_ns,
            arrival_ns=since_ns,
            rate_hz=self._audio.rate_hz,
            max_drift_ns=self._max_drift_ns,
        )
        stream.clock = clock
        self._jitter.begin()
        self._jitter.observe((starts - anchor_ns)[:count].tolist())
        self._placement.epoch += 1
        self._placement.write(clock, packets[:count], relative[:count], (starts - anchor_ns)[:count], floor)
        return count
