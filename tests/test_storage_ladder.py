"""The write ladder: a fault at every operation, and what must be true afterwards.

Each rung runs the same work with operation n failing, then looks at the disk as it
is, then starts again (with or without the loss of unsynced data) and looks once
more. The ladder ends where no fault is left to inject.
"""

from __future__ import annotations

import copy
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest
from faulty_files import Crash, Fault, FaultPlan
from simulated_files import Loss
from sqlalchemy.pool import PoolProxiedConnection
from storage_machine import Machine, seal_facts, watched

from storage import CatalogueBusy, RecordingStore, StorageError

Work = Callable[[Machine], None]


def record(machine: Machine) -> None:
    """Open, write, sync, rotate, seal, discard."""
    machine.record(machine.start())


def record_and_close(machine: Machine) -> None:
    store = machine.start()
    machine.record(store)
    machine.seal(2)
    store.close()


def shred(machine: Machine) -> None:
    """One alone, two at once."""
    store = machine.start()
    for number in (1, 2, 3):
        machine.open(store, number)
        machine.write(number, 12_000 * number)
        machine.seal(number)
    machine.shred(1)
    machine.shred_together((2, 3))
    machine.audit.flush()


def record_together(machine: Machine) -> None:
    """Open three at once, one alone, seal two at once, discard, seal the rest at once."""
    store = machine.start()
    machine.open_together(store, (1, 2, 3))
    machine.open(store, 4)
    for number, frames in ((1, 9_000), (2, 40_000), (3, 34_000), (4, 500)):
        machine.write(number, frames)
    machine.sync(store)
    machine.write(1, 30_000)
    machine.write(2, 100)
    machine.seal_together(store, (1, 2))
    machine.discard(4)
    machine.open_together(store, (5, 6))
    machine.write(5, 700)
    machine.sync(store)
    machine.seal_together(store, (3, 5, 6))
    store.close()


def climb(
    work: Work, fault: Fault, *, sticky: bool, before: Callable[[], Machine] = Machine
) -> Iterator[Machine]:
    """Yield the machine after each rung, its process gone."""
    rung = 0
    while True:
        machine = before()
        machine.plan.fail_at = machine.plan.operations + rung
        machine.plan.fault = fault
        machine.plan.sticky = sticky or fault is Fault.CRASH
        try:
            with watched(machine.ledger):
                work(machine)
        except (StorageError, Crash):
            pass
        if machine.plan.fired is None:
            return
        machine.plan.fail_at = None  # what the test reads from now on cannot fail
        yield machine
        rung += 1


def restart(machine: Machine) -> Machine:
    """Recover, then do a little work, so that the new life is seen to be sound."""
    with watched(machine.ledger):
        store = machine.start()
        machine.open(store, 99)
        machine.write(99, 100)
        machine.sync(store)
        machine.seal(99)
        store.close()
    machine.check_promises()
    return machine


SLOW = pytest.mark.faults
FAULTS = [
    pytest.param(Fault.CRASH, True, id="crash"),
    pytest.param(Fault.EIO, False, id="io-error-once", marks=SLOW),
    pytest.param(Fault.EIO, True, id="disk-is-gone", marks=SLOW),
    pytest.param(Fault.ENOSPC, False, id="disk-full-once", marks=SLOW),
    pytest.param(Fault.ENOSPC, True, id="disk-stays-full", marks=SLOW),
    pytest.param(Fault.SHORT, False, id="short-write", marks=SLOW),
]


@pytest.mark.parametrize(("fault", "sticky"), FAULTS)
@pytest.mark.parametrize("work", [record, record_together, pytest.param(record_and_close, marks=SLOW), shred])
def test_every_rung_leaves_a_disk_that_recovers(work: Work, fault: Fault, sticky: bool) -> None:
    rungs = 0
    for machine in climb(work, fault, sticky=sticky):
        machine.check_disk()
        restart(machine.reboot())
        rungs += 1
    assert rungs > 20


@SLOW
@pytest.mark.parametrize("loss", [Loss.ALL_LOST, Loss.TORN])
@pytest.mark.parametrize("work", [record, record_together, shred])
def test_power_may_fail_at_every_operation(work: Work, loss: Loss) -> None:
    rungs = 0
    for machine in climb(work, Fault.CRASH, sticky=True):
        for seed in range(1 if loss is Loss.ALL_LOST else 2):
            restart(machine.reboot(loss, random.Random(seed * 1000 + rungs)))
        rungs += 1
    assert rungs > 50


@SLOW
def test_power_may_fail_after_a_disk_error_at_every_operation() -> None:
    for machine in climb(record, Fault.EIO, sticky=False):
        restart(machine.reboot(Loss.ALL_LOST))


@pytest.mark.parametrize(
    ("fault", "loss"),
    [
        pytest.param(fault, loss, marks=() if (fault, loss) == (Fault.CRASH, Loss.ALL_LOST) else SLOW)
        for fault in Fault
        for loss in Loss
    ],
)
def test_recovery_may_itself_fail_at_every_operation(fault: Fault, loss: Loss) -> None:
    base = Machine()
    with watched(base.ledger):
        base.record(base.start())
    rungs = 0
    for machine in climb(lambda machine: machine.start().close(), fault, sticky=False, before=base.reboot):
        restart(machine.reboot(loss, random.Random(rungs)))
        rungs += 1
    assert rungs > 20


@SLOW
@pytest.mark.parametrize("loss", list(Loss))
def test_recovery_may_fail_after_a_disk_error_and_power_loss(loss: Loss) -> None:
    """Two faults in a row: the disk fails while recording, then recovery crashes."""
    for number, machine in enumerate(climb(record, Fault.EIO, sticky=False)):
        if number % 13:
            continue
        for again in climb(
            lambda machine: machine.start().close(), Fault.CRASH, sticky=True, before=machine.reboot
        ):
            restart(again.reboot(loss, random.Random(number)))


class Unsure(Machine):
    """A catalogue on a server that does all it is asked; the answer to one commit is lost on the way."""

    def __init__(self, lost: int) -> None:
        super().__init__()
        self.lost = FaultPlan(lost, Fault.EIO)
        self.engine.dialect = copy.copy(self.engine.dialect)  # others have the same one
        commit = self.engine.dialect.do_commit

        def commit_without_a_word(connection: PoolProxiedConnection) -> None:
            commit(connection)
            if self.lost.strikes("commit", "catalogue"):
                raise sqlite3.OperationalError("the server has not answered")

        self.engine.dialect.do_commit = commit_without_a_word  # type: ignore[method-assign,assignment]

    def seal_together(self, store: RecordingStore, numbers: Sequence[int]) -> None:
        """As the recorder's thread does: what the catalogue kept from being sealed is sealed later."""
        numbers = [number for number in numbers if number in self.writers]
        seals = [(self.writers[number], seal_facts()) for number in numbers]
        for (writer, facts), outcome in zip(seals, store.seal_together(seals), strict=True):
            if isinstance(outcome, StorageError):
                assert isinstance(outcome.__cause__, CatalogueBusy)
                writer.seal(facts)
        for number in numbers:
            del self.writers[number]
            self.promises[number].sealed = True
            self.promises[number].durable = len(self.promises[number].written)


@pytest.mark.parametrize("work", [record_together, shred])
def test_an_answer_of_the_catalogue_may_be_lost_at_every_commit(work: Work) -> None:
    """Nobody knows whether it was done, and it was: nothing is lost, kept or destroyed by that."""
    rungs = 0
    while True:
        machine = Unsure(rungs)
        with watched(machine.ledger), suppress(StorageError):
            work(machine)
        if machine.lost.fired is None:
            break
        machine.check_disk()
        restart(machine.reboot())
        rungs += 1
    assert rungs > 5
