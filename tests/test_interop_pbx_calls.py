"""Calls from and to an Asterisk 22 behind recproxy, wired by the files of etc/examples/asterisk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sdp_bodies
from listening import find_runs
from pbx_stage import Stage, stage
from rig import NUMBER

pytestmark = pytest.mark.pbx

G711 = [pytest.param(sdp_bodies.PCMU, 7, 0xFF, id="PCMU"), pytest.param(sdp_bodies.PCMA, 6, 0xD5, id="PCMA")]


@pytest.fixture(scope="module")
def pbx(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[Stage]:
    """One provider, one recproxy, one Asterisk for all calls of this file."""
    with stage(tmp_path_factory.mktemp("pbx"), prompts) as made:
        yield made


@pytest.mark.parametrize(("codec", "code", "silence"), G711)
def test_what_asterisk_echoes_is_recorded_bit_for_bit(
    pbx: Stage, codec: tuple[str, str], code: int, silence: int
) -> None:
    start = pbx.rig.daemon.mark
    call = pbx.call_in("echo", codec=codec)
    opened = pbx.recorded(start)
    call.ear.wait_count(len(call.ear.heard) + 100)
    call.dialog.bye()
    wave = pbx.sealed(opened)
    assert wave.code == code
    for side in (0, 1):
        runs = find_runs(wave.channel(side), call.talk.sent, silence)
        assert sum(run.samples for run in runs) > 1.8 * 8000
        assert len(runs) == 1


@pytest.mark.parametrize(("codec", "code", "silence"), G711)
def test_what_asterisk_plays_is_recorded_bit_for_bit(
    pbx: Stage, codec: tuple[str, str], code: int, silence: int
) -> None:
    start = pbx.rig.daemon.mark
    call = pbx.call_in("play", codec=codec)
    opened = pbx.recorded(start)
    call.ear.wait_count(len(call.ear.heard) + 100)
    call.dialog.bye()
    wave = pbx.sealed(opened)
    runs = find_runs(wave.channel(1), pbx.spoken, silence)
    assert len(runs) == 1
    assert runs[0].samples > 1.8 * 8000


@pytest.mark.parametrize(("codec", "code", "silence"), G711)
@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_telephone_of_asterisk_is_recorded_both_ways(
    pbx: Stage, direction: str, codec: tuple[str, str], code: int, silence: int
) -> None:
    start = pbx.rig.daemon.mark
    caller, callee = (pbx.to_telephone if direction == "in" else pbx.from_telephone)(codec=codec)
    opened = pbx.recorded(start)
    caller.ear.wait_count(len(caller.ear.heard) + 100)
    caller.dialog.bye()
    callee.dialog.wait_ended()
    wave = pbx.sealed(opened)
    for side, party in enumerate((caller, callee)):
        runs = find_runs(wave.channel(side), party.talk.sent, silence)
        assert len(runs) == 1
        assert runs[0].samples > 1.8 * 8000


def test_g722_is_relayed_as_it_is_and_recorded_decoded(pbx: Stage) -> None:
    start = pbx.rig.daemon.mark
    call = pbx.call_in("play", codec=sdp_bodies.G722)
    opened = pbx.recorded(start)
    call.ear.wait_count(len(call.ear.heard) + 100)
    call.dialog.bye()
    wave = pbx.sealed(opened)
    assert (wave.code, wave.rate_hz) == (1, 16000)
    heard = b"".join(p.payload for p in call.ear.heard[-100:])
    assert heard in pbx.spoken, "every byte that Asterisk sent"
    assert wave.frames / 16000 > 1.8


def test_opus_is_recorded(pbx: Stage) -> None:
    start = pbx.rig.daemon.mark
    ear = pbx.rig.peer(pbx.provider.address)
    offer = sdp_bodies.audio(ear.address, ear.port, codecs=(sdp_bodies.OPUS,))
    dialog = pbx.provider.invite("milliwatt", pbx.rig.daemon.sip, offer)
    dialog.wait_answer()
    assert sdp_bodies.read(dialog.remote_sdp)[0].formats == ("111",)
    opened = pbx.recorded(start)
    ear.wait_count(len(ear.heard) + 100)
    dialog.bye()
    wave = pbx.sealed(opened)
    assert (wave.code, wave.rate_hz) == (1, 48000)
    samples = np.frombuffer(wave.channel(1), np.int16)[48000 // 2 : 48000 * 3 // 2].astype(float)
    assert int(np.argmax(np.abs(np.fft.rfft(samples)))) == pytest.approx(1004, abs=3), "its milliwatt tone"


def test_early_media_of_asterisk_reaches_the_caller_unrecorded(pbx: Stage) -> None:
    start = pbx.rig.daemon.mark
    ear = pbx.rig.peer(pbx.provider.address)
    dialog = pbx.provider.invite("early", pbx.rig.daemon.sip, sdp_bodies.audio(ear.address, ear.port))
    assert dialog.wait_response(183).code == 183
    heard = b"".join(packet.payload for packet in ear.wait_count(50))
    assert heard in pbx.spoken
    dialog.cancel()
    assert dialog.wait_response(200).code == 487
    offered = pbx.rig.daemon.wait("call.offered", start=start)  # the call before may end meanwhile
    ended = pbx.rig.daemon.wait("call.ended", start=start, call_ref=offered["call_ref"])
    assert (ended["outcome"], ended.recording) == ("cancelled", "")


def test_busy_reaches_the_caller(pbx: Stage) -> None:
    dialog = pbx.provider.invite("busy", pbx.rig.daemon.sip, sdp_bodies.audio(pbx.provider.address, 40000))
    assert dialog.wait_response(200).code == 486


def test_the_caller_hangs_up_while_the_telephone_rings(pbx: Stage) -> None:
    dialog = pbx.provider.invite(NUMBER, pbx.rig.daemon.sip, sdp_bodies.audio(pbx.provider.address, 40000))
    ringing = pbx.telephone.next_call()
    ringing.ring()
    assert dialog.wait_response(180).code == 180
    dialog.cancel()
    assert dialog.wait_response(200).code == 487
    assert ringing.wait_ended().method == "CANCEL"


def test_a_refusal_by_the_telephone_reaches_the_caller(pbx: Stage) -> None:
    dialog = pbx.provider.invite(NUMBER, pbx.rig.daemon.sip, sdp_bodies.audio(pbx.provider.address, 40000))
    pbx.telephone.next_call().reject(486, "Busy Here")
    assert dialog.wait_response(200).code == 486


def test_asterisk_gives_up_when_nobody_answers(pbx: Stage) -> None:
    dialog = pbx.telephone.invite("brief", (pbx.pbx, 5060), sdp_bodies.audio(pbx.telephone.address, 40000))
    ringing = pbx.provider.next_call()
    ringing.ring()
    assert ringing.wait_ended().method == "CANCEL"
    assert dialog.wait_response(300).code >= 300


@pytest.mark.parametrize("code", [404, 486, 503, 603])
def test_a_refusal_by_the_provider_reaches_the_telephone(pbx: Stage, code: int) -> None:
    number = "+31612345678"
    dialog = pbx.telephone.invite(number, (pbx.pbx, 5060), sdp_bodies.audio(pbx.telephone.address, 40000))
    pbx.provider.next_call().reject(code, "No")
    assert dialog.wait_response(200).code == {603: 403}.get(code, code)


def test_an_emergency_call_of_a_telephone_is_passed_on_without_a_word(pbx: Stage) -> None:
    start = pbx.rig.daemon.mark
    caller, callee = pbx.from_telephone("112")
    assert callee.dialog.invite.start.startswith("INVITE sip:112@")
    caller.ear.wait_count(50)
    caller.dialog.bye()
    callee.dialog.wait_ended()
    assert pbx.rig.daemon.wait("call.ended", start=start, decision="emergency").recording == ""


def test_an_invite_without_offer_is_answered_by_asterisk_and_recorded(pbx: Stage) -> None:
    start = pbx.rig.daemon.mark
    ear = pbx.rig.peer(pbx.provider.address)
    answer = sdp_bodies.audio(ear.address, ear.port)
    dialog = pbx.provider.invite("play", pbx.rig.daemon.sip, b"", answer_in_ack=answer)
    dialog.wait_answer()
    opened = pbx.recorded(start)
    ear.wait_count(len(ear.heard) + 100)
    dialog.bye()
    runs = find_runs(pbx.sealed(opened).channel(1), pbx.spoken)
    assert (len(runs), runs[0].samples > 1.8 * 8000) == (1, True)


def test_asterisk_finds_recproxy_reachable_and_recproxy_asterisk(pbx: Stage) -> None:
    assert "Avail" in pbx.asterisk.command("pjsip show contacts")
    asked = "OPTIONS sip:127."
    pbx.asterisk.wait_said(asked)  # the keep-alive of recproxy
    assert not pbx.rig.daemon.said("target.down")


def test_numbers_are_shown_as_the_provider_asserts_them(pbx: Stage) -> None:
    asserted = (("P-Asserted-Identity", "<sip:+31201112233@example.org>"),)
    dialog = pbx.provider.invite(
        NUMBER, pbx.rig.daemon.sip, sdp_bodies.audio(pbx.provider.address, 40000), headers=asserted
    )
    taken = pbx.telephone.next_call()
    assert "+31201112233" in taken.invite.one("from")
    dialog.cancel()
    dialog.wait_response(200)
