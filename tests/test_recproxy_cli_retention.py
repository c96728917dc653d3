"""The process that shreds: its loop, what it says, and how it ends."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, recproxy
from policies import one_purpose, policy_text, whole
from recorded import Shelf, Take, copy_of, make_shelf, record

from recproxy.cli.retention import Result, Sweeper
from recproxy.cli.rounds import serve
from recproxy.eventlog import EventLog, LogConfig
from storage import (
    CatalogueBusy,
    ClockReading,
    OsFiles,
    RecordingId,
    ShredCertificate,
    State,
    SweepReport,
    Tombstone,
    read_events,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEPT, DUE = Take(1, started=datetime.now(UTC) - timedelta(hours=2)), Take(2, kept=timedelta(days=1))
RECORDING = RecordingId("7" * 32)


# ------------------------------------------------------------------ the loop
def _certificate(number: int) -> ShredCertificate:
    stone = Tombstone(
        recording=RecordingId(f"{number:032x}"),
        state=State.SHREDDED,
        purpose="training",
        policy_version="0" * 64,
        started_on=date(2026, 11, 1),
        minutes=5,
        expiry=NOW - timedelta(hours=1),
        gone_at=NOW,
        cause="expiry",
        size_bytes=1,
        sha256="1" * 64,
        run="2" * 32,
        verified=True,
        chain_seq=1,
        chain_sha256="3" * 64,
    )
    return ShredCertificate(stone, repeated=False, key_found=True, body_found=True)


def _report(
    shredded: int = 0, failed: Sequence[str] = (), held: int = 0, stood_still: str | None = None
) -> SweepReport:
    return SweepReport(
        run="2" * 32,
        due=shredded + len(failed),
        shredded=tuple(_certificate(number) for number in range(shredded)),
        failed=tuple((RECORDING, why) for why in failed),
        held=held,
        oldest_overdue=timedelta(0),
        stood_still=stood_still,
    )


@dataclass(slots=True)
class _Scripted:
    """Gives one report after the other; then nothing is due."""

    answers: Iterator[SweepReport | Exception]
    asked: list[int] = field(default_factory=list)

    def sweep(self, reading: ClockReading, limit: int = 0) -> SweepReport:
        assert reading.wall == NOW
        self.asked.append(limit)
        answer = next(self.answers, _report())
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass(slots=True)
class _Stage:
    """A sweeper on scripted answers, and what it wrote."""

    script: _Scripted
    sweeper: Sweeper
    written: io.StringIO

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written.getvalue().splitlines()]

    @property
    def names(self) -> list[str]:
        return [event["event"] for event in self.events]


def _stage(*answers: SweepReport | Exception, batch: int = 3) -> _Stage:
    script, written = _Scripted(iter(answers)), io.StringIO()
    log = EventLog(written, LogConfig(), lambda: NOW, strict=True)
    seconds = iter(range(1_000))
    sweeper = Sweeper(
        script,
        log,
        clock=lambda: ClockReading(NOW, 5.0, "boot"),
        monotonic=lambda: float(next(seconds)),
        batch=batch,
    )
    return _Stage(script, sweeper, written)


def _never() -> bool:
    return False


def test_a_sweep_tells_each_recording_and_the_sum() -> None:
    stage = _stage(_report(shredded=2, held=4))
    assert stage.sweeper.sweep(_never) is Result.DONE
    assert stage.names == ["recording.shredded", "recording.shredded", "retention.swept"]
    first, _, swept = stage.events
    assert (first["recording"], first["reason"]) == (f"{0:032x}", "expiry")
    assert (swept["due"], swept["shredded"], swept["failed"], swept["held"]) == (2, 2, 0, 4)
    assert swept["seconds"] == 1.0


def test_a_full_batch_is_followed_by_the_next_at_once() -> None:
    stage = _stage(_report(shredded=3), _report(shredded=3), _report(shredded=1))
    assert stage.sweeper.sweep(_never) is Result.DONE
    assert stage.script.asked == [3, 3, 3]


def test_a_signal_ends_a_sweep_between_two_batches() -> None:
    stage = _stage(_report(shredded=3), _report(shredded=3))
    assert stage.sweeper.sweep(lambda: True) is Result.DONE
    assert len(stage.script.asked) == 1


def test_recordings_that_cannot_be_shredded_do_not_spin() -> None:
    stage = _stage(_report(failed=["EIO"] * 3), _report(failed=["EIO"] * 3))
    assert stage.sweeper.sweep(_never) is Result.PARTLY
    assert len(stage.script.asked) == 1
    assert stage.names == ["retention.failed"] * 3 + ["retention.swept"]
    assert stage.events[0]["recording"] == RECORDING.text


def test_a_fault_in_an_early_batch_is_not_forgotten() -> None:
    stage = _stage(_report(shredded=2, failed=["EIO"]), _report(shredded=1))
    assert stage.sweeper.sweep(_never) is Result.PARTLY


def test_standing_still_says_why() -> None:
    stage = _stage(_report(stood_still="the clock shows 2036"))
    assert stage.sweeper.sweep(_never) is Result.STOOD_STILL
    (event,) = stage.events
    assert (event["event"], event["why"]) == ("retention.standing_still", "the clock shows 2036")
    assert event["level"] == "error"


def test_a_store_that_cannot_be_used_is_told_and_tried_again() -> None:
    stage = _stage(CatalogueBusy("locked"), _report(shredded=1))
    assert serve(stage.sweeper.sweep, _waits(None, signal.SIGTERM), 60) == signal.SIGTERM
    assert stage.names == ["retention.failed", "recording.shredded", "retention.swept"]


def _waits(*answers: int | None) -> Any:
    """A wait whose answers for the pauses are given; between batches no signal comes."""
    left = iter(answers)
    return lambda seconds: None if seconds == 0 else next(left)


def test_the_loop_waits_the_interval_between_sweeps_and_says_that_it_lives() -> None:
    stage, waited, alive = _stage(), [0.0], [0]

    def wait(seconds: float) -> int | None:
        waited.append(seconds)
        return signal.SIGINT if sum(waited) > 1830 else None

    def live() -> None:
        alive[0] += 1

    assert serve(stage.sweeper.sweep, wait, 600, live) == signal.SIGINT
    assert max(waited) == 60, "the service manager hears of it in time"
    assert alive[0] >= sum(waited) / 60
    assert len(stage.script.asked) == 4


def test_a_signal_in_mid_sweep_ends_the_loop_without_waiting() -> None:
    stage, waited = _stage(_report(shredded=3), _report(shredded=3)), []

    def wait(seconds: float) -> int | None:
        waited.append(seconds)
        return signal.SIGTERM

    assert serve(stage.sweeper.sweep, wait, 600) == signal.SIGTERM
    assert waited == [0]


# -------------------------------------------------------------- the command
@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    made = make_shelf(tmp_path_factory.mktemp("pristine") / "shelf")
    record(made, KEPT, DUE, Take(3, started=datetime.now(UTC) - timedelta(hours=1)))
    return made


@pytest.fixture
def shelf(pristine: Shelf, tmp_path: Path) -> Shelf:
    return copy_of(pristine, tmp_path / "shelf")


def _retention(shelf: Shelf, *options: object) -> Done:
    return recproxy("retention", "--config", shelf.config, *options)


def test_once_shreds_what_is_due_and_nothing_else(shelf: Shelf) -> None:
    done = _retention(shelf, "--once")
    assert (done.code, done.err) == (0, "")
    lines = [json.loads(line) for line in done.out.splitlines()]
    told = ["retention.started", "recording.shredded", "retention.swept", "tombstone.aged"]
    assert [line["event"] for line in lines] == told
    assert lines[1]["recording"] == DUE.id
    assert (lines[3]["completed"], lines[3]["purged"]) == (1, 0)
    assert not shelf.key(DUE.id).exists()
    assert shelf.key(KEPT.id).exists()
    assert recproxy("recordings", "verify", "--all", "-c", shelf.config, "-i", shelf.identity).code == 0
    assert recproxy("audit", "verify", "-c", shelf.config).code == 0
    assert DUE.id not in _retention(shelf, "--once").out


def test_once_with_a_recording_that_resists_is_code_3(shelf: Shelf) -> None:
    key = shelf.key(DUE.id)
    key.unlink()
    key.mkdir()
    done = _retention(shelf, "--once")
    assert done.code == 3
    assert DUE.id in done.out
    assert "could not be shredded" in done.err
    key.rmdir()
    assert _retention(shelf, "--once").code == 0


def _clock_was(shelf: Shelf, wall: datetime) -> None:
    state = {"wall": wall.isoformat(), "boot_seconds": 1.0, "boot": "another boot"}
    (shelf.data / "retention.clock").write_text(json.dumps(state))


def _state(shelf: Shelf, take: Take) -> str:
    done = recproxy("recordings", "show", take.id, "-c", shelf.config, "--json")
    return str(json.loads(done.out)["state"]) if done.code == 0 else done.err


def test_tombstones_age_by_the_policy_and_the_chain_still_agrees(shelf: Shelf) -> None:
    policy = shelf.root / "policy.yaml"
    policy.write_text(policy_text(whole(key_groups__main={"backup_horizon": "P7D"})))
    assert _retention(shelf, "--once").code == 0
    assert _state(shelf, DUE) == "shredded", "a backup may hold its key for seven days"
    policy.write_text(policy_text(whole({"training": one_purpose(evidence__tombstone_keep="PT0S")})))
    assert _retention(shelf, "--once").code == 0
    assert _state(shelf, DUE) == "shredded", "a horizon that became shorter moves nothing"
    listed = recproxy("recordings", "list", "--state", "shredded", "-c", shelf.config, "--json")
    (gone,) = json.loads(listed.out)["gone"]
    assert (gone["key_group"], len(gone["key_id"]), gone["complete_at"]) == ("main", 16, None)


def test_a_tombstone_whose_time_is_over_goes_and_nobody_misses_it(shelf: Shelf) -> None:
    made = whole({"training": one_purpose(evidence__tombstone_keep="PT0S")})
    (shelf.root / "policy.yaml").write_text(policy_text(made))
    done = _retention(shelf, "--once")
    (aged,) = [one for one in map(json.loads, done.out.splitlines()) if one["event"] == "tombstone.aged"]
    assert (aged["completed"], aged["purged"]) == (1, 1)
    assert "no recording begins with" in _state(shelf, DUE)
    verified = recproxy("audit", "verify", "-c", shelf.config)
    assert verified.code == 0, verified.err


def test_no_tombstone_ages_by_a_clock_that_is_not_believed(shelf: Shelf) -> None:
    (shelf.root / "policy.yaml").write_text(policy_text(whole(key_groups__main={"backup_horizon": "P7D"})))
    assert _retention(shelf, "--once").code == 0
    (shelf.root / "policy.yaml").write_text(policy_text(whole()))
    _clock_was(shelf, datetime.now(UTC) - timedelta(days=400))
    assert _retention(shelf, "--once").code == 1
    assert _state(shelf, DUE) == "shredded"


def test_the_audit_chain_forgets_whole_months_and_still_agrees(tmp_path: Path) -> None:
    shelf, now = make_shelf(tmp_path / "shelf"), datetime.now(UTC)
    old = Take(1, started=now - timedelta(days=100), kept=timedelta(days=400))
    gone = Take(2, started=now - timedelta(days=99), kept=timedelta(days=1))
    record(shelf, old, gone, Take(3, started=now - timedelta(days=1)))
    (shelf.root / "policy.yaml").write_text(policy_text(whole(audit_keep="P31D")))
    done = _retention(shelf, "--once")
    (told,) = [one for one in map(json.loads, done.out.splitlines()) if one["event"] == "audit.trimmed"]
    assert told["count"] >= 4
    assert "audit.trimmed" not in _retention(shelf, "--once").out
    names = [
        str(line.get("rec")) for line in read_events(OsFiles(shelf.data)) if line["event"] == "rec.started"
    ]
    assert names == [Take(3).id]
    verified = recproxy("audit", "verify", "-c", shelf.config)
    assert verified.code == 0, verified.err
    assert f"line {told['count']} of 20" in verified.out
    assert recproxy("recordings", "verify", "--all", "-c", shelf.config, "-i", shelf.identity).code == 0


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_jumped_shreds_nothing_and_says_why(shelf: Shelf, days: int) -> None:
    _clock_was(shelf, datetime.now(UTC) + timedelta(days=days))
    done = _retention(shelf, "--once")
    assert done.code == 1
    assert "the clock is not trusted" in done.err
    assert "--accept-clock" in done.err
    assert "retention.standing_still" in done.out
    assert shelf.key(DUE.id).exists()
    accepted = _retention(shelf, "--accept-clock")
    assert accepted.code == 0
    assert accepted.out.startswith("accepted: it is 2")
    by = [
        str(line["actor"]) for line in read_events(OsFiles(shelf.data)) if line["event"] == "clock.accepted"
    ]
    assert [name.startswith("user:") for name in by] == [True]
    assert _retention(shelf, "--once").code == 0
    assert not shelf.key(DUE.id).exists()


def test_a_damaged_clock_state_is_told_with_its_mend(shelf: Shelf) -> None:
    (shelf.data / "retention.clock").write_text("{")
    done = _retention(shelf, "--once")
    assert done.code == 1
    assert "retention.clock" in done.out
    assert _retention(shelf, "--accept-clock").code == 0
    assert _retention(shelf, "--once").code == 0


def test_a_broken_audit_chain_shreds_nothing(shelf: Shelf) -> None:
    chain = shelf.data / "audit" / "chain.jsonl"
    chain.write_bytes(chain.read_bytes()[:-300])
    assert _retention(shelf, "--once").code != 0
    assert shelf.key(DUE.id).exists()


@pytest.mark.parametrize("interval", ["PT0S", "PT2H", "10m", "P1M"])
def test_an_interval_out_of_bounds_is_usage(shelf: Shelf, interval: str) -> None:
    done = _retention(shelf, "--once", "--interval", interval)
    assert done.code == 2
    assert interval in done.err


def test_without_a_catalogue_nothing_is_made_up(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    assert _retention(shelf, "--once").code == 10
    assert not shelf.data.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_process_ends_cleanly_on_a_signal(shelf: Shelf, number: signal.Signals, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "recproxy", "retention", "-c", str(shelf.config), "--interval", "PT1H"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "retention.swept":
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code
    assert err == ""
    last = json.loads(out.splitlines()[-1])
    assert (last["event"], last["code"]) == ("retention.stopped", code)


def test_signals_are_as_they_were_afterwards(shelf: Shelf) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    _retention(shelf, "--once")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
