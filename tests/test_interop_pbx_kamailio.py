"""Kamailio 6 on either side of recproxy, from the files of etc/examples."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import rig as rigs
import sdp_bodies
from listening import unmistakable
from pbx_peers import Kamailio
from pbx_stage import EXAMPLES, addresses_of, placed, wire
from rig import CALLER_NUMBER, NUMBER, Call, Rig
from softphone import Softphone

pytestmark = pytest.mark.pbx


@dataclass(slots=True)
class Proxied:
    """A rig with a Kamailio on one side of it."""

    rig: Rig
    kamailio: Kamailio

    def dial(self, caller: Softphone, callee: Softphone, first: tuple[str, int]) -> Call:
        """A call by way of ``first``, answered; both parties speak."""
        left, right = self.rig.peer(caller.address), self.rig.peer(callee.address)
        start = self.rig.daemon.mark
        offer = sdp_bodies.audio(left.address, left.port)
        dialog = caller.invite(NUMBER, first, offer, caller=CALLER_NUMBER)
        taken = callee.next_call()
        taken.ring()
        taken.answer(sdp_bodies.audio(right.address, right.port))
        dialog.wait_answer()
        said = self.rig.daemon.wait("call.answered", start=start)
        return Call(
            str(said["call_ref"]),
            dialog,
            taken,
            left,
            right,
            left.talk(unmistakable(30, 2), sdp_bodies.media_target(dialog.remote_sdp), ssrc=0x11110001),
            right.talk(unmistakable(30, 3), sdp_bodies.media_target(taken.remote_sdp), ssrc=0x22220001),
        )

    def is_recorded_whole(self, call: Call) -> None:
        """Talk for two seconds, hang up, and find both channels bit for bit."""
        recording = self.rig.recorded(call)
        self.rig.talk_on(call, 2.0)
        call.hang_up()
        self.rig.sealed(call)
        compared = rigs.compare(call, self.rig.wave(recording))
        for runs in (compared.left, compared.right):
            assert len(runs) == 1
            assert runs[0].samples > 1.8 * 8000


@contextlib.contextmanager
def proxied(directory: Path, prompts: Path, example: str) -> Iterator[Proxied]:
    """Everybody of an example with Kamailio; the daemon is not started."""
    with contextlib.ExitStack() as stack:
        rig = stack.enter_context(rigs.rig(directory, prompts))
        addresses = addresses_of(rig)
        wire(rig, EXAMPLES / example / "recproxy.yaml", addresses)
        files: dict[str, str | bytes] = {}
        for name in ("kamailio.cfg", "dispatcher.list"):
            text = (EXAMPLES / example / name).read_text().replace("/etc/kamailio/", "/pbx/")
            files[name] = placed(text.replace('"ds_ping_interval", 10', '"ds_ping_interval", 1'), addresses)
        at = (addresses["192.0.2.5"], 5060)
        kamailio = stack.enter_context(Kamailio(directory / "kamailio", files, at))
        kamailio.wait_ready()
        yield Proxied(rig, kamailio)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[Proxied]:
    """Kamailio between the provider and recproxy; the other recproxy of the list is not there."""
    with proxied(tmp_path_factory.mktemp("front"), prompts, "kamailio-front") as made:
        made.kamailio.wait_said(f"{made.rig.daemon.sip[0]}:5060 is down")
        made.rig.daemon.start()
        made.kamailio.wait_said(f"{made.rig.daemon.sip[0]}:5060 is up")
        yield made


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[Proxied]:
    """Kamailio between recproxy and the PBXes, one of which is not there."""
    with proxied(tmp_path_factory.mktemp("behind"), prompts, "kamailio-behind") as made:
        made.kamailio.wait_said("is down")
        made.rig.daemon.start()
        yield made


def test_a_call_from_behind_kamailio_is_recorded(front: Proxied) -> None:
    call = front.dial(front.rig.caller, front.rig.callee, front.kamailio.at)
    front.is_recorded_whole(call)


def test_a_call_to_a_provider_behind_kamailio_is_recorded(front: Proxied) -> None:
    call = front.dial(front.rig.callee, front.rig.caller, front.rig.daemon.sip)
    assert call.callee.invite.all("record-route"), "it came by Kamailio"
    front.is_recorded_whole(call)


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_reinvites_and_hangup_find_their_way_by_record_route(front: Proxied, who: str) -> None:
    call = front.dial(front.rig.caller, front.rig.callee, front.kamailio.at)
    recording = front.rig.recorded(call)
    dialog, ear = (call.caller, call.left) if who == "caller" else (call.callee, call.right)
    assert dialog.reinvite(sdp_bodies.audio(ear.address, ear.port, version=2)).code == 200
    front.rig.talk_on(call, 0.5)
    dialog.bye()
    (call.callee if who == "caller" else call.caller).wait_ended()
    call.silence()
    front.rig.sealed(call)
    assert len(rigs.compare(call, front.rig.wave(recording)).left) == 1


def test_cancel_and_refusals_pass_kamailio(front: Proxied) -> None:
    offer = sdp_bodies.audio(front.rig.caller.address, 40000)
    dialog = front.rig.caller.invite(NUMBER, front.kamailio.at, offer)
    front.rig.callee.next_call().ring()
    dialog.wait_response(180)
    dialog.cancel()
    assert dialog.wait_response(200).code == 487
    dialog = front.rig.caller.invite(NUMBER, front.kamailio.at, offer)
    front.rig.callee.next_call().reject(486, "Busy Here")
    assert dialog.wait_response(200).code == 486


def test_kamailio_knows_when_recproxy_drains_and_when_it_is_back(front: Proxied) -> None:
    mark = front.kamailio.mark
    front.rig.daemon.stop()
    front.kamailio.wait_said(f"{front.rig.daemon.sip[0]}:5060 is down", start=mark)
    offer = sdp_bodies.audio(front.rig.caller.address, 40000)
    assert front.rig.caller.invite(NUMBER, front.kamailio.at, offer).wait_response(200).code == 503
    mark = front.kamailio.mark
    front.rig.daemon.start()
    front.kamailio.wait_said(f"{front.rig.daemon.sip[0]}:5060 is up", start=mark)
    front.is_recorded_whole(front.dial(front.rig.caller, front.rig.callee, front.kamailio.at))


def test_a_call_to_a_pbx_behind_kamailio_is_recorded(behind: Proxied) -> None:
    call = behind.dial(behind.rig.caller, behind.rig.callee, behind.rig.daemon.sip)
    assert call.callee.invite.all("record-route"), "it came by Kamailio"
    behind.is_recorded_whole(call)


def test_a_call_of_a_pbx_behind_kamailio_is_recorded(behind: Proxied) -> None:
    behind.is_recorded_whole(behind.dial(behind.rig.callee, behind.rig.caller, behind.kamailio.at))


def test_a_reinvite_of_a_pbx_behind_kamailio_reaches_the_provider(behind: Proxied) -> None:
    call = behind.dial(behind.rig.caller, behind.rig.callee, behind.rig.daemon.sip)
    behind.rig.recorded(call)
    offer = sdp_bodies.audio(call.right.address, call.right.port, direction="sendonly", version=2)
    assert call.callee.reinvite(offer).code == 200
    behind.rig.daemon.wait("recording.paused", call_ref=call.ref)
    call.callee.bye()
    call.caller.wait_ended()
    call.silence()


def test_strangers_are_refused_by_kamailio(behind: Proxied) -> None:
    with Softphone(behind.rig.lease.addresses.foreign) as stranger:
        offer = sdp_bodies.audio(stranger.address, 40000)
        assert stranger.invite(NUMBER, behind.kamailio.at, offer).wait_response(200).code == 403
