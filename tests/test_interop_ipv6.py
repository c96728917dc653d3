"""Whole calls between IPv4 and IPv6: announced, bridged and recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sdp_bodies
from daemon import Settings
from loopback import free_port
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
