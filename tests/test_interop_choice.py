"""What the parties say about being recorded, by key, in real calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import sdp_bodies
from daemon import Purpose, Settings
from rig import Call, Rig
from rtp_peer import RtpPeer

pytestmark = pytest.mark.interop

CODECS = (sdp_bodies.PCMU, sdp_bodies.TELEPHONE_EVENT)
TONE_FRAMES = 10  # of 20 ms


def choosing(make_rig: Callable[..., Rig], text: str, **more: Any) -> Rig:
    """A daemon whose one purpose has these keys besides."""
    rig = make_rig(Settings({"training": Purpose(text=text, more=more)}))
    rig.daemon.start()
    return rig


def opt_out(**more: Any) -> Mapping[str, Any]:
    return {"choice": {"mode": "opt_out", "keys": ["9"], "staff_keys": ["*9"]}, **more}


def press(peer: RtpPeer, other: Call, keys: str, *, caller: bool) -> None:
    """Press keys towards the daemon."""
    dialog = other.caller if caller else other.callee
    peer.press(keys, sdp_bodies.media_target(dialog.remote_sdp))


def test_a_no_in_mid_call_destroys_the_recording_and_the_call_goes_on(make_rig: Callable[..., Rig]) -> None:
    rig = choosing(make_rig, "Opname. Geen opname? Toets 9.", **opt_out())
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.5)
    press(call.left, call, "9", caller=True)
    refused = rig.daemon.wait("choice.refused", call_ref=call.ref)
    assert refused["by"] == "outside"
    gone = rig.daemon.wait("recording.discarded", call_ref=call.ref)
    assert gone.recording == recording
    before = len(call.right.heard)
    call.right.wait_count(before + 50)  # the call was left alone
    assert rig.daemon.said("recording.sealed") == []
    rig.keeps_nothing_of(call)
    call.hang_up()
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert (ended["choice"], ended["recording_state"]) == ("refused", "discarded")
    shown = rig.daemon.cli("recordings", "show", recording).stdout
    assert "discarded" in shown


def test_a_no_during_the_announcement_connects_the_parties_unrecorded(make_rig: Callable[..., Rig]) -> None:
    words = "Dit gesprek wordt opgenomen voor training. Geen opname? Toets 9. " * 2
    rig = choosing(make_rig, words, **opt_out())
    call = rig.dial(codecs=CODECS)
    rig.daemon.wait("notice.started", call_ref=call.ref)
    call.left.wait_count(25)
    press(call.left, call, "9", caller=True)
    rig.daemon.wait("choice.refused", call_ref=call.ref)
    call.right.wait_heard(
        lambda heard: any(packet.ssrc == 0x11110001 for packet in heard), what="the caller's voice"
    )
    call.hang_up()
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert (ended["notice"], ended.recording) == ("declined", "")
    assert rig.daemon.said("recording.opened") == []
    rig.keeps_nothing_of(call)


def test_nothing_is_recorded_until_a_yes_and_silence_is_no(make_rig: Callable[..., Rig]) -> None:
    rig = choosing(
        make_rig,
        "Opname? Toets 1 voor ja.",
        choice={"mode": "opt_in", "keys": ["1"], "timeout": "PT3S"},
    )
    silent = rig.dial(codecs=CODECS)
    rig.daemon.wait("choice.expired", call_ref=silent.ref)
    silent.hang_up()
    assert rig.daemon.wait("call.ended", call_ref=silent.ref).recording == ""
    rig.keeps_nothing_of(silent)
    agreed = rig.dial(codecs=CODECS, seed=2)
    rig.daemon.wait("notice.completed", call_ref=agreed.ref)
    press(agreed.left, agreed, "1", caller=True)
    rig.daemon.wait("choice.accepted", call_ref=agreed.ref)
    recording = rig.recorded(agreed)
    rig.talk_on(agreed, 1.5)
    agreed.hang_up()
    assert rig.sealed(agreed).recording == recording


def test_staff_pause_by_key_and_what_was_said_meanwhile_is_nowhere(make_rig: Callable[..., Rig]) -> None:
    rig = choosing(
        make_rig,
        "Opname. Geen opname? Toets 9.",
        **opt_out(pause={"on_hold": True, "payment": {"keys": ["*7"], "api": False, "max": "PT3M"}}),
    )
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.0)
    press(call.right, call, "*7", caller=False)
    rig.daemon.wait("recording.paused", call_ref=call.ref)
    quiet_from = len(call.left_talk.sent)
    rig.talk_on(call, 1.5)
    quiet_to = len(call.left_talk.sent)
    press(call.right, call, "*7", caller=False)
    rig.daemon.wait("recording.resumed", call_ref=call.ref)
    rig.talk_on(call, 1.0)
    call.hang_up()
    sealed = rig.sealed(call)
    assert sealed["paused_ms"] >= 1000
    said = rig.wave(recording).channel(0)
    secret = call.left_talk.sent[quiet_from:quiet_to]
    assert len(secret) > 8000
    for at in range(0, len(secret) - 160, 160):
        assert secret[at : at + 160] not in said


def test_staff_hear_a_tone_when_it_is_recorded(make_rig: Callable[..., Rig]) -> None:
    rig = choosing(
        make_rig,
        "Opname. Geen opname? Toets 9.",
        **opt_out(announce__staff="beep", announce__audience="outside"),
    )
    call = rig.dial(codecs=CODECS)
    rig.recorded(call)
    heard = call.right.wait_heard(
        lambda packets: (
            sum(len(packet.data) > 12 and packet.ssrc != 0x11110001 for packet in packets) >= TONE_FRAMES
        ),
        what="a tone",
    )
    tone = [packet for packet in heard if len(packet.data) > 12 and packet.ssrc != 0x11110001]
    assert len({packet.ssrc for packet in tone}) == 1
    call.hang_up()
    rig.sealed(call)
    rig.daemon.stop()
    chain = (rig.daemon.data / "audit" / "chain.jsonl").read_text()
    assert '"staff.notified"' in chain


def test_a_no_that_stops_keeps_what_was_recorded_before_it(make_rig: Callable[..., Rig]) -> None:
    rig = choosing(
        make_rig,
        "Opname. Geen opname? Toets 9.",
        choice={"mode": "opt_out", "keys": ["9"], "effect": "stop"},
    )
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.5)
    press(call.left, call, "9", caller=True)
    rig.daemon.wait("choice.refused", call_ref=call.ref)
    assert rig.sealed(call).recording == recording  # while the call is still up
    secret_from = len(call.left_talk.sent)
    rig.talk_on(call, 1.5)
    secret = call.left_talk.sent[secret_from:]
    call.hang_up()
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert (ended["choice"], ended["recording_state"]) == ("refused", "sealed")
    said = rig.wave(recording).channel(0)
    assert len(secret) > 8000
    assert all(secret[at : at + 160] not in said for at in range(0, len(secret) - 160, 160))


def test_a_no_after_the_announcement_is_too_late_for_the_shorter_window(
    make_rig: Callable[..., Rig],
) -> None:
    rig = choosing(
        make_rig,
        "Opname. Geen opname? Toets 9.",
        choice={"mode": "opt_out", "keys": ["9"], "window": "announcement"},
    )
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    press(call.left, call, "9", caller=True)
    rig.talk_on(call, 1.0)
    call.hang_up()
    assert rig.sealed(call).recording == recording
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert (ended["choice"], ended["keys_pressed"]) == ("open", 1)
