"""Tombstones with time: out of every backup, then totals by month; never early, each once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from faulty_files import Fault
from processes import race
from simulated_files import Loss
from storage_machine import (
    AUDIO,
    IDENTITY,
    NOW,
    PARTIES,
    SIGNING_KEY,
    Machine,
    audio,
    events,
    seal_facts,
    tags,
)
from test_storage_ladder import climb

from storage import (
    CATALOGUE_NAME,
    Aged,
    AuditLog,
    Catalogue,
    OsFiles,
    RecordingStore,
    Remains,
    Shredder,
    State,
    TraceTerm,
    read_events,
    sqlite_url,
    verify_chain,
)

DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
TERM = TraceTerm("main", 7 * DAY, 365 * DAY)
TERMS = {"training": TERM}
ONE = tags(1).recording


def shredded(*numbers: int, at: datetime = NOW) -> Machine:
    """A machine whose recordings were sealed and shredded; one more was discarded."""
    machine = Machine()
    store = machine.start()
    for number in numbers or (1,):
        writer = store.open(tags(number), PARTIES, AUDIO, NOW)
        writer.write(audio(number, 100))
        writer.seal(seal_facts())
        Shredder(machine.files, machine.catalogue, machine.audit).shred(tags(number).recording, "erase", at)
    machine.audit.flush()
    return machine


def age(machine: Machine, after: timedelta, term: TraceTerm = TERM) -> Aged:
    return Remains(machine.files, machine.catalogue, machine.audit).age({"training": term}, NOW + after)


def state(machine: Machine) -> State:
    stone = machine.catalogue.tombstone(ONE)
    assert stone is not None
    return stone.state


def test_shredded_becomes_complete_on_the_instant_at_which_the_last_backup_is_gone() -> None:
    machine = shredded()
    assert age(machine, timedelta(0)) == Aged(0, 0)
    stone = machine.catalogue.tombstone(ONE)
    assert stone is not None
    assert (stone.key_group, stone.out_of_backups, stone.complete_at) == ("main", NOW + 7 * DAY, None)
    assert age(machine, 7 * DAY - TICK) == Aged(0, 0)
    assert state(machine) is State.SHREDDED
    assert age(machine, 7 * DAY) == Aged(1, 0)
    stone = machine.catalogue.tombstone(ONE)
    assert stone is not None
    assert (stone.state, stone.complete_at) == (State.SHRED_COMPLETE, NOW + 7 * DAY)
    assert age(machine, 8 * DAY) == Aged(0, 0)
    (line,) = [line for line in read_events(machine.files) if line["event"] == "backup.horizon_passed"]
    assert (line["rec"], line["purpose"], line["key_group"]) == (ONE.text, "training", "main")
    assert str(line["until"]).startswith((NOW + 7 * DAY).isoformat()[:19])


def test_the_tombstone_names_the_key_that_was_destroyed() -> None:
    machine = Machine()
    writer = machine.start().open(tags(1), PARTIES, AUDIO, NOW)
    writer.seal(seal_facts())
    wrap = machine.catalogue.wraps.of(ONE)["training"]
    Shredder(machine.files, machine.catalogue, machine.audit).shred(ONE, "erase", NOW)
    stone = machine.catalogue.tombstone(ONE)
    assert stone is not None
    assert (len(stone.key_id), stone.key_id) == (16, wrap.sha256[:16])
    assert machine.catalogue.wraps.of(ONE) == {}


@pytest.mark.parametrize(("horizon", "when"), [(2 * DAY, 7 * DAY), (20 * DAY, 20 * DAY)])
def test_a_longer_horizon_holds_at_once_and_a_shorter_one_moves_nothing(
    horizon: timedelta, when: timedelta
) -> None:
    machine = shredded()
    age(machine, DAY)
    changed = TraceTerm("main", horizon, TERM.keep)
    assert age(machine, when - TICK, changed).completed == 0
    assert age(machine, when, changed).completed == 1


def test_a_discarded_one_keeps_its_state_and_is_out_of_backups_all_the_same() -> None:
    machine = Machine()
    machine.start().open(tags(1), PARTIES, AUDIO, NOW).discard("opt_out", NOW)
    assert age(machine, 7 * DAY) == Aged(1, 0)
    stone = machine.catalogue.tombstone(ONE)
    assert stone is not None
    assert (stone.state, stone.complete_at) == (State.DISCARDED, NOW + 7 * DAY)


def test_a_purpose_that_the_policy_has_no_more_waits_for_the_longest() -> None:
    machine = shredded()
    remains = Remains(machine.files, machine.catalogue, machine.audit)
    others = {"a": TraceTerm("x", DAY, 10 * DAY), "b": TraceTerm("y", 3 * DAY, 5 * DAY)}
    assert remains.age({}, NOW + 1000 * DAY) == Aged(0, 0)
    assert remains.age(others, NOW + 3 * DAY - TICK) == Aged(0, 0)
    assert remains.age(others, NOW + 3 * DAY) == Aged(1, 0)
    assert remains.age(others, NOW + 10 * DAY - TICK) == Aged(0, 0)
    assert remains.age(others, NOW + 10 * DAY) == Aged(0, 1)


def test_a_tombstone_goes_when_its_time_is_over_and_counts_in_its_month() -> None:
    machine = shredded(1, 2, 3)
    keep = TERM.keep
    assert age(machine, keep - TICK) == Aged(3, 0)
    assert age(machine, keep) == Aged(0, 3)
    assert machine.catalogue.tombstones() == ()
    (total,) = machine.catalogue.stones.totals()
    assert (total.month, total.purpose, total.cause, total.count) == ("2026-11", "training", "erase", 3)
    (line,) = [line for line in read_events(machine.files) if line["event"] == "tombstone.purged"]
    assert (line["purpose"], line["count"]) == ("training", 3)
    assert "rec" not in line


def test_what_may_still_be_in_a_backup_is_not_purged() -> None:
    machine = shredded()
    term = TraceTerm("main", 10 * DAY, DAY)
    assert age(machine, 9 * DAY, term) == Aged(0, 0)
    assert age(machine, 10 * DAY, term) == Aged(1, 1)


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.EIO, Fault.ENOSPC])
@pytest.mark.parametrize("loss", [Loss.ALL_KEPT, Loss.ALL_LOST])
def test_what_breaks_anywhere_is_done_by_the_next_run_and_counts_once(fault: Fault, loss: Loss) -> None:
    rungs = 0
    for broken in climb(
        lambda machine: (age(machine, 400 * DAY), None)[1],
        fault,
        sticky=False,
        before=lambda: shredded(1, 2),
    ):
        machine = broken.reboot(loss)
        gone = not machine.catalogue.tombstones()
        assert (age(machine, 400 * DAY).purged == 0) is gone
        assert "tombstone.purged" in events(machine.files), "gone without a line in the chain"
        assert machine.catalogue.tombstones() == ()
        assert [total.count for total in machine.catalogue.stones.totals()] == [2]
        machine.audit.flush()
        verify_chain(machine.files, SIGNING_KEY.public_key())
        rungs += 1
    assert rungs > 5


AGER = """
import sys
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, sys.argv[-1])
from storage_machine import NOW, SIGNING_KEY
from storage import *
files = OsFiles(Path(sys.argv[1]))
catalogue = Catalogue.open(files, sqlite_url(str(files.root / CATALOGUE_NAME)))
audit = AuditLog(files, SIGNING_KEY, "node-1", lambda: NOW, "retention")
remains = Remains(files, catalogue, audit)
terms = {"training": TraceTerm("main", timedelta(days=7), timedelta(days=30))}
print("ready", flush=True)
sys.stdin.readline()
completed = purged = 0
while aged := remains.age(terms, NOW + timedelta(days=31), limit=7):
    completed, purged = completed + aged.completed, purged + aged.purged
    if not aged.purged:
        break
print(completed, purged)
audit.close()
catalogue.close()
"""


def test_two_processes_let_each_tombstone_age_once(tmp_path: Path) -> None:
    files = OsFiles(tmp_path / "data")
    files.prepare()
    catalogue = Catalogue.open(files, sqlite_url(str(files.root / CATALOGUE_NAME)))
    audit_log = AuditLog(files, SIGNING_KEY, "node-1", lambda: NOW)
    store = RecordingStore(files, catalogue, audit_log, [IDENTITY.recipient])
    shredder = Shredder(files, catalogue, audit_log)
    for number in range(40):
        store.open(tags(number), PARTIES, AUDIO, NOW).seal(seal_facts())
        shredder.shred(tags(number).recording, "erase", NOW)
    store.close()
    told = race(AGER, str(files.root))
    assert [sum(of) for of in zip(*told, strict=True)] == [40, 40]
    assert [total.count for total in catalogue.stones.totals()] == [40]
    assert catalogue.tombstones() == ()
    assert events(files).count("backup.horizon_passed") == 40
    verify_chain(files, SIGNING_KEY.public_key())
    catalogue.close()


def test_tombstones_of_an_earlier_version_age_too(tmp_path: Path) -> None:
    files = OsFiles(tmp_path / "data")
    files.prepare()
    url = sqlite_url(str(files.root / CATALOGUE_NAME))
    catalogue = Catalogue.open(files, url)
    audit_log = AuditLog(files, SIGNING_KEY, "n", lambda: NOW)
    store = RecordingStore(files, catalogue, audit_log, [IDENTITY.recipient])
    store.open(tags(1), PARTIES, AUDIO, NOW).seal(seal_facts())
    Shredder(files, catalogue, audit_log).shred(ONE, "erase", NOW)
    store.close()
    catalogue.close()
    with closing(sqlite3.connect(files.root / CATALOGUE_NAME)) as connection:
        connection.execute("drop index tombstones_by_horizon")
        for name in ("key_group", "key_id", "out_of_backups", "complete_at"):
            connection.execute(f"alter table tombstones drop column {name}")
        connection.executescript(
            "drop table key_wraps; drop table gone_by_month; update schema_version set version = 3;"
        )
    catalogue = Catalogue.open(files, url)
    (stone,) = catalogue.tombstones()
    assert (stone.key_group, stone.key_id, stone.out_of_backups) == ("", "", None)
    log = AuditLog(files, SIGNING_KEY, "n", lambda: NOW)
    assert Remains(files, catalogue, log).age(TERMS, NOW + 7 * DAY) == Aged(1, 0)
    log.close()
    catalogue.close()
    Catalogue.open(files, url).close()
