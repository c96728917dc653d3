"""The recorder: one thread between the fork and the store.

Every tick it drains the fork's ring, lays the packets of each recording on its
timeline, and hands what became final to the store; the store's log is synced
twice a second. Commands of the signalling thread wait in a queue: a slow disk
delays this thread and nothing else. What the ring could not hold meanwhile is
counted into the recording.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from recproxy.call.commands import AuditNote, Note, OpenRecording
from recproxy.call.events import Codec, Event, LegName, RecordingFailed, RecordingOpened
from recproxy.media import Clock
from rtp import CodecSpec, Encoding, Fork, Side, Timeline, TimelineFacts, choose_format
from storage import (
    AudioFormat,
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
_SECOND_NS: Final = 1_000_000_000
_AUDIT_FAULT: Final = "the audit chain cannot be written"


@dataclass(frozen=True, slots=True)
class RecorderConfig:
    """Settings of the recorder.

    Attributes:
        node: Name of this node, stamped on each recording.
        tick_s: Time between two drains of the fork.
        sync_s: Time between two syncs of the log; what power loss may cost.
        min_free_bytes: Below this much free space nothing new is recorded.
    """

    node: str
    tick_s: float = 0.2
    sync_s: float = 0.4
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
class _Audit:
    call: str
    note: AuditNote


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


_Job = _Open | _Pause | _Resume | _Seal | _Audit | _Stop


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
        """
        self._config = config
        self._store = store
        self._fork = fork
        self._clock = clock
        self._new_id = new_id
        self._post = post
        self._note = note
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._live: dict[str, _Live] = {}
        self._by_stream: dict[int, _Live] = {}
        self._last_sync_ns = 0
        self._fault: str | None = None
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
            return "the recorder has stopped"
        return self._fault

    def open(self, call: str, stream: int, start_ns: int, plan: OpenRecording) -> None:
        """Record ``stream`` from ``start_ns``; answered by an event."""
        self._jobs.put(_Open(call, stream, start_ns, plan))

    def pause(self, call: str, at_ns: int) -> None:
        """Silence from ``at_ns``."""
        self._jobs.put(_Pause(call, at_ns))

    def resume(self, call: str, at_ns: int, codecs: tuple[Codec, ...]) -> None:
        """Audio again from ``at_ns``, in these codecs."""
        self._jobs.put(_Resume(call, at_ns, codecs))

    def seal(self, call: str, end_ns: int, reason: str, dropped: int) -> None:
        """Nothing arrives after ``end_ns``: close for good; ``dropped`` packets never reached the ring."""
        self._jobs.put(_Seal(call, end_ns, reason, dropped))

    def audit(self, call: str, note: AuditNote) -> None:
        """Append to the audit chain."""
        self._jobs.put(_Audit(call, note))

    # ------------------------------------------------------ recorder thread

    def _run(self) -> None:
        while not self._stopped:
            deadline = self._clock.monotonic_ns() + int(self._config.tick_s * _SECOND_NS)
            self._jobs_until(deadline)
            self._tick()
        self._fault = "the recorder has stopped"

    def _jobs_until(self, deadline_ns: int) -> None:
        while not self._stopped:
            left = (deadline_ns - self._clock.monotonic_ns()) / _SECOND_NS
            try:
                job = self._jobs.get(timeout=left) if left > 0 else self._jobs.get_nowait()
            except queue.Empty:
                return
            self._do(job)

    def _do(self, job: _Job) -> None:  # noqa: C901 - one row a job
        match job:
            case _Open():
                self._open(job)
            case _Pause():
                live = self._live.get(job.call)
                if live is not None and live.paused_at is None:
                    live.paused_at = job.at_ns
                    live.timeline.pause(job.at_ns)
            case _Resume():
                live = self._live.get(job.call)
                if live is not None:
                    if live.paused_at is not None:
                        live.paused_ns += job.at_ns - live.paused_at
                        live.paused_at = None
                    live.timeline.resume(job.at_ns, _specs(job.codecs))
            case _Seal():
                self._seal(job)
            case _Audit():
                self._audit(job.call, job.note)
            case _Stop():
                now = self._clock.monotonic_ns()
                for call in list(self._live):
                    self._seal(_Seal(call, now, "daemon stopped", 0))
                self._sync()
                self._stopped = True

    def _open(self, job: _Open) -> None:
        plan = job.plan
        recording = RecordingId(self._new_id())
        started = max(self._wall(job.start_ns), plan.notice.completed)
        layout = choose_format(_specs(plan.codecs).values())
        audio = AudioFormat(_ENCODINGS[layout.encoding], layout.rate_hz)
        facts = plan.facts
        try:
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
            writer = self._store.open(tags, parties, audio, self._clock.utcnow())
        except StorageError as err:
            self._fail(job.call, recording, plan.purpose, str(err))
            return
        timeline = Timeline(layout, _specs(plan.codecs), job.start_ns)
        live = _Live(
            call=job.call,
            recording=recording,
            purpose=plan.purpose,
            stream=job.stream,
            timeline=timeline,
            writer=writer,
            expiry=tags.expiry,
            frame_bytes=audio.frame_bytes,
            rate_hz=audio.rate_hz,
        )
        self._live[job.call] = live
        self._by_stream[job.stream] = live
        self._post(job.call, RecordingOpened(recording.text))
        fields = (
            ("recording", recording.text),
            ("purpose", plan.purpose),
            ("expiry", tags.expiry.isoformat(timespec="seconds")),
        )
        self._note(job.call, Note("recording.opened", fields))

    def _tick(self) -> None:
        self._drain()
        now = self._clock.monotonic_ns()
        for live in list(self._live.values()):
            try:
                self._write(live, live.timeline.take(now))
            except StorageError as err:
                self._lose(live, str(err))
        if now - self._last_sync_ns >= self._config.sync_s * _SECOND_NS:
            self._last_sync_ns = now
            self._sync()
            self._check_space()

    def _drain(self) -> None:
        while True:
            batch = self._fork.drain()
            records = batch.records
            if len(records) == 0:
                return
            numbers = records["stream"]
            order = np.argsort(numbers, kind="stable")
            ranked = records[order]
            ranked_numbers = ranked["stream"]
            cuts = np.flatnonzero(np.diff(ranked_numbers)) + 1
            for part in np.split(ranked, cuts):
                live = self._by_stream.get(int(part["stream"][0]))
                if live is not None:
                    live.timeline.push(part, batch.data)

    def _write(self, live: _Live, frames: bytes) -> None:
        if frames:
            live.writer.write(frames)
            live.frames += len(frames) // live.frame_bytes

    def _seal(self, job: _Seal) -> None:
        live = self._live.get(job.call)
        if live is None:
            return
        self._drain()
        if live.paused_at is not None:
            live.paused_ns += job.end_ns - live.paused_at
        try:
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
        except StorageError as err:
            self._lose(live, str(err))
            return
        self._forget(live)
        self._note(job.call, Note("recording.sealed", _sealed_fields(live, facts)))

    def _sync(self) -> None:
        try:
            faults = self._store.sync()
        except StorageError as err:
            self._fault = f"{_AUDIT_FAULT}: {err}"
            self._note("", Note("audit.failed", (("what", "append"), ("why", str(err)))))
            return
        by_id = {live.recording: live for live in self._live.values()}
        for fault in faults:
            live = by_id.get(fault.recording)
            if live is not None:
                self._lose(live, str(fault.error))
        if self._fault is not None and self._fault.startswith(_AUDIT_FAULT):
            self._fault = None

    def _lose(self, live: _Live, why: str) -> None:
        """A recording cannot go on: keep what is there for salvage, tell the call."""
        self._forget(live)
        try:
            live.writer.abort(why)
        except StorageError as err:
            why = f"{why}; then: {err}"
        self._fail(live.call, live.recording, live.purpose, why)

    def _fail(self, call: str, recording: RecordingId, purpose: str, why: str) -> None:
        self._note(call, Note("disk.failed", (("what", f"recording {recording.text}"), ("why", why))))
        self._audit(
            call,
            AuditNote("rec.failed", (("rec", recording.text), ("purpose", purpose), ("outcome", "failed"))),
        )
        self._post(call, RecordingFailed(why))

    def _forget(self, live: _Live) -> None:
        self._live.pop(live.call, None)
        self._by_stream.pop(live.stream, None)

    def _audit(self, call: str, note: AuditNote) -> None:
        try:
            self._store.audit.append(note.event, {"call": call, **dict(note.fields)}, durable=False)
        except StorageError as err:
            self._fault = f"{_AUDIT_FAULT}: {err}"
            self._note(call, Note("audit.failed", (("what", "append"), ("why", str(err)))))

    def _check_space(self) -> None:
        try:
            free = self._store.free_bytes()
        except StorageError as err:
            self._fault = str(err)
            return
        if free < self._config.min_free_bytes:
            self._fault = f"{free >> 20} MiB of disk left, {self._config.min_free_bytes >> 20} needed"
        elif self._fault is not None and self._fault.endswith("needed"):
            self._fault = None

    def _wall(self, at_ns: int) -> datetime:
        ago = self._clock.monotonic_ns() - at_ns
        return self._clock.utcnow() - timedelta(microseconds=ago // 1000)


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
