"""Forks of a recording client through the real daemon: recorded with evidence, refused without."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sdp_bodies
from daemon import Purpose
from listening import find_runs, read_wave, unmistakable
from peers import Sipp
from rig import Call, Rig, compare
from rtp_peer import FRAME_SAMPLES, RtpPeer, Talk, packet
from siprec_client import (
    CALLEE,
    CALLER,
    SIPREC,
    TOLD,
    Voice,
    fork,
    forked,
    metadata,
    multipart,
    offer,
    targets,
)
from siprec_stage import ASSERTED, DECLARED, audit, begin, compared_after, fork_rig, said_for, speak
from srtp_model import SrtpModel

from rtp.endpoints import SrtpKey, SrtpSuite

pytestmark = pytest.mark.interop


def test_a_fork_is_recorded_caller_left_callee_right_and_stock_age_opens_it(
    make_rig: Callable[..., Rig],
) -> None:
    rig = fork_rig(make_rig)
    call = begin(rig, TOLD)
    recording = rig.recorded(call)
    said_for(call, 100)
    call.caller.bye()
    call.silence()
    rig.sealed(call)
    wave = read_wave(rig.daemon.open_with_age(recording))
    compared = compare(call, wave)
    assert sum(run.samples for run in compared.left) > 1.5 * 8000
    assert sum(run.samples for run in compared.right) > 1.5 * 8000
    assert abs(compared.skew_ms) <= 20
    assert call.left.heard == call.right.heard == [], "nothing is ever sent to the client"
    (told,) = [line for line in audit(rig) if line["event"] == "announce.asserted"]
    assert (told["by"], told["evidence"], told["heard_by"]) == ("src", "asserted", "caller,callee")
    shown = rig.daemon.cli("recordings", "show", recording).stdout
    assert "training (nl) by the recording client to caller and callee" in shown
    listed = json.loads(
        rig.daemon.cli(
            "recordings",
            "show",
            recording,
            "--use",
            "training",
            "--identity",
            str(rig.daemon.identity),
            "--json",
        ).stdout
    )
    assert "+31612345678" in json.dumps(listed)
    assert "+31612345678" not in rig.daemon.everything_said
    for path in rig.daemon.files():
        content = path.read_bytes()
        assert b"31612345678" not in content, f"a number in {path.name}"
        assert b"Somebody" not in content, f"a name of the metadata in {path.name}"
    assert rig.daemon.cli("audit", "verify").returncode == 0


def test_the_answer_is_that_of_a_recording_server(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig)
    call = begin(rig, TOLD)
    answer = call.caller.seen[-1]
    assert answer.code == 200
    assert "+sip.srs" in answer.one("contact")
    assert len(answer.all("contact")) == 1
    assert "siprec" in ",".join(answer.all("supported"))
    assert "application/rs-metadata" in ",".join(answer.all("accept"))
    sections = sdp_bodies.read(call.caller.remote_sdp)
    assert [section.direction for section in sections] == ["recvonly", "recvonly"]
    assert sections[0].port != sections[1].port
    options = rig.caller.options(rig.daemon.sip)
    assert "siprec" in ",".join(options.all("supported"))
    assert "application/rs-metadata" in ",".join(options.all("accept"))
    call.silence()
    call.caller.bye()


def test_labels_decide_who_is_left_not_the_order_of_the_sections(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig)
    call = begin(rig, TOLD, swapped=True)
    recording = rig.recorded(call)
    compared = compared_after(rig, call, recording, 60)
    assert compared.left
    assert compared.right


def test_without_evidence_nothing_is_stored_and_the_refusal_says_why(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig)
    left = rig.peer(rig.caller.address)
    sdp = offer(left.address, (left.port, left.port + 2))
    for headers in ((), (("X-Recording-Notice", "completed;prompt=sales"),)):
        start = rig.daemon.mark
        dialog = fork(rig.caller, rig.daemon.sip, sdp, metadata(CALLER, CALLEE), *headers)
        refused = dialog.wait_response(300)
        assert refused.code == 403
        rig.daemon.wait("notice.failed", start=start)
        assert "No Evidence Of The Announcement" in refused.one("warning")
        assert "No Evidence Of The Announcement" in refused.one("reason")
    assert rig.daemon.bodies() == []
    assert list((rig.daemon.data / "keys").glob("*")) == []


def test_the_recording_begins_when_the_client_says_that_the_announcement_was_heard(
    make_rig: Callable[..., Rig],
) -> None:
    rig = fork_rig(make_rig)
    call = begin(rig, ("X-Recording-Notice", "pending"))
    said_for(call, 50)
    assert rig.daemon.said("recording.opened") == []
    assert rig.daemon.bodies() == []
    before = len(call.left_talk.sent)
    response = call.caller.request("UPDATE", headers=(TOLD,))
    assert response.code == 200
    recording = rig.recorded(call)
    compared = compared_after(rig, call, recording, 50)
    assert compared.left[0].sent >= before - 160, "not a sample from before"


def test_a_declaration_of_the_privacy_officer_will_do(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig, DECLARED)
    call = begin(rig)
    rig.recorded(call)
    call.caller.bye()
    call.silence()
    rig.sealed(call)
    (told,) = [line for line in audit(rig) if line["event"] == "announce.asserted"]
    assert (told["evidence"], told["ref"]) == ("declared", "Testverslag SBC")


def test_a_pause_is_silence_and_a_change_of_labels_changes_channels(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig)
    call = begin(rig, TOLD)
    recording = rig.recorded(call)
    said_for(call, 50)
    ports = (call.left.port, call.right.port)
    paused = offer(call.left.address, ports, directions=("inactive", "inactive"), version=2)
    kind, body = forked(paused, metadata(CALLER, CALLEE))
    response = call.caller.request("INVITE", body, kind=kind)
    assert response.code == 200
    assert [section.direction for section in sdp_bodies.read(response.body)] == ["inactive", "inactive"]
    assert "+sip.srs" in response.one("contact")
    rig.daemon.wait("recording.paused", call_ref=call.ref)
    said_for(call, 50)
    again = forked(offer(call.left.address, ports, version=3), metadata(CALLER, CALLEE))
    assert call.caller.request("UPDATE", again[1], kind=again[0]).code == 200
    rig.daemon.wait("recording.resumed", call_ref=call.ref)
    said_for(call, 25)
    # The voices change sections: what was the callee's section is the caller's now.
    other = metadata(
        Voice("p-caller", CALLER.address, "s-2", "2"),
        Voice("p-callee", CALLEE.address, "s-1", "1"),
        mode="partial",
    )
    kind, body = forked(offer(call.left.address, ports, version=4), other)
    swapped = call.caller.request("INVITE", body, kind=kind)
    first, second = targets(call.caller.remote_sdp)
    assert targets(swapped.body) == [second, first], "each section goes where its speaker is recorded"
    call.caller.bye()
    call.silence()
    sealed = rig.sealed(call)
    assert sealed["paused_ms"] > 500
    assert rig.daemon.open_with_age(recording)


def test_metadata_alone_is_taken_and_a_refresh_is_answered(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig)
    call = begin(rig, TOLD)
    rig.recorded(call)
    partial = metadata(Voice("p-3", "sip:third@sbc.example"), mode="partial")
    assert call.caller.request("UPDATE", partial, kind="application/rs-metadata+xml").code == 200
    broken = call.caller.request("UPDATE", b"<recording>", kind="application/rs-metadata+xml")
    assert broken.code == 400
    three = offer(
        call.left.address,
        (call.left.port, call.right.port, 9),
        labels=("1", "2", "3"),
        directions=("sendonly",) * 3,
        more=("",) * 3,
        version=2,
    )
    third = metadata(Voice("p-3", "sip:third@sbc.example", "s-3", "3"), mode="partial")
    kind, body = forked(three, third)
    answered = targets(call.caller.request("INVITE", body, kind=kind).body)
    assert answered[:2] == targets(call.caller.remote_sdp)
    assert answered[2][1] == 0, "a third voice is refused, not mixed into another's channel"
    alone = call.caller.request("INVITE", partial, kind="application/rs-metadata+xml")
    assert alone.code == 200
    assert targets(alone.body) == answered, "what stands, as an offer of ours"
    said_for(call, 25)
    call.caller.bye()
    call.silence()
    rig.sealed(call)


def test_metadata_alone_moves_the_voices_and_the_channels_stay_whose_they_are(
    make_rig: Callable[..., Rig],
) -> None:
    rig = fork_rig(make_rig)
    call = begin(rig, TOLD)
    recording = rig.recorded(call)
    said_for(call, 50)
    call.silence()
    other = metadata(
        Voice("p-caller", CALLER.address, "s-2", "2"),
        Voice("p-callee", CALLEE.address, "s-1", "1"),
        mode="partial",
    )
    assert call.caller.request("UPDATE", other, kind="application/rs-metadata+xml").code == 200
    first, second = targets(call.caller.remote_sdp)
    moved = speak(rig, call.caller, call.ref, call.right, call.left, (second, first), 3)
    said_for(moved, 75)
    call.caller.bye()
    moved.silence()
    rig.sealed(call)
    wave = read_wave(rig.daemon.open_with_age(recording))
    talks = ((call.left_talk, moved.left_talk), (call.right_talk, moved.right_talk))
    for side, (before, after) in enumerate(talks):
        runs = find_runs(wave.channel(side), before.sent + after.sent)  # nobody else is in it
        assert sum(run.samples for run in runs) > len(after.sent) + 0.8 * 8000


HOSTILE = {
    "bomb": b'<!DOCTYPE r [<!ENTITY a "x"><!ENTITY b "&a;&a;">]><recording>&b;</recording>',
    "outside": b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><recording>&x;</recording>',
    "deep": b"<recording>" + b"<a>" * 500 + b"</a>" * 500 + b"</recording>",
    "many": b"<recording>" + b"<a/>" * 1200 + b"</recording>",
    "torn": b"<recording><participant",
}


def test_hostile_metadata_changes_nothing_for_a_fork_that_is_being_recorded(
    make_rig: Callable[..., Rig],
) -> None:
    rig = fork_rig(make_rig)
    call = begin(rig, TOLD)
    rig.recorded(call)
    left = rig.peer(rig.caller.address)
    sdp = offer(left.address, (left.port, left.port + 2))
    for name, document in HOSTILE.items():
        dialog = fork(rig.caller, rig.daemon.sip, sdp, document, TOLD)
        assert dialog.wait_response(300).code in {400, 513}, name
    many = offer(
        left.address, (4000,) * 17, labels=("1",) * 17, directions=("sendonly",) * 17, more=("",) * 17
    )
    assert (
        fork(rig.caller, rig.daemon.sip, many, metadata(CALLER, CALLEE), TOLD).wait_response(300).code == 488
    )
    plain = rig.caller.invite("srs", rig.daemon.sip, sdp, headers=(TOLD,))
    assert plain.wait_response(300).code == 403, "no fork, and this trunk is for forks"
    kind, body = multipart(("application/sdp", sdp))
    bare = rig.caller.invite("srs", rig.daemon.sip, body, headers=(SIPREC, TOLD), kind=kind)
    assert bare.wait_response(300).code == 400
    # More than the stack takes in one datagram.
    giant = fork(rig.caller, rig.daemon.sip, sdp, metadata(CALLER, CALLEE) + b" " * 40_000, TOLD)
    assert giant.wait_response(200).code >= 400
    said_for(call, 25)
    call.caller.bye()
    call.silence()
    sealed = rig.sealed(call)
    assert sealed["ring_dropped"] == 0
    assert rig.daemon.alive


def test_a_trunk_that_is_no_client_may_not_require_siprec(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    left = rig.peer(rig.caller.address)
    dialog = fork(
        rig.caller,
        rig.daemon.sip,
        offer(left.address, (left.port, left.port + 2)),
        metadata(CALLER, CALLEE),
        TOLD,
    )
    refused = dialog.wait_response(300)
    assert refused.code == 420
    assert "siprec" in refused.one("unsupported")
    assert "siprec" not in ",".join(rig.caller.options(rig.daemon.sip).all("supported"))


def test_a_client_has_the_limits_of_a_trunk(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig, max_calls=1)
    call = begin(rig, TOLD)
    left = rig.peer(rig.caller.address)
    second = fork(
        rig.caller,
        rig.daemon.sip,
        offer(left.address, (left.port, left.port + 2)),
        metadata(CALLER, CALLEE),
        TOLD,
    )
    assert second.wait_response(300).code == 503
    call.caller.bye()
    call.silence()
    rig.daemon.wait("call.ended", call_ref=call.ref)
    third = begin(rig, TOLD, seed=2)
    third.caller.bye()
    third.silence()


def test_a_stop_of_the_daemon_seals_and_hangs_up(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig)
    call = begin(rig, TOLD)
    recording = rig.recorded(call)
    said_for(call, 50)
    assert rig.daemon.stop() == 0
    call.caller.wait_ended()
    call.silence()
    assert len(rig.daemon.open_with_age(recording)) > io.DEFAULT_BUFFER_SIZE


def test_a_key_of_a_party_destroys_the_recording_and_ends_the_fork(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig, ASSERTED | {"choice": {"mode": "opt_out", "keys": ["9"]}})
    left, right = rig.peer(rig.caller.address), rig.peer(rig.caller.address)
    codecs = (sdp_bodies.PCMU, sdp_bodies.TELEPHONE_EVENT)
    sdp = offer(left.address, (left.port, right.port), codecs=codecs)
    dialog = fork(rig.caller, rig.daemon.sip, sdp, metadata(CALLER, CALLEE), TOLD)
    dialog.wait_answer()
    ref = str(rig.daemon.wait("call.answered")["call_ref"])
    first, second = targets(dialog.remote_sdp)
    call = speak(rig, dialog, ref, left, right, (first, second), 1)
    rig.recorded(call)
    said_for(call, 25)
    left.press("9", first)
    ended = dialog.wait_ended()
    assert "Recording Refused" in ended.one("reason")
    call.silence()
    rig.daemon.wait("call.ended", call_ref=ref)
    rig.daemon.wait("recording.discarded", call_ref=ref)
    rig.keeps_nothing_of(call)


def test_a_fork_for_two_purposes_has_two_headers_and_a_no_that_stops_ends_one_there(
    make_rig: Callable[..., Rig],
) -> None:
    scope = {"scope__lines": ["training"]}
    orders = Purpose(retention="P400D", match=("+31999999999",), more=DECLARED | scope)
    stopping = {"choice": {"mode": "opt_out", "keys": ["9"], "effect": "stop"}}
    rig = fork_rig(make_rig, DECLARED | stopping, {"orders": orders})
    left, right = rig.peer(rig.caller.address), rig.peer(rig.caller.address)
    codecs = (sdp_bodies.PCMU, sdp_bodies.TELEPHONE_EVENT)
    sdp = offer(left.address, (left.port, right.port), codecs=codecs)
    dialog = fork(rig.caller, rig.daemon.sip, sdp, metadata(CALLER, CALLEE))
    dialog.wait_answer()
    ref = str(rig.daemon.wait("call.answered")["call_ref"])
    first, second = targets(dialog.remote_sdp)
    call = speak(rig, dialog, ref, left, right, (first, second), 1)
    both = rig.daemon.wait("recording.opened", call_ref=ref)
    assert both["purpose"] == "orders,training"
    said_for(call, 50)
    start = rig.daemon.mark
    left.press("9", first)
    alone = rig.daemon.wait("recording.opened", call_ref=ref, start=start)
    assert alone["purpose"] == "orders"
    said_for(call, 50)
    call.caller.bye()
    call.silence()
    rig.daemon.wait("recording.sealed", call_ref=ref, recording=alone.recording)
    names = {path.name for path in (rig.daemon.data / "keys").glob("*")}
    assert names == {f"{both.recording}.orders", f"{both.recording}.training", f"{alone.recording}.orders"}
    before, after = (compare(call, rig.wave(one.recording)).right for one in (both, alone))
    assert before[-1].sent + before[-1].samples == after[0].sent, "not a sample lost or doubled"


def test_srtp_with_keys_in_the_sdp_is_opened(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig)
    left, right = rig.peer(rig.caller.address), rig.peer(rig.caller.address)
    keys = [SrtpKey(SrtpSuite.AES_CM_128_HMAC_SHA1_80, bytes(range(at, at + 30))) for at in (1, 101)]
    lines = [f"a=crypto:1 {key.suite.name} inline:{base64.b64encode(key.key).decode()}" for key in keys]
    sdp = offer(left.address, (left.port, right.port), protocol="RTP/SAVP", more=lines)
    dialog = fork(rig.caller, rig.daemon.sip, sdp, metadata(CALLER, CALLEE), TOLD)
    dialog.wait_answer()
    ref = str(rig.daemon.wait("call.answered")["call_ref"])
    assert {section.protocol for section in sdp_bodies.read(dialog.remote_sdp)} == {"RTP/SAVP"}
    talks = [
        sealed_talk(peer, to, SrtpModel(key), seed)
        for peer, to, key, seed in zip((left, right), targets(dialog.remote_sdp), keys, (2, 3), strict=True)
    ]
    call = Call(ref, dialog, dialog, left, right, talks[0], talks[1])
    recording = rig.recorded(call)
    compared = compared_after(rig, call, recording, 75)
    assert compared.left
    assert compared.right


def sealed_talk(peer: RtpPeer, to: tuple[str, int], sends: SrtpModel, seed: int) -> Talk:
    """Speak as SRTP."""
    audio_bytes = unmistakable(20.0, seed)
    made = Talk(audio_bytes, [(frame,) for frame in range(len(audio_bytes) // FRAME_SAMPLES)])

    def send(index: int, payload: bytes) -> None:
        plain = packet(payload, sequence=index, timestamp=index * FRAME_SAMPLES, ssrc=seed)
        peer.send(sends.seal(plain, 0), to)

    made._thread = threading.Thread(target=made.run, args=(send,), daemon=True)
    made._thread.start()
    return made


def test_one_section_with_both_voices_is_recorded_on_the_left(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig)
    left, right = rig.peer(rig.caller.address), rig.peer(rig.caller.address)
    sdp = offer(left.address, (left.port,), labels=("1",), directions=("sendonly",), more=("",))
    both = metadata(CALLER, Voice("p-callee", CALLEE.address, "s-1", "1"))
    dialog = fork(rig.caller, rig.daemon.sip, sdp, both, TOLD)
    dialog.wait_answer()
    ref = str(rig.daemon.wait("call.answered")["call_ref"])
    (place,) = targets(dialog.remote_sdp)
    call = speak(rig, dialog, ref, left, right, (place, (left.address, 9)), 1)
    recording = rig.recorded(call)
    said_for(call, 50)
    dialog.bye()
    call.silence()
    rig.sealed(call)
    wave = read_wave(rig.daemon.open_with_age(recording))
    assert compare(call, wave).left
    assert compare(call, wave).right == []


def test_sipp_forks_a_call(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    rig = fork_rig(make_rig)
    rig.caller.close()
    with Sipp(
        "fork", at=rig.caller.address, remote=rig.daemon.sip, directory=tmp_path, talk_ms=500
    ) as client:
        client.finish()
    sealed = rig.daemon.wait("recording.sealed")
    assert rig.daemon.open_with_age(sealed.recording)
