"""The audit chain: every edit, gap, reorder, cut and foreign signature is named."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from faulty_files import Crash, Fault, FaultPlan, FaultyFiles
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_files import Loss, SimulatedFiles

from storage import AuditChainBroken, AuditError, AuditLog, ChainFault, verify_chain
from storage.audit import CHAIN_PATH, HEAD_PATH, read_events
from storage.durable import replace
from storage.errors import FileFault, StorageError
from storage.files import Files

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
LINES = 6


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def log(files: Files, key: Ed25519PrivateKey = KEY, actor: str = "daemon") -> AuditLog:
    return AuditLog(files, key, "node-1", Clock(), actor)


def chain(lines: int = LINES) -> SimulatedFiles:
    disk = SimulatedFiles()
    audit = log(disk)
    for number in range(lines):
        audit.append("rec.started", {"rec": f"{number:032x}", "number": number})
    audit.close()
    return disk


def put(disk: SimulatedFiles, lines: list[bytes]) -> None:
    replace(disk, CHAIN_PATH, b"".join(lines))


def lines_of(disk: SimulatedFiles) -> list[bytes]:
    return disk.read(CHAIN_PATH).splitlines(keepends=True)


def broken(disk: SimulatedFiles) -> tuple[int, ChainFault]:
    with pytest.raises(AuditChainBroken) as caught:
        verify_chain(disk, KEY.public_key())
    assert f"line {caught.value.line}" in str(caught.value)
    return caught.value.line, caught.value.fault


def test_a_sound_chain_verifies() -> None:
    disk = chain()
    report = verify_chain(disk, KEY.public_key())
    assert (report.lines, report.head_seq) == (LINES, LINES)
    assert report.first_ts == "2026-01-01T00:00:01.000Z"
    line = json.loads(lines_of(disk)[2])
    assert list(line) == ["v", "seq", "ts", "node", "event", "actor", "rec", "number", "key", "prev", "sig"]
    assert line["seq"] == 3


def test_an_empty_chain_verifies() -> None:
    assert verify_chain(SimulatedFiles(), KEY.public_key()).lines == 0


@pytest.mark.parametrize("place", range(LINES))
@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(b'"outcome"', b'"Outcome"').replace(b"rec.started", b"rec.stopped"),
        lambda line: line.replace(b'"number":', b'"number": '),
        lambda line: line.replace(b"2026-01-01", b"2026-01-02"),
        lambda line: line.replace(b'"actor":"daemon"', b'"actor":"nobody"'),
    ],
)
def test_every_edit_is_named(place: int, change: object) -> None:
    disk = chain()
    lines = lines_of(disk)
    assert callable(change)
    edited = change(lines[place])
    assert edited != lines[place]
    put(disk, [*lines[:place], edited, *lines[place + 1 :]])
    assert broken(disk) == (place + 1, ChainFault.EDIT)


@pytest.mark.parametrize("place", range(LINES - 1))
def test_every_gap_is_named(place: int) -> None:
    disk = chain()
    lines = lines_of(disk)
    put(disk, lines[:place] + lines[place + 1 :])
    assert broken(disk) == (place + 1, ChainFault.GAP)


@pytest.mark.parametrize(("one", "two"), [(a, b) for a in range(LINES) for b in range(a + 1, LINES)])
def test_every_reorder_is_named(one: int, two: int) -> None:
    disk = chain()
    lines = lines_of(disk)
    lines[one], lines[two] = lines[two], lines[one]
    put(disk, lines)
    assert broken(disk) == (one + 1, ChainFault.REORDER)


@pytest.mark.parametrize("place", range(LINES))
def test_every_repetition_is_named(place: int) -> None:
    disk = chain()
    lines = lines_of(disk)
    put(disk, [*lines[: place + 1], lines[place], *lines[place + 1 :]])
    assert broken(disk) == (place + 2, ChainFault.REORDER)


@pytest.mark.parametrize("left", range(LINES))
def test_every_cut_tail_is_named(left: int) -> None:
    disk = chain()
    put(disk, lines_of(disk)[:left])
    assert broken(disk) == (left + 1, ChainFault.CUT_TAIL)
    with pytest.raises(AuditChainBroken, match="cut tail"):
        log(disk).append("rec.started")


def test_a_missing_chain_is_a_cut_tail() -> None:
    disk = chain()
    disk.unlink(CHAIN_PATH)
    assert broken(disk) == (1, ChainFault.CUT_TAIL)
    with pytest.raises(AuditChainBroken, match="missing"):
        log(disk).append("rec.started")


def test_a_running_process_notices_a_cut_tail_that_its_head_does_not_cover() -> None:
    disk = SimulatedFiles()
    audit = log(disk)
    for _ in range(3):
        audit.append("rec.started")
    put(disk, lines_of(disk)[:2])
    with pytest.raises(AuditChainBroken, match="cut tail"):
        audit.append("rec.sealed")


@pytest.mark.parametrize("place", range(LINES))
def test_a_line_signed_by_another_key_is_named(place: int) -> None:
    disk, foreign = chain(), SimulatedFiles()
    audit = log(foreign, OTHER_KEY)
    for number in range(LINES):
        audit.append("rec.started", {"rec": f"{number:032x}", "number": number})
    lines = lines_of(disk)
    lines[place] = lines_of(foreign)[place]
    put(disk, lines)
    assert broken(disk) == (place + 1, ChainFault.BAD_SIGNATURE)


def test_a_head_of_another_key_is_named() -> None:
    disk, foreign = chain(), SimulatedFiles()
    audit = log(foreign, OTHER_KEY)
    audit.append("rec.started")
    audit.close()
    replace(disk, HEAD_PATH, foreign.read(HEAD_PATH))
    assert broken(disk)[1] is ChainFault.BAD_HEAD


def test_a_missing_head_is_named() -> None:
    disk = chain()
    disk.unlink(HEAD_PATH)
    assert broken(disk)[1] is ChainFault.BAD_HEAD


@pytest.mark.parametrize("text", [b"\n", b"[]\n", b"{\n", b"\xff\n"])
def test_a_malformed_line_is_named(text: bytes) -> None:
    disk = chain()
    lines = lines_of(disk)
    put(disk, [*lines[:2], text, *lines[2:]])
    assert broken(disk) == (3, ChainFault.MALFORMED)


def test_a_replaced_chain_of_the_same_length_is_named() -> None:
    disk, other = chain(), chain(0)
    audit = log(other)
    for _ in range(LINES):
        audit.append("rec.sealed")
    put(disk, lines_of(other))
    assert broken(disk) == (LINES, ChainFault.EDIT)


def test_a_torn_line_is_named_and_the_next_append_mends_it() -> None:
    disk = chain()
    lines = lines_of(disk)
    put(disk, [*lines, b'{"v":1,"seq":7,"ts'])
    assert broken(disk) == (LINES + 1, ChainFault.TORN_LINE)
    audit = log(disk)
    audit.append("rec.started")
    audit.close()
    assert verify_chain(disk, KEY.public_key()).lines == LINES + 2
    assert [event["event"] for event in read_events(disk)][-2:] == ["chain.torn_tail_cut", "rec.started"]


@pytest.mark.parametrize("kept", [0, 10, 200])
def test_a_hole_behind_the_head_is_cut_at_the_next_start(kept: int) -> None:
    """Unsynced lines may reach the disk out of order: a page of zeros, then a whole line."""
    disk = SimulatedFiles()
    audit = log(disk)
    audit.append("rec.started")
    audit.flush()
    durable = disk.read(CHAIN_PATH)
    audit.append("rec.paused", durable=False)
    audit.append("rec.resumed", durable=False)
    tail = disk.read(CHAIN_PATH)[len(durable) :]
    first = tail.index(b"\n") + 1
    put(disk, [durable, tail[:kept], bytes(first - kept), tail[first:]])
    successor = log(disk)
    successor.append("store.started")
    successor.close()
    assert verify_chain(disk, KEY.public_key()).lines == 3
    assert [event["event"] for event in read_events(disk)][1:] == ["chain.torn_tail_cut", "store.started"]


def test_an_edit_at_the_head_stops_the_next_start() -> None:
    disk = chain()
    lines = lines_of(disk)
    put(disk, [*lines[:-1], lines[-1].replace(b"rec.started", b"rec.stopped")])
    with pytest.raises(AuditChainBroken, match="edit"):
        log(disk).append("store.started")


def test_two_processes_share_one_chain() -> None:
    disk = SimulatedFiles()
    daemon, retention = log(disk), log(disk, actor="retention")
    for number in range(10):
        (daemon if number % 3 else retention).append("rec.started", {"number": number})
    retention.flush()
    daemon.close()
    report = verify_chain(disk, KEY.public_key())
    assert (report.lines, report.head_seq) == (10, 10)
    assert {event["actor"] for event in read_events(disk)} == {"daemon", "retention"}


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("rec", {}),
        ("Rec.started", {}),
        ("rec.started", {"seq": 1}),
        ("rec.started", {"prev": "x"}),
        ("rec.started", {"Rec": "x"}),
        ("rec.started", {"rec": "x" * 513}),
    ],
)
def test_a_malformed_event_is_refused_and_nothing_is_written(event: str, fields: dict[str, str]) -> None:
    disk = chain()
    with pytest.raises(AuditError):
        log(disk).append(event, fields)
    assert verify_chain(disk, KEY.public_key()).lines == LINES


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["rec", "reason", "n", "flag"]),
            st.text(max_size=40) | st.integers(-(2**53), 2**53) | st.booleans() | st.floats(allow_nan=False),
        ),
        max_size=8,
    )
)
@settings(deadline=None)
def test_any_values_chain(values: list[dict[str, str | int | float | bool]]) -> None:
    disk = SimulatedFiles()
    audit = log(disk)
    for fields in values:
        audit.append("rec.started", fields)
    audit.close()
    assert verify_chain(disk, KEY.public_key()).lines == len(values)
    for fields, event in zip(values, read_events(disk), strict=True):
        assert {name: event[name] for name in fields} == fields


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("loss", list(Loss))
def test_a_fault_at_every_operation_leaves_a_chain_that_goes_on(fault: Fault, loss: Loss) -> None:
    for rung in range(1000):
        plan = FaultPlan(rung, fault)
        disk = SimulatedFiles()
        promised = 0
        try:
            audit = log(FaultyFiles(disk, plan))
            for _ in range(4):
                try:
                    promised = audit.append("rec.started").seq
                    audit.flush()
                except StorageError:
                    continue
            audit.close()
        except FileFault:
            pass
        except Crash:
            pass
        if plan.fired is None:
            assert rung > 20
            return
        after = disk.after_power_loss(loss, random.Random(rung))
        successor = log(after)
        successor.append("rec.sealed")
        successor.close()
        assert verify_chain(after, KEY.public_key()).lines > promised
    raise AssertionError("the ladder has no end")
