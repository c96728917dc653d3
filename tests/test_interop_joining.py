"""Calls that are sent on to somebody else while they are recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sdp_bodies
import yaml
from daemon import Purpose, Settings
from policies import KEY, policy_text
from rig import Call, Rig

from recproxy.policy import number_token

pytestmark = pytest.mark.interop

CODECS = (sdp_bodies.PCMU, sdp_bodies.TELEPHONE_EVENT)
LAWYER = "+31205550199"
STRANGER = "+31201234567"
FRAME = 160


def started(make_rig: Callable[..., Rig], *, text: str = "Opname.", **more: Any) -> Rig:
    """A daemon that knows a confidential number."""
    rig = make_rig(Settings({"training": Purpose(text=text, more=more)}))
    here = rig.daemon.directory
    (here / "confidential.key").write_text(KEY)
    (here / "confidential.key").chmod(0o600)
    (here / "confidential.hmac").write_text(number_token(bytes.fromhex(KEY), LAWYER) + "\n")
    policy = yaml.safe_load(rig.daemon.policy.read_text())
    policy["exempt"]["confidential"] = {"file": "confidential.hmac", "key_file": "confidential.key"}
    rig.daemon.policy.write_text(policy_text(policy))
    rig.daemon.start()
    return rig


def asserted(number: str) -> tuple[tuple[str, str], ...]:
    return (("P-Asserted-Identity", f"<sip:{number}@example.org>"),)


def nowhere(rig: Rig, number: str) -> None:
    """No log, no chain and no file names whoever joined."""
    assert number[3:] not in rig.daemon.everything_said
    for path in rig.daemon.files():
        assert number[3:].encode() not in path.read_bytes(), path


@pytest.mark.parametrize("how", ["UPDATE", "REFER", "re-INVITE"])
def test_to_a_lawyer_the_recording_is_destroyed_and_the_call_goes_on(
    make_rig: Callable[..., Rig], how: str
) -> None:
    rig = started(make_rig)
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.0)
    match how:
        case "UPDATE":
            assert call.callee.request("UPDATE", headers=asserted(LAWYER)).code == 200
        case "REFER":
            refer = (("Refer-To", f"<sip:{LAWYER}@{rig.callee.host}:5060>"),)
            call.callee.request("REFER", headers=refer)
        case _:
            body = sdp_bodies.audio(call.right.address, call.right.port, codecs=CODECS, version=2)
            assert call.callee.request("INVITE", body, headers=asserted(LAWYER)).code == 200
    joined = rig.daemon.wait("party.joined", call_ref=call.ref)
    assert (joined["leg"], joined["who"]) == ("callee", "confidential")
    assert rig.daemon.wait("recording.discarded", call_ref=call.ref).recording == recording
    rig.talk_on(call, 0.5)
    rig.keeps_nothing_of(call)
    call.hang_up()
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert (ended["recording_state"], ended["code"]) == ("discarded", 200)
    nowhere(rig, LAWYER)


@pytest.mark.parametrize("how", ["UPDATE", "REFER"])
def test_what_a_statute_ordered_before_the_lawyer_came_is_kept_and_no_word_after(
    make_rig: Callable[..., Rig], how: str
) -> None:
    rig = started(
        make_rig,
        text="Opname volgens de wet.",
        kind="statutory",
        basis={"caller": "legal_obligation", "staff": "legal_obligation"},
        legal_ref=["Wet"],
    )
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.0)
    begun = len(call.left_talk.sent)
    rig.talk_on(call, 1.0)
    if how == "UPDATE":
        assert call.callee.request("UPDATE", headers=asserted(LAWYER)).code == 200
    else:
        call.callee.request("REFER", headers=(("Refer-To", f"<sip:{LAWYER}@{rig.callee.host}:5060>"),))
    assert rig.sealed(call).recording == recording
    after = len(call.left_talk.sent)
    rig.talk_on(call, 1.5)
    call.hang_up()
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert (ended["recording_state"], ended["code"]) == ("sealed", 200)
    said = rig.wave(recording).channel(0)
    assert call.left_talk.sent[begun : begun + 20 * FRAME] in said
    secret(call, after, len(call.left_talk.sent), said)
    nowhere(rig, LAWYER)


def secret(call: Call, start: int, end: int, said: bytes) -> None:
    """Nothing that was spoken in between is in what was recorded."""
    part = call.left_talk.sent[start:end]
    assert len(part) > 4000
    assert all(part[at : at + FRAME] not in said for at in range(0, len(part) - FRAME, FRAME))


def test_somebody_new_is_told_first_and_nothing_is_kept_until_then(make_rig: Callable[..., Rig]) -> None:
    rig = started(make_rig, announce__staff="beep", announce__audience="outside")
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.0)
    before = len(call.left_talk.sent)
    start = rig.daemon.mark
    assert call.caller.request("UPDATE", headers=asserted(STRANGER)).code == 200
    rig.daemon.wait("recording.paused", call_ref=call.ref, start=start)
    told = rig.daemon.wait("notice.completed", call_ref=call.ref, start=start)
    assert told["heard_by"] == "caller"
    after = len(call.left_talk.sent)
    rig.daemon.wait("recording.resumed", call_ref=call.ref, start=start)
    rig.talk_on(call, 1.5)
    call.hang_up()
    sealed = rig.sealed(call)
    assert sealed["pauses"] == 1
    said = rig.wave(recording).channel(0)
    secret(call, before + 2 * FRAME, after, said)
    tail = call.left_talk.sent[after + 4000 : after + 8000]
    assert tail in said
    nowhere(rig, STRANGER)
    rig.daemon.stop()
    chain = (rig.daemon.data / "audit" / "chain.jsonl").read_text()
    assert chain.count('"announce.completed"') == 2
    assert chain.count('"staff.notified"') == 2
    assert '"party.joined"' in chain


def test_the_same_identity_again_changes_nothing(make_rig: Callable[..., Rig]) -> None:
    rig = started(make_rig)
    call = rig.dial(codecs=CODECS, caller="+31612345678")
    rig.recorded(call)
    for form in ("+31612345678", "0612345678", "0031612345678"):
        assert call.caller.request("UPDATE", headers=asserted(form)).code == 200
    rig.talk_on(call, 0.5)
    call.hang_up()
    assert rig.sealed(call)["pauses"] == 0
    assert rig.daemon.said("party.joined") == []


def test_a_colleague_who_takes_over_hears_a_tone_and_it_goes_on(make_rig: Callable[..., Rig]) -> None:
    rig = started(make_rig)
    call = rig.dial(codecs=CODECS)
    rig.recorded(call)
    others = len([packet for packet in call.right.heard if packet.ssrc != 0x11110001])
    assert call.callee.request("UPDATE", headers=asserted("201")).code == 200
    assert rig.daemon.wait("party.joined", call_ref=call.ref)["who"] == "staff"
    call.right.wait_heard(
        lambda packets: sum(len(p.data) > 12 and p.ssrc != 0x11110001 for p in packets) >= others + 10,
        what="a tone",
    )
    call.hang_up()
    assert rig.sealed(call)["pauses"] == 0


def test_the_recording_ends_where_the_purpose_says_so(make_rig: Callable[..., Rig]) -> None:
    rig = started(make_rig, announce__on_new_party="stop")
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.0)
    assert call.caller.request("UPDATE", headers=asserted(STRANGER)).code == 200
    sealed = rig.sealed(call)  # while the call is still up
    assert (sealed.recording, sealed["reason"]) == (recording, "somebody joined")
    after = len(call.left_talk.sent)
    rig.talk_on(call, 1.0)
    call.hang_up()
    secret(call, after + 2 * FRAME, len(call.left_talk.sent), rig.wave(recording).channel(0))
