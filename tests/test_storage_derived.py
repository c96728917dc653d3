"""What is made from a recording: encrypted on its own, never before its row, never after its recording."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from faulty_files import Fault
from simulated_files import Loss
from storage_machine import IDENTITY, NOW, SIGNING_KEY, Machine, events, legal_hold, tags
from test_storage_ladder import climb

from storage import (
    ClockBounds,
    ClockGuard,
    ClockReading,
    DerivedKind,
    DerivedRefused,
    DerivedSource,
    DerivedStore,
    HeldRecording,
    KeyDestroyed,
    KeyUnavailable,
    Reader,
    Retention,
    Rewrapper,
    Shredder,
    State,
    StorageError,
    SweepReport,
    TermChange,
    VerifyFault,
    find_orphans,
    verify_chain,
)
from storage.age import X25519Identity

ONE = tags(1).recording
WORDS = b"Kees: goedemorgen, met Kees\nAnna: ik bel over mijn rekening\n" * 3
HEADER = f"keys/{ONE}.training.transcript"
BODY = f"recordings/2026/11/24/{ONE}.transcript.age"
DAY = timedelta(days=1)


def sealed() -> Machine:
    machine = Machine()
    store = machine.start()
    machine.open(store, 1)
    machine.write(1, 300)
    machine.seal(1)
    machine.audit.flush()
    return machine


def source(keep: timedelta = 20 * DAY) -> DerivedSource:
    return DerivedSource(
        recording=ONE,
        kind=DerivedKind.TRANSCRIPT,
        purpose="training",
        expiry=NOW + keep,
        language="nl",
        form="text/plain",
        origin="a typist",
        recipients=[IDENTITY.recipient],
    )


def derived(machine: Machine) -> DerivedStore:
    return DerivedStore(machine.files, machine.catalogue, machine.audit, random=random.Random(5).randbytes)


def add(machine: Machine, keep: timedelta = 20 * DAY, now: datetime = NOW) -> None:
    derived(machine).add(source(keep), WORDS, now)


def sweep(machine: Machine, now: datetime) -> SweepReport:
    guard = ClockGuard(machine.files, ClockBounds(timedelta(minutes=5), timedelta(days=3650)))
    retention = Retention(machine.files, machine.catalogue, machine.audit, guard)
    return retention.sweep(ClockReading(now, (now - NOW).total_seconds() + 1e6, "boot"))


def read(machine: Machine) -> bytes:
    file = machine.catalogue.derived.sealed(ONE, DerivedKind.TRANSCRIPT)
    assert file is not None
    return Reader(machine.files, machine.catalogue).derived(file, [IDENTITY])


def paths(machine: Machine) -> set[str]:
    return {path for path in machine.disk.contents() if "transcript" in path}


def test_it_is_an_age_file_of_its_own_beside_the_recording() -> None:
    machine = sealed()
    add(machine)
    assert paths(machine) == {HEADER, BODY}
    assert read(machine) == WORDS
    assert not any(b"rekening" in content for content in machine.disk.contents().values())
    assert machine.catalogue.wraps.of(ONE)["training.transcript"].sha256
    verdict = Reader(machine.files, machine.catalogue).verify(ONE, [IDENTITY])
    assert verdict.sound
    assert "transcript too" in verdict.reason
    assert find_orphans(machine.files, machine.catalogue) == ()


def test_an_altered_or_a_missing_one_is_found() -> None:
    machine = sealed()
    add(machine)
    reader = Reader(machine.files, machine.catalogue)
    content = machine.disk.contents()[BODY]
    machine.disk.put(BODY, content[:-1] + bytes([content[-1] ^ 1]))
    assert reader.verify(ONE).fault is VerifyFault.HASH
    assert reader.verify(ONE, [IDENTITY]).fault is VerifyFault.ALTERED
    machine.files.unlink(HEADER)
    assert reader.verify(ONE).fault is VerifyFault.KEY_MISSING


def test_it_may_not_outlive_its_recording_nor_serve_what_that_does_not() -> None:
    machine = sealed()
    with pytest.raises(DerivedRefused, match="nothing of it is kept longer"):
        add(machine, keep=31 * DAY)
    with pytest.raises(DerivedRefused, match="serves evidence no more"):
        derived(machine).add(replace(source(), purpose="evidence"), WORDS, NOW)
    add(machine)
    with pytest.raises(DerivedRefused, match="already"):
        add(machine)
    assert read(machine) == WORDS


def test_its_own_time_ends_it_and_the_recording_stays() -> None:
    machine = sealed()
    add(machine)
    assert sweep(machine, NOW + 19 * DAY).derived_ended == ()
    (stone,) = sweep(machine, NOW + 20 * DAY).derived_ended
    assert (stone.purpose, stone.cause, stone.derived) == ("training.transcript", "expiry", True)
    assert stone.key_id
    assert paths(machine) == set()
    assert Reader(machine.files, machine.catalogue).verify(ONE, [IDENTITY]).sound
    assert machine.catalogue.tombstone(ONE) is None


@pytest.mark.parametrize("cause", ["erase", "withdraw", "expiry"])
def test_it_goes_with_its_recording(cause: str) -> None:
    machine = sealed()
    add(machine)
    when = NOW + 30 * DAY if cause == "expiry" else NOW
    Shredder(machine.files, machine.catalogue, machine.audit).shred(ONE, cause, when)
    assert paths(machine) == set()
    assert machine.catalogue.derived.all() == ()
    stones = {stone.purpose: stone for stone in machine.catalogue.tombstones_of(ONE)}
    assert set(stones) == {"training", "training.transcript"}
    assert {stone.cause for stone in stones.values()} == {cause}
    found = machine.catalogue.find(ONE.text[:8])
    assert found == stones["training"]  # the recording's own speaks for it


def test_a_hold_keeps_both_and_what_a_person_wants_gone_goes() -> None:
    machine = sealed()
    add(machine)
    machine.catalogue.holds.add(legal_hold(ONE))
    assert sweep(machine, NOW + 40 * DAY).derived_ended == ()
    with pytest.raises(HeldRecording):
        derived(machine).remove(ONE, DerivedKind.TRANSCRIPT, "corrected", NOW)
    assert read(machine) == WORDS
    machine.catalogue.holds.release(legal_hold(ONE).id, "user:anna", NOW + 40 * DAY)
    assert derived(machine).remove(ONE, DerivedKind.TRANSCRIPT, "corrected", NOW).cause == "corrected"
    assert paths(machine) == set()
    with pytest.raises(DerivedRefused, match="has no transcript"):
        derived(machine).remove(ONE, DerivedKind.TRANSCRIPT, "corrected", NOW)


def test_one_that_was_put_right_leaves_the_later_tombstone() -> None:
    machine = sealed()
    add(machine)
    derived(machine).remove(ONE, DerivedKind.TRANSCRIPT, "corrected", NOW)
    add(machine)
    Shredder(machine.files, machine.catalogue, machine.audit).shred(ONE, "erase", NOW)
    causes = {stone.purpose: stone.cause for stone in machine.catalogue.tombstones_of(ONE)}
    assert causes == {"training": "erase", "training.transcript": "erase"}
    assert events(machine.files).count("derived.added") == 2


def test_a_shorter_term_of_the_recording_is_one_of_it_too() -> None:
    machine = sealed()
    add(machine)
    change = TermChange(ONE, "training", NOW + 30 * DAY, NOW + 5 * DAY)
    machine.catalogue.terms.shorten([change])
    (file,) = machine.catalogue.derived.all()
    assert file.expiry == NOW + 5 * DAY


def test_what_is_restored_without_a_row_is_an_orphan() -> None:
    machine = sealed()
    add(machine)
    kept = {path: machine.disk.contents()[path] for path in (HEADER, BODY)}
    derived(machine).remove(ONE, DerivedKind.TRANSCRIPT, "corrected", NOW)
    for path, content in kept.items():
        machine.disk.put(path, content)
    assert find_orphans(machine.files, machine.catalogue) == (HEADER, BODY)


def test_it_is_wrapped_anew_with_its_recording() -> None:
    epoch = X25519Identity.generate(random.Random(3).randbytes)
    machine = sealed()
    derived(machine).add(
        replace(source(), recipients=[epoch.recipient], epoch=("service", "2026-11-24")), WORDS, NOW
    )
    with pytest.raises(KeyUnavailable):
        read(machine)
    assert [use.epoch for use in machine.catalogue.wraps.in_use()] == ["2026-11-24"]
    rewrapper = Rewrapper(machine.files, machine.catalogue, machine.audit, [IDENTITY.recipient])
    assert [one.purpose for one in rewrapper.rewrap(ONE, [epoch])] == ["training.transcript"]
    assert read(machine) == WORDS
    assert machine.catalogue.wraps.in_use() == ()


SLOW = pytest.mark.faults
FAULTS = [
    pytest.param(Fault.CRASH, True, id="crash"),
    pytest.param(Fault.EIO, False, id="io-error-once", marks=SLOW),
    pytest.param(Fault.ENOSPC, True, id="disk-stays-full", marks=SLOW),
    pytest.param(Fault.SHORT, False, id="short-write", marks=SLOW),
]


def add_and_remove(machine: Machine) -> None:
    add(machine)
    derived(machine).remove(ONE, DerivedKind.TRANSCRIPT, "corrected", NOW)
    add(machine)


def add_and_expire(machine: Machine) -> None:
    add(machine)
    sweep(machine, NOW + 20 * DAY)


def add_and_shred(machine: Machine) -> None:
    add(machine)
    Shredder(machine.files, machine.catalogue, machine.audit).shred(ONE, "erase", NOW)


def check(machine: Machine) -> None:
    """No word without a row that has purpose and expiry; no row that says more than the disk."""
    machine.check_disk()
    rows = machine.catalogue.derived.all()
    assert bool(paths(machine)) <= bool(rows)
    for row in rows:
        assert row.purpose == "training"
        of = machine.catalogue.get(ONE)
        assert row.expiry <= of.tags.expiry
        if row.state is of.state is State.SEALED:
            assert paths(machine) == {HEADER, BODY}
            assert read(machine) == WORDS
    for stone in machine.catalogue.tombstones():
        if stone.derived and not rows:
            assert not paths(machine), "a tombstone beside the key"
    assert not any(b"rekening" in content for content in machine.disk.contents().values())


@pytest.mark.parametrize(("fault", "sticky"), FAULTS)
@pytest.mark.parametrize(
    "work",
    [add_and_shred, pytest.param(add_and_remove, marks=SLOW), pytest.param(add_and_expire, marks=SLOW)],
)
def test_every_rung_leaves_nothing_that_the_next_sweep_does_not_end(
    work: object, fault: Fault, sticky: bool
) -> None:
    assert callable(work)
    base = sealed()
    rungs = 0
    for machine in climb(work, fault, sticky=sticky, before=base.reboot):
        check(machine)
        after = machine.reboot(Loss.ALL_LOST, random.Random(rungs))
        check(after)
        sweep(after, NOW + 21 * DAY)
        check(after)
        states = {file.state for file in after.catalogue.derived.all()}
        assert states == set(), "left over"
        assert paths(after) == set()
        assert find_orphans(after.files, after.catalogue) == ()
        assert verify_chain(after.files, SIGNING_KEY.public_key()).lines > 0
        rungs += 1
    assert rungs > 30


def test_nothing_opens_it_once_its_recording_is_being_shredded() -> None:
    machine = sealed()
    add(machine)
    (file,) = machine.catalogue.derived.all()
    machine.catalogue.claim_for_shredding(ONE, "erase")
    machine.files.unlink(HEADER)
    with pytest.raises(KeyDestroyed):
        Reader(machine.files, machine.catalogue).derived(file, [IDENTITY])
    with pytest.raises(StorageError):
        add(machine)
