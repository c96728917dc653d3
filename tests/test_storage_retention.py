"""Retention: on time, never early, once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from faulty_files import Fault, FaultPlan
from hypothesis import given
from hypothesis import strategies as st
from processes import race
from storage_machine import (
    AUDIO,
    IDENTITY,
    NOW,
    PARTIES,
    SIGNING_KEY,
    Machine,
    audio,
    events,
    legal_hold,
    seal_facts,
    tags,
)

from storage import (
    AuditLog,
    Catalogue,
    CatalogueError,
    ClockBounds,
    ClockGuard,
    ClockReading,
    ClockStateError,
    DiskFull,
    HeldRecording,
    HoldError,
    NumberIndex,
    OsFiles,
    Reader,
    RecordingId,
    RecordingNotFound,
    RecordingStore,
    Retention,
    ShredCertificate,
    Shredder,
    StandStill,
    State,
    Trusted,
    VerifyFault,
    due,
    find_orphans,
    judge,
    read_clock,
    read_events,
    recover,
    sqlite_url,
    verify_chain,
)
from storage.catalogue import CATALOGUE_NAME, CatalogueRow
from storage.clock import CLOCK_PATH

DAY = timedelta(days=1)
YEAR = timedelta(days=365)
BOUNDS = ClockBounds()


@dataclass
class Clocks:
    """A machine's clocks; the wall clock can be set, time passes for both."""

    wall: datetime = NOW
    boot_seconds: float = 1000.0
    boot: str = "boot-1"

    def pass_time(self, duration: timedelta) -> ClockReading:
        self.wall += duration
        self.boot_seconds += duration.total_seconds()
        return self.read()

    def set_wall(self, change: timedelta) -> ClockReading:
        self.wall += change
        return self.read()

    def reboot(self, off: timedelta) -> ClockReading:
        self.wall += off
        self.boot_seconds = 5.0
        self.boot += "+"
        return self.read()

    def read(self) -> ClockReading:
        return ClockReading(self.wall, self.boot_seconds, self.boot)


def machine_with(expiries: list[timedelta]) -> Machine:
    machine = Machine()
    store = machine.start()
    for number, expiry in enumerate(expiries):
        writer = store.open(tags(number, expiry=NOW + expiry), PARTIES, AUDIO, NOW)
        writer.write(audio(number, 100))
        writer.seal(seal_facts())
    return machine


def retention(machine: Machine) -> Retention:
    return Retention(machine.files, machine.catalogue, machine.audit, ClockGuard(machine.files))


def test_what_is_due_goes_on_the_instant_and_not_before() -> None:
    machine = machine_with([DAY, 2 * DAY, 3 * DAY])
    clocks, sweeper = Clocks(), retention(machine)
    assert sweeper.sweep(clocks.pass_time(DAY - timedelta(microseconds=1))).due == 0
    report = sweeper.sweep(clocks.pass_time(timedelta(microseconds=1)))
    assert [entry.tombstone.recording for entry in report.shredded] == [tags(0).recording]
    assert report.failed == ()
    assert report.stood_still is None
    stone = report.shredded[0].tombstone
    assert (stone.cause, stone.state, stone.verified, stone.run) == (
        "expiry",
        State.SHREDDED,
        True,
        report.run,
    )
    assert stone.gone_at == NOW + DAY
    assert machine.catalogue.count(State.SEALED) == 2
    assert sweeper.sweep(clocks.pass_time(timedelta(seconds=1))).due == 0


def test_an_overdue_recording_is_caught_up_with_and_its_age_reported() -> None:
    machine = machine_with([DAY, 2 * DAY, 20 * DAY])
    report = retention(machine).sweep(Clocks().pass_time(10 * DAY))
    assert len(report.shredded) == 2
    assert report.oldest_overdue == 9 * DAY


def test_a_sweep_does_not_exceed_its_limit() -> None:
    machine = machine_with([DAY] * 5)
    clocks, sweeper = Clocks(), retention(machine)
    reading = clocks.pass_time(2 * DAY)
    assert [len(sweeper.sweep(reading, limit=2).shredded) for _ in range(4)] == [2, 2, 1, 0]


@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR, timedelta(hours=1), -timedelta(hours=1)])
def test_a_clock_step_shreds_nothing_early_and_is_said(jump: timedelta) -> None:
    machine = machine_with([DAY, 20 * YEAR])
    clocks, sweeper = Clocks(), retention(machine)
    sweeper.sweep(clocks.pass_time(timedelta(hours=1)))
    report = sweeper.sweep(clocks.set_wall(jump))
    assert report.stood_still is not None
    assert report.shredded == ()
    assert machine.catalogue.count(State.SEALED) == 2
    assert "clock.unsynced" in events(machine.files)
    report = sweeper.sweep(clocks.pass_time(timedelta(hours=1)))
    assert report.stood_still is not None, "a wrong clock does not become right by waiting"
    report = sweeper.sweep(clocks.set_wall(-jump))
    assert report.stood_still is None
    report = sweeper.sweep(clocks.pass_time(DAY))
    assert len(report.shredded) == 1, "what became due meanwhile is caught up with"


@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR])
def test_a_clock_step_across_a_restart_shreds_nothing_early(jump: timedelta) -> None:
    machine = machine_with([DAY])
    clocks, sweeper = Clocks(), retention(machine)
    sweeper.sweep(clocks.pass_time(timedelta(hours=1)))
    assert sweeper.sweep(clocks.reboot(jump)).stood_still is not None
    assert sweeper.sweep(clocks.pass_time(timedelta(hours=1))).stood_still is not None
    assert machine.catalogue.count(State.SEALED) == 1


def test_a_restart_of_days_is_no_reason_to_stand_still() -> None:
    machine = machine_with([DAY])
    clocks, sweeper = Clocks(), retention(machine)
    sweeper.sweep(clocks.read())
    assert len(sweeper.sweep(clocks.reboot(5 * DAY)).shredded) == 1


def test_a_person_can_accept_the_clock() -> None:
    machine = machine_with([DAY])
    clocks, sweeper = Clocks(), retention(machine)
    sweeper.sweep(clocks.read())
    reading = clocks.reboot(100 * DAY)
    assert sweeper.sweep(reading).stood_still is not None
    sweeper.accept_clock(reading, "admin")
    assert len(sweeper.sweep(clocks.pass_time(timedelta(seconds=1))).shredded) == 1
    assert "clock.accepted" in events(machine.files)


def test_the_first_run_believes_no_clock_far_from_the_newest_recording() -> None:
    for jump in (10 * YEAR, -10 * YEAR):
        machine = machine_with([DAY])
        assert retention(machine).sweep(Clocks().set_wall(jump)).stood_still is not None
        assert machine.catalogue.count(State.SEALED) == 1
    assert isinstance(judge(None, Clocks().read(), None, BOUNDS), Trusted)


def test_summer_time_changes_nothing() -> None:
    """Instants are compared in UTC: the hour that comes twice does not expire twice."""
    amsterdam = ZoneInfo("Europe/Amsterdam")
    expiry = datetime(2026, 10, 25, 2, 30, tzinfo=amsterdam, fold=1)  # the second 02:30
    assert expiry.astimezone(UTC) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    row = _row(expiry)
    first = datetime(2026, 10, 25, 2, 30, tzinfo=amsterdam, fold=0).astimezone(UTC)
    assert due([row], first) == ()
    assert due([row], expiry.astimezone(UTC)) == (row,)


def _row(expiry: datetime, state: State = State.SEALED, *, held: bool = False) -> CatalogueRow:
    machine = machine_with([DAY])
    row = machine.catalogue.get(tags(0).recording)
    early = replace(row.tags.notice, started=expiry - 2 * DAY, completed=expiry - 2 * DAY)
    moved = replace(row.tags, started=expiry - DAY, expiry=expiry, notice=early)
    return replace(row, tags=moved, state=state, held=held)


@pytest.mark.parametrize(
    ("state", "held", "offset", "expected"),
    [
        (State.SEALED, False, timedelta(0), True),
        (State.SEALED, False, -timedelta(microseconds=1), False),
        (State.SEALED, True, YEAR, False),
        (State.ABORTED, False, timedelta(0), True),
        (State.ABORTED, True, YEAR, False),
        (State.OPEN, False, YEAR, False),
        (State.SHREDDING, True, -YEAR, True),
    ],
)
def test_due(state: State, held: bool, offset: timedelta, expected: bool) -> None:
    row = _row(NOW, state, held=held)
    assert due([row], NOW + offset) == ((row,) if expected else ())


@given(
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4000)),
    st.timedeltas(min_value=-timedelta(days=4000), max_value=timedelta(days=4000)),
    st.booleans(),
)
def test_a_clock_that_is_believed_is_near_the_truth(
    passed: timedelta, error: timedelta, rebooted: bool
) -> None:
    """Within a boot the error is at most the bound; across boots nothing far ahead is believed."""
    last = ClockReading(NOW, 1000.0, "a")
    elapsed = 1.0 if rebooted else 1000.0 + passed.total_seconds()
    current = ClockReading(NOW + passed + error, elapsed, "b" if rebooted else "a")
    verdict = judge(last, current, NOW, BOUNDS)
    if isinstance(verdict, Trusted):
        assert verdict.now == current.wall
        if rebooted:
            assert -BOUNDS.drift <= current.wall - NOW <= BOUNDS.absence
        else:
            assert abs(error) <= BOUNDS.drift + timedelta(milliseconds=1)
    else:
        assert isinstance(verdict, StandStill)
        assert verdict.reason


def test_a_damaged_clock_state_is_an_error_with_its_mend() -> None:
    machine = machine_with([DAY])
    clocks, sweeper = Clocks(), retention(machine)
    sweeper.sweep(clocks.read())
    for text in (b"", b"{}", b'{"wall":"2026-01-01T00:00:00","boot_seconds":1,"boot":"x"}'):
        machine.disk.put(CLOCK_PATH, text)
        with pytest.raises(ClockStateError, match="accept"):
            sweeper.sweep(clocks.pass_time(2 * DAY))
    assert machine.catalogue.count(State.SEALED) == 1


def test_the_clocks_of_this_machine_can_be_read() -> None:
    one, two = read_clock(), read_clock()
    assert one.boot == two.boot
    assert two.boot_seconds >= one.boot_seconds > 0
    assert one.wall.tzinfo is not None


def test_a_hold_keeps_a_recording_past_its_expiry() -> None:
    machine = machine_with([DAY])
    clocks, sweeper = Clocks(), retention(machine)
    hold = legal_hold(tags(0).recording)
    machine.catalogue.holds.add(hold)
    report = sweeper.sweep(clocks.pass_time(2 * DAY))
    assert (report.due, report.held) == (0, 1)
    with pytest.raises(HeldRecording, match="case 12"):
        Shredder(machine.files, machine.catalogue, machine.audit).shred(tags(0).recording, "erase", NOW)
    assert Reader(machine.files, machine.catalogue).verify(tags(0).recording, [IDENTITY]).sound
    machine.catalogue.holds.release(hold.id, "user:anna", clocks.wall)
    assert len(sweeper.sweep(clocks.pass_time(timedelta(minutes=1))).shredded) == 1


def test_a_hold_lapses_on_its_date_and_the_recording_goes_with_the_same_sweep() -> None:
    machine = machine_with([DAY])
    clocks, sweeper = Clocks(), retention(machine)
    machine.catalogue.holds.add(legal_hold(tags(0).recording, days=10))
    assert sweeper.sweep(clocks.pass_time(9 * DAY)).held == 1
    report = sweeper.sweep(clocks.pass_time(DAY))
    assert [hold.case_ref for hold in report.lapsed] == ["case 12"]
    assert (len(report.shredded), report.held) == (1, 0)
    assert events(machine.files).count("hold.expired") == 1
    assert not sweeper.sweep(clocks.pass_time(DAY)).lapsed


def test_a_hold_does_not_lapse_by_a_clock_that_is_not_believed() -> None:
    machine = machine_with([DAY])
    clocks, sweeper = Clocks(), retention(machine)
    sweeper.sweep(clocks.read())
    machine.catalogue.holds.add(legal_hold(tags(0).recording, days=10))
    for years in (10, -10):
        report = sweeper.sweep(clocks.set_wall(years * YEAR))
        assert report.stood_still
        assert (report.lapsed, report.shredded) == ((), ())
        clocks.set_wall(-years * YEAR)
    assert machine.catalogue.get(tags(0).recording).held


def test_a_month_can_no_longer_be_looked_up_once_its_last_recording_is_gone() -> None:
    machine = Machine()
    index = NumberIndex(machine.files, b"r" * 32)
    store = machine.start()
    for number, days in ((1, 1), (2, 40)):
        expiry = NOW + timedelta(days=days)
        writer = store.open(
            tags(number, expiry=expiry), PARTIES, AUDIO, NOW, index.tokens(["+31201234567"], NOW)
        )
        writer.write(audio(number, 100))
        writer.seal(seal_facts())
    store.close()
    clocks, sweeper = Clocks(), retention(machine)
    assert not sweeper.sweep(clocks.pass_time(20 * DAY)).months_forgotten
    found = machine.catalogue.with_tokens(tuple(index.lookup("+31201234567").values()))
    assert [row.tags.recording for row in found] == [tags(2).recording]
    assert sweeper.sweep(clocks.pass_time(21 * DAY)).months_forgotten == ("2026-11",)
    assert index.lookup("+31201234567") == {}
    assert "key.destroyed" in events(machine.files)


def test_an_open_recording_is_not_shredded() -> None:
    machine = Machine()
    writer = machine.start().open(tags(1, expiry=NOW + DAY), PARTIES, AUDIO, NOW)
    assert retention(machine).sweep(Clocks().pass_time(2 * DAY)).due == 0
    with pytest.raises(CatalogueError, match="is open: end its call first"):
        Shredder(machine.files, machine.catalogue, machine.audit).shred(writer.recording, "erase", NOW)


def test_an_aborted_recording_expires_too_with_its_log_keys() -> None:
    machine = Machine()
    writer = machine.start().open(tags(1, expiry=NOW + DAY), PARTIES, AUDIO, NOW)
    writer.write(audio(1, 70_000))
    writer.abort("storage_fault")
    assert len(retention(machine).sweep(Clocks().pass_time(2 * DAY)).shredded) == 1
    left = [path for path in machine.disk.contents() if writer.recording.text in path]
    assert not left
    machine = machine.reboot()
    machine.promises.clear()
    machine.start().close()
    machine.check_promises()


def test_shredding_twice_does_it_once() -> None:
    machine = machine_with([DAY])
    shredder = Shredder(machine.files, machine.catalogue, machine.audit)
    first = shredder.shred(tags(0).recording, "erase", NOW)
    second = shredder.shred(tags(0).recording, "other", NOW + DAY)
    assert (first.repeated, first.key_found, first.body_found) == (False, True, True)
    assert second.repeated
    assert second.tombstone == first.tombstone
    assert events(machine.files).count("shred.started") == 1
    with pytest.raises(RecordingNotFound):
        shredder.shred(RecordingId("0" * 32), "erase", NOW)


def test_each_of_a_batch_ends_or_fails_by_itself() -> None:
    machine = machine_with([DAY, DAY, 3 * DAY, DAY, DAY])
    ids = [tags(number).recording for number in range(6)]
    shredder = Shredder(machine.files, machine.catalogue, machine.audit)
    shredder.shred(ids[0], "erase", NOW)
    machine.catalogue.holds.add(legal_hold(ids[1]))
    gone, held, early, found, also, unknown = shredder.shred_together(ids, "expiry", NOW + DAY)
    assert isinstance(gone, ShredCertificate)
    assert gone.repeated
    assert isinstance(held, HeldRecording)
    assert isinstance(early, CatalogueError)
    assert isinstance(unknown, RecordingNotFound)
    for one, recording in ((found, ids[3]), (also, ids[4])):
        assert isinstance(one, ShredCertificate)
        assert (one.tombstone.recording, one.repeated, one.key_found, one.body_found) == (
            recording,
            False,
            True,
            True,
        )
    assert {row.tags.recording for row in machine.catalogue.select()} == {ids[1], ids[2]}
    told = [line["event"] for line in read_events(machine.files) if line.get("rec") == ids[4].text][-3:]
    assert told == ["shred.started", "shred.verified", "tombstone.written"]
    key, body = f"keys/{ids[3]}.training", f"recordings/2026/11/24/{ids[3]}.age"
    assert not {key, body} & machine.disk.contents().keys()


def test_a_shred_that_failed_half_way_is_finished_by_the_next_sweep_whatever_the_hold() -> None:
    machine = machine_with([DAY, DAY])
    clocks, sweeper = Clocks(), retention(machine)
    reading = clocks.pass_time(2 * DAY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            machine.plan,
            "strikes",
            lambda operation, path: operation == "unlink" and path.startswith("recordings/"),
        )
        machine.plan.fault = Fault.EIO
        report = sweeper.sweep(reading)
    assert len(report.failed) == 2
    assert "repeat" in report.failed[0][1]
    for number in (0, 1):
        assert not machine.disk.size(f"keys/{tags(number).recording}.training")
        verdict = Reader(machine.files, machine.catalogue).verify(tags(number).recording, [IDENTITY])
        assert verdict.fault is VerifyFault.NOT_SEALED
        with pytest.raises(HoldError, match="being shredded"):
            machine.catalogue.holds.add(legal_hold(tags(number).recording, case_ref="late"))
    assert len(sweeper.sweep(clocks.pass_time(timedelta(minutes=1))).shredded) == 2


def test_the_tombstone_holds_nothing_that_says_who_called() -> None:
    machine = machine_with([DAY])
    row = machine.catalogue.get(tags(0).recording)
    retention(machine).sweep(Clocks().pass_time(2 * DAY))
    stone = machine.catalogue.tombstone(tags(0).recording)
    assert stone is not None
    text = repr(stone)
    for secret in (PARTIES.caller, PARTIES.callee, row.tags.call, row.tags.trunk, "12:00", row.parties.hex()):
        assert secret not in text
    assert stone.minutes == 1
    assert stone.sha256 == row.sha256
    line = machine.files.read("audit/chain.jsonl").splitlines()[stone.chain_seq - 1]
    assert b"shred.verified" in line


def test_what_a_backup_brings_back_is_found() -> None:
    machine = machine_with([DAY, 9 * DAY])
    row = machine.catalogue.get(tags(0).recording)
    paths = (f"{row.body}.age", f"keys/{row.tags.recording}.training")
    copies = {path: machine.disk.read(path) for path in paths}
    assert find_orphans(machine.files, machine.catalogue) == ()
    retention(machine).sweep(Clocks().pass_time(2 * DAY))
    assert find_orphans(machine.files, machine.catalogue) == ()
    for path, data in copies.items():
        machine.disk.put(path, data)
    assert find_orphans(machine.files, machine.catalogue) == tuple(sorted(copies))


def test_deleted_rows_leave_no_trace_in_the_catalogue_file(tmp_path: Path) -> None:
    files, catalogue, audit = _real(tmp_path)
    store = RecordingStore(files, catalogue, audit, [IDENTITY.recipient])
    recover(store, NOW)
    store.open(tags(1, expiry=NOW + DAY), PARTIES, AUDIO, NOW).seal(seal_facts())
    parties = catalogue.get(tags(1).recording).parties
    catalogue.checkpoint()
    database = tmp_path / "data" / CATALOGUE_NAME
    assert parties in database.read_bytes()
    Retention(files, catalogue, audit, ClockGuard(files)).sweep(Clocks().pass_time(2 * DAY))
    for path in (tmp_path / "data").glob(f"{CATALOGUE_NAME}*"):
        assert parties not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
    store.close()
    catalogue.close()


def _real(tmp_path: Path) -> tuple[OsFiles, Catalogue, AuditLog]:
    files = OsFiles(tmp_path / "data")
    files.prepare()
    catalogue = Catalogue.open(files, sqlite_url(str(files.root / CATALOGUE_NAME)))
    return files, catalogue, AuditLog(files, SIGNING_KEY, "node-1", lambda: NOW)


SWEEPER = """
import sys
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, sys.argv[-1])
from storage_machine import NOW, SIGNING_KEY
from storage import *
files = OsFiles(Path(sys.argv[1]))
catalogue = Catalogue.open(files, sqlite_url(str(files.root / CATALOGUE_NAME)))
audit = AuditLog(files, SIGNING_KEY, "node-1", lambda: NOW, "retention")
sweeper = Retention(files, catalogue, audit, ClockGuard(files))
print("ready", flush=True)
sys.stdin.readline()
done = 0
reading = ClockReading(NOW + timedelta(days=2), 10.0, "boot")
while report := sweeper.sweep(reading, limit=50):
    if not report.due:
        break
    assert not report.failed, report.failed
    done += len(report.shredded)
print(done)
audit.close()
catalogue.close()
"""


@pytest.mark.parametrize(
    "recordings", [pytest.param(60, id="60"), pytest.param(1500, id="1500", marks=pytest.mark.faults)]
)
def test_two_processes_shred_each_recording_once(tmp_path: Path, recordings: int) -> None:
    files, catalogue, audit = _real(tmp_path)
    store = RecordingStore(files, catalogue, audit, [IDENTITY.recipient])
    recover(store, NOW)
    for number in range(recordings):
        store.open(tags(number, expiry=NOW + DAY), PARTIES, AUDIO, NOW).seal(seal_facts())
    store.close()
    counts = [shredded for (shredded,) in race(SWEEPER, str(files.root))]
    assert sum(counts) == recordings
    assert catalogue.count(State.SHREDDED) == recordings
    assert catalogue.count(State.SEALED) == 0
    assert events(files).count("shred.started") == recordings
    assert verify_chain(files, SIGNING_KEY.public_key()).lines > recordings
    catalogue.close()


def test_a_full_disk_stops_the_sweep_before_it_touches_anything() -> None:
    """No shred without its audit line, which needs space; free some and it is caught up with."""
    machine = machine_with([DAY])
    clocks = Clocks()
    sweeper = retention(machine)
    sweeper.sweep(clocks.read())
    assert isinstance(machine.plan, FaultPlan)
    machine.plan.fault, machine.plan.sticky = Fault.ENOSPC, True
    machine.plan.fail_at = machine.plan.operations
    with pytest.raises(DiskFull, match="No space left"):
        sweeper.sweep(clocks.pass_time(2 * DAY))
    assert Reader(machine.disk, machine.catalogue).verify(tags(0).recording, [IDENTITY]).sound
    machine.plan.fail_at = None
    assert len(sweeper.sweep(clocks.pass_time(timedelta(minutes=1))).shredded) == 1
