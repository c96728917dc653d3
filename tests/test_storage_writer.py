"""The store and its writers: what they promise the recorder thread."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from datetime import timedelta

import pytest
from faulty_files import Crash, Fault, FaultPlan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from simulated_files import Loss
from storage_machine import (
    AUDIO,
    CHUNK,
    IDENTITY,
    NOW,
    PARTIES,
    SEGMENT_BYTES,
    Machine,
    audio,
    events,
    seal_facts,
    tags,
    watched,
)

from storage import (
    ChannelFacts,
    KeyFileError,
    Outcome,
    Reader,
    RecordingStore,
    SealError,
    State,
    StorageError,
    StoreLocked,
    StoreNotRecovered,
    WriterClosed,
    recover,
)
from storage.wal import keyed_recordings, segment_numbers
from storage.writer.unsealed import Unsealed


def test_the_order_of_open_is_row_header_keys_body_audit() -> None:
    """I1: fail at each operation of open; audio can never be without a row."""
    machine = Machine()
    store = machine.start()
    start = machine.plan.operations
    machine.open(store, 1)
    last = machine.plan.operations
    for rung in range(last - start):
        other = Machine(plan=FaultPlan(None, Fault.ENOSPC))
        fresh = other.start()
        other.plan.fail_at = other.plan.operations + rung
        with pytest.raises(StorageError):
            fresh.open(tags(1), PARTIES, AUDIO, NOW)
        other.plan.fail_at = None
        other.check_disk()
        assert not fresh.open_recordings
        assert fresh.open(tags(2), PARTIES, AUDIO, NOW).frames == 0  # the next one is not affected


def test_a_half_open_recording_leaves_a_tombstone_and_nothing_else() -> None:
    machine = Machine(plan=FaultPlan(None, Fault.EIO))
    store = machine.start()
    before = set(machine.disk.contents())
    machine.plan.fail_at = machine.plan.operations + 12
    with pytest.raises(StorageError):
        store.open(tags(1), PARTIES, AUDIO, NOW)
    left = set(machine.disk.contents()) - before - {"audit/chain.jsonl"}
    assert not left
    stone = machine.catalogue.tombstone(tags(1).recording)
    assert stone is not None
    assert (stone.state, stone.cause, stone.verified) == (State.DISCARDED, "not_opened", True)


def test_facts_and_tags_come_back_from_the_catalogue() -> None:
    machine = Machine()
    store = machine.start()
    writer = store.open(tags(1), PARTIES, AUDIO, NOW)
    writer.write(audio(1, 1000))
    assert writer.frames == 1000
    facts = replace(
        seal_facts(), caller=ChannelFacts(packets=50, lost=1), callee=None, paused=timedelta(seconds=1.5)
    )
    sealed = writer.seal(facts)
    row = machine.catalogue.get(tags(1).recording)
    assert row.tags == tags(1)
    assert row.state is State.SEALED
    assert row.facts == replace(facts, frames=1000)
    assert (row.size_bytes, row.sha256) == (sealed.size_bytes, sealed.sha256)
    assert events(machine.files) == ["store.started", "rec.started", "rec.sealed"]
    assert writer.ended


def test_a_writer_that_has_ended_refuses_everything() -> None:
    machine = Machine()
    store = machine.start()
    writer = store.open(tags(1), PARTIES, AUDIO, NOW)
    writer.seal(seal_facts())
    for step in (
        lambda: writer.write(b""),
        lambda: writer.seal(seal_facts()),
        lambda: writer.abort("late"),
        lambda: writer.discard("late", NOW),
    ):
        with pytest.raises(WriterClosed):
            step()
    assert not store.open_recordings


def test_half_a_frame_is_refused() -> None:
    machine = Machine()
    writer = machine.start().open(tags(1), PARTIES, AUDIO, NOW)
    with pytest.raises(ValueError, match="whole frames"):
        writer.write(b"x")
    assert writer.frames == 0


def test_an_id_cannot_be_used_twice() -> None:
    machine = Machine()
    store = machine.start()
    store.open(tags(1), PARTIES, AUDIO, NOW).seal(seal_facts())
    with pytest.raises(StorageError):
        store.open(tags(1), PARTIES, AUDIO, NOW)
    assert Reader(machine.files, machine.catalogue).verify(tags(1).recording, [IDENTITY]).sound


def test_a_fault_in_one_body_leaves_the_others_alone() -> None:
    machine = Machine()
    store = machine.start()
    one, two = (store.open(tags(number), PARTIES, AUDIO, NOW) for number in (1, 2))
    one.write(audio(1, 40_000))
    two.write(audio(2, 100))
    machine.plan.fault = Fault.EIO
    # logging both and syncing the log come first; then the chunk of the first body
    real_strikes = machine.plan.strikes

    def strikes(operation: str, path: str) -> bool:
        return (operation == "write" and path.endswith(f"{one.recording}.part")) or real_strikes(
            operation, path
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine.plan, "strikes", strikes)
        faults = store.sync()
    assert [fault.recording for fault in faults] == [one.recording]
    with pytest.raises(WriterClosed):
        one.write(audio(1, 1))
    one.abort("storage_fault")
    two.write(audio(2, 100))
    assert store.sync() == ()
    two.seal(seal_facts())
    assert machine.catalogue.get(one.recording).state is State.ABORTED
    assert machine.catalogue.get(two.recording).state is State.SEALED
    store.close()
    after = machine.reboot()
    results = recover(_store(after), NOW)
    assert [(entry.recording, entry.outcome) for entry in results] == [(one.recording, Outcome.SEALED)]
    assert after.catalogue.get(one.recording).facts == replace(
        seal_facts(), ended=NOW + timedelta(seconds=5), frames=40_000, reason="recovered"
    )


def test_a_failed_sync_of_the_log_fails_all_and_a_new_recording_goes_on() -> None:
    machine = Machine(plan=FaultPlan(None, Fault.EIO))
    store = machine.start()
    writers = [store.open(tags(number), PARTIES, AUDIO, NOW) for number in (1, 2)]
    for number, writer in enumerate(writers, start=1):
        writer.write(audio(number, 100))
    assert store.sync() == ()
    writers[0].write(audio(1, 50))
    machine.plan.fail_at = machine.plan.operations + 1  # the record, then the sync
    faults = store.sync()
    assert machine.plan.fired is not None
    assert "fsync wal/" in machine.plan.fired
    assert {fault.recording for fault in faults} == {writer.recording for writer in writers}
    assert store.sync() == ()  # each is reported once
    for writer in writers:
        with pytest.raises(WriterClosed):
            writer.write(b"")
        writer.abort("storage_fault")
    again = store.open(tags(3), PARTIES, AUDIO, NOW)
    again.write(audio(3, 10))
    assert store.sync() == ()
    again.seal(seal_facts())
    store.close()
    after = machine.reboot(Loss.ALL_LOST)
    assert {entry.outcome for entry in recover(_store(after), NOW)} == {Outcome.SEALED}


def test_a_log_that_failed_is_kept_for_recovery_even_if_nothing_follows() -> None:
    machine = Machine(plan=FaultPlan(None, Fault.EIO))
    store = machine.start()
    writer = store.open(tags(1), PARTIES, AUDIO, NOW)
    writer.write(audio(1, 100))
    assert store.sync() == ()
    writer.write(audio(1, 1))
    machine.plan.fail_at = machine.plan.operations + 1
    assert len(store.sync()) == 1
    writer.abort("storage_fault")
    machine.plan.fail_at = machine.plan.operations  # the next call gets no row, but restarts the log
    with pytest.raises(StorageError):
        store.open(tags(2), PARTIES, AUDIO, NOW)
    store.close()
    (result,) = recover(_store(machine.reboot()), NOW)
    assert (result.outcome, result.frames) == (Outcome.SEALED, 101)


def test_a_seal_that_failed_in_the_catalogue_may_be_tried_again() -> None:
    machine = Machine(plan=FaultPlan(None, Fault.EIO))
    store = machine.start()
    writer = store.open(tags(1), PARTIES, AUDIO, NOW)
    writer.write(audio(1, 70_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine.plan, "strikes", lambda operation, _path: operation == "commit")
        with pytest.raises(SealError, match="could not be sealed") as caught:
            writer.seal(seal_facts())
        assert not caught.value.permanent
    with pytest.raises(WriterClosed):
        writer.write(audio(1, 1))
    assert store.sync() == ()
    assert writer.seal(seal_facts()).frames == 70_000
    assert Reader(machine.files, machine.catalogue).verify(writer.recording, [IDENTITY]).sound


def test_a_discarded_recording_cannot_be_opened_by_anybody() -> None:
    machine = Machine()
    store = machine.start()
    writer = store.open(tags(1), PARTIES, AUDIO, NOW)
    writer.write(audio(1, 90_000))
    store.sync()
    writer.discard("opt_out", NOW)
    assert not [path for path in machine.disk.contents() if tags(1).recording.text in path]
    stone = machine.catalogue.tombstone(tags(1).recording)
    assert stone is not None
    assert (stone.cause, stone.state) == ("opt_out", State.DISCARDED)
    assert events(machine.files)[-1] == "rec.discarded"


def test_log_and_memory_do_not_grow_with_time() -> None:
    """A long call beside many short ones: the log stays near one segment, a writer near one chunk."""
    machine = Machine()
    store = machine.start()
    long = store.open(tags(0), PARTIES, AUDIO, NOW)
    for number in range(1, 40):
        short = store.open(tags(number), PARTIES, AUDIO, NOW)
        for _ in range(10):
            long.write(bytes(8_000))
            short.write(bytes(8_000))
            store.sync()
            assert len(long._tail) <= CHUNK + 8_000
            log = {path: data for path, data in machine.disk.contents().items() if path.endswith(".wal")}
            assert len(log) == 1
            assert sum(map(len, log.values())) < SEGMENT_BYTES + 3 * CHUNK
        short.seal(seal_facts())
    assert long.seal(seal_facts()).frames == 39 * 10 * 4_000
    store.close()
    assert not segment_numbers(machine.files)
    assert not keyed_recordings(machine.files)


def test_two_daemons_cannot_share_a_directory() -> None:
    machine = Machine()
    store = machine.start()
    with pytest.raises(StoreLocked):
        machine.start()
    store.close()
    machine.start()


def test_recovery_comes_before_the_first_open() -> None:
    machine = Machine()
    store = machine.start()
    store.open(tags(1), PARTIES, AUDIO, NOW)
    after = machine.reboot()
    fresh = _store(after)
    with pytest.raises(StoreNotRecovered):
        fresh.open(tags(2), PARTIES, AUDIO, NOW)
    assert [entry.outcome for entry in recover(fresh, NOW)] == [Outcome.DISCARDED]
    fresh.open(tags(2), PARTIES, AUDIO, NOW)
    with pytest.raises(ValueError, match="before the first open"):
        recover(fresh, NOW)


def test_without_a_recipient_there_is_no_store() -> None:
    machine = Machine()
    with pytest.raises(KeyFileError, match="no recipient"):
        RecordingStore(machine.files, machine.catalogue, machine.audit, [])


def test_damage_beyond_the_promises_is_reported_and_the_rest_salvaged() -> None:
    machine = Machine()
    store = machine.start()
    writer = store.open(tags(1), PARTIES, AUDIO, NOW)
    for _ in range(3):
        writer.write(audio(1, 70_000))
        store.sync()
    after = machine.reboot()
    path = f"{machine.catalogue.get(tags(1).recording).body}.part"
    data = bytearray(after.disk.read(path))
    data[16 + CHUNK + 16 + 5] ^= 1  # in the second chunk, whose plaintext no segment holds any more
    after.disk.put(path, bytes(data))
    (result,) = recover(_store(after), NOW)
    assert result.outcome is Outcome.DAMAGED
    assert after.catalogue.get(tags(1).recording).state is State.ABORTED
    assert not keyed_recordings(after.files)
    reader = Reader(after.files, after.catalogue)
    assert len(b"".join(reader.salvage(tags(1).recording, [IDENTITY]))) == CHUNK
    assert recover(_store(after.reboot()), NOW) == []


def _crashed(frames: int = 1000) -> Machine:
    """A machine that lost power while recording 1 was open."""
    machine = Machine()
    store = machine.start()
    writer = store.open(tags(1), PARTIES, AUDIO, NOW)
    writer.write(audio(1, frames))
    assert store.sync() == ()
    return machine.reboot(Loss.ALL_LOST)


def test_a_key_store_that_is_not_there_erases_nothing() -> None:
    """Nothing is destroyed by inference: a missing header may be a missing mount."""
    machine = _crashed()
    path = f"keys/{tags(1).recording}.training"
    header = machine.disk.read(path)
    machine.disk.unlink(path)
    store = _store(machine)
    (result,) = recover(store, NOW)
    assert result.outcome is Outcome.POSTPONED
    assert "is the key store mounted?" in result.detail
    store.close()
    for changed in (header[:-1], bytes(len(header))):
        machine.disk.put(path, changed)
        store = _store(machine)
        (result,) = recover(store, NOW)
        assert (result.outcome, "altered" in result.detail) == (Outcome.POSTPONED, True)
        store.close()
    machine.disk.put(path, header)
    (result,) = recover(_store(machine), NOW)
    assert (result.outcome, result.frames) == (Outcome.SEALED, 1000)


def test_an_old_catalogue_put_back_erases_nothing() -> None:
    machine = _crashed()
    empty = Machine(disk=machine.disk)
    store = _store(empty)
    (result,) = recover(store, NOW)
    assert (result.recording, result.outcome) == (tags(1).recording, Outcome.POSTPONED)
    assert "no row" in result.detail
    store.close()
    (result,) = recover(_store(machine.reboot()), NOW)
    assert (result.outcome, result.frames) == (Outcome.SEALED, 1000)


@pytest.mark.parametrize("operations", range(1, 14))
def test_a_discard_that_has_begun_is_finished_after_a_crash(operations: int) -> None:
    machine = Machine()
    store = machine.start()
    writer = store.open(tags(1), PARTIES, AUDIO, NOW)
    writer.write(audio(1, 40_000))
    assert store.sync() == ()
    machine.plan.fault, machine.plan.sticky = Fault.CRASH, True
    machine.plan.fail_at = machine.plan.operations + operations
    with contextlib.suppress(Crash):
        writer.discard("opt_out", NOW)
    after = machine.reboot(Loss.TORN, random.Random(operations))
    recover(_store(after), NOW)
    stone = after.catalogue.tombstone(tags(1).recording)
    assert stone is not None
    assert stone.cause == "opt_out"
    assert not [path for path in after.disk.contents() if tags(1).recording.text in path]


def test_free_space_is_that_of_the_directory() -> None:
    assert Machine().start().free_bytes() > 0


def _store(machine: Machine) -> RecordingStore:
    return RecordingStore(
        machine.files, machine.catalogue, machine.audit, [IDENTITY.recipient], segment_bytes=SEGMENT_BYTES
    )


class Lives(RuleBasedStateMachine):
    """Any calls, any faults, any loss of power: what was promised is there afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine()
        self.number = 0
        self.chance = random.Random(0)

    @initialize()
    def power_on(self) -> None:
        self.store = self.machine.start()

    def live(self) -> list[int]:
        return sorted(self.machine.writers)

    @precondition(lambda self: len(self.machine.writers) < 4)
    @rule()
    def open(self) -> None:
        self.number += 1
        with watched(self.machine.ledger):
            self.machine.open(self.store, self.number)

    @precondition(lambda self: self.machine.writers)
    @rule(data=st.data(), frames=st.sampled_from([1, 160, 8_000, 32_700, 32_768, 33_000]))
    def write(self, data: st.DataObject, frames: int) -> None:
        number = data.draw(st.sampled_from(self.live()))
        written = len(self.machine.promises[number].written) // AUDIO.frame_bytes
        with watched(self.machine.ledger):
            self.machine.write(number, min(frames, 100_000 - written))

    @rule()
    def sync(self) -> None:
        with watched(self.machine.ledger):
            self.machine.sync(self.store)

    @precondition(lambda self: self.machine.writers)
    @rule(data=st.data(), how=st.sampled_from(["seal", "seal", "discard", "abort"]))
    def end(self, data: st.DataObject, how: str) -> None:
        number = data.draw(st.sampled_from(self.live()))
        with watched(self.machine.ledger):
            getattr(self.machine, how)(number)

    @rule(
        fault=st.sampled_from([Fault.EIO, Fault.ENOSPC, Fault.SHORT]),
        after=st.integers(0, 12),
    )
    def break_soon(self, fault: Fault, after: int) -> None:
        plan = self.machine.plan
        plan.fault, plan.fail_at = fault, plan.operations + after

    @rule(loss=st.sampled_from(list(Loss)), seed=st.integers(0, 1 << 16))
    def power_off_and_on(self, loss: Loss, seed: int) -> None:
        self.machine.plan.fail_at = None
        self.machine = self.machine.reboot(loss, random.Random(seed))
        with watched(self.machine.ledger):
            self.store = self.machine.start()
        self.machine.check_promises()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.power_off_and_on(Loss.ALL_KEPT, 0)


@pytest.mark.parametrize(
    "examples", [pytest.param(15, id="few"), pytest.param(200, id="many", marks=pytest.mark.faults)]
)
def test_whatever_happens_the_promises_hold(examples: int) -> None:
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@given(
    st.binary(max_size=9),
    st.lists(
        st.tuples(st.sampled_from(["add", "last", "first", "forget"]), st.binary(max_size=9)), max_size=90
    ),
)
def test_pieces_that_no_chunk_holds_are_one_row_of_bytes(
    header: bytes, steps: list[tuple[str, bytes]]
) -> None:
    unsealed, model = Unsealed(header), header
    for what, data in steps:
        count = min(len(data), len(model))
        match what:
            case "add":
                unsealed.add(data)
                model += data
            case "last":
                assert unsealed.last(count) == model[len(model) - count :]
            case "first":
                assert unsealed.first(count) == model[:count]
            case _:
                unsealed.forget(count)
                model = model[count:]
        assert bytes(unsealed) == model
        assert len(unsealed) == len(model)
    unsealed.clear()
    assert bytes(unsealed) == b""
