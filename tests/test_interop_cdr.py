"""A record for each call through the real daemon: answered, busy, cancelled, blocked, and after a kill."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon import Purpose, Settings, eventually, recproxy
from listening import unmistakable
from peers import Sipp, Speech
from rig import CALLER_NUMBER, NUMBER, Rig
from small_disk import fill, small

from recproxy.cdr import CallDetail, call_id_hash

pytestmark = pytest.mark.interop
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")


def _made(make_rig: Callable[..., Rig], directory: Path, **changes: Any) -> tuple[Rig, Path]:
    records = directory / "cdr"
    cdr = {"directory": str(records), "format": "both", **changes.pop("cdr", {})}
    rig = make_rig(Settings(more={"cdr": cdr}, **changes))
    return rig, records


def _records(records: Path) -> list[CallDetail]:
    lines = b"".join(path.read_bytes() for path in sorted(records.glob("*.jsonl")))
    return [CallDetail.of_json(line) for line in lines.splitlines()]


def _only(records: Path) -> CallDetail:
    eventually(lambda: len(_records(records)) == 1, within_s=20, what="one record")
    return _records(records)[0]


def _sipp(rig: Rig, directory: Path, caller: str, callee: str, **changes: Any) -> None:
    """One call of two sipps through the daemon, to the end of both."""
    rig.caller.close()
    rig.callee.close()
    said = directory / "said.ul"
    said.write_bytes(unmistakable(20, 44))
    common: dict[str, Any] = {"remote": rig.daemon.sip, "directory": directory, "speech": Speech(said)}
    with contextlib.ExitStack() as stack:
        answering = None
        if callee:
            answering = stack.enter_context(Sipp(callee, at=rig.lease.addresses.callee, **common, **changes))
            answering.wait_bound()
        calling = stack.enter_context(Sipp(caller, at=rig.lease.addresses.caller, **common, **changes))
        calling.finish()
        if answering is not None:
            answering.finish()


def test_an_answered_and_recorded_call(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    rig, records = _made(make_rig, tmp_path)
    rig.daemon.start()
    _sipp(rig, tmp_path, "caller", "callee", talk_ms=4000)
    sealed = rig.daemon.wait("recording.sealed")
    ended = rig.daemon.wait("call.ended")
    one = _only(records)
    assert (one.call_ref, one.recording) == (ended["call_ref"], sealed.recording)
    assert (one.outcome, one.code, one.ended_by) == ("answered", 200, "caller")
    assert (one.recording_result.value, one.purpose, one.codec) == ("ok", "training", "PCMU")
    assert (one.direction, one.trunk_in, one.trunk_out) == ("inbound", "carrier", "pbx")
    assert (one.caller, one.callee) == ("+3161•••••78", "+3130•••••67")
    assert one.answered is not None
    assert one.started < one.answered < one.ended
    assert one.talk_s == pytest.approx((one.ended - one.answered).total_seconds(), abs=0.2)
    assert min(one.caller_received, one.callee_received) > 100
    assert (one.caller_lost, one.callee_lost, one.dropped) == (0, 0, 0)
    assert len({one.caller_call_id_sha256, one.callee_call_id_sha256, ""}) == 3
    assert [oct(path.stat().st_mode & 0o777) for path in (records, *records.iterdir())] == [
        "0o700",
        "0o600",
        "0o600",
    ]
    everything = b"".join(path.read_bytes() for path in records.iterdir())
    for secret in (NUMBER, CALLER_NUMBER, NUMBER[3:], CALLER_NUMBER[3:], rig.lease.addresses.caller):
        assert secret.encode() not in everything
    exported = rig.daemon.cli("cdr", "export", "--format", "csv").stdout.encode().replace(b"\r\n", b"\n")
    assert exported == next(records.glob("*.csv")).read_bytes().replace(b"\r\n", b"\n")


@pytest.mark.parametrize("code", [404, 486])
def test_a_call_that_the_callee_refuses(make_rig: Callable[..., Rig], tmp_path: Path, code: int) -> None:
    rig, records = _made(make_rig, tmp_path)
    rig.daemon.start()
    _sipp(rig, tmp_path, "caller_refused", "callee_refuses", code=code)
    one = _only(records)
    assert (one.outcome, one.code, one.reason, one.ended_by) == ("failed", code, "No", "callee")
    assert (one.answered, one.talk_s, one.recording_result.value) == (None, 0.0, "none")


def test_a_call_that_is_cancelled(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    rig, records = _made(make_rig, tmp_path)
    rig.daemon.start()
    _sipp(rig, tmp_path, "caller_cancel", "callee_cancelled")
    one = _only(records)
    assert (one.outcome, one.code, one.ended_by) == ("cancelled", 487, "caller")
    assert (one.answered, one.recording, one.recording_result.value) == (None, "", "none")


@needs_root
def test_a_call_that_is_blocked_since_it_cannot_be_recorded(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig, records = _made(make_rig, tmp_path, purposes={"training": Purpose(on_failure="block_call")})
    with small(rig.daemon.data, "32m"):  # less than the recorder wants
        rig.daemon.start()
        _sipp(rig, tmp_path, "caller_refused", "", code=503)
        one = _only(records)
        rig.daemon.close()
    assert (one.outcome, one.code, one.ended_by) == ("failed", 503, "recproxy")
    assert (one.recording_result.value, one.recording, one.notice) == ("blocked", "", "failed")


@needs_root
def test_calls_go_on_while_records_cannot_be_written_and_each_is_written_later(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig, records = _made(make_rig, tmp_path)
    with small(records, "64k") as filler:
        fill(filler)
        rig.daemon.start()
        refs = []
        for seed in (1, 2):
            call = rig.dial(seed=seed, seconds=10)
            rig.recorded(call)
            call.hang_up()
            rig.sealed(call)
            refs.append(call.ref)
        failed = rig.daemon.wait("cdr.failed")
        assert "No space left" in failed["why"]
        filler.unlink()
        assert rig.daemon.wait("cdr.recovered")["count"] == 0
        eventually(lambda: len(_records(records)) == 2, within_s=20, what="both records")
        assert [one.call_ref for one in _records(records)] == refs
        rig.daemon.close()


def test_a_killed_daemon_leaves_no_half_line_and_the_next_one_goes_on(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig, records = _made(make_rig, tmp_path)
    rig.daemon.start()
    refs = []
    for seed in (1, 2, 3):
        call = rig.dial(seed=seed, seconds=10)
        rig.recorded(call)
        call.hang_up()
        rig.sealed(call)
        refs.append(call.ref)
        eventually(lambda: len(_records(records)) == len(refs), within_s=20, what="the record")
        rig.daemon.kill()
        newest = max(records.glob("*.jsonl"))
        with newest.open("ab") as torn:  # as a crash in mid-write leaves it
            torn.write(b'{"v": 1, "call_ref": "0123')
        listed = rig.daemon.cli("cdr", "list", "--json")
        assert [one["call_ref"] for one in json.loads(listed.stdout)["calls"]] == refs
        assert f"{newest.name}:" in listed.stderr
        assert "an unfinished line of 26 bytes" in listed.stderr
        rig.daemon.start()
    call = rig.dial(seed=9, seconds=10)
    call.hang_up()
    assert rig.daemon.wait("cdr.mended")["file"].endswith(".jsonl")
    eventually(lambda: len(_records(records)) == 4, within_s=20, what="the record")
    assert rig.daemon.cli("cdr", "list").stderr == ""


def test_the_numbers_are_there_for_the_identity_and_that_is_audited(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig, records = _made(make_rig, tmp_path, cdr={"numbers": "encrypted", "format": "jsonl"})
    rig.daemon.start()
    call = rig.dial(seconds=10)
    call.hang_up()
    one = _only(records)
    assert NUMBER[1:].encode() not in b"".join(path.read_bytes() for path in records.iterdir())
    opened = subprocess.run(
        ["sh", "-euc", f"base64 -d | age -d -i {rig.daemon.identity}"],
        input=one.numbers_age,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(opened.stdout) == {"caller": CALLER_NUMBER, "callee": NUMBER}
    shown = rig.daemon.cli("cdr", "export", "-i", str(rig.daemon.identity), "--why", "ticket 7").stdout
    assert (json.loads(shown)["caller"], json.loads(shown)["callee"]) == (CALLER_NUMBER, NUMBER)
    chain = (rig.daemon.data / "audit" / "chain.jsonl").read_text()
    line = next(json.loads(line) for line in chain.splitlines() if '"parties.opened"' in line)
    assert (line["what"], line["reason"]) == ("call detail records", "ticket 7")
    found = rig.daemon.cli("cdr", "list", "--call-id", call.caller.call_id, "--json").stdout
    assert json.loads(found)["calls"][0]["call_ref"] == call.ref
    assert one.caller_call_id_sha256 == call_id_hash(call.caller.call_id)


def test_retention_destroys_a_day_that_is_over(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    rig, records = _made(make_rig, tmp_path, cdr={"keep": "P2D"})
    rig.daemon.start()
    old = records / "2026-01-01.jsonl.gz"
    old.write_bytes(b"rotated away")
    done = subprocess.run(
        [*recproxy(), "retention", "--once", "--config", str(rig.daemon.config)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"cdr.expired"' in done.stdout
    assert not old.exists()
    rig.daemon.cli("audit", "verify")
