"""No announcement heard to its end, no recording: not a file, not a key, not a byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sdp_bodies
from daemon import Purpose, Settings
from rig import Call, Rig

pytestmark = pytest.mark.interop

LONG = "Dit is een lange mededeling die nog niet voorbij is wanneer de proef haar afbreekt. " * 2


def _announcing(rig: Rig, seed: int = 1) -> Call:
    """A call in the middle of its announcement: half a second of it was heard."""
    call = rig.dial(seed=seed)
    rig.daemon.wait("notice.started", call_ref=call.ref)
    for peer in (call.left, call.right):
        peer.wait_heard(lambda heard: len(heard) >= 25, what="half a second of announcement")
    return call


def _nothing_recorded(rig: Rig, call: Call) -> None:
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert ended.recording == ""
    assert ended["notice"] == "failed"
    assert rig.daemon.said("recording.opened") == []
    rig.daemon.stop()  # whatever waits to be written is written now
    rig.keeps_nothing_of(call)
    listed = rig.daemon.cli("recordings", "list", "--json").stdout
    assert '"sealed"' not in listed


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_hang_up_in_mid_announcement_leaves_no_recording(make_rig: Callable[..., Rig], who: str) -> None:
    rig = make_rig(Settings(purposes={"training": Purpose(text=LONG)}))
    rig.daemon.start()
    call = _announcing(rig)
    if who == "caller":
        call.hang_up()
    else:
        call.callee.bye()
        call.caller.wait_ended()
        call.silence()
    _nothing_recorded(rig, call)


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_hold_in_mid_announcement_leaves_no_recording(
    make_rig: Callable[..., Rig], who: str, direction: str
) -> None:
    rig = make_rig(Settings(purposes={"training": Purpose(text=LONG)}))
    rig.daemon.start()
    call = _announcing(rig)
    dialog, ear = (call.caller, call.left) if who == "caller" else (call.callee, call.right)
    held = sdp_bodies.audio(ear.address, ear.port, direction=direction, version=2)
    assert dialog.reinvite(held).code == 200
    rig.daemon.wait("notice.failed", call_ref=call.ref)
    back = sdp_bodies.audio(ear.address, ear.port, version=3)
    assert dialog.reinvite(back).code == 200
    other = call.right if who == "caller" else call.left
    ssrc = 0x11110001 if who == "caller" else 0x22220001
    other.wait_heard(lambda heard: heard[-1].ssrc == ssrc, what="the other party after the hold")
    call.hang_up()
    _nothing_recorded(rig, call)


def test_broken_prompt_lets_the_call_go_on_unrecorded(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF this is no audio")
    rig = make_rig(Settings(purposes={"training": Purpose(file=str(broken))}))
    rig.daemon.start()
    call = rig.dial()
    rig.daemon.wait("notice.failed", call_ref=call.ref)
    call.left.wait_heard(lambda heard: len(heard) >= 20, what="the callee")
    call.right.wait_heard(lambda heard: len(heard) >= 20, what="the caller")
    call.hang_up()
    _nothing_recorded(rig, call)


def test_broken_prompt_refuses_the_call_where_the_purpose_says_so(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF this is no audio")
    rig = make_rig(Settings(purposes={"training": Purpose(file=str(broken), on_failure="block_call")}))
    rig.daemon.start()
    left = rig.peer(rig.lease.addresses.caller)
    right = rig.peer(rig.lease.addresses.callee)
    call = rig.caller.invite("+31301234567", rig.daemon.sip, sdp_bodies.audio(left.address, left.port))
    taken = rig.callee.next_call()
    taken.ring()
    taken.answer(sdp_bodies.audio(right.address, right.port))
    call.wait_response(200)
    taken.wait_ended()
    call.wait_ended()
    rig.daemon.wait("notice.failed")
    rig.daemon.stop()
    assert rig.daemon.bodies() == []


def test_announcement_in_another_language_is_named_in_the_record(make_rig: Callable[..., Rig]) -> None:
    purpose = Purpose(language="en", text="Recorded.")
    rig = make_rig(Settings(purposes={"agreements": purpose}))
    rig.daemon.start()
    call = rig.dial()
    recording = rig.recorded(call)
    call.hang_up()
    rig.sealed(call)
    shown = rig.daemon.cli("recordings", "show", recording, "--json").stdout
    assert '"en"' in shown
    assert "agreements" in shown
