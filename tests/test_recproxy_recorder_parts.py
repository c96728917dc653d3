"""The recorder with recordings in sequence: closed for one purpose, gone on with for others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from call_values import PCMU, notice, open_recording
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder_stage import FRAME, MS, Stage, noise, staged
from test_recproxy_recorder import audit_events, opened, seal
from test_recproxy_recorder_purposes import DAY, headers

from recproxy.call.commands import FurtherPurpose, OpenRecording
from recproxy.call.events import RecordingFailed, RecordingOpened
from rtp import Side
from storage import (
    ClockBounds,
    ClockGuard,
    ClockReading,
    LegalBasis,
    OsFiles,
    RecordingId,
    Retention,
    State,
)

SILENCE = b"\xff"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as made:
        yield made


def with_agreements(stage: Stage) -> OpenRecording:
    """A recording for training, and for an agreement that was announced just now."""
    agreed = replace(notice(stage.clock.utcnow()), prompt="agreements")
    further = FurtherPurpose("agreements", LegalBasis.LEGITIMATE_INTEREST, 60 * DAY, agreed)
    return replace(open_recording(completed=stage.clock.utcnow()), further=(further,))


def part(stage: Stage, plan: OpenRecording, *, guard_ms: float = 0) -> None:
    stage.recorder.part("c1", stage.clock.now_ns + round(guard_ms * MS), "purpose_began", 0, plan)


def of_call(stage: Stage) -> list[str]:
    return [event.recording for event in stage.journal.of(RecordingOpened, "c1")]


def run(stage: Stage, milliseconds: int) -> None:
    for _ in range(milliseconds // 100):
        stage.turn(100)


def test_two_recordings_in_sequence_hold_each_sample_once(stage: Stage) -> None:
    opened(stage, guard_ms=0)
    left, right = noise(100, 1), noise(100, 2)
    stage.say(1, Side.CALLER, left)
    stage.say(1, Side.CALLEE, right, at_ns=stage.clock.now_ns + 10 * MS)
    run(stage, 700)
    stage.clock.pass_ms(7)
    part(stage, with_agreements(stage))
    run(stage, 1400)
    seal(stage)
    first, second = of_call(stage)
    before, after = stage.channels(first), stage.channels(second)
    assert len(before[0]) == len(before[1]) == 707 * 8, "cut at the instant, in the middle of a packet"
    assert (before[0] + after[0]).startswith(left)
    assert (before[1] + after[1]).startswith(SILENCE * 80 + right)
    rows = [stage.row(first), stage.row(second)]
    assert [row.state for row in rows] == [State.SEALED, State.SEALED]
    assert [row.tags.call for row in rows] == ["c1", "c1"]
    assert [term.purpose for term in rows[0].tags.terms] == ["training"]
    assert [term.purpose for term in rows[1].tags.terms] == ["training", "agreements"]
    facts = [row.facts for row in rows if row.facts is not None]
    assert sum(one.caller.packets for one in facts if one.caller) == 100
    assert sum(one.callee.packets for one in facts if one.callee) == 100
    assert [one.reason for one in facts] == ["purpose_began", "hangup"]
    sealed, _ = stage.journal.noted("recording.sealed")
    assert sealed["recording"] == first
    assert stage.sound_verdict(first)
    assert stage.sound_verdict(second)
    assert audit_events(stage).count("rec.started") == 2


@settings(deadline=None, max_examples=12)
@given(
    cuts=st.lists(st.integers(10, 900), min_size=1, max_size=3),
    late_ms=st.integers(0, 200),
    seed=st.integers(0, 99),
)
def test_wherever_it_is_cut_and_however_late_packets_come_nothing_is_lost_or_doubled(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], late_ms: int, seed: int
) -> None:
    with staged(tmp_path_factory.mktemp("parts")) as stage:
        opened(stage, guard_ms=0)
        sound = noise(120, seed)
        stage.say(1, Side.CALLER, sound)
        for packet in stage.fork.ring[10::7]:
            packet.arrival_ns += late_ms * MS
        for cut in cuts:
            stage.turn(cut)
            part(stage, open_recording(PCMU, completed=stage.clock.utcnow()))
            run(stage, 300)
        run(stage, 3000)
        seal(stage)
        parts = of_call(stage)
        assert len(parts) == len(cuts) + 1
        heard = b"".join(stage.channels(one)[0] for one in parts)
        assert heard[: len(sound)] == sound
        assert heard[len(sound) :] == SILENCE * (len(heard) - len(sound))


def test_nothing_from_before_the_instant_is_in_the_second_though_a_pause_ends_there(stage: Stage) -> None:
    opened(stage, guard_ms=0)
    before, meanwhile, after = noise(20, 1), noise(50, 2), noise(60, 3)
    stage.say(1, Side.CALLER, before)
    run(stage, 400)
    stage.recorder.pause("c1", stage.clock.now_ns)
    stage.say(1, Side.CALLER, meanwhile, first=20)
    run(stage, 1000)
    stage.say(1, Side.CALLER, after, first=70)
    stage.recorder.resume("c1", stage.clock.now_ns, (PCMU,))
    part(stage, with_agreements(stage), guard_ms=40)
    run(stage, 1200)
    seal(stage)
    first, second = (stage.channels(one)[0] for one in of_call(stage))
    assert first == before + SILENCE * 50 * FRAME + after[: 2 * FRAME]
    assert second == after[2 * FRAME :]
    facts = stage.row(of_call(stage)[0]).facts
    assert facts is not None
    assert (facts.pauses, round(facts.paused.total_seconds(), 3)) == (1, 1.0)
    assert stage.row(of_call(stage)[1]).facts.pauses == 0  # type: ignore[union-attr]


def test_a_pause_that_lasts_goes_on_in_the_second(stage: Stage) -> None:
    opened(stage, guard_ms=0)
    run(stage, 400)
    stage.recorder.pause("c1", stage.clock.now_ns)
    run(stage, 300)
    part(stage, with_agreements(stage))
    stage.turn(100)
    stage.recorder.resume("c1", stage.clock.now_ns, (PCMU,))
    run(stage, 600)
    seal(stage)
    facts = [stage.row(one).facts for one in of_call(stage)]
    assert [(one.pauses, one.paused.total_seconds()) for one in facts if one] == [(1, 0.3), (1, 0.1)]


def test_a_no_reaches_what_was_closed_before(stage: Stage) -> None:
    opened(stage, guard_ms=0)
    run(stage, 300)
    part(stage, with_agreements(stage))
    run(stage, 600)
    first, second = of_call(stage)
    assert headers(stage) == {"training", "agreements"}
    stage.recorder.drop("c1", ("training",), "opt_out")
    stage.work()
    assert headers(stage) == {"agreements"}, "in the first too, of which nothing is left"
    assert stage.row(first).state is State.SHREDDING
    assert [term.purpose for term in stage.row(second).tags.terms] == ["agreements"]
    seal(stage)
    stage.recorder.drop("c1", ("agreements",), "opt_out")
    stage.work()
    assert headers(stage) == set(), "the call goes on: what is closed can be refused"
    run(stage, 200)
    stage.recorder.forget("c1")
    stage.work()
    assert stage.catalogue.get(RecordingId(second)).state is State.SHREDDING


def test_what_a_no_took_the_key_of_is_gone_wholly_after_the_next_run_of_retention(stage: Stage) -> None:
    opened(stage, guard_ms=0)
    run(stage, 300)
    part(stage, with_agreements(stage))
    run(stage, 600)
    first, second = of_call(stage)
    seal(stage)
    stage.recorder.drop("c1", ("training",), "opt_out")
    run(stage, 100)
    now = stage.clock.utcnow()
    files = OsFiles(stage.root)
    sweeper = Retention(files, stage.catalogue, stage.audit, ClockGuard(files, ClockBounds()))
    report = sweeper.sweep(ClockReading(now, now.timestamp(), "b"))
    assert (report.stood_still, report.failed) == (None, ())
    stone = stage.catalogue.tombstone(RecordingId(first))
    assert stone is not None
    assert (stone.purpose, stone.cause, stone.verified) == ("training", "opt_out", True)
    assert [path.stem for path in stage.root.rglob("*.age")] == [second]
    assert stage.sound_verdict(second)


def test_what_one_party_lets_stay_stays_in_what_was_closed(stage: Stage) -> None:
    opened(stage, guard_ms=0)
    run(stage, 300)
    part(stage, with_agreements(stage))
    run(stage, 600)
    stage.recorder.discard("c1", "opt_out", ("agreements",))
    stage.work()
    first, second = of_call(stage)
    assert stage.row(first).state is State.SEALED
    assert RecordingId(second) not in stage.catalogue.ids()
    part(stage, with_agreements(stage))
    run(stage, 600)
    assert len(of_call(stage)) == 2, "nothing runs that could be gone on from"


def test_a_disk_that_fails_at_the_parting_is_told_to_the_call(stage: Stage) -> None:
    opened(stage, guard_ms=0)
    run(stage, 300)
    part(stage, with_agreements(stage))
    stage.disk.break_at("create", "keys")
    run(stage, 600)
    assert stage.journal.of(RecordingFailed, "c1")
    (first,) = of_call(stage)
    assert stage.row(first).state is State.SEALED, "what was recorded is whole"
    stage.disk.mend()
    seal(stage)
    run(stage, 200)


def test_a_seal_that_comes_before_the_parting_is_ripe_waits_for_it(stage: Stage) -> None:
    opened(stage, guard_ms=0)
    sound = noise(40, 1)
    stage.say(1, Side.CALLER, sound)
    run(stage, 500)
    part(stage, with_agreements(stage))
    stage.clock.pass_ms(50)
    stage.recorder.seal("c1", stage.clock.now_ns, "hangup", 0)
    stage.work()
    assert stage.journal.noted("recording.sealed") == []
    run(stage, 400)
    first, second = of_call(stage)
    assert stage.channels(first)[0] == sound[: 25 * FRAME]
    assert stage.channels(second)[0] == sound[25 * FRAME : 27 * FRAME + 80]
