"""Twelve tests that somebody from outside can run: what the law wants of a recorder, seen from outside."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import command_line
import pytest
import sdp_bodies
import yaml
from daemon import Purpose, Settings, age_decrypt
from policies import KEY, one_purpose, policy_text, whole
from processes import ProcessError
from recorded import CALLEE, Shelf, Take, make_shelf, record
from rig import CALLER_NUMBER, NUMBER, Call, Rig
from rtp_peer import RtpPeer

from recproxy.policy import number_token
from storage import (
    AuditLog,
    Catalogue,
    ClockBounds,
    ClockGuard,
    ClockReading,
    LegalBasis,
    OsFiles,
    Retention,
    load_signing_key,
    sqlite_url,
)

pytestmark = [pytest.mark.interop, pytest.mark.law]

CODECS = (sdp_bodies.PCMU, sdp_bodies.TELEPHONE_EVENT)
LONG = "Dit gesprek wordt opgenomen, en deze mededeling duurt langer dan een ademtocht. " * 2
OPT_OUT = {"choice": {"mode": "opt_out", "keys": ["9"], "staff_keys": ["*9"]}}
DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)

MakeRig = Callable[..., Rig]


def started(make_rig: MakeRig, change: Callable[[dict[str, Any]], None] | None = None, **purpose: Any) -> Rig:
    """A daemon with one purpose, and whatever else of its policy a test wants."""
    rig = make_rig(Settings({"training": Purpose(**purpose)}))
    if change is not None:
        policy = yaml.safe_load(rig.daemon.policy.read_text())
        change(policy)
        rig.daemon.policy.write_text(policy_text(policy))
    rig.daemon.start()
    return rig


def press(peer: RtpPeer, call: Call, keys: str) -> None:
    peer.press(keys, sdp_bodies.media_target(call.caller.remote_sdp))


def recordings(rig: Rig) -> list[Any]:
    found: list[Any] = json.loads(rig.daemon.cli("recordings", "list", "--json").stdout)["recordings"]
    return found


def ssrc_heard(peer: RtpPeer, ssrc: int) -> None:
    peer.wait_heard(lambda heard: any(packet.ssrc == ssrc for packet in heard), what="the other party")


def test_01_an_announcement_cut_at_ninety_percent_stores_not_a_byte(make_rig: MakeRig) -> None:
    rig = started(make_rig, text=LONG)
    whole_call = rig.dial(seed=1)
    rig.daemon.wait("notice.completed", call_ref=whole_call.ref)
    frames = sum(packet.ssrc != 0x22220001 for packet in whole_call.left.heard if len(packet.data) > 12)
    whole_call.hang_up()
    rig.sealed(whole_call)
    kept = {path.name for path in rig.daemon.bodies()}

    cut = rig.dial(seed=2)
    cut.left.wait_count(frames * 9 // 10)
    cut.hang_up()
    ended = rig.daemon.wait("call.ended", call_ref=cut.ref)
    assert (ended["notice"], ended.recording) == ("failed", "")
    rig.daemon.stop()
    assert {path.name for path in rig.daemon.bodies()} == kept
    for path in rig.daemon.files():
        content = path.read_bytes()
        for talk in (cut.left_talk, cut.right_talk):
            assert all(talk.sent[at : at + 24] not in content for at in range(0, len(talk.sent) - 24, 400))


def test_02_a_no_at_the_last_moment_leaves_a_trace_and_no_key(make_rig: MakeRig) -> None:
    rig = started(make_rig, text="Opname. Geen opname? Toets 9.", more=OPT_OUT)
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    rig.talk_on(call, 2.0)
    press(call.left, call, "9")
    rig.daemon.wait("recording.discarded", call_ref=call.ref)
    call.hang_up()
    rig.daemon.wait("call.ended", call_ref=call.ref)
    rig.keeps_nothing_of(call)
    shown = json.loads(rig.daemon.cli("recordings", "show", recording, "--json").stdout)
    assert shown["state"] == "discarded"
    assert not {"caller", "callee", "parties"} & set(shown)


def test_03_112_is_connected_at_once_though_the_policy_is_broken(make_rig: MakeRig) -> None:
    rig = started(make_rig, text=LONG)
    rig.daemon.policy.write_text("version: 1\npurposes: {")
    rig.daemon.signal(signal.SIGHUP)
    rig.daemon.wait("policy.rejected")
    call = rig.dial(number="112")
    ssrc_heard(call.left, 0x22220001)
    assert {packet.ssrc for packet in call.left.heard if len(packet.data) > 12} == {0x22220001}
    call.hang_up()
    rig.daemon.wait("call.ended", call_ref=call.ref)
    rig.keeps_nothing_of(call)


def test_04_on_hold_nothing_is_recorded_and_the_gap_is_counted(make_rig: MakeRig) -> None:
    rig = started(make_rig)
    call = rig.dial(seconds=30)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.0)
    held = sdp_bodies.audio(call.right.address, call.right.port, direction="sendonly", version=2)
    assert call.callee.reinvite(held).code == 200
    rig.daemon.wait("recording.paused", call_ref=call.ref)
    quiet_from = len(call.right_talk.sent)
    call.left.wait_count(len(call.left.heard) + 75)  # music, by the side that holds
    quiet_to = len(call.right_talk.sent)
    back = sdp_bodies.audio(call.right.address, call.right.port, version=3)
    assert call.callee.reinvite(back).code == 200
    rig.daemon.wait("recording.resumed", call_ref=call.ref)
    rig.talk_on(call, 1.0)
    call.hang_up()
    assert rig.sealed(call)["paused_ms"] >= 1000
    said = rig.wave(recording).channel(1)
    music = call.right_talk.sent[quiet_from:quiet_to]
    assert len(music) > 8000
    assert all(music[at : at + 160] not in said for at in range(0, len(music) - 160, 160))


def test_05_a_call_that_goes_on_to_a_lawyer_is_not_recorded(make_rig: MakeRig) -> None:
    lawyer = "+31205550199"

    def confidential(policy: dict[str, Any]) -> None:
        policy["exempt"]["confidential"] = {"file": "confidential.hmac", "key_file": "confidential.key"}

    rig = make_rig(Settings({"training": Purpose()}))
    here = rig.daemon.directory
    (here / "confidential.key").write_text(KEY)
    (here / "confidential.key").chmod(0o600)
    (here / "confidential.hmac").write_text(number_token(bytes.fromhex(KEY), lawyer) + "\n")
    policy = yaml.safe_load(rig.daemon.policy.read_text())
    confidential(policy)
    rig.daemon.policy.write_text(policy_text(policy))
    rig.daemon.start()
    first = rig.dial(seed=1)
    rig.recorded(first)
    onward = rig.dial(number=lawyer, seed=2)  # the switchboard's transfer: a call of its own
    ssrc_heard(onward.left, 0x22220002)
    onward.hang_up()
    assert rig.daemon.wait("call.ended", call_ref=onward.ref).recording == ""
    first.hang_up()
    rig.sealed(first)
    assert len(recordings(rig)) == 1
    assert lawyer[1:] not in rig.daemon.policy.read_text() + (here / "confidential.hmac").read_text()


def test_06_a_sample_is_gone_after_fourteen_days_and_no_backup_brings_it_back(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    sample = Take(1, NOW - DAY, kept=14 * DAY)
    record(shelf, sample)
    backup = tmp_path / "backup"
    shutil.copytree(shelf.data, backup)
    key, body = shelf.key(sample.id), shelf.body(sample.id)
    assert age_decrypt(key.read_bytes() + body.read_bytes(), shelf.identity)
    files = OsFiles(shelf.data)
    catalogue = Catalogue.open(files, sqlite_url(str(shelf.data / "catalogue.sqlite")))
    signing = load_signing_key(OsFiles(shelf.root), "audit.key")
    audit = AuditLog(files, signing, "rig", lambda: NOW + 14 * DAY, "retention")
    sweeper = Retention(files, catalogue, audit, ClockGuard(files, ClockBounds()))
    assert sweeper.sweep(ClockReading(NOW + 13 * DAY - timedelta(seconds=1), 1e6, "b")).shredded == ()
    assert len(sweeper.sweep(ClockReading(NOW + 13 * DAY, 1e6 + 1, "b")).shredded) == 1
    audit.close()
    catalogue.close()
    # What a backup holds beyond the horizon of the keys: the bodies and the catalogue.
    shutil.copytree(backup / "recordings", shelf.data / "recordings", dirs_exist_ok=True)
    shutil.copy(backup / "catalogue.sqlite", shelf.data / "catalogue.sqlite")
    for journal in shelf.data.glob("catalogue.sqlite-*"):
        journal.unlink()
    with pytest.raises(ProcessError):
        age_decrypt(shelf.body(sample.id).read_bytes(), shelf.identity)
    asked = command_line.recproxy("recordings", "verify", sample.id, "-c", shelf.config, "-i", shelf.identity)
    assert asked.code == 20
    assert command_line.recproxy("audit", "verify", "-c", shelf.config).code == 20, "the chain saw it go"


def test_07_a_longer_term_changes_no_recording_that_exists(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    record(shelf, Take(1, NOW - DAY))
    (shelf.root / "policy.yaml").write_text(
        policy_text(whole({"training": one_purpose(retention__keep="P90D")}))
    )
    assert command_line.recproxy("retention", "--once", "-c", shelf.config).code == 0
    shown = json.loads(command_line.recproxy("recordings", "show", "1", "-c", shelf.config, "--json").out)
    assert datetime.fromisoformat(shown["expiry"]) == NOW + 29 * DAY


def opened(shelf: Shelf, kind: str, number: str) -> dict[str, Any]:
    done = command_line.recproxy(
        *("subject", "open", "--kind", kind, "-c", shelf.config, "--json"), stdin=number.encode()
    )
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_08_erasure_of_what_a_statute_keeps_is_refused_with_its_reason(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    (shelf.root / "cases").mkdir(mode=0o700)
    order = Take(1, NOW - DAY, basis=LegalBasis.LEGAL_OBLIGATION, index=True)
    record(shelf, order)
    case, letter = opened(shelf, "erase", CALLER_NUMBER), tmp_path / "letter.md"
    done = command_line.recproxy(
        *("subject", "erase", case["id"], "-c", shelf.config, "--yes", "--json"),
        *("--letter", letter, "--lang", "en"),
    )
    assert [one["outcome"] for one in json.loads(done.out)["recordings"]] == ["refused_statute"]
    assert "GDPR art. 17(3)(b)" in letter.read_text()
    assert shelf.key(order.id).exists()


def test_09_a_number_finds_all_of_its_own_calls_and_no_other(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    (shelf.root / "cases").mkdir(mode=0o700)
    mine = [Take(number, NOW - number * DAY, index=True) for number in range(1, 6)]
    called = Take(6, NOW - DAY, caller=CALLEE, callee=CALLER_NUMBER, index=True)
    others = [Take(n, NOW - DAY, caller=f"+3120555{n:04}", index=True) for n in range(7, 12)]
    record(shelf, *mine, called, *others)
    found = opened(shelf, "access", CALLER_NUMBER)["recordings"]
    assert {one["id"] for one in found} == {take.id for take in (*mine, called)}


def test_10_no_number_no_key_pressed_and_no_media_key_is_in_a_log(make_rig: MakeRig) -> None:
    rig = started(make_rig, text="Opname. Geen opname? Toets 9.", more=OPT_OUT)
    call = rig.dial(codecs=CODECS)
    rig.recorded(call)
    press(call.left, call, "4711")
    rig.talk_on(call, 0.5)
    call.hang_up()
    assert rig.daemon.wait("call.ended", call_ref=call.ref)["keys_pressed"] == 4
    rig.sealed(call)
    rig.daemon.stop()
    said = rig.daemon.everything_said + (rig.daemon.data / "audit" / "chain.jsonl").read_text()
    for secret in (CALLER_NUMBER[3:], NUMBER[3:], "4711", "a=crypto", "inline:", "AGE-SECRET-KEY"):
        assert not re.search(rf"(?<![0-9a-f]){re.escape(secret)}(?![0-9a-f])", said), secret


def test_11_a_line_or_a_chunk_that_is_missing_is_found(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    take = Take(1, NOW - DAY, seconds=20)
    record(shelf, take)
    check = ("audit", "verify", "-c", shelf.config)
    assert command_line.recproxy(*check).code == 0
    chain = shelf.data / "audit" / "chain.jsonl"
    lines = chain.read_bytes().splitlines(keepends=True)
    whole_chain = chain.read_bytes()
    chain.write_bytes(b"".join(lines[: len(lines) // 2] + lines[len(lines) // 2 + 1 :]))
    done = command_line.recproxy(*check)
    assert done.code == 20
    assert "line" in done.err
    chain.write_bytes(whole_chain)
    assert command_line.recproxy(*check).code == 0
    body = shelf.body(take.id)
    sealed = body.read_bytes()
    chunk = 65_536 + 16
    body.write_bytes(sealed[:16] + sealed[16 + chunk :])
    done = command_line.recproxy("recordings", "verify", "1", "-c", shelf.config, "-i", shelf.identity)
    assert done.code == 20


def test_12_a_german_caller_who_presses_nothing_is_not_recorded(make_rig: MakeRig) -> None:
    def german(policy: dict[str, Any]) -> None:
        policy["jurisdictions"]["by_prefix"] = {"+49": "DE"}

    words = "Opname? Toets 1 voor ja."
    choice = {"mode": "opt_in", "keys": ["1"], "timeout": "PT2S"}
    rig = started(make_rig, german, text=words, more={"choice": choice})
    silent = rig.dial(codecs=CODECS, caller="+493012345678", seed=1)
    rig.daemon.wait("choice.expired", call_ref=silent.ref)
    ssrc_heard(silent.left, 0x22220001)
    silent.hang_up()
    assert rig.daemon.wait("call.ended", call_ref=silent.ref).recording == ""
    rig.keeps_nothing_of(silent)
    agreed = rig.dial(codecs=CODECS, caller="+493012345678", seed=2)
    rig.daemon.wait("notice.completed", call_ref=agreed.ref)
    press(agreed.left, agreed, "1")
    rig.recorded(agreed)
    agreed.hang_up()
    rig.sealed(agreed)
