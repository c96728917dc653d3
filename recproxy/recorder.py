"""The recorder: one thread between the fork and the store.

Every tick it drains the fork's ring, lays the packets of each recording on its
timeline, and hands what became final to the store; the store's log is synced
twice a second, however many commands wait. Commands of the signalling thread
wait in a queue: a slow disk delays this thread and nothing else. What the ring
could not hold meanwhile is counted into the recording.

Packets drained before the command that concerns them was carried out are kept
for it: a recording has every packet since its start, a pause holds from its own
instant. A recording that fails, in whatever way, ends alone.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from recproxy.call.commands import AuditNote, Note, OpenRecording
from recproxy.call.events import Codec, DigitPressed, Event, LegName, RecordingFailed, RecordingOpened
from recproxy.media import Clock
from recproxy.subject import NumberIndexer
from rtp import CodecSpec, Encoding, Fork, RtpError, Side, Timeline, TimelineFacts, choose_format
from storage import (
    AudioFormat,
    AuditError,
    ChannelFacts,
    NoticeProof,
    Parties,
    RecordingId,
    RecordingStore,
    RecordingTags,
    RecordingWriter,
    SealFacts,
    StorageError,
)
from storage import Encoding as StoredEncoding

_ENCODINGS: Final = {
    Encoding.MULAW: StoredEncoding.ULAW,
    Encoding.ALAW: StoredEncoding.ALAW,
    Encoding.PCM16: StoredEncoding.PCM16,
}
_LEGS: Final = {Side.CALLER: LegName.CALLER, Side.CALLEE: LegName.CALLEE}
_SECOND_NS: Final = 1_000_000_000
_STOPPED: Final = "the recorder has stopped"
_MOST_UNWRITTEN: Final = 10_000
_LONGEST_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class RecorderConfig:
    """Settings of the recorder.

    Attributes:
        node: Name of this node, stamped on each recording.
        tick_s: Time between two drains of the fork.
        sync_s: Time between two syncs of the log; what power loss may cost.
        reorder_ms: How late a packet may be and still be recorded. A crash costs at
            most this, a tick and a sync.
        min_free_bytes: Below this much free space nothing new is recorded.
    """

    node: str
    tick_s: float = 0.2
    sync_s: float = 0.4
    reorder_ms: int = 240
    min_free_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class _Open:
    call: str
    stream: int
    start_ns: int
    plan: OpenRecording


@dataclass(frozen=True, slots=True)
class _Pause:
    call: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class _Resume:
    call: str
    at_ns: int
    codecs: tuple[Codec, ...]


@dataclass(frozen=True, slots=True)
class _Seal:
    call: str
    end_ns: int
    reason: str
    dropped: int


@dataclass(frozen=True, slots=True)
class _Discard:
    call: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Audit:
    call: str
    note: AuditNote


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


_Job = _Open | _Pause | _Resume | _Seal | _Discard | _Audit | _Stop
_Packets = tuple[npt.NDArray[np.void], npt.NDArray[np.uint8]]


@dataclass(slots=True)
class _Live:
    """A recording that is open."""

    call: str
    recording: RecordingId
    purpose: str
    stream: int
    timeline: Timeline
    writer: RecordingWriter
    expiry: datetime
    frame_bytes: int
    rate_hz: int
    frames: int = 0
    paused_ns: int = 0
    paused_at: int | None = None


class Recorder:
    """Implements ``recproxy.media.RecordingSink``; owns the store while it runs."""

    def __init__(
        self,
        config: RecorderConfig,
        *,
        store: RecordingStore,
        fork: Fork,
        clock: Clock,
        new_id: Callable[[], str],
        post: Callable[[str, Event], None],
        note: Callable[[str, Note], None],
        index: NumberIndexer | None = None,
    ) -> None:
        """Prepare the recorder; ``start`` starts its thread.

        Args:
            config: Settings.
            store: Where recordings go; used by the recorder's thread only.
            fork: Where packets come from.
            clock: Time.
            new_id: Gives a fresh recording id, 32 hex digits.
            post: Takes events, any thread.
            note: Takes lines for the event log, any thread.
            index: Makes what a number finds recordings by; None for no index.
        """
        self._config = config
        self._store = store
        self._fork = fork
        self._clock = clock
        self._new_id = new_id
        self._post = post
        self._note = note
        self._index = index
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._inbox: deque[_Job] = deque()  # taken from the queue, not yet carried out
        self._live: dict[str, _Live] = {}
        self._doomed: list[tuple[_Live, str]] = []  # to be destroyed; tried again at every sync
        self._lost: dict[str, int] = {}  # streams of failed recordings, until their seal
        self._packets: dict[int, list[_Packets]] = {}  # drained, not yet on a timeline
        self._unwritten: deque[tuple[str, AuditNote]] = deque()
        self._last_sync_ns = 0
        self._audit_fault: str | None = None
        self._space_fault: str | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    # ---------------------------------------------------- signalling thread

    def start(self) -> None:
        """Start the thread."""
        self._check_space()
        self._thread.start()

    def stop(self) -> None:
        """Seal what is open, sync, and end the thread."""
        self._jobs.put(_Stop())
        self._thread.join()

    def fault(self) -> str | None:
        """Why nothing can be recorded at present; None if it can."""
        if self._stopped or not self._thread.is_alive():
            return _STOPPED
        return self._audit_fault or self._space_fault

    def open(self, call: str, stream: int, start_ns: int, plan: OpenRecording) -> None:
        """Record ``stream`` from ``start_ns``; answered by an event."""
        self._jobs.put(_Open(call, stream, start_ns, plan))
        if self._stopped:
            self._post(call, RecordingFailed(_STOPPED))

    def pause(self, call: str, at_ns: int) -> None:
        """Silence from ``at_ns``."""
        self._jobs.put(_Pause(call, at_ns))

    def resume(self, call: str, at_ns: int, codecs: tuple[Codec, ...]) -> None:
        """Audio again from ``at_ns``, in these codecs."""
        self._jobs.put(_Resume(call, at_ns, codecs))

    def seal(self, call: str, end_ns: int, reason: str, dropped: int) -> None:
        """Nothing arrives after ``end_ns``: close for good; ``dropped`` packets never reached the ring."""
        self._jobs.put(_Seal(call, end_ns, reason, dropped))

    def discard(self, call: str, reason: str) -> None:
        """A party said no: destroy what there is; answered by nothing."""
        self._jobs.put(_Discard(call, reason))

    def audit(self, call: str, note: AuditNote) -> None:
        """Append to the audit chain."""
        self._jobs.put(_Audit(call, note))

    # ------------------------------------------------------ recorder thread

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._jobs_until(self._clock.monotonic_ns() + int(self._config.tick_s * _SECOND_NS))
                self._tick()
        except Exception as err:  # noqa: BLE001 - the boundary: no call may go on believing it is recorded
            self._collapse(err)
        finally:
            self._stopped = True

    def _collapse(self, err: Exception) -> None:
        """The recorder itself failed: tell every call; the next start completes what is open."""
        self._stopped = True
        self._note("", Note("daemon.failed", (("what", "recorder"), ("why", _why(err)))))
        self._take_in()
        waiting = [job.call for job in self._inbox if isinstance(job, _Open)]
        for call in (*self._live, *waiting):
            self._post(call, RecordingFailed(f"{_STOPPED}: {_why(err)}"))

    def _jobs_until(self, deadline_ns: int) -> None:
        while not self._stopped:
            job = self._next(deadline_ns)
            if job is None:
                return
            self._do(job)

    def _next(self, deadline_ns: int) -> _Job | None:
        """The next job; None at the deadline, even if jobs wait: audio and its syncs go first."""
        left = (deadline_ns - self._clock.monotonic_ns()) / _SECOND_NS
        if left <= 0:
            return None
        if self._inbox:
            return self._inbox.popleft()
        try:
            return self._jobs.get(timeout=left)
        except queue.Empty:
            return None

    def _take_in(self) -> None:
        while True:
            try:
                self._inbox.append(self._jobs.get_nowait())
            except queue.Empty:
                return

    def _hold_early(self) -> None:
        """Carry out waiting pauses and their ends: the packets that come next are measured by them.

        They may overtake other jobs: once a recording is open, nothing but its seal can follow them.
        """
        self._take_in()
        jobs, self._inbox = self._inbox, deque()
        for job in jobs:
            if isinstance(job, _Pause | _Resume) and job.call in self._live:
                self._do(job)
            else:
                self._inbox.append(job)

    def _do(self, job: _Job) -> None:
        match job:
            case _Open():
                self._open(job)
            case _Pause() | _Resume():
                live = self._live.get(job.call)
                if live is not None:
                    self._attempt(live, partial(_hold, live, job))
            case _Seal():
                self._seal(job)
            case _Discard():
                self._discard(job)
            case _Audit():
                self._audit(job.call, job.note)
            case _Stop():
                now = self._clock.monotonic_ns()
                for call in list(self._live):
                    self._seal(_Seal(call, now, "daemon stopped", 0))
                self._sync()
                self._stopped = True

    def _attempt(self, live: _Live, act: Callable[[], None]) -> None:
        """Do something for one recording; whatever goes wrong ends that recording only."""
        try:
            act()
        except StorageError as err:
            self._lose(live, str(err), str(err)[:_LONGEST_REASON])
        except Exception as err:  # noqa: BLE001 - the boundary: one recording's fault ends that recording only
            self._lose(live, _why(err), type(err).__name__)

    def _open(self, job: _Open) -> None:
        recording = RecordingId(self._new_id())
        try:
            live = self._opened(job, recording)
        except Exception as err:  # noqa: BLE001 - the boundary: one recording's fault ends that recording only
            self._lost[job.call] = job.stream
            self._packets.pop(job.stream, None)
            self._audit_failure(job.call, recording, job.plan.purpose)
            self._fail(job.call, recording, _why(err))
            return
        self._live[job.call] = live
        self._post(job.call, RecordingOpened(recording.text))
        fields = (
            ("recording", recording.text),
            ("purpose", live.purpose),
            ("expiry", live.expiry.isoformat(timespec="seconds")),
        )
        self._note(job.call, Note("recording.opened", fields))

    def _opened(self, job: _Open, recording: RecordingId) -> _Live:
        plan, facts = job.plan, job.plan.facts
        started = max(self._wall(job.start_ns), plan.notice.completed)
        layout = choose_format(_specs(plan.codecs).values())
        audio = AudioFormat(_ENCODINGS[layout.encoding], layout.rate_hz)
        timeline = Timeline(layout, _specs(plan.codecs), job.start_ns, reorder_ms=self._config.reorder_ms)
        tags = RecordingTags(
            recording=recording,
            call=job.call,
            node=self._config.node,
            purpose=plan.purpose,
            legal_basis=plan.legal_basis,
            policy_version=plan.policy_version,
            direction=facts.direction,
            trunk=facts.trunk,
            started=started,
            expiry=started + plan.retention,
            notice=NoticeProof(
                prompt=plan.notice.prompt,
                sha256=plan.notice.sha256,
                language=plan.notice.language,
                heard_by=tuple(leg.value for leg in plan.notice.heard_by),
                started=plan.notice.started,
                completed=plan.notice.completed,
            ),
        )
        parties = Parties(facts.caller, facts.callee, (facts.sip_call_id, plan.callee_call_id))
        now = self._clock.utcnow()
        numbers = (facts.caller, facts.callee)
        index = None if self._index is None else self._index.tokens(plan.purpose, numbers, started)
        return _Live(
            call=job.call,
            recording=recording,
            purpose=plan.purpose,
            stream=job.stream,
            timeline=timeline,
            writer=self._store.open(tags, parties, audio, now, index),
            expiry=tags.expiry,
            frame_bytes=audio.frame_bytes,
            rate_hz=audio.rate_hz,
        )

    def _tick(self) -> None:
        now = self._clock.monotonic_ns()  # before the drain: all that arrived until then is in it
        self._hold_early()
        self._drain()
        ends = {job.call: job.end_ns for job in self._inbox if isinstance(job, _Seal)}
        for live in list(self._live.values()):
            self._attempt(live, partial(self._advance, live, min(now, ends.get(live.call, now))))
        if now - self._last_sync_ns >= self._config.sync_s * _SECOND_NS:
            self._last_sync_ns = now
            self._sync()
            self._check_space()

    def _drain(self) -> None:
        muted = set(self._lost.values())
        while True:
            batch = self._fork.drain()
            if len(batch.records) == 0:
                return
            for stream, records in by_stream(batch.records):
                if stream not in muted:
                    self._packets.setdefault(stream, []).append((records, batch.data))

    def _advance(self, live: _Live, until_ns: int) -> None:
        self._feed(live)
        self._write(live, live.timeline.take(until_ns))

    def _feed(self, live: _Live) -> None:
        for records, data in self._packets.pop(live.stream, ()):
            live.timeline.push(records, data)
        for side, digit in live.timeline.take_digits():
            self._post(live.call, DigitPressed(_LEGS[side], digit))

    def _write(self, live: _Live, frames: bytes) -> None:
        if frames:
            live.writer.write(frames)
            live.frames += len(frames) // live.frame_bytes

    def _seal(self, job: _Seal) -> None:
        self._drain()
        live = self._live.get(job.call)
        if live is not None:
            self._attempt(live, partial(self._finish, live, job))
        stream = self._lost.pop(job.call, None)
        if stream is not None:
            self._packets.pop(stream, None)

    def _discard(self, job: _Discard) -> None:
        self._drain()
        live = self._live.pop(job.call, None)
        if live is not None:
            self._packets.pop(live.stream, None)
            self._doomed.append((live, job.reason))
            self._destroy()
        stream = self._lost.pop(job.call, None)
        if stream is not None:
            self._packets.pop(stream, None)

    def _destroy(self) -> None:
        """Destroy what a party said no to; what resists is tried again, and never sealed."""
        doomed, self._doomed = self._doomed, []
        for live, reason in doomed:
            try:
                live.writer.discard(reason, self._clock.utcnow())
            except StorageError as err:
                self._doomed.append((live, reason))
                what = f"discarding recording {live.recording.text}"
                self._note(live.call, Note("disk.failed", (("what", what), ("why", str(err)))))
                continue
            fields = (("recording", live.recording.text), ("purpose", live.purpose), ("reason", reason))
            self._note(live.call, Note("recording.discarded", fields))

    def _finish(self, live: _Live, job: _Seal) -> None:
        if live.paused_at is not None:
            live.paused_ns += max(0, job.end_ns - live.paused_at)
        self._feed(live)
        self._write(live, live.timeline.finish(job.end_ns))
        facts = SealFacts(
            ended=self._wall(job.end_ns),
            frames=live.frames,
            caller=_channel(live.timeline.facts(Side.CALLER)),
            callee=_channel(live.timeline.facts(Side.CALLEE)),
            dropped_packets=job.dropped,
            paused=timedelta(microseconds=live.paused_ns // 1000),
            reason=job.reason,
        )
        live.writer.seal(facts)
        del self._live[live.call]
        self._note(job.call, Note("recording.sealed", _sealed_fields(live, facts)))

    def _sync(self) -> None:
        self._audit_again()
        self._destroy()
        try:
            faults = self._store.sync()
        except StorageError as err:
            self._audit_failed("", err)
            return
        by_id = {live.recording: live for live in self._live.values()}
        for fault in faults:
            live = by_id.get(fault.recording)
            if live is not None:
                self._lose(live, str(fault.error), str(fault.error)[:_LONGEST_REASON])
        if not self._unwritten:
            self._audit_fault = None

    def _lose(self, live: _Live, why: str, reason: str) -> None:
        """A recording cannot go on: keep what is there for salvage, tell the call."""
        del self._live[live.call]
        self._lost[live.call] = live.stream
        self._packets.pop(live.stream, None)
        try:
            live.writer.abort(reason)  # says so in the catalogue and the audit chain
        except StorageError as err:
            why = f"{why}; then: {err}"
            self._audit_failure(live.call, live.recording, live.purpose)
        self._fail(live.call, live.recording, why)

    def _fail(self, call: str, recording: RecordingId, why: str) -> None:
        self._note(call, Note("disk.failed", (("what", f"recording {recording.text}"), ("why", why))))
        self._post(call, RecordingFailed(why))

    def _audit_failure(self, call: str, recording: RecordingId, purpose: str) -> None:
        fields = (("rec", recording.text), ("purpose", purpose), ("outcome", "failed"))
        self._audit(call, AuditNote("rec.failed", fields))

    def _audit(self, call: str, note: AuditNote) -> None:
        """Append evidence; what cannot be written now is written, in its order, as soon as it can be."""
        if self._unwritten or not self._append(call, note):
            if len(self._unwritten) < _MOST_UNWRITTEN:
                self._unwritten.append((call, note))
            else:
                self._note(call, Note("audit.failed", (("what", note.event), ("why", "too much waits"))))

    def _audit_again(self) -> None:
        while self._unwritten and self._append(*self._unwritten[0]):
            self._unwritten.popleft()

    def _append(self, call: str, note: AuditNote) -> bool:
        """False if it must be tried again."""
        try:
            self._store.audit.append(note.event, {"call": call, **dict(note.fields)}, durable=False)
        except AuditError as err:  # malformed: no later try can help
            self._note(call, Note("audit.failed", (("what", note.event), ("why", str(err)))))
        except StorageError as err:
            self._audit_failed(call, err)
            return False
        return True

    def _audit_failed(self, call: str, err: StorageError) -> None:
        if self._audit_fault is None:
            self._note(call, Note("audit.failed", (("what", "append"), ("why", str(err)))))
        self._audit_fault = f"the audit chain cannot be written: {err}"

    def _check_space(self) -> None:
        before, self._space_fault = self._space_fault, self._short_of_space()
        if before is None and self._space_fault is not None:
            self._note("", Note("disk.failed", (("what", "space"), ("why", self._space_fault))))
        elif before is not None and self._space_fault is None:
            self._note("", Note("disk.recovered", (("what", "space"),)))

    def _short_of_space(self) -> str | None:
        try:
            free = self._store.free_bytes()
        except StorageError as err:
            return str(err)
        if free >= self._config.min_free_bytes:
            return None
        return f"{free >> 20} MiB of disk left, {self._config.min_free_bytes >> 20} needed"

    def _wall(self, at_ns: int) -> datetime:
        ago = self._clock.monotonic_ns() - at_ns
        return self._clock.utcnow() - timedelta(microseconds=ago // 1000)


def by_stream(records: npt.NDArray[np.void]) -> list[tuple[int, npt.NDArray[np.void]]]:
    """Part the records of a batch by stream.

    Args:
        records: As from ``rtp.Fork``, sorted by arrival.

    Returns:
        Stream and its records, each stream once, still sorted by arrival.
    """
    ranked = records[np.argsort(records["stream"], kind="stable")]
    numbers = ranked["stream"]
    cuts = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist(), len(ranked)]
    return [(int(numbers[start]), ranked[start:stop]) for start, stop in pairwise(cuts) if start < stop]


def _hold(live: _Live, job: _Pause | _Resume) -> None:
    match job:
        case _Pause():
            live.timeline.pause(job.at_ns)
            live.paused_at = job.at_ns if live.paused_at is None else live.paused_at
        case _Resume():
            live.timeline.resume(job.at_ns, _specs(job.codecs))
            if live.paused_at is not None:
                live.paused_ns += job.at_ns - live.paused_at
                live.paused_at = None


def _why(err: Exception) -> str:
    """What an error says; its kind too, if nobody expected it."""
    return str(err) if isinstance(err, StorageError | RtpError) else f"{type(err).__name__}: {err}"


def _specs(codecs: tuple[Codec, ...]) -> dict[int, CodecSpec]:
    return {codec.payload_type: CodecSpec(codec.name, codec.clock_hz, codec.channels) for codec in codecs}


def _channel(facts: TimelineFacts) -> ChannelFacts:
    return ChannelFacts(
        packets=facts.packets,
        lost=facts.lost,
        late=facts.late,
        reordered=facts.reordered,
        duplicates=facts.duplicates,
        ssrc_changes=facts.ssrc_changes,
        silence_samples=facts.silence_samples,
        reanchored=facts.reanchored,
        drift_shifts=facts.drift_shifts,
        telephone_events=facts.telephone_events,
        undecodable=facts.undecodable,
        overrun=facts.overrun,
        jitter_ms=facts.jitter_ms,
    )


def _sealed_fields(live: _Live, facts: SealFacts) -> tuple[tuple[str, str | int | float], ...]:
    fields: list[tuple[str, str | int | float]] = [
        ("recording", live.recording.text),
        ("purpose", live.purpose),
        ("expiry", live.expiry.isoformat(timespec="seconds")),
        ("reason", facts.reason),
        ("frames", facts.frames),
        ("duration_s", round(facts.frames / live.rate_hz, 3)),
        ("paused_ms", facts.paused // timedelta(milliseconds=1)),
        ("ring_dropped", facts.dropped_packets),
    ]
    for leg, channel in ((LegName.CALLER, facts.caller), (LegName.CALLEE, facts.callee)):
        if channel is not None:
            fields += [
                (f"{leg.value}_{name}", getattr(channel, name))
                for name in ("packets", "lost", "late", "reordered", "duplicates", "ssrc_changes")
            ]
    return tuple(fields)
