"""Whole calls between IPv4 and IPv6: announced, bridged and recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sdp_bodies
import yaml
from daemon import Settings
from loopback import free_port
from peers import Sipp
from rig import Rig, announcement_heard, compare
from softphone import Softphone

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("from_ipv6", [False, True])
def test_a_call_between_ipv4_and_ipv6_is_announced_and_recorded(
    make_rig: Callable[..., Rig], from_ipv6: bool
) -> None:
    with Softphone("::1", 0) as phone:
        here = ("::1", free_port())
        listen = {"transport": "udp", "address": here[0], "port": here[1]}
        rig = make_rig(Settings(callee=("::1", phone.port), listen=(listen,), media=("::1",)))
        rig.callee.close()
        if from_ipv6:
            rig.callee, rig.caller = rig.caller, phone
            rig.daemon.sip = here
        else:
            rig.callee = phone
        rig.daemon.start()
        call = rig.dial()
        for dialog in (call.caller, call.callee):
            own = dialog.phone.address
            (section,) = sdp_bodies.read(dialog.remote_sdp)
            assert section.address == ("::1" if own == "::1" else rig.lease.addresses.daemon)
        recording = rig.recorded(call)
        rig.talk_on(call, 1.5)
        call.hang_up()
        rig.sealed(call)
        assert announcement_heard(call.left, 0x22220001)
        assert announcement_heard(call.right, 0x11110001)
        found = compare(call, rig.wave(recording))
        assert sum(run.samples for run in found.left) > 8_000
        assert sum(run.samples for run in found.right) > 8_000
        assert abs(found.skew_ms) <= 20


@pytest.mark.parametrize(
    ("by_ipv6", "elsewhere"),
    [
        (False, "sip:caller@[2001:db8::7]:5060"),
        (True, "sip:caller@[2001:db8::7]:5060;transport=tcp"),
        (True, "sips:caller@[2001:db8::7]"),
    ],
)
def test_sipp_that_moves_out_of_reach_is_refused_and_its_call_goes_on(
    make_rig: Callable[..., Rig], tmp_path: Path, by_ipv6: bool, elsewhere: str
) -> None:
    here = ("::1", free_port())
    listen = {"transport": "udp", "address": here[0], "port": here[1]}
    rig = make_rig(Settings(listen=(listen,), media=("::1",)) if by_ipv6 else Settings())
    at, port = rig.lease.addresses.caller, 5060
    rig.caller.close()
    if by_ipv6:
        at, port = "::1", free_port()
        document = yaml.safe_load(rig.daemon.config.read_text())
        target = {"peers": ["::1"], "targets": f"sip:[::1]:{port};transport=udp"}
        document["trunks"]["carrier"] |= target
        rig.daemon.config.write_text(yaml.safe_dump(document))
        rig.daemon.sip = here
    rig.daemon.start()
    ear = rig.peer(at)
    moving = Sipp(
        "caller_moves",
        at=at,
        port=port,
        remote=rig.daemon.sip,
        directory=tmp_path,
        media_port=ear.port,
        elsewhere=elsewhere,
    )
    with moving:
        callee = rig.callee.next_call()
        callee.answer(sdp_bodies.audio(rig.callee.address, 40000))
        opened = rig.daemon.wait("recording.opened")
        rig.callee.next_request("INFO")  # it has been refused twice by now
        callee.bye()
        moving.finish()
    assert not callee.reoffers
    assert not rig.daemon.said("recording.paused")
    assert rig.daemon.wait("recording.sealed", call_ref=opened["call_ref"]).recording == opened.recording
