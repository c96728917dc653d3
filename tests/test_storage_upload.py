"""Bodies on their way into an object store: never nowhere, checked, gone when shredded."""

from __future__ import annotations

import errno
import itertools
import random
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from faulty_files import Crash, Fault, FaultPlan, FaultyFiles
from simulated_files import Loss, SimulatedFiles
from storage_machine import AUDIO, IDENTITY, NOW, PARTIES, Machine, audio, events, seal_facts, tags

from storage import (
    BodyMissing,
    ClockGuard,
    ClockReading,
    DerivedKind,
    DerivedSource,
    DerivedStore,
    FileFault,
    Objects,
    Reader,
    RemoteFault,
    Retention,
    Shredder,
    ShredError,
    State,
    Uploader,
    UploadReport,
    find_orphans,
)
from storage.bodies import Bodies
from storage.objects import ReadPart
from storage.places import header_path

ONE, TWO = tags(1).recording, tags(2).recording


class MemoryObjects:
    """An object store in memory, whose every operation may fail."""

    def __init__(self, plan: FaultPlan | None = None) -> None:
        self.held: dict[str, bytes] = {}
        self.plan = plan or FaultPlan()
        self.away = False
        self.uploaded: Callable[[], object] = lambda: None
        self.deleting: Callable[[], object] = lambda: None

    def size(self, key: str) -> int | None:
        self._step("head", key)
        return len(self.held[key]) if key in self.held else None

    def pieces(self, key: str, offset: int = 0) -> Iterator[bytes]:
        self._step("get", key)
        if key not in self.held:
            raise BodyMissing(f"the body {key} is missing, here and in the bucket")
        yield self.held[key][offset:]

    def upload(self, key: str, size_bytes: int, read: ReadPart) -> None:
        self._step("put", key)
        self.held[key] = read(0, size_bytes)
        self.uploaded()
        self._step("put, answered", key)

    def delete(self, key: str) -> bool:
        self._step("delete", key)
        self.deleting()
        return self.held.pop(key, None) is not None

    def keys(self) -> Iterator[str]:
        yield from self.held

    def _step(self, operation: str, key: str) -> None:
        if self.away or self.plan.strikes(operation, key):
            raise RemoteFault(operation, key, errno.EHOSTUNREACH, "the object store is away")


def machine_with_two() -> Machine:
    """Two sealed recordings."""
    machine = Machine()
    store = machine.start()
    for number in (1, 2):
        writer = store.open(tags(number), PARTIES, AUDIO, NOW)
        writer.write(audio(number, 9_000 * number))
        writer.seal(seal_facts())
    store.close()
    return machine


def run(machine: Machine, objects: Objects) -> UploadReport:
    return Uploader(machine.files, machine.catalogue, machine.audit, objects).run()


def body(number: int) -> str:
    return f"recordings/2026/11/24/{tags(number).recording}.age"


def reader(machine: Machine, objects: Objects) -> Reader:
    return Reader(machine.files, machine.catalogue, objects)


def test_a_body_in_the_store_goes_where_its_directory_never_was_here() -> None:
    """As with the keys of a lost node, whose bodies are in the bucket."""
    machine, objects = machine_with_two(), MemoryObjects()
    run(machine, objects)
    elsewhere = Bodies(SimulatedFiles(), objects)
    assert elsewhere.unlink(body(1).removesuffix(".age"))
    assert body(1) not in objects.held


def test_a_moved_body_is_read_from_the_store() -> None:
    machine, objects = machine_with_two(), MemoryObjects()
    before = b"".join(Reader(machine.files, machine.catalogue).wav(ONE, [IDENTITY]))
    sealed = machine.files.read(body(1))
    report = run(machine, objects)
    assert (set(report.moved), report.failed, report.broken_off) == ({ONE, TWO}, (), None)
    assert report.size_bytes == sum(len(data) for data in objects.held.values())
    assert objects.held[body(1)] == sealed
    assert machine.files.size(body(1)) is None
    for recording in (ONE, TWO):
        assert reader(machine, objects).verify(recording, [IDENTITY]).sound
        assert machine.files.size(header_path(recording, "training")) is not None, "keys stay here"
    assert b"".join(reader(machine, objects).wav(ONE, [IDENTITY])) == before
    assert events(machine.files).count("rec.body_moved") == 2
    assert run(machine, objects) == UploadReport((), 0, (), None)
    assert find_orphans(machine.files, machine.catalogue, objects) == ()


def test_a_transcript_is_moved_with_its_recording_and_goes_with_it() -> None:
    machine, objects = machine_with_two(), MemoryObjects()
    source = DerivedSource(
        recording=ONE,
        kind=DerivedKind.TRANSCRIPT,
        purpose="training",
        expiry=NOW + timedelta(days=9),
        language="nl",
        form="text/plain",
        origin="",
        recipients=[IDENTITY.recipient],
    )
    DerivedStore(machine.files, machine.catalogue, machine.audit).add(source, b"een woord", NOW)
    (file,) = machine.catalogue.derived.all()
    report = run(machine, objects)
    assert sorted(report.moved, key=str) == sorted((ONE, TWO), key=str)
    assert set(objects.held) == {body(1), body(2), f"{file.body}.age"}
    assert machine.files.size(f"{file.body}.age") is None
    assert reader(machine, objects).derived(file, [IDENTITY]) == b"een woord"
    assert "transcript too" in reader(machine, objects).verify(ONE, [IDENTITY]).reason
    assert find_orphans(machine.files, machine.catalogue, objects) == ()
    Shredder(machine.files, machine.catalogue, machine.audit, objects).shred(ONE, "erase", NOW)
    assert set(objects.held) == {body(2)}
    assert find_orphans(machine.files, machine.catalogue, objects) == ()


def test_a_moved_body_that_was_altered_is_found() -> None:
    machine, objects = machine_with_two(), MemoryObjects()
    run(machine, objects)
    data = bytearray(objects.held[body(1)])
    data[100] ^= 1
    objects.held[body(1)] = bytes(data)
    assert not reader(machine, objects).verify(ONE, [IDENTITY]).sound
    del objects.held[body(2)]
    assert "missing" in reader(machine, objects).verify(TWO, [IDENTITY]).reason


def test_what_does_not_come_back_as_it_was_stays_on_the_disk() -> None:
    machine, objects = machine_with_two(), MemoryObjects()

    def spoil() -> None:
        if body(1) in objects.held:
            objects.held[body(1)] = b"other"

    objects.uploaded = spoil
    report = run(machine, objects)
    assert report.moved == (TWO,)
    ((failed, why),) = report.failed
    assert failed == ONE
    assert "uploaded body" in why
    assert body(1) not in objects.held
    assert Reader(machine.files, machine.catalogue).verify(ONE, [IDENTITY]).sound


def test_what_is_damaged_here_is_not_moved() -> None:
    machine, objects = machine_with_two(), MemoryObjects()
    machine.disk.put(body(1), machine.disk.read(body(1))[:-1] + b"x")
    report = run(machine, objects)
    assert report.moved == (TWO,)
    assert "not what was sealed" in report.failed[0][1]
    assert list(objects.held) == [body(2)]


def test_what_is_open_stays_here() -> None:
    machine, objects = Machine(), MemoryObjects()
    store = machine.start()
    writer = store.open(tags(1), PARTIES, AUDIO, NOW)
    writer.write(audio(1, 60_000))
    store.sync()
    assert run(machine, objects).moved == ()
    writer.seal(seal_facts())
    assert run(machine, objects).moved == (ONE,)


def test_a_store_that_is_away_ends_the_round() -> None:
    machine, objects = machine_with_two(), MemoryObjects()
    objects.away = True
    report = run(machine, objects)
    assert report.moved == ()
    assert len(report.failed) == 1
    assert report.broken_off == report.failed[0][1]
    objects.away = False
    assert len(run(machine, objects).moved) == 2


def test_a_round_ends_when_it_is_asked_to() -> None:
    machine, objects = machine_with_two(), MemoryObjects()
    asked = itertools.count()
    uploader = Uploader(machine.files, machine.catalogue, machine.audit, objects)
    assert len(uploader.run(lambda: next(asked) > 0).moved) == 1


def test_shredding_destroys_the_key_before_the_object() -> None:
    machine, objects = machine_with_two(), MemoryObjects()
    run(machine, objects)
    keys_at_delete: list[int | None] = []
    objects.deleting = lambda: keys_at_delete.append(machine.disk.size(header_path(ONE, "training")))
    certificate = Shredder(machine.files, machine.catalogue, machine.audit, objects).shred(ONE, "erase", NOW)
    assert keys_at_delete == [None]
    assert certificate.body_found
    assert list(objects.held) == [body(2)]


def test_while_the_store_is_away_only_the_key_is_shredded_and_the_rest_follows() -> None:
    machine, objects = machine_with_two(), MemoryObjects()
    run(machine, objects)
    objects.away = True
    guard = ClockGuard(machine.files)
    retention = Retention(machine.files, machine.catalogue, machine.audit, guard, objects=objects)
    later = timedelta(days=31)
    report = retention.sweep(ClockReading(NOW + later, later.total_seconds(), "boot"))
    assert {recording for recording, _ in report.failed} == {ONE, TWO}
    assert machine.catalogue.get(ONE).state is State.SHREDDING
    assert machine.disk.size(header_path(ONE, "training")) is None
    with pytest.raises(ShredError, match="not fully shredded"):
        Shredder(machine.files, machine.catalogue, machine.audit, objects).shred(ONE, "erase", NOW)
    objects.away = False
    report = retention.sweep(ClockReading(NOW + later, later.total_seconds(), "boot"))
    assert {each.tombstone.recording for each in report.shredded} == {ONE, TWO}
    assert objects.held == {}


@pytest.mark.parametrize("moment", ["while it is uploaded", "while it is read back"])
def test_a_body_that_is_shredded_on_its_way_is_nowhere(moment: str) -> None:
    machine, objects = machine_with_two(), MemoryObjects()
    shredder = Shredder(machine.files, machine.catalogue, machine.audit, objects)

    def shred() -> None:
        if machine.catalogue.several([ONE]):
            shredder.shred(ONE, "erase", NOW)

    if moment == "while it is uploaded":
        objects.uploaded = shred
    else:
        pieces = objects.pieces

        def meanwhile(key: str, offset: int = 0) -> Iterator[bytes]:
            if key == body(1):
                shred()
            yield from pieces(key, offset)

        objects.pieces = meanwhile  # type: ignore[method-assign]
    report = run(machine, objects)
    assert report.moved == (TWO,)
    assert report.failed == ()
    assert list(objects.held) == [body(2)]
    assert machine.files.size(body(1)) is None


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.EIO])
def test_no_fault_on_the_way_loses_a_body(fault: Fault) -> None:
    """Whatever fails, at whichever step: the recording is sound after it, and the next round moves it."""
    for rung in itertools.count():
        machine = machine_with_two()
        plan = FaultPlan(rung, fault)
        objects = MemoryObjects(plan)
        machine.files = FaultyFiles(machine.disk, plan)
        machine.audit._files = machine.files
        try:
            run(machine, objects)
        except Crash:
            pass
        except RemoteFault:
            raise AssertionError("a fault of the store came through") from None
        except FileFault:
            pass
        if plan.fired is None:
            assert rung > 15
            return
        objects.plan = FaultPlan()
        after = machine.reboot(Loss.ALL_KEPT, random.Random(rung))
        after.start()
        for recording in (ONE, TWO):
            verdict = reader(after, objects).verify(recording, [IDENTITY])
            assert verdict.sound, f"{plan.fired}: {verdict.reason}"
        report = run(after, objects)
        assert report.failed == (), plan.fired
        assert set(objects.held) == {body(1), body(2)}
        assert after.files.size(body(1)) is None
