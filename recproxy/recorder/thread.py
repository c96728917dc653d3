"""The recorder's thread.

Every interval it drains the fork's ring, lays the packets of each recording on its
timeline, hands what became final to the store and syncs the store's log, however
many commands wait. Commands of the signalling thread wait in a queue: a slow disk
delays this thread and nothing else. Openings and seals that wait are done together.
What the ring could not hold meanwhile is counted into the recording.

Packets drained before the command that concerns them was carried out are kept
for it: a recording has every packet since its start, a pause holds from its own
instant. A recording that fails, in whatever way, ends alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from recproxy.call.commands import AuditNote, Note, OpenRecording
from recproxy.call.events import Codec, Event, RecordingFailed, RecordingOpened
from recproxy.epochkeys import EpochKeys
from recproxy.media import Clock
from recproxy.recorder.evidence import Evidence
from recproxy.recorder.jobs import (
    Audit,
    Discard,
    Drop,
    Forget,
    Inbox,
    Job,
    Listen,
    Open,
    Pace,
    Part,
    Pause,
    Resume,
    Seal,
    Stop,
    Swap,
)
from recproxy.recorder.keypresses import Keypresses
from recproxy.recorder.live import Live, Packets
from recproxy.recorder.opening import Prepared, RecorderConfig, names_of, prepare
from recproxy.recorder.places import Places
from recproxy.recorder.refusals import Refusals
from recproxy.recorder.seals import Finished, Seals
from recproxy.recorder.sides import Sides
from recproxy.subject import NumberIndexer
from rtp import Fork, RtpError, sort_batch
from storage import RecordingId, RecordingStore, RecordingWriter, SealFacts, StorageError

_MS_NS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000
_GATHER_NS: Final = 50_000_000
"""A job waits this long for others: openings and seals share their syncs."""
_STOPPED: Final = "the recorder has stopped"
_LONGEST_REASON: Final = 200


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
        epochs: EpochKeys | None = None,
        clock_fault: Callable[[], str | None] = lambda: None,
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
            epochs: Says whom a recording is wrapped to; None for the store's recipients.
            clock_fault: Why the wall clock may not be recorded by; None if it may. Any thread.
        """
        self._config = config
        self._store = store
        self._fork = fork
        self._clock = clock
        self._new_id = new_id
        self._post = post
        self._note = note
        self._index = index
        self._epochs = epochs
        self._clock_fault = clock_fault
        self._inbox = Inbox(clock)
        self._pace = Pace()
        self._evidence = Evidence(store, note)
        self._sides = Sides()
        self._live: dict[str, Live] = {}
        self._keys = Keypresses(post)
        self._refusals = Refusals(store, clock, note)
        self._seals = Seals(store, note)
        self._places = Places(store, config.min_free_bytes, note)
        self._lost: dict[str, int] = {}  # streams of failed recordings, until their seal
        self._packets: dict[int, list[Packets]] = {}  # drained, not yet on a timeline
        self._stopped = False
        self._synced_ns = clock.monotonic_ns()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    # ---------------------------------------------------- signalling thread

    def start(self) -> None:
        """Start the thread."""
        self._places.look()
        self._thread.start()

    def stop(self) -> None:
        """Seal what is open, sync, and end the thread."""
        self._inbox.put(Stop())
        self._thread.join()

    def sync_age_s(self) -> float:
        """Seconds since the log was last synced: what a power cut would cost; any thread."""
        return max(0, self._clock.monotonic_ns() - self._synced_ns) / _SECOND_NS

    def fault(self, purpose: str = "") -> str | None:
        """Why nothing can be recorded at present, or nothing for this purpose; None if it can."""
        if self._stopped or not self._thread.is_alive():
            return _STOPPED
        found = self._evidence.fault or self._places.fault or self._clock_fault()
        if found is None and purpose and self._epochs is not None:
            return self._epochs.fault(purpose, self._clock.utcnow())
        return found

    def open(self, call: str, stream: int, start_ns: int, plan: OpenRecording) -> None:
        """Record ``stream`` from ``start_ns``; answered by an event."""
        self._inbox.put(Open(call, stream, start_ns, plan))
        if self._stopped:
            self._post(call, RecordingFailed(_STOPPED))

    def pause(self, call: str, at_ns: int) -> None:
        """Silence from ``at_ns``."""
        self._inbox.put(Pause(call, at_ns))

    def resume(self, call: str, at_ns: int, codecs: tuple[Codec, ...]) -> None:
        """Audio again from ``at_ns``, in these codecs."""
        self._inbox.put(Resume(call, at_ns, codecs))

    def seal(self, call: str, end_ns: int, reason: str, dropped: int) -> None:
        """Nothing arrives after ``end_ns``: close for good; ``dropped`` packets never reached the ring."""
        self._inbox.put(Seal(call, end_ns, reason, dropped))

    def part(self, call: str, at_ns: int, reason: str, dropped: int, plan: OpenRecording) -> None:
        """Close the recording at ``at_ns`` and go on in another from then; answered by an event."""
        ripe_ns = at_ns + self._config.reorder_ms * _MS_NS
        self._inbox.put(Part(call, at_ns, ripe_ns, reason, dropped, plan))

    def discard(self, call: str, reason: str, purposes: tuple[str, ...] | None = None) -> None:
        """A party said no: destroy what there is, and of what was closed before these purposes, or all."""
        self._inbox.put(Discard(call, reason, purposes))

    def drop(self, call: str, purposes: tuple[str, ...], reason: str, *, earlier: bool = True) -> None:
        """A party said no to some purposes: destroy their keys, also of what is closed if ``earlier``."""
        self._inbox.put(Drop(call, purposes, reason, earlier))

    def forget(self, call: str) -> None:
        """The call is over."""
        self._inbox.put(Forget(call))

    def listen(self, call: str, stream: int, payload_types: frozenset[int]) -> None:
        """Tell the keys pressed in a stream, by these payload types; none: no longer."""
        self._inbox.put(Listen(call, stream, payload_types))

    def swap(self, call: str, stream: int, at_ns: int, *, swapped: bool) -> None:
        """From ``at_ns`` on, each voice of a stream comes by the other's side, or by its own again."""
        self._inbox.put(Swap(call, stream, at_ns, swapped))

    def audit(self, call: str, note: AuditNote) -> None:
        """Append to the audit chain."""
        self._inbox.put(Audit(call, note))

    # ------------------------------------------------------ recorder thread

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._work_until(self._clock.monotonic_ns() + int(self._config.interval_s * _SECOND_NS))
                self._tick()
        except Exception as err:  # noqa: BLE001 - the boundary: no call may go on believing it is recorded
            self._collapse(err)
        finally:
            self._stopped = True

    def _collapse(self, err: Exception) -> None:
        """The recorder itself failed: tell every call; the next start completes what is open."""
        self._stopped = True
        self._note("", Note("daemon.failed", (("what", "recorder"), ("why", _why(err)))))
        self._inbox.take_in()
        for call in (*self._live, *self._inbox.openings()):
            self._post(call, RecordingFailed(f"{_STOPPED}: {_why(err)}"))

    def _work_until(self, deadline_ns: int) -> None:
        """Carry out jobs; not beyond the deadline, even if some wait: audio and its syncs go first."""
        while not self._stopped and self._inbox.wait(deadline_ns):
            now = self._clock.monotonic_ns()
            self._inbox.gather(min(deadline_ns, now + _GATHER_NS), self._pace.most)
            self._work()

    def _work(self) -> None:
        """Carry out the jobs that can be done together."""
        opens: list[Open] = []
        seals: list[Seal] = []
        for job in self._inbox.round(self._pace.most):
            match job:
                case Open():
                    opens.append(job)
                case Seal():
                    seals.append(job)
                case _:
                    self._do(job)
        if opens or seals:
            started = self._clock.monotonic_ns()
            self._open_together(opens)
            self._seal_together(seals)
            self._pace.took(self._clock.monotonic_ns() - started, len(opens) + len(seals))

    def _do(self, job: Job) -> None:  # noqa: C901 - one row a job
        match job:
            case Open():
                self._open_together([job])
            case Seal():
                self._seal_together([job])
            case Pause() | Resume():
                live = self._live.get(job.call)
                if live is not None:
                    self._attempt(live, partial(live.hold, job))
            case Discard():
                self._discard(job)
            case Drop():
                self._drop(job)
            case Part():
                self._part(job)
            case Listen() | Swap() | Forget():
                self._attend(job)
            case Audit():
                self._evidence.add(job.call, job.note)
            case Stop():
                now = self._clock.monotonic_ns()
                self._seal_together([Seal(call, now, "daemon stopped", 0) for call in self._live])
                self._lose_all(self._seals.give_up())
                self._sync()
                self._stopped = True

    def _attempt(self, live: Live, act: Callable[[], None]) -> None:
        """Do something for one recording; whatever goes wrong ends that recording only."""
        try:
            act()
        except StorageError as err:
            self._lose(live, str(err), str(err)[:_LONGEST_REASON])
        except Exception as err:  # noqa: BLE001 - the boundary: one recording's fault ends that recording only
            self._lose(live, _why(err), type(err).__name__)

    def _open_together(self, jobs: list[Open], after: Live | None = None) -> None:
        """Open recordings; a single one may go on from another."""
        prepared: list[Prepared] = []
        for job in jobs:
            recording = RecordingId(self._new_id())
            try:
                began = self._wall(job.start_ns)
                prepared.append(
                    prepare(job, recording, self._config, self._index, began, self._epochs, after)
                )
            except Exception as err:  # noqa: BLE001 - the boundary: one recording's fault ends that one only
                self._not_opened(job, recording, err)
        if not prepared:
            return
        opened: list[RecordingWriter | StorageError]
        try:
            opened = self._store.open_together([each.request for each in prepared], self._clock.utcnow())
        except StorageError as err:
            opened = [err] * len(prepared)
        for each, writer in zip(prepared, opened, strict=True):
            if isinstance(writer, StorageError):
                self._not_opened(each.job, each.request.tags.recording, writer)
            else:
                self._opened(each, writer, after)

    def _not_opened(self, job: Open, recording: RecordingId, err: Exception) -> None:
        self._lost[job.call] = job.stream
        self._packets.pop(job.stream, None)
        self._audit_failure(job.call, recording, names_of(job.plan))
        self._fail(job.call, recording, _why(err))

    def _opened(self, prepared: Prepared, writer: RecordingWriter, after: Live | None = None) -> None:
        job, tags, audio = prepared.job, prepared.request.tags, prepared.request.audio
        live = self._live[job.call] = Live(
            call=job.call,
            recording=tags.recording,
            terms={term.purpose: term.expiry for term in tags.terms},
            stream=job.stream,
            timeline=prepared.timeline,
            writer=writer,
            audio=audio,
        )
        if after is not None:
            live.pauses, live.before = after.go_on(job.start_ns)
        self._post(job.call, RecordingOpened(tags.recording.text))
        fields = (
            ("recording", tags.recording.text),
            ("purpose", live.purpose),
            ("expiry", tags.kept_until.isoformat(timespec="seconds")),
        )
        self._note(job.call, Note("recording.opened", fields))

    def _tick(self) -> None:
        now = self._clock.monotonic_ns()  # before the drain: all that arrived until then is in it
        self._hold_early()
        self._drain()
        ends = self._inbox.ends()
        for live in list(self._live.values()):
            packets = self._packets.pop(live.stream, [])
            self._attempt(live, partial(live.advance, packets, min(now, ends.get(live.call, now))))
        self._sync()
        self._places.look()

    def _hold_early(self) -> None:
        """Carry out waiting pauses, their ends, and whom to listen to: packets are measured by them.

        They may overtake other jobs: once a recording is open, nothing but its seal, or another on the
        same timeline, can follow them.
        """
        self._inbox.take_in()
        for job in self._inbox.take_early(frozenset(self._live)):
            self._do(job)

    def _drain(self) -> None:
        muted = set(self._lost.values())
        while True:
            batch = self._fork.drain()
            if len(batch.records) == 0:
                return
            self._sides.settle(batch.records)
            self._keys.tell(batch)
            ranked = sort_batch(batch.records, batch.data)
            for run in ranked.runs:
                if run.stream not in muted:
                    self._packets.setdefault(run.stream, []).append((run, ranked))

    def _attend(self, job: Listen | Swap | Forget) -> None:
        if isinstance(job, Forget):
            self._refusals.forget(job.call)
            return
        if isinstance(job, Swap):
            self._sides.swap(job.stream, job.at_ns, swapped=job.swapped)
            return
        if not job.payload_types:
            self._drain()
        self._keys.listen(job)

    def _seal_together(self, jobs: list[Seal]) -> None:
        if not jobs:
            return
        self._drain()
        finished: list[Finished] = []
        for job in jobs:
            live = self._live.get(job.call)
            if live is not None:
                self._attempt(live, partial(self._finish, live, job, finished))
        for live, _ in finished:
            self._over(live)
        self._lose_all(self._seals.seal(finished))
        for stream in [self._lost.pop(job.call) for job in jobs if job.call in self._lost]:
            self._packets.pop(stream, None)

    def _part(self, job: Part) -> None:
        """Seal what lies before the instant, and let another recording have what follows."""
        live = self._live.get(job.call)
        if live is None:
            return
        self._drain()
        packets = self._packets.pop(live.stream, [])
        cut: list[SealFacts] = []
        self._attempt(live, lambda: cut.append(live.cut(packets, job, self._wall(job.at_ns))))
        if cut:
            self._over(live)
            self._lose_all(self._seals.seal([(live, cut[0])]))
            self._open_together([Open(job.call, live.stream, job.at_ns, job.plan)], live)

    def _over(self, live: Live) -> None:
        """It has all its audio; a party can say no to it until the call is over."""
        del self._live[live.call]
        self._refusals.closed(live)

    def _finish(self, live: Live, job: Seal, finished: list[Finished]) -> None:
        packets = self._packets.pop(live.stream, [])
        finished.append((live, live.finish(packets, job, self._wall(job.end_ns))))

    def _discard(self, job: Discard) -> None:
        self._drain()
        live = self._live.pop(job.call, None)
        if live is not None:
            self._packets.pop(live.stream, None)
            self._refusals.discard(live, job.reason)
        self._refusals.withdraw(job.call, job.purposes, job.reason)
        stream = self._lost.pop(job.call, None)
        if stream is not None:
            self._packets.pop(stream, None)

    def _drop(self, job: Drop) -> None:
        live = self._live.get(job.call)
        if live is not None:
            for purpose in job.purposes:
                self._refusals.drop(live, purpose, job.reason)
        if job.earlier:
            self._refusals.withdraw(job.call, job.purposes, job.reason)

    def _sync(self) -> None:
        self._evidence.again()
        self._refusals.again()
        self._lose_all(self._seals.again())
        try:
            faults = self._store.sync()
        except StorageError as err:
            self._evidence.failed("", err)
            return
        self._synced_ns = self._clock.monotonic_ns()
        by_id = {live.recording: live for live in self._live.values()}
        for fault in faults:
            live = by_id.get(fault.recording)
            if live is not None:
                self._lose(live, str(fault.error), str(fault.error)[:_LONGEST_REASON])
        self._evidence.synced()

    def _lose(self, live: Live, why: str, reason: str) -> None:
        """A recording cannot go on: keep what is there for salvage, tell the call."""
        self._over(live)
        self._lost[live.call] = live.stream
        self._packets.pop(live.stream, None)
        self._abort(live, why, reason)

    def _lose_all(self, failed: list[tuple[Live, Exception]]) -> None:
        """Recordings that have all their audio and could not be sealed: the next start sees to them."""
        for live, err in failed:
            short = str(err)[:_LONGEST_REASON] if isinstance(err, StorageError) else type(err).__name__
            self._abort(live, _why(err), short)

    def _abort(self, live: Live, why: str, reason: str) -> None:
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
        self._evidence.add(call, AuditNote("rec.failed", fields))

    def _wall(self, at_ns: int) -> datetime:
        ago = self._clock.monotonic_ns() - at_ns
        return self._clock.utcnow() - timedelta(microseconds=ago // 1000)


def _why(err: Exception) -> str:
    """What an error says; its kind too, if nobody expected it."""
    return str(err) if isinstance(err, StorageError | RtpError) else f"{type(err).__name__}: {err}"
