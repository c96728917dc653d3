"""What a fault of the recorder does to calls, as their purpose says: ``failure.recorder_down``."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import sdp_bodies
from daemon import Purpose, Settings
from rig import NUMBER, Call, Rig
from small_disk import fill, small

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root"),
]

CONTINUE, BLOCK = "continue_unrecorded", "block_call"
MODES = (CONTINUE, BLOCK)
NOT_POSSIBLE = 'SIP;cause=503;text="Recording Not Possible"'


def made(make_rig: Callable[..., Rig], mode: str) -> Rig:
    return make_rig(Settings(purposes={"training": Purpose(on_failure=mode)}))


def goes_on_unrecorded(rig: Rig) -> None:
    """A new call is connected and heard, and nothing of it is kept."""
    call = rig.dial(seconds=10)
    rig.talk_on(call, 1)
    start = rig.daemon.mark
    call.hang_up()
    ended = rig.daemon.wait("call.ended", start=start, call_ref=call.ref)
    assert (ended["notice"], ended.recording) == ("failed", "")


def is_refused(rig: Rig) -> None:
    """A new call gets 503 with the cause, and the callee does not hear of it."""
    before = len(rig.callee.received)
    call = rig.caller.invite(NUMBER, rig.daemon.sip, sdp_bodies.audio(rig.caller.address, 40000))
    answer = call.wait_response(200)
    assert answer.code == 503
    assert answer.one("reason") == 'SIP;cause=503;text="Recorder Unavailable"'
    assert len(rig.callee.received) == before


def follows(rig: Rig, mode: str) -> None:
    (goes_on_unrecorded if mode == CONTINUE else is_refused)(rig)


def goes_on(rig: Rig, call: Call) -> None:
    rig.talk_on(call, 1)
    assert not call.caller.ended.is_set()
    call.hang_up()


def is_ended_with_reason(call: Call) -> None:
    for dialog in (call.caller, call.callee):
        bye = dialog.wait_ended()
        assert (bye.method, bye.one("reason")) == ("BYE", NOT_POSSIBLE)
    call.silence()


@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk(make_rig: Callable[..., Rig], mode: str) -> None:
    rig = made(make_rig, mode)
    with small(rig.daemon.data, "300m") as filler:
        rig.daemon.start()
        call = rig.dial(seconds=40)
        rig.recorded(call)
        fill(filler)
        rig.daemon.wait("recording.failed", call_ref=call.ref)
        rig.daemon.wait("disk.failed", what="space")
        if mode == CONTINUE:
            goes_on(rig, call)
        else:
            is_ended_with_reason(call)
        follows(rig, mode)
        filler.unlink()
        rig.daemon.wait("disk.recovered")
        again = rig.dial(seed=5)
        rig.recorded(again)
        again.hang_up()
        rig.sealed(again)
        rig.daemon.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_key_store_that_cannot_be_written(make_rig: Callable[..., Rig], mode: str) -> None:
    rig = made(make_rig, mode)
    rig.daemon.start()
    keys = rig.daemon.data / "keys"
    keys.write_bytes(b"")  # no key can be put there
    call = rig.dial(seconds=40)
    rig.daemon.wait("recording.failed", call_ref=call.ref)
    if mode == CONTINUE:
        goes_on(rig, call)
    else:
        is_ended_with_reason(call)
    rig.daemon.wait("call.ended", call_ref=call.ref)
    assert rig.daemon.bodies() == []
    keys.unlink()
    again = rig.dial(seed=5)
    rig.recorded(again)
    again.hang_up()
    rig.sealed(again)


@pytest.mark.parametrize("mode", MODES)
def test_an_audit_chain_that_cannot_be_written(make_rig: Callable[..., Rig], mode: str) -> None:
    rig = made(make_rig, mode)
    with small(rig.daemon.data / "audit", "128k") as filler:
        rig.daemon.data.chmod(0o700)
        rig.daemon.start()
        fill(filler)
        for seed in range(2, 14):  # what is left of the chain's last page takes some lines
            call = rig.dial(seed=seed)
            rig.daemon.wait("recording.opened", call_ref=call.ref)
            call.hang_up()
            rig.daemon.wait("call.ended", call_ref=call.ref)
            if rig.daemon.said("audit.failed"):
                break
        rig.daemon.wait("audit.failed", what="append")
        follows(rig, mode)
        rig.daemon.close()
