"""Forks of real software: Kamailio with rtpengine as a whole recording client, and rtpengine by itself."""

from __future__ import annotations

import contextlib
import io
import math
import re
import struct
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sdp_bodies
from daemon import Purpose, Settings
from listening import read_wave, unmistakable
from media_forker import MediaForker
from parties import eventually
from pbx_peers import Kamailio
from pbx_stage import EXAMPLES, addresses_of, placed, wire
from rig import CALLER_NUMBER, NUMBER, Call, Rig, announcement_end_ns, announcement_heard, compare
from rtp_peer import RtpPeer
from siprec_client import CALLEE, CALLER, TOLD, Voice, fork, metadata
from siprec_stage import ASSERTED, audit, fork_rig, said_for
from softphone import Dialog

pytestmark = pytest.mark.pbx

ANNOUNCED_S = 1.2


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


def announcement() -> bytes:
    """A tone as a WAV."""
    made = io.BytesIO()
    with wave.open(made, "wb") as to:
        to.setnchannels(1)
        to.setsampwidth(2)
        to.setframerate(8000)
        tone = (round(9000 * math.sin(at / 3)) for at in range(round(8000 * ANNOUNCED_S)))
        to.writeframes(b"".join(struct.pack("<h", sample) for sample in tone))
    return made.getvalue()


@dataclass(slots=True)
class Client:
    """recproxy as a recording server of Kamailio and rtpengine, wired as etc/examples/siprec has it."""

    rig: Rig
    kamailio: Kamailio

    def dial(self) -> Call:
        """A call through Kamailio, answered; both parties speak. Its ``ref`` comes later."""
        rig = self.rig
        left, right = rig.peer(rig.caller.address), rig.peer(rig.callee.address)
        offer = sdp_bodies.audio(left.address, left.port)
        dialog = rig.caller.invite(NUMBER, self.kamailio.at, offer, caller=CALLER_NUMBER)
        taken = rig.callee.next_call()
        taken.ring()
        taken.answer(sdp_bodies.audio(right.address, right.port))
        dialog.wait_answer()
        return self._speak(dialog, taken, left, right)

    @staticmethod
    def _speak(dialog: Dialog, taken: Dialog, left: RtpPeer, right: RtpPeer) -> Call:
        left_talk = left.talk(unmistakable(30.0, 2), sdp_bodies.media_target(dialog.remote_sdp), ssrc=0x1111)
        right_talk = right.talk(unmistakable(30.0, 3), sdp_bodies.media_target(taken.remote_sdp), ssrc=0x2222)
        return Call("", dialog, taken, left, right, left_talk, right_talk)


@pytest.fixture
def client(make_rig: Callable[..., Rig]) -> Iterator[Client]:
    rig = make_rig(Settings(purposes={"training": Purpose(more=ASSERTED)}))
    addresses = addresses_of(rig)

    def by_tcp_alone(document: dict[str, Any]) -> None:
        document["sip"]["listen"] = document["sip"]["listen"][:1]

    wire(rig, EXAMPLES / "siprec" / "recproxy.yaml", addresses, change=by_tcp_alone)
    engine_files = rig.directory / "rtpengine"
    engine_files.mkdir()
    (engine_files / "training.wav").write_bytes(announcement())
    text = (EXAMPLES / "siprec" / "kamailio.cfg").read_text().replace("/etc/kamailio/", "/pbx/")
    at = (addresses["192.0.2.20"], 5060)
    with contextlib.ExitStack() as stack:
        stack.enter_context(MediaForker(engine_files, at[0]))
        files: dict[str, str | bytes] = {"kamailio.cfg": placed(text, addresses)}
        kamailio = stack.enter_context(Kamailio(rig.directory / "kamailio", files, at))
        kamailio.wait_ready()
        rig.daemon.start()
        yield Client(rig, kamailio)


def test_kamailio_announces_then_forks_then_ends_the_fork(client: Client) -> None:
    rig = client.rig
    call = client.dial()
    call.ref = str(rig.daemon.wait("call.answered")["call_ref"])
    recording = rig.recorded(call)
    said_for(call, 100)
    call.hang_up()
    rig.sealed(call)
    heard = max(announcement_end_ns(call, 0x2222, call.left), announcement_end_ns(call, 0x1111, call.right))
    assert len(announcement_heard(call.left, 0x2222)) > 0.9 * ANNOUNCED_S * 50
    assert len(announcement_heard(call.right, 0x1111)) > 0.9 * ANNOUNCED_S * 50
    compared = compare(call, read_wave(rig.daemon.open_with_age(recording)))
    for runs, talk in ((compared.left, call.left_talk), (compared.right, call.right_talk)):
        assert sum(run.samples for run in runs) > 1.5 * 8000
        first = runs[0].sent // 160
        assert talk.sent_ns[first] >= heard, "a voice from before the announcement was over"
    (told,) = [line for line in audit(rig) if line["event"] == "announce.asserted"]
    assert (told["by"], told["evidence"], told["prompt"]) == ("src", "asserted", "training")


def test_kamailios_call_goes_on_when_recproxy_ends_the_fork_or_refuses_it(client: Client) -> None:
    rig = client.rig
    call = client.dial()
    call.ref = str(rig.daemon.wait("call.answered")["call_ref"])
    recording = rig.recorded(call)
    said_for(call, 50)
    assert rig.daemon.stop() == 0
    heard = len(call.right.heard)
    call.right.wait_count(heard + 50)
    call.hang_up()
    assert len(rig.daemon.open_with_age(recording)) > 8000

    unrecorded = client.dial()
    client.kamailio.wait_said("not recorded")
    heard = len(unrecorded.right.heard)
    unrecorded.right.wait_count(heard + 50)
    unrecorded.hang_up()
