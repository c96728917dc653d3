"""A fork whose media, and SDP, a real rtpengine makes, as behind an OpenSIPS or Kamailio with SIPREC."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import sdp_bodies
from listening import read_wave, unmistakable
from media_forker import MediaForker
from parties import eventually
from rig import Call, Rig, compare
from siprec_client import CALLEE, CALLER, TOLD, Voice, fork, metadata
from siprec_stage import fork_rig

pytestmark = pytest.mark.pbx


def test_rtpengine_forks_both_voices_and_each_is_in_its_channel(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig)
    address = rig.caller.address
    left, right = rig.peer(address), rig.peer(address)
    with MediaForker(rig.directory / "rtpengine", address) as engine:
        offered = engine.sdp(
            "offer", call_id="c1", from_tag="a", sdp=sdp_bodies.audio(address, left.port), replace=["origin"]
        )
        answered = engine.sdp(
            "answer", call_id="c1", from_tag="a", to_tag="b", sdp=sdp_bodies.audio(address, right.port)
        )
        left_talk = left.talk(unmistakable(30.0, 2), sdp_bodies.media_target(answered), ssrc=0x1111)
        right_talk = right.talk(unmistakable(30.0, 3), sdp_bodies.media_target(offered), ssrc=0x2222)
        eventually(lambda: len(right.heard), lambda heard: heard > 20)
        asked = engine.ask("subscribe request", call_id="c1", flags=["all", "SIPREC"])
        sdp, tag = asked["sdp"], asked["to-tag"]
        assert isinstance(sdp, bytes)
        labels = [label.decode() for label in re.findall(rb"a=label:(\S+)", sdp)]
        assert [section.direction for section in sdp_bodies.read(sdp)] == ["sendonly", "sendonly"]
        # In the order of the call's tags; what it calls them is its own business.
        first, second = labels or ("", "")
        document = metadata(
            Voice("p-caller", CALLER.address, "s-1", first), Voice("p-callee", CALLEE.address, "s-2", second)
        )
        dialog = fork(rig.caller, rig.daemon.sip, sdp, document, TOLD)
        dialog.wait_answer()
        engine.ask("subscribe answer", call_id="c1", to_tag=tag, sdp=dialog.remote_sdp)
        ref = str(rig.daemon.wait("call.answered")["call_ref"])
        call = Call(ref, dialog, dialog, left, right, left_talk, right_talk)
        recording = rig.recorded(call)
        count = len(left_talk.sent_ns) + 100
        eventually(lambda: len(left_talk.sent_ns), lambda sent: sent >= count)
        dialog.bye()
        call.silence()
        rig.sealed(call)
    compared = compare(call, read_wave(rig.daemon.open_with_age(recording)))
    assert sum(run.samples for run in compared.left) > 1.2 * 8000
    assert sum(run.samples for run in compared.right) > 1.2 * 8000
