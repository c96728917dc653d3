"""A chain whose front was removed in its time: as bound as before, whoever has it open, whatever breaks."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from faulty_files import Crash, Fault, FaultPlan, FaultyFiles
from simulated_files import Loss, SimulatedFiles
from storage_machine import NOW, SIGNING_KEY

from storage import AuditChainBroken, AuditLog, ChainFault, StorageError, read_events, read_tail, verify_chain
from storage.audit import CHAIN_PATH
from storage.audit.lines import canonical
from storage.files import Files

DAY = timedelta(days=1)


class Days:
    """A clock that moves on by a day at each line."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        self.at += DAY
        return self.at


def log_of(files: Files, clock: Days) -> AuditLog:
    return AuditLog(files, SIGNING_KEY, "node-1", clock)


def written(disk: SimulatedFiles, count: int = 10) -> Days:
    """A chain of one line a day, the first on ``NOW + DAY``."""
    clock = Days()
    log = log_of(disk, clock)
    for number in range(count):
        log.append("retention.run", {"due": number})
    log.close()
    return clock


def sequence(disk: Files) -> list[object]:
    return [line["seq"] for line in read_events(disk)]


def test_what_is_left_verifies_and_says_where_it_starts() -> None:
    disk = SimulatedFiles()
    clock = written(disk)
    log = log_of(disk, clock)
    cut = log.trim(NOW + 5 * DAY)
    assert cut is not None
    assert (cut.count, cut.last.seq) == (4, 4)
    assert sequence(disk) == [5, 6, 7, 8, 9, 10, 11]
    report = verify_chain(disk, SIGNING_KEY.public_key())
    assert (report.lines, report.starts_after, report.head_seq) == (7, 4, 11)
    assert report.trimmed_until.startswith((NOW + 4 * DAY).isoformat()[:10])
    last = list(read_events(disk))[-1]
    assert (last["event"], last["after"], last["sha256"]) == ("chain.trimmed", 4, cut.last.sha256)
    log.append("retention.run")
    log.close()
    log = log_of(disk, clock)
    log.append("retention.run")
    log.close()
    assert verify_chain(disk, SIGNING_KEY.public_key()).lines == 9


def test_a_line_on_the_instant_stays_and_nothing_young_goes() -> None:
    disk = SimulatedFiles()
    log = log_of(disk, written(disk))
    before = disk.read(CHAIN_PATH)
    assert log.trim(NOW + DAY) is None
    assert disk.read(CHAIN_PATH) == before
    cut = log.trim(NOW + DAY + timedelta(milliseconds=1))
    assert cut is not None
    assert cut.count == 1


def test_it_may_be_trimmed_again() -> None:
    disk = SimulatedFiles()
    clock = written(disk)
    log = log_of(disk, clock)
    assert log.trim(NOW + 3 * DAY) is not None
    assert log.trim(NOW + 3 * DAY) is None
    cut = log.trim(NOW + 7 * DAY)
    assert cut is not None
    assert (cut.count, cut.last.seq) == (4, 6)
    report = verify_chain(disk, SIGNING_KEY.public_key())
    assert (report.starts_after, report.lines) == (6, 6)


def test_who_has_the_chain_open_goes_on_in_the_new_file() -> None:
    disk = SimulatedFiles()
    clock = written(disk)
    one, other = log_of(disk, clock), log_of(disk, clock)
    one.append("retention.run")
    size = disk.size(CHAIN_PATH)
    assert size is not None
    assert other.trim(NOW + 9 * DAY) is not None
    while (disk.size(CHAIN_PATH) or 0) < size:  # until it is as long as the file that the first one knows
        left = size - (disk.size(CHAIN_PATH) or 0)
        bare = 420
        other.append("retention.run", {"pad": "x" * max(0, min(400, left - bare))})
    one.append("retention.run", {"due": 99})
    one.flush()
    assert [line.get("due") for line in read_events(disk)][-1] == 99
    verify_chain(disk, SIGNING_KEY.public_key())


def test_pages_go_on_across_a_trim() -> None:
    disk = SimulatedFiles()
    clock = written(disk)
    newest = read_tail(disk, None, 3)
    log_of(disk, clock).trim(NOW + 5 * DAY)
    older = read_tail(disk, newest.older, 2)
    assert [line["seq"] for line in older.lines] == [7, 6]
    last = read_tail(disk, older.older, 100)
    assert ([line["seq"] for line in last.lines], last.older) == ([5], None)
    assert read_tail(disk, 10, 5).lines == ()


def _edit(disk: SimulatedFiles, place: int, raw: bytes | None) -> None:
    lines = disk.read(CHAIN_PATH).splitlines(keepends=True)
    lines[place : place + 1] = [] if raw is None else [raw]
    handle = disk.reopen(CHAIN_PATH, 0)
    handle.write(b"".join(lines))
    handle.close()


def test_a_base_that_nobody_signed_is_named() -> None:
    disk = SimulatedFiles()
    log_of(disk, written(disk)).trim(NOW + 5 * DAY)
    base = json.loads(disk.read(CHAIN_PATH).splitlines()[0])
    _edit(disk, 0, canonical({**base, "base": 3}) + b"\n")
    with pytest.raises(AuditChainBroken) as caught:
        verify_chain(disk, SIGNING_KEY.public_key())
    assert caught.value.fault is ChainFault.BAD_SIGNATURE


def test_a_front_that_was_cut_off_without_a_line_is_a_gap() -> None:
    """Whoever has the key can sign a base, but the chain itself does not tell of it."""
    disk = SimulatedFiles()
    written(disk)
    lines = disk.read(CHAIN_PATH).splitlines(keepends=True)
    third = json.loads(lines[3])
    body = {
        "v": 1,
        "base": 3,
        "sha256": third["prev"],
        "until": third["ts"],
        "removed": sum(map(len, lines[:3])),
    }
    sig = base64.b64encode(SIGNING_KEY.sign(canonical(body))).decode()
    handle = disk.reopen(CHAIN_PATH, 0)
    handle.write(canonical({**body, "sig": sig}) + b"\n" + b"".join(lines[3:]))
    handle.close()
    with pytest.raises(AuditChainBroken, match="no line says why"):
        verify_chain(disk, SIGNING_KEY.public_key())


@pytest.mark.parametrize("place", [1, 3])
def test_a_gap_behind_the_base_is_named_by_its_number(place: int) -> None:
    disk = SimulatedFiles()
    log_of(disk, written(disk)).trim(NOW + 5 * DAY)
    _edit(disk, place, None)
    with pytest.raises(AuditChainBroken) as caught:
        verify_chain(disk, SIGNING_KEY.public_key())
    assert (caught.value.line, caught.value.fault) == (4 + place, ChainFault.GAP)


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("loss", list(Loss))
def test_wherever_it_breaks_the_chain_is_sound_and_goes_on(fault: Fault, loss: Loss) -> None:
    for rung in range(200):
        disk = SimulatedFiles()
        clock = written(disk)
        plan = FaultPlan()
        files = FaultyFiles(disk, plan)
        log = log_of(files, clock)
        log.append("retention.run")
        log.flush()
        plan.fail_at, plan.fault = plan.operations + rung, fault
        with contextlib.suppress(StorageError, Crash):
            log.trim(NOW + 5 * DAY)
        if plan.fired is None:
            assert rung > 8
            return
        after = disk.after_power_loss(loss, random.Random(rung))
        again = log_of(after, clock)
        again.append("retention.run", {"due": 1})
        again.close()
        report = verify_chain(after, SIGNING_KEY.public_key())
        assert report.starts_after in {0, 4}
        again = log_of(after, clock)
        again.trim(NOW + 5 * DAY)
        again.close()
        assert verify_chain(after, SIGNING_KEY.public_key()).starts_after == 4
    pytest.fail("it never got through")


def test_the_verifier_without_recproxy_says_the_same(tmp_path: Path) -> None:
    verifier = Path(__file__).resolve().parents[1] / "tools" / "verify_audit.py"
    if not verifier.exists():
        pytest.skip("runs where the tools are")
    disk = SimulatedFiles()
    log = log_of(disk, written(disk))
    log.trim(NOW + 5 * DAY)
    log.close()
    for name in ("chain.jsonl", "head.json"):
        (tmp_path / name).write_bytes(disk.read(f"audit/{name}"))
    key = SIGNING_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "audit.pub").write_bytes(key)
    command = [sys.executable, str(verifier), str(tmp_path), str(tmp_path / "audit.pub")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("sound: 7 lines, after 4 that were removed in their time")
    lines = (tmp_path / "chain.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "chain.jsonl").write_bytes(b"".join(lines[2:]))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 20
