"""Several purposes on one recording: a key, an expiry, an end and a tombstone for each."""

from __future__ import annotations

import random
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from faulty_files import Fault
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_files import Loss
from storage_machine import (
    AUDIO,
    CHUNK,
    IDENTITY,
    NOW,
    PARTIES,
    SIGNING_KEY,
    Machine,
    Promise,
    audio,
    legal_hold,
    seal_facts,
    tags,
)
from test_storage_ladder import climb

from storage import (
    CATALOGUE_NAME,
    AuditLog,
    Catalogue,
    CatalogueError,
    ClockGuard,
    ClockReading,
    KeyDestroyed,
    LegalBasis,
    OpenRequest,
    OsFiles,
    PurposeTerm,
    Reader,
    RecordingStore,
    RecordingTags,
    Retention,
    Shredder,
    State,
    StorageError,
    TagError,
    sqlite_url,
)
from storage.age import X25519Identity
from storage.container import decode_header
from storage.places import header_path

DAY = timedelta(days=1)
OTHER = X25519Identity.generate(random.Random(2).randbytes)
ONE = tags(1).recording


def both(number: int = 1, lead: timedelta = 30 * DAY, sample: timedelta = 14 * DAY) -> RecordingTags:
    """Tags of a recording for training, and as a sample."""
    term = PurposeTerm("sample", LegalBasis.LEGITIMATE_INTEREST, NOW + sample)
    return replace(tags(number, expiry=NOW + lead), further=(term,))


def sealed(machine: Machine, made: RecordingTags | None = None) -> None:
    """Seal one recording; the sample's key is another than that of the rest."""
    request = OpenRequest(made or both(), PARTIES, AUDIO, recipients={"sample": (OTHER.recipient,)})
    (writer,) = machine.start().open_together([request], NOW)
    assert not isinstance(writer, StorageError)
    writer.write(audio(1, 100))
    writer.seal(seal_facts())


def sweep(machine: Machine, after: timedelta) -> tuple[int, int]:
    """How many recordings and purposes a first retention run ends so long after the start."""
    clock = ClockReading(NOW + after, 1000.0, "boot")
    guard = ClockGuard(machine.files)
    guard.accept(clock)
    report = Retention(machine.files, machine.catalogue, machine.audit, guard).sweep(clock)
    assert report.failed == ()
    return len(report.shredded), len(report.purposes_ended)


def opens(machine: Machine, identity: X25519Identity) -> bool:
    """Whether an identity still reads the audio."""
    try:
        wav = b"".join(Reader(machine.files, machine.catalogue).wav(ONE, [identity]))
    except StorageError:
        return False
    return wav[decode_header(wav[:CHUNK]).data_offset :] == audio(1, 100)


def test_each_purpose_has_its_own_key_and_ends_at_its_own_expiry() -> None:
    machine = Machine()
    sealed(machine)
    assert opens(machine, IDENTITY)
    assert opens(machine, OTHER)
    assert machine.catalogue.select(purpose="sample") == machine.catalogue.select(purpose="training")
    assert sweep(machine, 14 * DAY - timedelta(microseconds=1)) == (0, 0)
    assert sweep(machine, 14 * DAY) == (0, 1)
    assert sweep(machine, 14 * DAY) == (0, 0)
    assert opens(machine, IDENTITY)
    assert not opens(machine, OTHER)
    assert machine.catalogue.select(purpose="sample") == ()
    (stone,) = machine.catalogue.tombstones_of(ONE)
    assert (stone.purpose, stone.expiry, stone.cause) == ("sample", NOW + 14 * DAY, "expiry")
    row = machine.catalogue.find(ONE.text)
    assert row == machine.catalogue.get(ONE), "a recording that lives on is found before its tombstone"
    assert sweep(machine, 30 * DAY) == (1, 0)
    assert {stone.purpose for stone in machine.catalogue.tombstones_of(ONE)} == {"training", "sample"}
    with pytest.raises(KeyDestroyed):
        Reader(machine.files, machine.catalogue).parties(ONE, [IDENTITY, OTHER])
    assert not [path for path in machine.disk.contents() if path.startswith(("keys/", "recordings/"))]


def test_the_leading_purpose_may_end_first() -> None:
    machine = Machine()
    sealed(machine)
    shredder = Shredder(machine.files, machine.catalogue, machine.audit)
    stone = shredder.shred_purpose(ONE, "training", "erase", NOW)
    assert shredder.shred_purpose(ONE, "training", "erase", NOW) == stone
    row = machine.catalogue.get(ONE)
    assert (row.tags.purpose, row.tags.expiry, row.tags.further) == ("sample", NOW + 14 * DAY, ())
    assert opens(machine, OTHER)
    assert not opens(machine, IDENTITY)
    with pytest.raises(CatalogueError, match="beside another"):
        shredder.shred_purpose(ONE, "sample", "erase", NOW)
    assert sweep(machine, 14 * DAY) == (1, 0)


def test_a_hold_keeps_every_purpose() -> None:
    machine = Machine()
    sealed(machine)
    machine.catalogue.holds.add(legal_hold(ONE))
    assert sweep(machine, 20 * DAY) == (0, 0)
    with pytest.raises(StorageError, match="held"):
        Shredder(machine.files, machine.catalogue, machine.audit).shred_purpose(ONE, "sample", "erase", NOW)
    assert opens(machine, OTHER)


def test_nothing_is_shredded_for_an_expiry_that_another_purpose_outlives() -> None:
    machine = Machine()
    sealed(machine)
    shredder = Shredder(machine.files, machine.catalogue, machine.audit)
    with pytest.raises(CatalogueError, match="not due"):
        shredder.shred(ONE, "expiry", NOW + 14 * DAY)
    with pytest.raises(CatalogueError, match="not due"):
        shredder.shred_purpose(ONE, "training", "expiry", NOW + 14 * DAY)
    assert machine.catalogue.get(ONE).state is State.SEALED


def test_who_opts_out_of_one_purpose_stays_in_the_other() -> None:
    machine = Machine()
    writer = machine.start().open(both(), PARTIES, AUDIO, NOW)
    writer.write(audio(1, 60))
    writer.drop_purpose("training", "opt_out", NOW)
    assert header_path(ONE, "training") not in machine.disk.contents(), "its key is destroyed at once"
    writer.write(audio(1, 100)[60 * AUDIO.frame_bytes :])
    writer.seal(seal_facts())
    assert opens(machine, IDENTITY)
    (stone,) = machine.catalogue.tombstones_of(ONE)
    assert (stone.purpose, stone.cause) == ("training", "opt_out")


def test_purposes_are_named_once_and_expire_after_the_start() -> None:
    with pytest.raises(TagError, match="twice"):
        replace(both(), purpose="sample")
    with pytest.raises(TagError, match="not after the start"):
        both(sample=timedelta(0))


@settings(max_examples=40, deadline=None)
@given(
    terms=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    days=st.lists(st.integers(1, 7), min_size=1, max_size=7).map(sorted),
)
def test_none_is_early_none_is_forgotten_none_goes_twice(terms: list[int], days: list[int]) -> None:
    machine = Machine()
    lead, *others = (NOW + term * DAY for term in terms)
    further = tuple(
        PurposeTerm(f"p{place}", LegalBasis.CONTRACT, expiry) for place, expiry in enumerate(others)
    )
    sealed(machine, replace(tags(1, expiry=lead), further=further))
    all_terms = {"training": lead} | {term.purpose: term.expiry for term in further}
    for day in days:
        sweep(machine, day * DAY)
        over = {purpose for purpose, expiry in all_terms.items() if expiry <= NOW + day * DAY}
        stones = [stone.purpose for stone in machine.catalogue.tombstones_of(ONE)]
        assert sorted(stones) == sorted(over)
        left = {path for path in machine.disk.contents() if path.startswith("keys/")}
        assert left == {header_path(ONE, purpose) for purpose in set(all_terms) - over}


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.EIO, Fault.ENOSPC])
@pytest.mark.parametrize("loss", [Loss.ALL_KEPT, Loss.ALL_LOST])
def test_an_end_of_a_purpose_that_breaks_anywhere_is_finished_and_harms_no_other(
    fault: Fault, loss: Loss
) -> None:
    def ended() -> Machine:
        machine = Machine()
        sealed(machine)
        return machine

    def end(machine: Machine) -> None:
        shredder = Shredder(machine.files, machine.catalogue, machine.audit)
        shredder.shred_purpose(ONE, "training", "erase", NOW)

    rungs = 0
    for broken in climb(end, fault, sticky=False, before=ended):
        machine = broken.reboot(loss)
        machine.check_disk()
        assert opens(machine, OTHER)
        row = machine.catalogue.get(ONE)
        if "training" not in {term.purpose for term in row.tags.terms}:
            assert not opens(machine, IDENTITY), "readable after the row said that the purpose has ended"
            assert sweep(machine, timedelta(0)) == (0, len(row.ending))
            assert header_path(ONE, "training") not in machine.disk.contents()
            assert [stone.purpose for stone in machine.catalogue.tombstones_of(ONE)] == ["training"]
        assert opens(machine, OTHER)
        rungs += 1
    assert rungs > 5


def test_an_opt_out_that_a_crash_cuts_short_is_finished_after_the_next_start() -> None:
    def talking() -> Machine:
        machine = Machine()
        store = machine.start()
        machine.promises[1] = Promise(1, both())
        machine.open_as_promised(store, 1)
        machine.write(1, 100)
        machine.sync(store)
        return machine

    rungs = 0
    for broken in climb(
        lambda machine: machine.writers[1].drop_purpose("training", "opt_out", NOW),
        Fault.CRASH,
        sticky=True,
        before=talking,
    ):
        machine = broken.reboot()
        machine.start().close()
        row = machine.catalogue.get(ONE)
        assert row.state is State.SEALED
        assert opens(machine, IDENTITY)
        if "training" not in {term.purpose for term in row.tags.terms}:
            sweep(machine, timedelta(0))
            assert header_path(ONE, "training") not in machine.disk.contents()
        rungs += 1
    assert rungs > 5


def test_headers_and_tombstones_of_an_earlier_version_are_brought_over(tmp_path: Path) -> None:
    files = OsFiles(tmp_path / "data")
    files.prepare()
    url = sqlite_url(str(files.root / CATALOGUE_NAME))
    catalogue = Catalogue.open(files, url)
    log = AuditLog(files, SIGNING_KEY, "n", lambda: NOW)
    store = RecordingStore(files, catalogue, log, [IDENTITY.recipient])
    for number in (1, 2):
        writer = store.open(tags(number), PARTIES, AUDIO, NOW)
        writer.write(audio(number, 100))
        writer.seal(seal_facts())
    Shredder(files, catalogue, store.audit).shred(tags(2).recording, "erase", NOW)
    store.close()
    catalogue.close()
    (files.root / header_path(ONE, "training")).rename(files.root / "keys" / ONE.text)
    with closing(sqlite3.connect(files.root / CATALOGUE_NAME)) as connection:
        connection.executescript(
            "create table old as select * from tombstones; drop table tombstones;"
            "alter table old rename to tombstones; update schema_version set version = 2;"
        )
    catalogue = Catalogue.open(files, url)
    assert Reader(files, catalogue).verify(ONE, [IDENTITY]).sound
    assert [name.name for name in (files.root / "keys").iterdir()] == [f"{ONE}.training"]
    (stone,) = catalogue.tombstones()
    assert stone.recording == tags(2).recording
    catalogue.close()
    Catalogue.open(files, url).close()


@pytest.mark.interop
def test_the_age_program_opens_it_with_the_key_of_either_purpose(tmp_path: Path) -> None:
    machine = Machine()
    sealed(machine)
    body = machine.disk.read(f"{machine.catalogue.get(ONE).body}.age")
    for purpose, identity in (("training", IDENTITY), ("sample", OTHER)):
        key = tmp_path / purpose
        key.write_text(identity.secret_text() + "\n")
        done = subprocess.run(
            ["age", "-d", "-i", str(key)],
            input=machine.disk.read(header_path(ONE, purpose)) + body,
            capture_output=True,
            check=True,
        )
        assert done.stdout.endswith(audio(1, 100))
