"""The peers proven against each other, caller straight to callee, before they judge recproxy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sdp_bodies
from listening import find_runs, pcm_wave, unmistakable
from loopback import Lease
from peers import Baresip, Sipp, Speech
from processes import ProcessError
from rtp_peer import FRAME_NS, Heard, RtpPeer
from softphone import Dialog, PeerError, Softphone

NUMBER = "+31301234567"


@pytest.fixture
def lease() -> Iterator[Lease]:
    with Lease.take() as taken:
        yield taken


class Answering(threading.Thread):
    """A callee that answers its next call and keeps the dialog."""

    def __init__(self, phone: Softphone, body: bytes) -> None:
        super().__init__(daemon=True)
        self._phone, self._body = phone, body
        self.call: Dialog | None = None
        self.start()

    def run(self) -> None:
        call = self._phone.next_call()
        call.ring()
        call.answer(self._body)
        self.call = call

    def dialog(self) -> Dialog:
        self.join()
        assert self.call is not None
        return self.call


def _payloads(heard: list[Heard]) -> bytes:
    return b"".join(packet.payload for packet in heard)


def test_softphones_call_each_other_and_every_sample_arrives(lease: Lease) -> None:
    here, there = lease.addresses.caller, lease.addresses.callee
    said = unmistakable(0.5, seed=1)
    with (
        Softphone(here) as caller,
        Softphone(there) as callee,
        RtpPeer(here) as left,
        RtpPeer(there) as right,
    ):
        answering = Answering(callee, sdp_bodies.audio(there, right.port))
        call = caller.invite(NUMBER, (there, callee.port), sdp_bodies.audio(here, left.port))
        call.wait_answer()
        taken = answering.dialog()
        assert sdp_bodies.media_target(call.remote_sdp) == (there, right.port)
        talk = left.talk(said, sdp_bodies.media_target(call.remote_sdp))
        talk.join()
        heard = right.wait_heard(lambda packets: len(packets) == 25)
        assert _payloads(heard) == said
        assert find_runs(_payloads(heard), said)[0].samples == len(said)
        assert [packet.marker for packet in heard] == [True] + [False] * 24
        assert talk.sent_ns[-1] - talk.sent_ns[0] >= 24 * FRAME_NS - FRAME_NS
        call.reinvite(sdp_bodies.audio(here, left.port, direction="sendonly", version=2))
        assert sdp_bodies.read(call.remote_sdp)[0].direction == "recvonly"
        assert call.bye().code == 200
        taken.wait_ended()


def test_softphone_cancels_and_is_refused(lease: Lease) -> None:
    here, there = lease.addresses.caller, lease.addresses.callee
    with Softphone(here) as caller, Softphone(there) as callee:
        call = caller.invite(NUMBER, (there, 5060), sdp_bodies.audio(here, 4000))
        ringing = callee.next_call()
        ringing.ring()
        assert call.wait_response(180).code == 180
        call.cancel()
        assert call.wait_response(200).code == 487
        assert ringing.wait_ended().method == "CANCEL"
        call = caller.invite(NUMBER, (there, 5060), sdp_bodies.audio(here, 4000))
        callee.next_call().reject(486, "Busy Here")
        with pytest.raises(PeerError, match="486 Busy Here"):
            call.wait_answer()
        assert caller.options((there, 5060)).code == 200


@pytest.mark.interop
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipp_calls_sipp(lease: Lease, tmp_path: Path, transport: str) -> None:
    here, there = lease.addresses.caller, lease.addresses.callee
    said = tmp_path / "said.ul"
    said.write_bytes(unmistakable(1, seed=2))
    speech = Speech(said)
    with Sipp(
        "callee", at=there, remote=(here, 5060), directory=tmp_path, transport=transport, speech=speech
    ) as callee:
        callee.wait_bound()
        with Sipp(
            "caller",
            at=here,
            remote=(there, 5060),
            directory=tmp_path,
            transport=transport,
            speech=speech,
            talk_ms=300,
        ) as caller:
            caller.finish()
            callee.finish()


@pytest.mark.interop
def test_sipp_sends_the_bytes_of_the_file_exactly(lease: Lease, tmp_path: Path) -> None:
    here, there = lease.addresses.caller, lease.addresses.callee
    said = unmistakable(0.3, seed=3)
    (tmp_path / "said.ul").write_bytes(said)
    with Softphone(there) as callee, RtpPeer(there) as ear:
        answering = Answering(callee, sdp_bodies.audio(there, ear.port))
        speech = Speech(tmp_path / "said.ul")
        with Sipp(
            "caller", at=here, remote=(there, 5060), directory=tmp_path, speech=speech, talk_ms=600
        ) as caller:
            caller.finish()
        answering.dialog().wait_ended()
        heard = _payloads(ear.heard)
        assert len(heard) >= len(said)
        assert all(
            heard[i : i + len(said)] == said[: len(heard) - i] for i in range(0, len(heard), len(said))
        )


@pytest.mark.interop
@pytest.mark.parametrize(
    ("caller", "callee"),
    [
        ("caller_cancel", "callee_cancelled"),
        ("caller_refused", "callee_refuses"),
        ("caller_hold", "callee_held"),
    ],
)
def test_sipp_scenarios_agree_with_each_other(lease: Lease, tmp_path: Path, caller: str, callee: str) -> None:
    here, there = lease.addresses.caller, lease.addresses.callee
    said = tmp_path / "said.ul"
    said.write_bytes(unmistakable(1, seed=4))
    with Sipp(callee, at=there, remote=(here, 5060), directory=tmp_path, speech=Speech(said)) as answering:
        answering.wait_bound()
        with Sipp(
            caller,
            at=here,
            remote=(there, 5060),
            directory=tmp_path,
            speech=Speech(said),
            talk_ms=200,
            hold_ms=200,
        ) as calling:
            calling.finish()
            answering.finish()


@pytest.mark.interop
def test_sipp_tells_which_step_failed(lease: Lease, tmp_path: Path) -> None:
    here, there = lease.addresses.caller, lease.addresses.callee
    with (
        Softphone(there) as callee,
        Sipp("caller_refused", at=here, remote=(there, 5060), directory=tmp_path, code=603) as caller,
    ):
        callee.next_call().reject(404, "Not Found")
        with pytest.raises(ProcessError, match="404 Not Found"):
            caller.finish()


@pytest.mark.interop
def test_baresip_answers_and_speaks(lease: Lease, tmp_path: Path) -> None:
    here = lease.addresses.caller
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(16000) / 8000)).astype(np.int16)
    (tmp_path / "tone.wav").write_bytes(pcm_wave(tone, 8000))
    with (
        Baresip(directory=tmp_path / "baresip", speech=tmp_path / "tone.wav") as callee,
        Softphone(here) as caller,
        RtpPeer(here) as ear,
    ):
        callee.wait_ready()
        call = caller.invite("baresip", (callee.address, callee.port), sdp_bodies.audio(here, ear.port))
        call.wait_answer()
        heard = ear.wait_heard(lambda packets: sum(packet.payload_type == 0 for packet in packets) > 20)
        assert {packet.source[0] for packet in heard} == {callee.address}
        assert call.bye().code == 200
