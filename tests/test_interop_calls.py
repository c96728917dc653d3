"""Calls that nobody may disturb: passed untouched, refused cleanly, never lost to a bad peer."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rig as rigs
import sdp_bodies
from daemon import SIP_PORT, Purpose, Settings
from listening import find_runs, pcm_wave, ulaw_to_pcm, unmistakable
from peers import Baresip, Sipp, Speech
from rig import NUMBER, Rig
from rtp_peer import packet
from softphone import Softphone

pytestmark = pytest.mark.interop

NO_RULE: dict[str, Any] = {"purposes": {"training": Purpose(match=("+999*",))}}
VIDEO = "m=video {port} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 profile-level-id=42e01f\r\n"
FAX = "m=image {port} udptl t38\r\na=T38FaxVersion:0\r\na=T38FaxRateManagement:transferredTCF\r\n"


# ---------------------------------------------------------------- calls that pass
def test_call_without_purpose_passes_with_video_and_fax_untouched(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(Settings(**NO_RULE))
    rig.daemon.start()
    left = [rig.peer(rig.lease.addresses.caller) for _ in range(3)]
    right = [rig.peer(rig.lease.addresses.callee) for _ in range(3)]
    codecs = (sdp_bodies.AMR_WB, sdp_bodies.OPUS, ("18", "G729/8000"))
    offer = sdp_bodies.audio(
        left[0].address,
        left[0].port,
        codecs=codecs,
        more=VIDEO.format(port=left[1].port) + FAX.format(port=left[2].port) + "a=x-unknown:kept\r\n",
    )
    call = rig.caller.invite(NUMBER, rig.daemon.sip, offer)
    taken = rig.callee.next_call()
    assert [(s.kind, s.protocol, s.formats) for s in sdp_bodies.read(taken.remote_sdp)] == [
        ("audio", "RTP/AVP", ("97", "111", "18")),
        ("video", "RTP/AVP", ("96",)),
        ("image", "udptl", ("t38",)),
    ]
    assert _without_places(taken.remote_sdp) == _without_places(offer), "only addresses and ports differ"
    answer = sdp_bodies.audio(
        right[0].address,
        right[0].port,
        codecs=codecs[:1],
        more=VIDEO.format(port=right[1].port) + FAX.format(port=right[2].port),
    )
    taken.answer(answer)
    call.wait_answer()
    assert _without_places(call.remote_sdp) == _without_places(answer)
    towards_callee = [(s.address, s.port) for s in sdp_bodies.read(call.remote_sdp)]
    towards_caller = [(s.address, s.port) for s in sdp_bodies.read(taken.remote_sdp)]
    assert {address for address, _ in (*towards_callee, *towards_caller)} == {rig.lease.addresses.daemon}
    for index in range(3):
        said = bytes([0x80, 96, 0, index]) + bytes(8) + unmistakable(0.02, index) * (1 + index)
        left[index].send(said, towards_callee[index])
        assert right[index].wait_count(1)[0].data == said
        right[index].send(said[::-1], towards_caller[index])
        assert left[index].wait_count(1)[0].data == said[::-1], "no RTP at all, and passed all the same"
    call.bye()
    taken.wait_ended()
    ended = rig.daemon.wait("call.ended")
    assert (ended.recording, ended["notice"]) == ("", "not_required")
    assert rig.daemon.bodies() == []


def _without_places(body: bytes) -> list[str]:
    lines = []
    for line in body.decode().splitlines():
        if line.startswith("m="):
            kind, _, *rest = line.split()
            lines.append(" ".join([kind, *rest]))
        elif not line.startswith(("c=", "o=")):
            lines.append(line)
    return lines


def test_emergency_number_is_connected_at_once_without_a_word(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(number="112")
    heard = call.left.wait_count(10)
    assert {p.ssrc for p in heard} == {0x22220001}, "nothing but the callee was heard"
    assert heard[0].payload == call.right_talk.audio[: len(heard[0].payload)], "from the first packet on"
    call.hang_up()
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert (ended["decision"], ended.recording) == ("emergency", "")


@pytest.mark.parametrize("service", ["urn:service:sos", "urn:service:sos.police", "URN:SERVICE:SOS"])
def test_an_emergency_call_by_service_name_reaches_112(make_rig: Callable[..., Rig], service: str) -> None:
    rig = make_rig()
    rig.daemon.start()
    peer = rig.peer(rig.lease.addresses.caller)
    dialog = rig.caller.invite("", rig.daemon.sip, sdp_bodies.audio(peer.address, peer.port), service=service)
    incoming = rig.callee.next_call()
    assert incoming.invite.start.startswith("INVITE sip:112@")
    incoming.answer(sdp_bodies.audio(peer.address, peer.port))
    dialog.wait_answer()
    dialog.bye()
    ended = rig.daemon.wait("call.ended")
    assert (ended["decision"], ended["outcome"]) == ("emergency", "answered")


def test_recorded_call_keeps_only_codecs_that_can_be_announced_and_recorded(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    rig.daemon.start()
    ear = rig.peer(rig.lease.addresses.caller)
    codecs = (
        sdp_bodies.AMR_WB,
        ("18", "G729/8000"),
        sdp_bodies.PCMA,
        sdp_bodies.OPUS,
        sdp_bodies.TELEPHONE_EVENT,
    )
    offer = sdp_bodies.audio(ear.address, ear.port, codecs=codecs, more=VIDEO.format(port=40000))
    call = rig.caller.invite(NUMBER, rig.daemon.sip, offer)
    taken = rig.callee.next_call()
    audio, video = sdp_bodies.read(taken.remote_sdp)
    assert audio.formats == ("8", "111", "101")
    assert b"AMR-WB" not in taken.remote_sdp
    assert video.port == 0, "a second medium would go unannounced"
    taken.reject(486, "Busy Here")
    assert call.wait_response(200).code == 486


@pytest.mark.parametrize(("on_failure", "code"), [("continue_unrecorded", 200), ("block_call", 488)])
def test_offer_without_any_codec_that_can_be_recorded(
    make_rig: Callable[..., Rig], on_failure: str, code: int
) -> None:
    rig = make_rig(Settings(purposes={"training": Purpose(on_failure=on_failure)}))
    rig.daemon.start()
    left, right = rig.peer(rig.lease.addresses.caller), rig.peer(rig.lease.addresses.callee)
    offer = sdp_bodies.audio(left.address, left.port, codecs=(sdp_bodies.AMR_WB,))
    call = rig.caller.invite(NUMBER, rig.daemon.sip, offer)
    if code == 200:
        taken = rig.callee.next_call()
        assert sdp_bodies.read(taken.remote_sdp)[0].formats == ("97",)
        taken.answer(sdp_bodies.audio(right.address, right.port, codecs=(sdp_bodies.AMR_WB,)))
        call.wait_answer()
        call.bye()
        taken.wait_ended()
    else:
        assert call.wait_response(200).code == code
    ended = rig.daemon.wait("call.ended")
    assert (ended["notice"], ended.recording) == ("failed", "")
    assert rig.daemon.bodies() == []


# ---------------------------------------------------------------- signalling
def test_cancel_reaches_the_callee(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.caller.invite(NUMBER, rig.daemon.sip, sdp_bodies.audio(rig.caller.address, 40000))
    taken = rig.callee.next_call()
    taken.ring()
    assert call.wait_response(180).code == 180
    call.cancel()
    assert call.wait_response(200).code == 487
    assert taken.wait_ended().method == "CANCEL"
    ended = rig.daemon.wait("call.ended")
    assert ended["outcome"] == "cancelled"


@pytest.mark.parametrize(
    ("code", "reason"),
    [(404, "Not Found"), (486, "Busy Here"), (488, "Not Acceptable Here"), (503, "Full"), (603, "Decline")],
)
def test_refusal_of_the_callee_is_carried_over(make_rig: Callable[..., Rig], code: int, reason: str) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.caller.invite(NUMBER, rig.daemon.sip, sdp_bodies.audio(rig.caller.address, 40000))
    rig.callee.next_call().reject(code, reason)
    response = call.wait_response(200)
    assert (response.code, response.start.split(" ", 2)[2]) == (code, reason)


def test_early_media_is_heard_and_not_recorded(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    left, right = rig.peer(rig.lease.addresses.caller), rig.peer(rig.lease.addresses.callee)
    call = rig.caller.invite(NUMBER, rig.daemon.sip, sdp_bodies.audio(left.address, left.port))
    taken = rig.callee.next_call()
    answer = sdp_bodies.audio(right.address, right.port)
    taken.ring(answer, 183, "Session Progress")
    assert call.wait_response(183).body
    early = right.talk(unmistakable(0.4, 91), sdp_bodies.media_target(taken.remote_sdp), ssrc=0xEA71)
    left.wait_count(10)
    early.join()
    taken.answer(answer)
    call.wait_answer()
    opened = rig.daemon.wait("recording.opened")
    late = right.talk(
        unmistakable(1, 92), sdp_bodies.media_target(taken.remote_sdp), ssrc=0xEA71, sequence=20
    )
    late.join()
    call.bye()
    taken.wait_ended()
    rig.daemon.wait("recording.sealed")
    wave = rig.wave(opened.recording)
    right_channel = wave.channel(1)
    assert all(early.audio[at : at + 16] not in right_channel for at in range(0, len(early.audio), 80))
    assert late.audio[4000:4400] in right_channel


def test_options_tell_that_it_is_there(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    assert rig.caller.options(rig.daemon.sip).code == 200


def test_stranger_is_turned_away_before_a_call_exists(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    with Softphone(rig.lease.addresses.foreign) as stranger:
        call = stranger.invite(NUMBER, rig.daemon.sip, sdp_bodies.audio(stranger.address, 40000))
        assert call.wait_response(200).code == 403
    assert rig.daemon.said("call.offered") == []
    assert not any(message.method == "INVITE" for message in rig.callee.received)


def test_one_call_too_many_is_refused_with_503(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(Settings(max_calls=2, ports=8))
    rig.daemon.start()
    calls = [rig.dial(seed=1), rig.dial(seed=2)]
    refused = rig.caller.invite(NUMBER, rig.daemon.sip, sdp_bodies.audio(rig.caller.address, 40000))
    response = refused.wait_response(200)
    assert response.code == 503
    assert response.one("retry-after")
    for call in calls:
        call.hang_up()
        rig.daemon.wait("call.ended", call_ref=call.ref)
    last = rig.dial(seed=3)
    last.hang_up()


def test_full_port_range_is_refused_with_503_and_the_others_talk_on(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(Settings(max_calls=2, ports=8, **NO_RULE))
    rig.daemon.start()
    first = rig.dial()
    offer = sdp_bodies.audio(rig.caller.address, 40000, more=VIDEO.format(port=40002))
    refused = rig.caller.invite(NUMBER, rig.daemon.sip, offer)
    assert refused.wait_response(200).code == 503
    said = rig.daemon.wait("media.unavailable")
    assert "port" in said["why"]
    count = len(first.left.heard)
    first.left.wait_count(count + 10)
    first.hang_up()


# ---------------------------------------------------------------- bad peers
_ODD: tuple[tuple[str, bytes], ...] = (
    ("empty", b""),
    ("noise", random.Random(7).randbytes(900)),
    ("no_headers", b"INVITE sip:x SIP/2.0\r\n\r\n"),
    ("no_end", b"INVITE sip:1@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1"),
    ("nul", b"INVITE sip:\0@x SIP/2.0\r\nVia: \0\r\n\r\n"),
    ("long_line", b"INVITE sip:" + b"1" * 7000 + b"@x SIP/2.0\r\n\r\n"),
    ("status", b"SIP/2.0 999 What\r\n\r\n"),
    ("many_headers", b"OPTIONS sip:x SIP/2.0\r\n" + b"X-A: b\r\n" * 900 + b"\r\n"),
)


def _odd_invite(rig: Rig, body: bytes, **changed: str) -> bytes:
    headers = {
        "Via": f"SIP/2.0/UDP {rig.caller.address}:{rig.caller.port};branch=z9hG4bKodd{random.random()}",
        "From": f"<sip:x@{rig.caller.address}>;tag=1",
        "To": f"<sip:{NUMBER}@x>",
        "Call-ID": f"odd{random.random()}",
        "CSeq": "1 INVITE",
        "Contact": f"<sip:x@{rig.caller.address}:{rig.caller.port}>",
        "Max-Forwards": "70",
        "Content-Type": "application/sdp",
        "Content-Length": str(len(body)),
        **changed,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"INVITE sip:{NUMBER}@{rig.daemon.sip[0]} SIP/2.0\r\n{lines}\r\n".encode() + body


def test_malformed_sip_and_rtp_leave_the_daemon_and_its_calls_alone(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(seconds=40)
    recording = rig.recorded(call)
    for _, data in _ODD:
        rig.caller.send_raw(data, rig.daemon.sip)
    good = sdp_bodies.audio(rig.caller.address, 40000)
    odd_bodies = [
        b"",
        b"v=0\r\n",
        b"garbage",
        good.replace(b"m=audio", b"m=audio 99999999999"),
        good + b"m=audio 1 RTP/AVP 0\r\n" * 300,
        good + b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + b"A" * 200 + b"\r\n" * 40,
        good.replace(b"c=IN IP4 ", b"c=IN IP4 999.999."),
        b"\xff\xfe" + good,
    ]
    for body in odd_bodies:
        rig.caller.send_raw(_odd_invite(rig, body), rig.daemon.sip)
    rig.caller.send_raw(_odd_invite(rig, good, CSeq="99999999999999 INVITE"), rig.daemon.sip)
    rig.caller.send_raw(_odd_invite(rig, good, To="<sip:\r\n x>"), rig.daemon.sip)
    rig.caller.send_raw(_odd_invite(rig, good, **{"Max-Forwards": "0"}), rig.daemon.sip)
    rig.caller.send_raw(_odd_invite(rig, good, **{"Content-Length": "-1"}), rig.daemon.sip)
    generator = random.Random(11)
    target = sdp_bodies.media_target(call.caller.remote_sdp)
    for size in (0, 1, 11, 12, 13, 40, 200, 1400):
        call.left.send(generator.randbytes(size), target)
        call.left.send(b"\x9f" + generator.randbytes(size), target)  # 15 CSRC, extension, that are not there
        call.left.send(b"\xa0\x00" + generator.randbytes(size), target)  # padding longer than the packet
    assert rig.caller.options(rig.daemon.sip).code == 200, "it still answers"
    call.left.wait_count(len(call.left.heard) + 50)
    call.hang_up()
    rig.sealed(call)
    assert rig.daemon.alive
    right = find_runs(rig.wave(recording).channel(1), call.right_talk.sent)
    assert len(right) == 1, "the callee's side was recorded without a gap"
    assert "Traceback" not in rig.daemon.everything_said


def test_foreign_rtp_is_neither_relayed_nor_recorded(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(seconds=40)
    recording = rig.recorded(call)
    foreign = rig.peer(rig.lease.addresses.foreign)
    injected = unmistakable(2, 77)
    talks = [
        foreign.talk(injected, sdp_bodies.media_target(dialog.remote_sdp), ssrc=0xBAD)
        for dialog in (call.caller, call.callee)
    ]
    for talk in talks:
        talk.join()
    stolen = packet(injected[:160], sequence=1, timestamp=1, ssrc=0x11110001)  # the caller's own SSRC
    foreign.send(stolen, sdp_bodies.media_target(call.caller.remote_sdp))
    call.hang_up()
    rig.sealed(call)
    wave = rig.wave(recording)
    compared = rigs.compare(call, wave)
    assert len(compared.left) == len(compared.right) == 1, "nothing in the channels but the parties"
    assert foreign.heard == [], "and nothing was sent to the stranger"
    assert all(p.ssrc != 0xBAD for peer in (call.left, call.right) for p in peer.heard)
    released = rig.daemon.wait("media.released", call_ref=call.ref)
    assert (released["caller_foreign"], released["callee_foreign"]) == (101, 100)


# ---------------------------------------------------------------- other user agents
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipp_both_sides(make_rig: Callable[..., Rig], tmp_path: Path, transport: str) -> None:
    rig = make_rig(Settings(sip_transport=transport))
    rig.daemon.start()
    rig.caller.close()
    rig.callee.close()
    left, right = tmp_path / "left.ul", tmp_path / "right.ul"
    left.write_bytes(unmistakable(20, 41))
    right.write_bytes(unmistakable(20, 42))
    here, there = rig.lease.addresses.caller, rig.lease.addresses.callee
    with contextlib.ExitStack() as stack:
        callee = stack.enter_context(
            Sipp(
                "callee",
                at=there,
                remote=rig.daemon.sip,
                directory=tmp_path,
                speech=Speech(right),
                transport=transport,
            )
        )
        callee.wait_bound()
        caller = stack.enter_context(
            Sipp(
                "caller",
                at=here,
                remote=rig.daemon.sip,
                directory=tmp_path,
                speech=Speech(left),
                transport=transport,
                talk_ms=5000,
            )
        )
        caller.finish()
        callee.finish()
    recording = rig.daemon.wait("recording.sealed").recording
    wave = rig.wave(recording)
    for channel, said in ((0, left), (1, right)):
        runs = find_runs(wave.channel(channel), said.read_bytes())
        assert len(runs) == 1
        assert runs[0].samples > 2 * 8000


@pytest.mark.parametrize(
    ("caller", "callee", "outcome"),
    [
        ("caller_cancel", "callee_cancelled", "cancelled"),
        ("caller_refused", "callee_refuses", "failed"),
        ("caller_hold", "callee_held", "answered"),
    ],
)
def test_sipp_scenarios(
    make_rig: Callable[..., Rig], tmp_path: Path, caller: str, callee: str, outcome: str
) -> None:
    rig = make_rig()
    rig.daemon.start()
    rig.caller.close()
    rig.callee.close()
    said = tmp_path / "said.ul"
    said.write_bytes(unmistakable(20, 43))
    with Sipp(
        callee,
        at=rig.lease.addresses.callee,
        remote=rig.daemon.sip,
        directory=tmp_path,
        speech=Speech(said),
    ) as answering:
        answering.wait_bound()
        with Sipp(
            caller,
            at=rig.lease.addresses.caller,
            remote=rig.daemon.sip,
            directory=tmp_path,
            speech=Speech(said),
            talk_ms=3000,
        ) as calling:
            calling.finish()
            answering.finish()
    assert rig.daemon.wait("call.ended")["outcome"] == outcome
    if outcome == "answered":
        assert rig.daemon.wait("recording.sealed")["paused_ms"] == pytest.approx(1500, abs=150)


def test_baresip_as_callee(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    seconds = np.arange(160_000) / 8000
    tone = (8000 * np.sin(2 * np.pi * 440 * seconds)).astype(np.int16)
    (tmp_path / "tone.wav").write_bytes(pcm_wave(tone, 8000))
    with Baresip(directory=tmp_path / "baresip", speech=tmp_path / "tone.wav") as callee:
        callee.wait_ready()
        rig = make_rig(Settings(callee=(callee.address, callee.port)))
        rig.daemon.start()
        ear = rig.peer(rig.lease.addresses.caller)
        call = rig.caller.invite(
            "baresip", rig.daemon.sip, sdp_bodies.audio(ear.address, ear.port, codecs=(sdp_bodies.PCMU,))
        )
        call.wait_answer()
        recording = rig.daemon.wait("recording.opened").recording
        ear.wait_count(len(ear.heard) + 100)
        call.bye()
        rig.daemon.wait("recording.sealed")
    wave = rig.wave(recording)
    spectrum = np.abs(np.fft.rfft(ulaw_to_pcm(wave.channel(1))[4000:12000].astype(float)))
    assert int(np.argmax(spectrum[1:])) + 1 == pytest.approx(440, abs=2), "the callee's tone is on the right"


def test_port_5060_is_freed_when_the_daemon_stops(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial()
    recording = rig.recorded(call)
    assert rig.daemon.stop() == 0
    call.caller.wait_ended()
    call.callee.wait_ended()
    assert recording in rig.daemon.cli("recordings", "list", "--json").stdout
    rig.daemon.cli("recordings", "verify", recording, "--identity", str(rig.daemon.identity))
    with Softphone(rig.daemon.sip[0], SIP_PORT):
        pass
