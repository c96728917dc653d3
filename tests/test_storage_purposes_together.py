"""Several purposes from the opening to the last end: proofs, the number index, power cuts, two sweepers."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from faulty_files import Fault
from simulated_files import Loss
from storage_machine import (
    AUDIO,
    IDENTITY,
    NOW,
    PARTIES,
    SIGNING_KEY,
    Machine,
    Promise,
    audio,
    seal_facts,
    tags,
)
from test_storage_ladder import climb
from test_storage_purposes import DAY, ONE, both, opens, sealed, sweep

from storage import (
    CATALOGUE_NAME,
    AuditLog,
    Catalogue,
    ClockGuard,
    ClockReading,
    LegalBasis,
    NoticeProof,
    NumberTokens,
    OsFiles,
    PurposeTerm,
    RecordingStore,
    RecordingTags,
    Retention,
    State,
    TagError,
    sqlite_url,
    verify_chain,
)
from storage.places import header_path

TOLD = NoticeProof("sample", "cd" * 32, "nl", ("caller",), NOW - timedelta(seconds=3), NOW)


def told_apart() -> RecordingTags:
    """Each purpose under an announcement of its own."""
    made = both()
    return replace(made, further=(replace(made.further[0], notice=TOLD),))


def test_each_purpose_keeps_the_proof_of_its_own_announcement_also_when_it_comes_to_lead() -> None:
    machine = Machine()
    made = told_apart()
    sealed(machine, made)
    row = machine.catalogue.get(ONE)
    assert row.tags == made
    training, sample = row.tags.terms
    assert (row.tags.notice_of(training), row.tags.notice_of(sample)) == (made.notice, TOLD)
    machine.catalogue.claim_purpose(ONE, "training", "opt_out")
    left = machine.catalogue.get(ONE).tags
    assert (left.purpose, left.notice, left.further) == ("sample", TOLD, ())


def test_those_that_one_announcement_told_of_keep_it_when_another_leads() -> None:
    made = told_apart()
    third = PurposeTerm("third", LegalBasis.CONTRACT, NOW + DAY)
    left = replace(made, further=(*made.further, third)).without("training")
    assert left.notice == TOLD
    assert left.notice_of(left.further[0]) == made.notice


def test_no_announcement_of_any_purpose_ends_after_the_start() -> None:
    late = replace(TOLD, completed=NOW + timedelta(hours=1))
    made = both()
    with pytest.raises(TagError, match="before the notice ended"):
        replace(made, further=(replace(made.further[0], notice=late),))


def test_a_number_finds_it_until_the_last_purpose_that_lets_it_has_ended() -> None:
    machine = Machine()
    index = NumberTokens("2026-11", ("ab" * 16,), ("sample",))
    writer = machine.start().open(both(), PARTIES, AUDIO, NOW, index)
    writer.write(audio(1, 100))
    writer.seal(seal_facts())
    catalogue = machine.catalogue
    assert [row.tags.recording for row in catalogue.with_tokens(index.tokens)] == [ONE]
    assert catalogue.findable_for(ONE) == frozenset({"sample"})
    assert sweep(machine, 14 * DAY) == (0, 1)
    assert catalogue.with_tokens(index.tokens) == ()
    assert catalogue.indexed() == frozenset()
    assert sweep(machine, 30 * DAY) == (1, 0)
    assert catalogue.findable_for(ONE) is None


def test_the_overview_counts_a_recording_for_each_purpose_and_names_the_first_that_is_overdue() -> None:
    machine = Machine()
    sealed(machine)
    catalogue = machine.catalogue
    assert catalogue.expiring_between(NOW, None) == {"training": 1, "sample": 1}
    assert catalogue.expiring_between(NOW, NOW + 14 * DAY) == {"sample": 1}
    overdue = catalogue.overdue(NOW + 15 * DAY)
    assert (overdue.recordings, overdue.oldest) == (1, NOW + 14 * DAY)
    assert catalogue.overdue(NOW + 31 * DAY).recordings == 1


def test_a_catalogue_of_an_earlier_version_learns_of_announcements_of_each_purpose() -> None:
    machine = Machine()
    sealed(machine)
    with machine.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE further_purposes DROP COLUMN notice"))
        connection.execute(sa.text("DROP TABLE findable_purposes"))
        connection.execute(sa.text("UPDATE schema_version SET version = 3"))
    catalogue = Catalogue(machine.engine)
    assert catalogue.get(ONE).tags == both()
    assert catalogue.findable_for(ONE) is None


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.EIO, Fault.ENOSPC])
@pytest.mark.parametrize("loss", [Loss.ALL_KEPT, Loss.ALL_LOST])
def test_an_opening_that_breaks_between_the_headers_leaves_all_of_them_or_none(
    fault: Fault, loss: Loss
) -> None:
    def open_both(machine: Machine) -> None:
        store = machine.start()
        machine.promises[1] = Promise(1, both())
        machine.attempt(lambda: machine.open_as_promised(store, 1))
        if 1 in machine.writers:
            machine.write(1, 100)
            machine.sync(store)

    rungs = 0
    for broken in climb(open_both, fault, sticky=fault is Fault.CRASH):
        machine = broken.reboot(loss)
        machine.check_disk()
        machine.start().close()
        machine.check_disk()
        found = {path for path in machine.disk.contents() if path.startswith("keys/")}
        rows = machine.catalogue.select()
        assert len(found) == 2 * len(rows), "a header without a row, or a row without all of its headers"
        assert all(row.state is State.SEALED for row in rows)
        if not rows:
            assert not [path for path in machine.disk.contents() if path.startswith("recordings/")]
        rungs += 1
    assert rungs > 10


def test_two_sweepers_across_a_change_of_the_clock_end_each_purpose_once_and_on_time(tmp_path: Path) -> None:
    """Expiry is an instant: when the clocks of a country go back an hour, nothing is early or twice."""
    amsterdam = ZoneInfo("Europe/Amsterdam")
    change = datetime(2026, 10, 25, 3, 0, tzinfo=amsterdam).astimezone(UTC)
    begin = change - 14 * DAY
    files = OsFiles(tmp_path / "data")
    files.prepare()
    url = sqlite_url(str(files.root / CATALOGUE_NAME))
    catalogue = Catalogue.open(files, url)
    store = RecordingStore(
        files, catalogue, AuditLog(files, SIGNING_KEY, "n", lambda: begin), [IDENTITY.recipient]
    )
    chance = random.Random(7)
    ends: dict[str, dict[str, datetime]] = {}
    notice = replace(TOLD, started=begin - timedelta(seconds=3), completed=begin)
    for number in range(1, 25):
        hours = sorted(chance.sample(range(-2, 3), 2))
        first, last = (change + timedelta(hours=hour) for hour in hours)
        made = replace(
            tags(number),
            started=begin,
            notice=notice,
            expiry=last,
            further=(PurposeTerm("sample", LegalBasis.CONSENT, first),),
        )
        ends[made.recording.text] = {"training": last, "sample": first}
        writer = store.open(made, PARTIES, AUDIO, begin)
        writer.write(audio(number, 100))
        writer.seal(replace(seal_facts(), ended=begin + timedelta(seconds=1)))
    store.close()
    catalogue.close()
    faults: list[BaseException] = []
    clock = [change - timedelta(hours=3)]
    ClockGuard(files).accept(ClockReading(clock[0], 1000.0, "boot"))
    rounds = threading.Barrier(2)

    def sweeper(name: str) -> None:
        mine = Catalogue.open(files, url)
        log = AuditLog(files, SIGNING_KEY, name, lambda: clock[0], name)
        retention = Retention(files, mine, log, ClockGuard(files))
        try:
            for half_hours in range(13):
                rounds.wait(60)
                wall = change + timedelta(hours=-3, minutes=30 * half_hours)
                clock[0] = wall
                report = retention.sweep(ClockReading(wall, 1000.0 + 1800.0 * half_hours, "boot"))
                if report.failed:
                    faults.append(AssertionError(report.failed))
                rounds.wait(60)
                if name == "one":
                    _check(mine, ends, wall)
        except BaseException as err:
            faults.append(err)
            rounds.abort()
        finally:
            log.close()
            mine.close()

    threads = [threading.Thread(target=sweeper, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert list((files.root / "keys").iterdir()) == []
    assert verify_chain(files, SIGNING_KEY.public_key()).lines > 0


def _check(catalogue: Catalogue, ends: dict[str, dict[str, datetime]], wall: datetime) -> None:
    """After both swept: what is due has one tombstone, what is not has none."""
    stones: dict[tuple[str, str], int] = {}
    for stone in catalogue.tombstones():
        key = stone.recording.text, stone.purpose
        stones[key] = stones.get(key, 0) + 1
        assert ends[key[0]][key[1]] <= wall, f"{key} went early"
    due = {(name, purpose) for name, terms in ends.items() for purpose, end in terms.items() if end <= wall}
    assert set(stones) == due, "early or forgotten"
    assert set(stones.values()) <= {1}, "twice"


def test_the_refused_purpose_is_gone_whoever_ends_it_and_however_often() -> None:
    machine = Machine()
    store = machine.start()
    writer = store.open(both(), PARTIES, AUDIO, NOW)
    writer.write(audio(1, 100))
    store.drop_purpose(ONE, "training", "opt_out", NOW)
    store.drop_purpose(ONE, "training", "opt_out", NOW)
    writer.seal(seal_facts())
    store.drop_purpose(ONE, "training", "opt_out", NOW)
    assert header_path(ONE, "training") not in machine.disk.contents()
    assert opens(machine, IDENTITY)

    machine = Machine()
    store = machine.start()
    writer = store.open(both(), PARTIES, AUDIO, NOW)
    writer.write(audio(1, 100))
    writer.seal(seal_facts())
    store.drop_purpose(ONE, "training", "opt_out", NOW)
    (stone,) = machine.catalogue.tombstones_of(ONE)
    assert (stone.purpose, stone.cause) == ("training", "opt_out")
