"""The recorder: what ends up in a recording, and what a failure takes with it."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from call_values import DTMF, NOW, OPUS, PCMA, PCMU, ManualClock, open_recording
from hypothesis import given
from hypothesis import strategies as st
from recorder_stage import FRAME, MS, SECOND, Packet, Stage, batch_of, noise, staged

from recproxy.call.commands import AuditNote
from recproxy.call.events import Codec, DigitPressed, LegName, RecordingFailed, RecordingOpened
from recproxy.recorder.jobs import Audit, Inbox, Job, Open, Pace, Pause, Resume, Seal, Stop
from recproxy.recorder.streams import by_stream
from rtp import Run, Side, SortedBatch, Timeline, TimelineFacts
from storage import ChannelFacts, OsFiles, RecordingId, State, read_events, verify_chain

SILENCE = b"\xff"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as made:
        yield made


def opened(stage: Stage, call: str = "c1", stream: int = 1, *codecs: Codec, guard_ms: int = 20) -> str:
    """Open a recording as the media side does; gives its id."""
    stage.recorder.open(
        call,
        stream,
        stage.clock.now_ns + guard_ms * MS,
        open_recording(*codecs, completed=stage.clock.utcnow()),
    )
    stage.work()
    return stage.journal.of(RecordingOpened, call)[-1].recording


def seal(stage: Stage, call: str = "c1", *, dropped: int = 0) -> None:
    stage.recorder.seal(call, stage.clock.now_ns, "hangup", dropped)
    stage.work()


def audit_events(stage: Stage) -> list[str]:
    stage.audit.flush()
    return [str(line["event"]) for line in read_events(OsFiles(stage.root))]


# ------------------------------------------------------------------ what is recorded
def test_both_sides_are_kept_bit_for_bit(stage: Stage) -> None:
    recording = opened(stage, guard_ms=0)
    left, right = noise(100, 1), noise(100, 2)
    stage.say(1, Side.CALLER, left)
    stage.say(1, Side.CALLEE, right, at_ns=stage.clock.now_ns + 10 * MS)
    for _ in range(10):
        stage.turn(210)
    seal(stage)
    caller, callee = stage.channels(recording)
    assert caller.startswith(left)
    assert callee.startswith(SILENCE * 80 + right)
    assert len(caller) == len(callee) == 2100 * 8


def test_voices_that_change_places_stay_in_their_channels(stage: Stage) -> None:
    recording = opened(stage, guard_ms=0)
    left, right = noise(50, 1), noise(50, 2)
    half = len(left) // 2
    for turned in (False, True):
        part = slice(half, None) if turned else slice(half)
        if turned:
            stage.recorder.swap("c1", 1, stage.clock.now_ns, swapped=True)
        sides = (Side.CALLEE, Side.CALLER) if turned else (Side.CALLER, Side.CALLEE)
        for side, voice in zip(sides, (left, right), strict=True):
            stage.say(1, side, voice[part], first=25 * turned)
        for _ in range(5):
            stage.turn(100)
    stage.turn(200)
    seal(stage)
    caller, callee = stage.channels(recording)
    for channel, voice in ((caller, left), (callee, right)):
        assert channel.startswith(voice[:half])
        assert voice[half:] in channel


def test_a_key_is_told_to_its_call_and_is_silence_in_the_recording(stage: Stage) -> None:
    stage.recorder.listen("c1", 1, frozenset({DTMF.payload_type}))
    recording = opened(stage, "c1", 1, PCMU, DTMF, guard_ms=0)
    key = b"\x07\x0a\x00\xa0"
    stage.fork.ring.append(Packet(1, Side.CALLEE, stage.clock.now_ns, 1, key, DTMF.payload_type))
    stage.turn(210)
    seal(stage)
    assert stage.journal.of(DigitPressed, "c1") == [DigitPressed(LegName.CALLEE, "7")]
    assert "7" not in repr(DigitPressed(LegName.CALLEE, "7"))
    assert stage.channels(recording)[1] == SILENCE * 210 * 8
    assert stage.row(recording).facts.callee.telephone_events == 1  # type: ignore[union-attr]


def test_keys_are_told_before_a_recording_and_in_its_pauses_and_never_kept(stage: Stage) -> None:
    """An announcement, a pause, a call that nobody records: keys are heard, nothing is stored."""

    def press(code: int, sequence: int, *, event_only: bool) -> None:
        key = bytes([code, 10, 0, 160])
        now, kind = stage.clock.now_ns + 1, DTMF.payload_type
        stage.fork.ring.append(Packet(1, Side.CALLER, now, sequence, key, kind, event_only))

    stage.recorder.listen("c1", 1, frozenset({DTMF.payload_type}))
    press(1, 1, event_only=True)
    stage.turn(400)
    assert not stage.recorder._packets, "nothing of it waits for a recording"
    recording = opened(stage, "c1", 1, PCMU, DTMF, guard_ms=0)
    press(2, 2, event_only=False)
    stage.turn(400)
    stage.recorder.pause("c1", stage.clock.now_ns)
    press(3, 3, event_only=False)
    stage.turn(400)
    assert [event.digit for event in stage.journal.of(DigitPressed, "c1")] == ["1", "2", "3"]
    seal(stage)
    facts = stage.row(recording).facts
    assert facts is not None
    assert facts.caller is not None
    assert facts.caller.telephone_events == 1, "only what was recorded is counted there"
    stage.recorder.listen("c1", 1, frozenset())
    stage.work()
    press(4, 4, event_only=True)
    stage.turn(400)
    assert len(stage.journal.of(DigitPressed, "c1")) == 3
    assert not any("digit" in str(note) for note in stage.journal.notes)


def test_a_flood_of_keys_is_told_within_bounds(stage: Stage) -> None:
    stage.recorder.listen("c1", 1, frozenset({DTMF.payload_type}))
    stage.fork.ring += [
        Packet(1, Side.CALLER, stage.clock.now_ns + at, at, b"\x05\x0a\x00\xa0", DTMF.payload_type, True)
        for at in range(1, 101)
    ]
    stage.turn(400)
    assert len(stage.journal.of(DigitPressed, "c1")) == 32


def test_nothing_that_arrived_before_the_start_is_kept(stage: Stage) -> None:
    early, kept = noise(5, 1), noise(50, 2)
    stage.say(1, Side.CALLER, early)
    recording = opened(stage, guard_ms=100)
    stage.say(1, Side.CALLER, kept, first=5, at_ns=stage.clock.now_ns + 100 * MS)
    for _ in range(8):
        stage.turn(200)
    seal(stage)
    caller, _ = stage.channels(recording)
    assert caller.startswith(kept)
    assert stage.journal.noted("recording.sealed")[0]["caller_packets"] == 50


def test_a_packet_that_was_drained_before_its_recording_was_opened_is_not_lost(stage: Stage) -> None:
    """The command waits behind the seal of another call, which drains the ring for all."""
    opened(stage, "other", 1)
    sound = noise(50, 3)
    now = stage.clock.now_ns
    stage.recorder.seal("other", now, "hangup", 0)
    stage.recorder.open("c1", 2, now, open_recording(completed=stage.clock.utcnow()))
    stage.say(2, Side.CALLER, sound, at_ns=now)
    stage.clock.pass_ms(1200)
    stage.turn()
    seal(stage)
    caller, _ = stage.channels(stage.journal.of(RecordingOpened, "c1")[0].recording)
    assert caller.startswith(sound)


def test_a_packet_that_comes_while_the_ring_is_drained_is_in_time(stage: Stage) -> None:
    """The thread may lose the processor between the drain and the moment it takes audio up to."""
    recording = opened(stage, guard_ms=0)
    sound = noise(60, 4)
    stage.say(1, Side.CALLER, sound)
    stage.turn(200)
    stage.fork.after = lambda: stage.clock.pass_ms(400)
    stage.turn()
    stage.fork.after = lambda: None
    stage.turn(800)
    seal(stage)
    caller, _ = stage.channels(recording)
    assert caller.startswith(sound)
    assert stage.journal.noted("recording.sealed")[0]["caller_late"] == 0


def test_a_pause_is_silence_of_its_own_length(stage: Stage) -> None:
    recording = opened(stage, guard_ms=0)
    sound = noise(150, 5)
    stage.say(1, Side.CALLER, sound, at_ns=stage.clock.now_ns + 1)  # never at the instant of a command
    stage.turn(1000)
    stage.recorder.pause("c1", stage.clock.now_ns)
    stage.turn(1000)
    stage.recorder.resume("c1", stage.clock.now_ns, (PCMU, DTMF))
    stage.turn(1000)
    seal(stage)
    caller, _ = stage.channels(recording)
    assert caller[:8000] == sound[:8000]
    assert caller[8000:16000] == SILENCE * 8000
    assert caller[16000:24000] == sound[16000:24000]
    assert stage.journal.noted("recording.sealed")[0]["paused_ms"] == 1000


def test_a_pause_that_lasts_to_the_end_is_counted(stage: Stage) -> None:
    opened(stage, guard_ms=0)
    stage.turn(500)
    stage.recorder.pause("c1", stage.clock.now_ns)
    stage.recorder.pause("c1", stage.clock.now_ns + 100 * MS)
    stage.turn(700)
    seal(stage)
    assert stage.journal.noted("recording.sealed")[0]["paused_ms"] == 700


@pytest.mark.parametrize("way", ["seal of another", "tick"])
def test_a_pause_that_waits_counts_from_its_own_instant(stage: Stage, way: str) -> None:
    recording = opened(stage, guard_ms=0)
    opened(stage, "other", 2)
    sound = noise(150, 6)
    stage.say(1, Side.CALLER, sound)
    now = stage.clock.now_ns
    stage.recorder.seal("other", now + SECOND, "hangup", 0)
    stage.recorder.pause("c1", now + SECOND)
    stage.recorder.resume("c1", now + 2 * SECOND, (PCMU, DTMF))
    stage.clock.pass_ms(3000)
    if way == "tick":
        stage.recorder._tick()
    stage.turn()
    seal(stage)
    caller, _ = stage.channels(recording)
    assert caller[:8000] == sound[:8000]
    assert caller[8000:16000] == SILENCE * 8000
    assert caller[16000:24000] == sound[16000:24000]


def test_a_seal_takes_what_the_ring_still_holds(stage: Stage) -> None:
    recording = opened(stage, guard_ms=0)
    sound = noise(50, 7)
    stage.say(1, Side.CALLER, sound)
    stage.clock.pass_ms(1000)
    seal(stage)
    assert stage.channels(recording)[0] == sound


def test_a_seal_that_waits_makes_no_recording_longer(stage: Stage) -> None:
    recording = opened(stage, guard_ms=0)
    stage.turn(500)
    stage.recorder.seal("c1", stage.clock.now_ns, "hangup", 0)
    stage.clock.pass_ms(5000)
    stage.recorder._tick()
    stage.turn()
    assert len(stage.channels(recording)[0]) == 500 * 8


def test_a_call_without_rtp_leaves_a_record_of_silence(stage: Stage) -> None:
    recording = opened(stage, guard_ms=0)
    for _ in range(10):
        stage.turn(200)
    seal(stage)
    caller, callee = stage.channels(recording)
    assert caller == callee == SILENCE * 16000
    sealed = stage.journal.noted("recording.sealed")[0]
    assert sealed["frames"] == 16000
    assert sealed["caller_packets"] == 0


def test_a_call_that_ends_within_the_guard_is_sealed_without_a_frame(stage: Stage) -> None:
    recording = opened(stage, guard_ms=100)
    stage.clock.pass_ms(10)
    seal(stage)
    assert stage.row(recording).state is State.SEALED
    assert stage.journal.noted("recording.sealed")[0]["frames"] == 0
    assert not stage.journal.of(RecordingFailed)


def test_two_calls_do_not_mix(stage: Stage) -> None:
    first, second = opened(stage, "c1", 1, guard_ms=0), opened(stage, "c2", 2, PCMU, guard_ms=0)
    sounds = noise(50, 8), noise(50, 9)
    stage.say(1, Side.CALLER, sounds[0])
    stage.say(2, Side.CALLER, sounds[1])
    stage.turn(1100)
    seal(stage, "c1")
    seal(stage, "c2")
    assert stage.channels(first)[0].startswith(sounds[0])
    assert stage.channels(second)[0].startswith(sounds[1])


def test_a_law_is_kept_as_a_law(stage: Stage) -> None:
    recording = opened(stage, "c1", 1, PCMA, guard_ms=0)
    sound = noise(10, 10)
    stage.fork.ring += [
        Packet(1, Side.CALLEE, stage.clock.now_ns + n * 20 * MS, n, sound[n * FRAME : (n + 1) * FRAME], 8)
        for n in range(10)
    ]
    stage.turn(400)
    seal(stage)
    caller, callee = stage.channels(recording)
    assert callee.startswith(sound)
    assert set(caller) == {0xD5}
    assert stage.row(recording).audio.rate_hz == 8000


def test_the_tags_say_why_until_when_and_what_was_heard(stage: Stage) -> None:
    stage.clock.pass_ms(40)
    plan = open_recording(completed=stage.clock.utcnow(), retention=timedelta(days=14))
    stage.recorder.open("c1", 1, stage.clock.now_ns + 20 * MS, plan)
    stage.work()
    tags = stage.row(stage.journal.of(RecordingOpened)[0].recording).tags
    assert tags.started == NOW + timedelta(milliseconds=60)
    assert tags.expiry == tags.started + timedelta(days=14)
    assert tags.purpose == "training"
    assert tags.notice.heard_by == ("caller", "callee")
    assert tags.notice.completed == NOW + timedelta(milliseconds=40)


def test_a_wall_clock_that_went_back_does_not_date_the_start_before_the_notice(stage: Stage) -> None:
    later = stage.clock.utcnow() + timedelta(seconds=5)
    stage.recorder.open("c1", 1, stage.clock.now_ns, open_recording(completed=later))
    stage.work()
    assert stage.row(stage.journal.of(RecordingOpened)[0].recording).tags.started == later


def test_what_the_ring_could_not_hold_is_in_the_record(stage: Stage) -> None:
    recording = opened(stage)
    stage.turn(200)
    seal(stage, dropped=17)
    assert stage.journal.noted("recording.sealed")[0]["ring_dropped"] == 17
    facts = stage.row(recording).facts
    assert facts is not None
    assert facts.dropped_packets == 17


def test_commands_for_a_call_that_is_not_recorded_do_nothing(stage: Stage) -> None:
    stage.recorder.pause("nobody", stage.clock.now_ns)
    stage.recorder.resume("nobody", stage.clock.now_ns, (PCMU,))
    stage.recorder.seal("nobody", stage.clock.now_ns, "hangup", 0)
    stage.turn(200)
    assert not stage.journal.events
    assert not stage.journal.notes


# ------------------------------------------------------------------ batches
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), max_size=60))
def test_a_batch_is_parted_as_a_naive_splitter_parts_it(packets: list[tuple[int, int]]) -> None:
    batch = batch_of(
        [Packet(stream, Side.CALLER, at, place, bytes([at])) for place, (stream, at) in enumerate(packets)]
    )
    records = batch.records[np.argsort(batch.records["arrival_ns"], kind="stable")]
    naive: dict[int, list[object]] = {}
    for record in records:
        naive.setdefault(int(record["stream"]), []).append(record.item())
    parted = by_stream(records)
    assert {stream: [record.item() for record in part] for stream, part in parted} == naive
    assert len(parted) == len(naive)


# ------------------------------------------------------------------ failures
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(
    ("operation", "path"),
    [
        ("create", "keys/"),
        ("fsync", "keys/"),
        ("create", ".key"),
        ("write", ".key"),
        ("create", "recordings/"),
        ("write", "recordings/"),
        ("write", "audit/"),
        ("fsync", "audit/"),
    ],
)
def test_a_recording_that_cannot_be_opened_fails_alone(
    stage: Stage, operation: str, path: str, code: int
) -> None:
    other = opened(stage, "other", 1, guard_ms=0)
    sound = noise(50, 11)
    stage.say(1, Side.CALLER, sound)
    stage.disk.break_at(operation, path, code)
    stage.recorder.open("c1", 2, stage.clock.now_ns, open_recording())
    stage.work()
    assert len(stage.journal.of(RecordingFailed, "c1")) == 1
    assert not stage.journal.of(RecordingOpened, "c1")
    stage.disk.mend()
    stage.say(2, Side.CALLER, noise(50, 12))
    stage.turn(1100)
    stage.recorder.seal("c1", stage.clock.now_ns, "recorder failed", 0)
    seal(stage, "other")
    assert not stage.recorder._packets, "nothing of a lost recording is kept"
    assert stage.channels(other)[0].startswith(sound)
    assert not stage.journal.of(RecordingFailed, "other")
    assert stage.recorder._evidence.fault is None or "audit/" in path
    stage.turn(1000)
    assert stage.recorder._evidence.fault is None
    assert "rec.failed" in audit_events(stage)


@pytest.mark.parametrize("codecs", [(DTMF,), (Codec(96, "PCMU", 8000, 2),), (Codec(96, "PCMU", 8_000_000),)])
def test_a_codec_that_cannot_be_recorded_fails_that_recording_only(
    stage: Stage, codecs: tuple[Codec, ...]
) -> None:
    other = opened(stage, "other", 1)
    stage.recorder.open("c1", 2, stage.clock.now_ns, open_recording(*codecs))
    stage.turn(200)
    assert len(stage.journal.of(RecordingFailed, "c1")) == 1
    seal(stage, "other")
    assert stage.row(other).state is State.SEALED


def test_a_body_that_cannot_be_written_ends_that_recording_only(stage: Stage) -> None:
    broken, sound = opened(stage, "c1", 1), opened(stage, "c2", 2)
    stage.disk.break_at("write", broken)
    for _ in range(50):
        stage.turn(200)
    assert len(stage.journal.of(RecordingFailed, "c1")) == 1
    assert not stage.journal.of(RecordingFailed, "c2")
    assert stage.row(broken).state is State.ABORTED
    seal(stage, "c1")
    seal(stage, "c2")
    assert stage.sound_verdict(sound)
    assert audit_events(stage).count("rec.failed") == 1


@pytest.mark.parametrize(
    ("operation", "code"), [("write", errno.ENOSPC), ("write", errno.EIO), ("fsync", errno.EIO)]
)
def test_a_log_that_fails_ends_what_is_open_and_the_next_recording_works(
    stage: Stage, operation: str, code: int
) -> None:
    lost = [opened(stage, "c1", 1), opened(stage, "c2", 2)]
    stage.turn(500)
    stage.disk.break_at(operation, ".wal", code)
    stage.turn(500)
    for call in ("c1", "c2"):
        assert len(stage.journal.of(RecordingFailed, call)) == 1
    assert [stage.row(recording).state for recording in lost] == [State.ABORTED] * 2
    stage.disk.mend()
    recording = opened(stage, "c3", 3)
    stage.turn(500)
    seal(stage, "c3")
    assert stage.sound_verdict(recording)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("operation", ["write", "fsync", "rename"])
def test_a_recording_that_cannot_be_sealed_ends_alone_and_stays_for_recovery(
    stage: Stage, operation: str, code: int
) -> None:
    broken, other = opened(stage, "c1", 1), opened(stage, "c2", 2)
    stage.turn(500)
    stage.disk.break_at(operation, broken, code)
    seal(stage, "c1")
    assert len(stage.journal.of(RecordingFailed, "c1")) == 1
    assert not stage.journal.noted("recording.sealed")
    assert stage.row(broken).state is State.ABORTED
    stage.disk.mend()
    seal(stage, "c2")
    assert stage.sound_verdict(other)


def test_what_all_calls_said_is_one_write_and_one_sync_of_the_log(stage: Stage) -> None:
    for number in range(1, 6):
        opened(stage, f"c{number}", number, guard_ms=0)
        stage.say(number, Side.CALLER, noise(20, number))
    stage.disk.operations.clear()
    stage.turn(700)
    log = [name for name, path in stage.disk.operations if path.endswith(".wal") and name != "create"]
    assert log == ["write", "write", "fsync"]  # the head of the new segment, and all its records


def test_a_fault_of_ours_in_one_recording_ends_that_one_only(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = opened(stage, "c1", 1), opened(stage, "c2", 2)
    push, timeline_of_c1 = Timeline.push_run, stage.recorder._live["c1"].timeline

    def broken_push(timeline: Timeline, run: Run, batch: SortedBatch) -> None:
        if timeline is timeline_of_c1:
            raise ZeroDivisionError("a bug")
        push(timeline, run, batch)

    monkeypatch.setattr(Timeline, "push_run", broken_push)
    stage.say(1, Side.CALLER, noise(5, 1))
    stage.say(2, Side.CALLER, noise(5, 2))
    stage.turn(200)
    assert [event.why for event in stage.journal.of(RecordingFailed, "c1")] == ["ZeroDivisionError: a bug"]
    assert not stage.journal.of(RecordingFailed, "c2")
    monkeypatch.undo()
    seal(stage, "c2")
    assert stage.sound_verdict(other)
    assert stage.row(broken).state is State.ABORTED


def test_a_recorder_that_collapses_tells_every_call(stage: Stage) -> None:
    opened(stage, "c1", 1)
    stage.recorder.open("c2", 2, stage.clock.now_ns, open_recording())
    stage.fork.broken = RuntimeError("no ring")
    stage.recorder.start()
    stage.journal.wait(RecordingFailed, "c1")
    stage.recorder._thread.join()
    stage.recorder.open("c3", 3, stage.clock.now_ns, open_recording())
    assert stage.recorder.fault() == "the recorder has stopped"
    assert stage.journal.wait(RecordingFailed, "c3").why == "the recorder has stopped"
    assert stage.journal.noted("daemon.failed")[0]["what"] == "recorder"
    opened_c2 = stage.journal.of(RecordingOpened, "c2")
    assert len(stage.journal.of(RecordingFailed, "c2")) == 1, opened_c2


def test_a_command_that_was_still_waiting_is_answered_when_the_recorder_collapses(stage: Stage) -> None:
    stage.recorder.open("c1", 1, stage.clock.now_ns, open_recording())
    stage.recorder._collapse(RuntimeError("no ring"))
    assert "no ring" in stage.journal.of(RecordingFailed, "c1")[0].why


# ------------------------------------------------------------------ audit and space
def test_evidence_that_cannot_be_written_raises_the_flag_and_is_written_later_in_its_order(
    stage: Stage,
) -> None:
    notes = [AuditNote(f"announce.n{number}", (("purpose", "training"),)) for number in range(3)]
    stage.recorder.start()
    stage.recorder.stop()  # the thread is this one from now on
    stage.recorder._stopped = False
    stage.disk.break_at("write", "audit/")
    stage.recorder.audit("c1", notes[0])
    stage.work()
    assert stage.recorder._evidence.fault is not None
    assert "audit" in stage.recorder._evidence.fault
    stage.disk.on = lambda _operation, _path: None
    stage.recorder.audit("c1", notes[1])
    stage.work()
    stage.disk.break_at("write", "audit/")
    stage.turn(500)
    assert stage.recorder._evidence.fault is not None
    stage.disk.mend()
    stage.recorder.audit("c1", notes[2])
    stage.turn(500)
    assert stage.recorder._evidence.fault is None
    written = [event for event in audit_events(stage) if event.startswith("announce.n")]
    assert written == ["announce.n0", "announce.n1", "announce.n2"]
    assert len(stage.journal.noted("audit.failed")) == 1, "said once, not at each try"
    verify_chain(OsFiles(stage.root), stage.audit.public_key)


def test_evidence_that_is_malformed_is_said_and_blocks_nothing(stage: Stage) -> None:
    stage.recorder.audit("c1", AuditNote("announce.failed", (("why", "x" * 5000),)))
    stage.recorder.audit("c1", AuditNote("announce.started", ()))
    stage.turn(500)
    assert stage.recorder._evidence.fault is None
    assert "announce.started" in audit_events(stage)
    assert len(stage.journal.noted("audit.failed")) == 1


def test_a_sync_of_the_chain_that_fails_raises_the_flag_and_ends_no_recording(stage: Stage) -> None:
    recording = opened(stage)
    stage.turn(500)
    stage.recorder.audit("c1", AuditNote("announce.started", ()))
    stage.disk.break_at("fsync", "audit/")
    stage.turn(500)
    assert stage.recorder._evidence.fault is not None
    assert not stage.journal.of(RecordingFailed)
    stage.disk.mend()
    stage.turn(500)
    assert stage.recorder._evidence.fault is None
    seal(stage)
    assert stage.sound_verdict(recording)


def test_too_little_space_raises_the_flag_until_there_is_enough(stage: Stage) -> None:
    stage.disk.free = 1000
    stage.recorder.start()
    assert stage.recorder.fault() == "0 MiB of disk left, 1 needed"
    assert [line["what"] for line in stage.journal.noted("disk.failed")] == ["space"]
    stage.recorder.stop()
    stage.disk.free = 1 << 30
    stage.recorder._places.look()
    assert stage.recorder._places.fault is None
    assert len(stage.journal.noted("disk.recovered")) == 1


def test_a_file_system_that_cannot_be_asked_is_asked_again(stage: Stage) -> None:
    stage.disk.break_at("statvfs", ".")
    stage.turn(500)
    assert stage.recorder._places.fault is not None
    stage.disk.mend()
    stage.turn(500)
    assert stage.recorder._places.fault is None


def test_two_faults_do_not_hide_each_other(stage: Stage) -> None:
    stage.recorder.audit("c1", AuditNote("announce.started", ()))
    stage.disk.break_at("write", "audit/")
    stage.disk.free = 1000
    stage.turn(500)
    assert stage.recorder._places.fault is not None
    stage.disk.free = 1 << 30
    stage.turn(500)
    assert stage.recorder._places.fault is None
    assert stage.recorder._evidence.fault is not None


# ------------------------------------------------------------------ the thread
def test_stop_seals_all_and_leaves_nothing_open(stage: Stage) -> None:
    stage.recorder.start()
    assert stage.recorder.fault() is None
    for number in range(3):
        stage.recorder.open(f"c{number}", 1 + number, stage.clock.now_ns, open_recording())
    recordings = [stage.journal.wait(RecordingOpened, f"c{number}").recording for number in range(3)]
    stage.clock.pass_ms(300)
    stage.recorder.stop()
    assert all(stage.sound_verdict(recording) for recording in recordings)
    assert {line["reason"] for line in stage.journal.noted("recording.sealed")} == {"daemon stopped"}
    assert not stage.store.open_recordings
    assert stage.recorder.fault() == "the recorder has stopped"


def test_evidence_that_was_handed_in_before_the_stop_is_written(stage: Stage) -> None:
    stage.recorder.start()
    for number in range(20):
        stage.recorder.audit("c1", AuditNote("announce.started", (("number", number),)))
    stage.recorder.stop()
    assert audit_events(stage).count("announce.started") == 20


def test_before_it_is_started_nothing_can_be_recorded(stage: Stage) -> None:
    assert stage.recorder.fault() == "the recorder has stopped"


def test_syncs_go_on_while_many_seals_wait(stage: Stage) -> None:
    """Sixty calls end at once, each seal takes 100 ms: another call's audio is still synced in time."""
    for number in range(61):
        opened(stage, f"c{number}", 1 + number, guard_ms=0)
    synced: list[int] = []

    def slow(operation: str, path: str) -> None:
        if operation == "rename" and "recordings/" in path:
            stage.clock.pass_ms(100)
        if operation == "fsync" and ".wal" in path:
            synced.append(stage.clock.now_ns)

    sync = stage.store.sync
    tail: list[int] = []

    def noting_sync() -> object:
        tail.append(stage.clock.now_ns)
        return sync()

    stage.store.sync = noting_sync  # type: ignore[method-assign,assignment]
    stage.disk.on = slow
    stage.turn(500)
    for number in range(60):
        stage.recorder.seal(f"c{number}", stage.clock.now_ns, "hangup", 0)
    stage.recorder._inbox.put(Stop())
    stage.recorder._run()
    assert len(stage.journal.noted("recording.sealed")) == 61
    assert max(later - earlier for earlier, later in pairwise(tail)) <= 0.8 * SECOND


def test_a_blocked_disk_blocks_no_caller(stage: Stage) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def block(operation: str, path: str) -> None:
        if operation == "fsync" and ".wal" in path:
            entered.set()
            go_on.wait()

    stage.recorder.start()
    stage.recorder.open("c1", 1, stage.clock.now_ns, open_recording())
    stage.journal.wait(RecordingOpened, "c1")
    stage.disk.on = block
    stage.clock.pass_ms(1000)
    assert entered.wait(20)
    done: list[str] = []

    def signal() -> None:
        stage.recorder.open("c2", 2, stage.clock.now_ns, open_recording())
        stage.recorder.pause("c1", stage.clock.now_ns)
        stage.recorder.resume("c1", stage.clock.now_ns, (PCMU,))
        stage.recorder.audit("c1", AuditNote("announce.started", ()))
        stage.recorder.seal("c1", stage.clock.now_ns, "hangup", 0)
        done.append(str(stage.recorder.fault()))

    signalling = threading.Thread(target=signal, daemon=True)
    signalling.start()
    signalling.join(20)
    still_blocked = not go_on.is_set() and not stage.journal.noted("recording.sealed")
    go_on.set()
    assert done == ["None"]
    assert still_blocked
    stage.journal.wait(RecordingOpened, "c2")
    stage.recorder.stop()
    assert len(stage.journal.noted("recording.sealed")) == 2


def test_no_audio_and_no_number_lies_in_the_clear_anywhere(stage: Stage) -> None:
    recording = opened(stage, guard_ms=0)
    sound = noise(600, 13)
    stage.say(1, Side.CALLER, sound)
    stage.say(1, Side.CALLEE, sound)
    for _ in range(20):
        stage.turn(400)
        assert _clear(stage.root, sound) == []
    stage.clock.pass_ms(4000)
    seal(stage)
    stage.turn(500)
    assert stage.channels(recording)[0].startswith(sound)
    assert _clear(stage.root, sound) == []


def _clear(root: Path, sound: bytes) -> list[str]:
    """Files that show a piece of the sound, single or interleaved, or a telephone number."""
    pair = b"".join(bytes([a, b]) for a, b in zip(sound[:32], sound[:32], strict=True))
    found = []
    for path in root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if sound[:16] in data or pair[:16] in data or b"301234567" in data:
                found.append(str(path))
    return found


def test_a_recording_of_opus_is_linear(stage: Stage) -> None:
    recording = opened(stage, "c1", 1, OPUS, DTMF, guard_ms=0)
    stage.turn(300)
    seal(stage)
    assert stage.row(recording).audio.encoding == "PCM16"
    assert stage.row(recording).audio.rate_hz == 48000


# ------------------------------------------------------------------ a party says no
def test_a_discarded_recording_leaves_a_tombstone_and_nothing_else(stage: Stage) -> None:
    recording = opened(stage, guard_ms=0)
    stage.say(1, Side.CALLER, noise(200, 1))
    for _ in range(20):
        stage.turn(200)
    stage.recorder.discard("c1", "opt_out")
    stage.say(1, Side.CALLER, noise(10, 2), first=200)
    stage.work()
    assert stage.journal.noted("recording.discarded") == [
        {"recording": recording, "purpose": "training", "reason": "opt_out"}
    ]
    tombstone = stage.catalogue.tombstone(RecordingId(recording))
    assert tombstone is not None
    assert (tombstone.cause, tombstone.verified) == ("opt_out", True)
    left = [str(path.relative_to(stage.root)) for path in stage.root.rglob("*") if path.is_file()]
    assert [path for path in left if recording in path] == []
    stage.turn(400)
    assert "rec.discarded" in audit_events(stage)
    assert "rec.sealed" not in audit_events(stage)


def test_what_cannot_be_destroyed_is_tried_again_and_takes_no_more_audio(stage: Stage) -> None:
    recording = opened(stage, guard_ms=0)
    other = opened(stage, "c2", 2)
    stage.disk.break_at("fsync", "audit")
    stage.recorder.discard("c1", "opt_out")
    stage.work()
    assert stage.journal.noted("recording.discarded") == []
    assert stage.catalogue.tombstone(RecordingId(recording)) is None
    stage.disk.mend()
    for _ in range(3):
        stage.turn(400)
    assert stage.catalogue.tombstone(RecordingId(recording)) is not None
    assert stage.journal.of(RecordingFailed, "c2") == []
    seal(stage, "c2")
    assert stage.row(other).state is State.SEALED


def test_what_is_known_of_a_recording_is_in_its_row_and_in_the_log(stage: Stage) -> None:
    recording = opened(stage, guard_ms=0)
    sound = noise(100, 14)
    stage.say(1, Side.CALLER, sound[: 20 * FRAME])
    stage.say(1, Side.CALLER, sound[25 * FRAME :], first=25, at_ns=stage.clock.now_ns + 500 * MS)
    stage.turn(1500)
    for _ in range(2):
        stage.recorder.pause("c1", stage.clock.now_ns)
        stage.turn(100)
        stage.recorder.resume("c1", stage.clock.now_ns, (PCMU,))
        stage.turn(100)
    seal(stage)
    facts, line = stage.row(recording).facts, stage.journal.noted("recording.sealed")[0]
    assert facts is not None
    assert facts.caller is not None
    assert (facts.pauses, facts.paused) == (2, timedelta(milliseconds=200))
    assert (line["pauses"], line["paused_ms"]) == (2, 200)
    assert facts.caller.lost == line["caller_lost"] == 5
    assert line["caller_silence_samples"] == facts.caller.silence_samples >= 5 * FRAME
    assert line["caller_jitter_ms"] == facts.caller.jitter_ms


# ------------------------------------------------------------------ together
def test_openings_and_seals_that_wait_share_their_syncs(stage: Stage) -> None:
    for number in range(2):  # the pace grows as the disk turns out to be fast
        opened(stage, f"warm{number}", 100 + number)
    stage.recorder._pace.most = 16
    stage.disk.operations.clear()
    for number in range(16):
        stage.recorder.open(f"c{number}", 1 + number, stage.clock.now_ns, open_recording())
    stage.work()
    assert len({event.recording for event in stage.journal.of(RecordingOpened)}) == 18
    assert stage.disk.operations.count(("fsync directory", "keys")) == 1
    assert stage.disk.operations.count(("fsync", "audit/chain.jsonl")) == 1
    stage.disk.operations.clear()
    for number in range(16):
        stage.recorder.seal(f"c{number}", stage.clock.now_ns, "hangup", 0)
    stage.work()
    assert len(stage.journal.noted("recording.sealed")) == 16
    assert sum(name == "fsync" and path.endswith(".wal") for name, path in stage.disk.operations) == 1
    assert stage.disk.operations.count(("fsync", "audit/chain.jsonl")) == 1


def test_a_recording_that_fails_in_a_batch_fails_alone(stage: Stage) -> None:
    stage.recorder._pace.most = 4
    stage.disk.break_at("create", f"keys/{2:032x}")
    for number in range(1, 5):
        stage.recorder.open(f"c{number}", number, stage.clock.now_ns, open_recording())
    stage.work()
    stage.disk.mend()
    assert len(stage.journal.of(RecordingFailed, "c2")) == 1
    assert not stage.journal.of(RecordingOpened, "c2")
    lives = ["c1", "c3", "c4"]
    recordings = [stage.journal.of(RecordingOpened, call)[0].recording for call in lives]
    stage.turn(500)
    stage.disk.break_at("rename", recordings[1])
    for call in lives:
        stage.recorder.seal(call, stage.clock.now_ns, "hangup", 0)
    stage.work()
    stage.disk.mend()
    assert [stage.row(recording).state for recording in recordings] == [
        State.SEALED,
        State.ABORTED,
        State.SEALED,
    ]
    assert stage.sound_verdict(recordings[0])


def _job(kind: str, call: str, at: int) -> Job:
    match kind:
        case "open":
            return Open(call, 1, at, open_recording())
        case "pause":
            return Pause(call, at)
        case "resume":
            return Resume(call, at, ())
        case "audit":
            return Audit(call, AuditNote(f"announce.n{at}", ()))
        case _:
            return Seal(call, at, "hangup", 0)


@pytest.mark.parametrize(
    ("kinds", "naps"),
    [
        (["audit"], [0.01, 0.01, 0.005]),
        (["audit", "open"], [0.01, 0.01, 0.005]),
        (["open", "seal"], []),  # enough to share the syncs
        ([], []),
        (["audit", "stop"], []),
    ],
)
def test_a_job_waits_for_others_by_the_clock_and_not_by_the_queue(
    kinds: list[str], naps: list[float]
) -> None:
    clock, slept = ManualClock(), list[float]()
    inbox = Inbox(clock, slept.append)
    for at, kind in enumerate(kinds):
        inbox.put(Stop() if kind == "stop" else _job(kind, f"c{at}", at))
    inbox.take_in()
    inbox.gather(clock.monotonic_ns() + 25 * MS, 2)
    assert slept == naps
    assert len(inbox) == len(kinds)


@given(
    st.lists(
        st.tuples(st.sampled_from(["open", "pause", "resume", "audit", "seal"]), st.integers(0, 3)),
        max_size=30,
    ),
    st.integers(1, 5),
)
def test_jobs_of_a_call_keep_their_order_and_none_is_lost(told: list[tuple[str, int]], most: int) -> None:
    inbox = Inbox(ManualClock())
    jobs = [_job(kind, f"c{call}", at) for at, (kind, call) in enumerate(told)]
    for job in [*jobs, Stop()]:
        inbox.put(job)
    inbox.take_in()
    done: list[Job] = []
    while inbox:
        taken = inbox.round(most)
        assert taken
        assert sum(isinstance(job, Open | Seal) for job in taken) <= most
        done += taken
    assert done[-1] == Stop()
    for call in range(4):
        assert [job for job in done if job.call == f"c{call}"] == [
            job for job in jobs if job.call == f"c{call}"
        ]


def test_the_pace_follows_the_disk() -> None:
    pace = Pace()
    sizes = []
    for elapsed_ms in (5, 5, 5, 5, 5, 5, 100, 400, 400):
        pace.took(elapsed_ms * MS, pace.most)
        sizes.append(pace.most)
    assert sizes == [4, 8, 16, 32, 64, 64, 64, 32, 16]
    pace.took(5 * MS, 1)
    assert pace.most == 16, "a small batch says nothing of a large one"
    for _ in range(8):
        pace.took(SECOND, pace.most)
    assert pace.most == 1


def test_what_the_catalogue_keeps_of_a_channel_is_counted_under_the_same_names() -> None:
    counted = {field.name for field in fields(TimelineFacts)}
    assert {field.name for field in fields(ChannelFacts)} <= counted
