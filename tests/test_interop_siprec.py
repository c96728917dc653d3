"""Forks of a recording client through the real daemon: recorded with evidence, refused without."""

from __future__ import annotations

import io
import json
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import sdp_bodies
import yaml
from daemon import Purpose, Settings
from listening import read_wave, unmistakable
from parties import eventually
from rig import Call, Rig, compare
from rtp_peer import RtpPeer
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
from softphone import Dialog

pytestmark = pytest.mark.interop

ASSERTED = {"announce__fork": {"trunks": ["sbc"], "evidence": "asserted"}}
DECLARED = {
    "announce__fork": {
        "trunks": ["sbc"],
        "evidence": "declared",
        "authorised_by": "FG J. Jansen",
        "ref": "Testverslag SBC",
        "date": "2026-01-02",
    }
}


def fork_rig(make_rig: Callable[..., Rig], more: dict[str, Any] | None = None, **trunk: Any) -> Rig:
    """A daemon whose only peer is a recording client at the caller's address."""
    made = make_rig(Settings(purposes={"training": Purpose(more=ASSERTED if more is None else more)}))
    document = yaml.safe_load(made.daemon.config.read_text())
    document["trunks"] = {
        "sbc": {
            "peers": [made.lease.addresses.caller],
            "siprec": True,
            "direction": "inbound",
            "latch": "address",
            **trunk,
        }
    }
    made.daemon.config.write_text(yaml.safe_dump(document))
    made.daemon.start()
    return made


def begin(
    rig: Rig,
    *headers: tuple[str, str],
    document: bytes = b"",
    seed: int = 1,
    swapped: bool = False,
) -> Call:
    """Fork a call, and let both voices speak into the sections that the answer names."""
    left, right = rig.peer(rig.caller.address), rig.peer(rig.caller.address)
    start = rig.daemon.mark
    ports = (right.port, left.port) if swapped else (left.port, right.port)
    labels = ("2", "1") if swapped else ("1", "2")
    sdp = offer(left.address, ports, labels=labels)
    dialog = fork(rig.caller, rig.daemon.sip, sdp, document or metadata(CALLER, CALLEE), *headers)
    dialog.wait_answer()
    answered = rig.daemon.wait("call.answered", start=start)
    first, second = targets(dialog.remote_sdp)
    return speak(
        rig,
        dialog,
        str(answered["call_ref"]),
        left,
        right,
        (second, first) if swapped else (first, second),
        seed,
    )


def speak(
    rig: Rig,
    dialog: Dialog,
    ref: str,
    left: RtpPeer,
    right: RtpPeer,
    to: tuple[tuple[str, int], tuple[str, int]],
    seed: int,
) -> Call:
    left_talk = left.talk(unmistakable(20.0, 2 * seed), to[0], payload_type=0, ssrc=0x1111)
    right_talk = right.talk(unmistakable(20.0, 2 * seed + 1), to[1], payload_type=0, ssrc=0x2222)
    return Call(ref, dialog, dialog, left, right, left_talk, right_talk)


def said_for(call: Call, frames: int) -> None:
    """Wait until both voices have said so much more."""
    for talk in (call.left_talk, call.right_talk):
        count = len(talk.sent_ns) + frames
        eventually(partial(len, talk.sent_ns), partial(operator.le, count))


def audit(rig: Rig) -> list[dict[str, Any]]:
    lines = (rig.daemon.data / "audit" / "chain.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


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
    said_for(call, 60)
    call.caller.bye()
    call.silence()
    rig.sealed(call)
    compared = compare(call, read_wave(rig.daemon.open_with_age(recording)))
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
    said_for(call, 50)
    call.caller.bye()
    call.silence()
    rig.sealed(call)
    compared = compare(call, read_wave(rig.daemon.open_with_age(recording)))
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
    alone = call.caller.request("INVITE", partial, kind="application/rs-metadata+xml")
    assert alone.code == 200
    assert targets(alone.body) == targets(call.caller.remote_sdp), "what stands, as an offer of ours"
    said_for(call, 25)
    call.caller.bye()
    call.silence()
    rig.sealed(call)


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
