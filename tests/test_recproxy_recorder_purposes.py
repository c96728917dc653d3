"""The recorder with a recording for several purposes: a key for each, and what a party says no to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from call_values import notice, open_recording
from recorder_stage import MS, Stage, noise, staged
from storage_machine import legal_hold
from test_recproxy_recorder import audit_events, seal

from recproxy.call.commands import FurtherPurpose
from recproxy.call.events import RecordingFailed, RecordingOpened
from rtp import Side
from storage import LegalBasis, RecordingId, State

DAY = timedelta(days=1)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as made:
        yield made


def opened(stage: Stage) -> str:
    """A recording for training, and 14 days as a sample that was announced a little later."""
    heard = stage.clock.utcnow()
    sample = FurtherPurpose(
        "sample", LegalBasis.CONSENT, 14 * DAY, replace(notice(heard + timedelta(seconds=2)), prompt="sample")
    )
    plan = replace(open_recording(completed=heard), further=(sample,))
    stage.recorder.open("c1", 1, stage.clock.now_ns, plan)
    stage.work()
    return stage.journal.of(RecordingOpened, "c1")[-1].recording


def headers(stage: Stage) -> set[str]:
    return {path.name.partition(".")[2] for path in (stage.root / "keys").iterdir()}


def test_each_purpose_has_a_key_a_term_and_the_proof_of_its_announcement(stage: Stage) -> None:
    recording = opened(stage)
    tags = stage.row(recording).tags
    training, sample = tags.terms
    assert (training.purpose, training.expiry) == ("training", tags.started + 30 * DAY)
    assert (sample.purpose, sample.expiry) == ("sample", tags.started + 14 * DAY)
    assert tags.notice_of(sample).prompt == "sample"
    assert tags.started == tags.notice_of(sample).completed, "not before the last announcement"
    assert headers(stage) == {"training", "sample"}
    seal(stage)
    (line,) = stage.journal.noted("recording.sealed")
    assert line["purpose"] == "training,sample"


def test_what_is_refused_is_gone_at_once_and_the_rest_goes_on(stage: Stage) -> None:
    recording = opened(stage)
    sound = noise(100, 1)
    stage.say(1, Side.CALLER, sound)
    stage.turn(300)
    stage.recorder.drop("c1", ("training",), "opt_out")
    stage.work()
    assert headers(stage) == {"sample"}
    assert stage.journal.noted("recording.purpose_ended") == [
        {"recording": recording, "purpose": "training", "reason": "opt_out"}
    ]
    for _ in range(10):
        stage.turn(200)
    seal(stage)
    row = stage.row(recording)
    assert (row.state, row.tags.purpose) == (State.SEALED, "sample")
    assert stage.channels(recording)[0][: len(sound)] == sound
    (line,) = stage.journal.noted("recording.sealed")
    assert line["purpose"] == "sample"
    assert line["expiry"] == row.tags.expiry.isoformat(timespec="seconds")
    assert "rec.purpose_expired" in audit_events(stage)
    stage.recorder.drop("c1", ("training",), "opt_out")
    stage.work()
    assert len(stage.journal.noted("recording.purpose_ended")) == 1


def test_a_refusal_that_the_disk_resists_is_carried_out_later_even_after_the_seal(stage: Stage) -> None:
    recording = opened(stage)
    stage.turn(300)
    stage.disk.break_at("fsync", "audit")
    stage.recorder.drop("c1", ("training",), "opt_out")
    stage.work()
    stage.work()
    assert len(stage.journal.noted("disk.failed")) >= 1
    assert stage.journal.noted("recording.purpose_ended") == []
    stage.disk.mend()
    seal(stage)
    for _ in range(3):
        stage.turn(400)
    assert headers(stage) == {"sample"}
    assert len(stage.journal.noted("recording.purpose_ended")) == 1
    assert stage.row(recording).tags.purpose == "sample"
    assert stage.journal.of(RecordingFailed, "c1") == []


def test_a_refusal_that_overtakes_nothing_waits_for_the_opening(stage: Stage) -> None:
    heard = stage.clock.utcnow()
    sample = FurtherPurpose("sample", LegalBasis.CONSENT, 14 * DAY, notice(heard))
    plan = replace(open_recording(completed=heard), further=(sample,))
    stage.recorder.open("c1", 1, stage.clock.now_ns + 20 * MS, plan)
    stage.recorder.drop("c1", ("sample",), "opt_out")
    stage.recorder.seal("c1", stage.clock.now_ns + 500 * MS, "hangup", 0)
    stage.clock.pass_ms(500)
    for _ in range(3):
        stage.work()
    recording = stage.journal.of(RecordingOpened, "c1")[-1].recording
    assert headers(stage) == {"training"}
    assert stage.row(recording).tags.purpose == "training"


def test_a_hold_on_what_is_being_recorded_delays_the_end_of_a_purpose_and_no_longer(stage: Stage) -> None:
    recording = opened(stage)
    hold = legal_hold(RecordingId(recording))
    stage.catalogue.holds.add(hold)
    stage.recorder.drop("c1", ("training",), "opt_out")
    for _ in range(3):
        stage.turn(400)
    assert headers(stage) == {"training", "sample"}
    (told,) = stage.journal.noted("disk.failed")
    assert "held" in str(told["why"])
    seal(stage)
    assert headers(stage) == {"training", "sample"}
    stage.catalogue.holds.release(hold.id, "user:anna", stage.clock.utcnow())
    stage.turn(400)
    assert headers(stage) == {"sample"}
    assert stage.row(recording).tags.purpose == "sample"
