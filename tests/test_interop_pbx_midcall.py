"""What an Asterisk 22 does to a call that is being recorded: hold, transfer, other media, keys."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sdp_bodies
from listening import find_runs
from pbx_stage import Speaking, Stage, stage
from rtp_peer import Heard, Talk
from sip_message import parameter
from softphone import Softphone

pytestmark = pytest.mark.pbx


@pytest.fixture(scope="module")
def pbx(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[Stage]:
    """One provider, one recproxy, one Asterisk for all calls of this file."""
    with stage(tmp_path_factory.mktemp("pbx"), prompts) as made:
        yield made


def direct(text: str) -> str:
    """Media may go from the telephone to recproxy without Asterisk."""
    return text.replace("direct_media=no", "direct_media=yes")


def test_music_on_hold_of_asterisk_is_heard_and_recorded(pbx: Stage) -> None:
    start = pbx.rig.daemon.mark
    caller, callee = pbx.to_telephone()
    opened = pbx.recorded(start)
    caller.ear.wait_count(len(caller.ear.heard) + 50)
    place = (callee.ear.address, callee.ear.port)
    assert callee.dialog.reinvite(sdp_bodies.audio(*place, direction="sendonly", version=2)).code == 200
    callee.talk.stop()
    caller.ear.wait_count(len(caller.ear.heard) + 100)
    music = b"".join(packet.payload for packet in caller.ear.heard[-40:])
    assert music in pbx.spoken, "the caller hears the music of Asterisk"
    assert callee.dialog.reinvite(sdp_bodies.audio(*place, version=3)).code == 200
    again = pbx.talk(callee.ear, callee.dialog, sdp_bodies.PCMU, 3)
    caller.ear.wait_count(len(caller.ear.heard) + 100)
    caller.dialog.bye()
    callee.dialog.wait_ended()
    wave = pbx.sealed(opened)
    assert len(find_runs(wave.channel(0), caller.talk.sent)) == 1, "what the caller said is whole"
    said = callee.talk.sent
    right = find_runs(wave.channel(1), said + pbx.spoken + again.sent)
    seen = {
        "callee" if r.sent < len(said) else "music" if r.sent < len(said + pbx.spoken) else "again"
        for r in right
    }
    assert seen == {"callee", "music", "again"}, "one after the other, on the right"


def test_hold_by_the_provider_pauses_the_recording(pbx: Stage) -> None:
    start = pbx.rig.daemon.mark
    caller, callee = pbx.to_telephone()
    opened = pbx.recorded(start)
    caller.ear.wait_count(len(caller.ear.heard) + 50)
    ear = caller.ear
    held = sdp_bodies.audio(ear.address, ear.port, direction="sendonly", version=2)
    assert caller.dialog.reinvite(held).code == 200
    pbx.rig.daemon.wait("recording.paused", call_ref=opened["call_ref"])
    resumed = sdp_bodies.audio(ear.address, ear.port, version=3)
    assert caller.dialog.reinvite(resumed).code == 200
    pbx.rig.daemon.wait("recording.resumed", call_ref=opened["call_ref"])
    ear.wait_count(len(ear.heard) + 50)
    caller.dialog.bye()
    callee.dialog.wait_ended()
    wave = pbx.sealed(opened)
    for side, party in enumerate((caller, callee)):
        shifts = {run.recorded - run.sent for run in find_runs(wave.channel(side), party.talk.sent)}
        assert len(shifts) == 1, "everything stands where it was said"


def test_direct_media_leads_around_asterisk_and_stays_recorded(tmp_path: Path, prompts: Path) -> None:
    with stage(tmp_path, prompts, pjsip=direct, change=_latch_by_address) as pbx:
        start = pbx.rig.daemon.mark
        caller, callee = pbx.to_telephone()
        opened = pbx.recorded(start)
        callee.ear.wait_heard(
            lambda heard: bool(heard) and heard[-1].source[0] == pbx.rig.daemon.sip[0],
            what="media of recproxy itself at the telephone",
        )
        assert sdp_bodies.media_target(callee.dialog.remote_sdp)[0] == pbx.rig.daemon.sip[0]
        callee.talk.stop()
        again = pbx.talk(callee.ear, callee.dialog, sdp_bodies.PCMU, 3)
        caller.ear.wait_count(len(caller.ear.heard) + 100)
        caller.dialog.bye()
        callee.dialog.wait_ended()
        wave = pbx.sealed(opened)
        assert sum(run.samples for run in find_runs(wave.channel(0), caller.talk.sent)) > 1.5 * 8000
        right = find_runs(wave.channel(1), callee.talk.sent + again.sent)
        around = right[-1].sent + right[-1].samples - len(callee.talk.sent)
        assert around > 1.5 * 8000, "what went around Asterisk was recorded"


def _latch_by_address(document: dict[str, Any]) -> None:
    """Media comes from the telephones themselves."""
    document["trunks"]["asterisk"]["latch"] = "address"


def test_asterisk_transfers_a_call_away_blindly(pbx: Stage) -> None:
    start, mark = pbx.rig.daemon.mark, pbx.asterisk.mark
    call = pbx.call_in("away+31205556677")
    opened = pbx.recorded(start)
    refer = pbx.provider.next_request("REFER")
    assert "+31205556677" in refer.one("refer-to")
    told = call.dialog.request(
        "NOTIFY",
        b"SIP/2.0 200 OK\r\n",
        kind="message/sipfrag;version=2.0",
        headers=(("Event", "refer"), ("Subscription-State", "terminated;reason=noresource")),
    )
    assert told.code == 200
    pbx.asterisk.wait_said("transfer was SUCCESS", start=mark)
    call.dialog.bye()
    pbx.sealed(opened)


def _transferred(by: Softphone, call: Speaking) -> None:
    """Hear that a transfer succeeded, and leave the call, as RFC 3515 has it."""
    while b"200" not in by.next_request("NOTIFY").body:
        pass
    if not call.dialog.ended.is_set():
        call.dialog.bye()


def test_the_provider_transfers_a_call_to_another_one_of_asterisk(pbx: Stage) -> None:
    start = pbx.rig.daemon.mark
    first, telephone = pbx.to_telephone()
    opened = pbx.recorded(start)
    start = pbx.rig.daemon.mark
    second = pbx.call_in("echo")
    pbx.recorded(start)
    to_tag, from_tag = (parameter(value, "tag") for value in (second.dialog.remote, second.dialog.local))
    replaces = quote(f"{second.dialog.call_id};to-tag={to_tag};from-tag={from_tag}", safe="")
    daemon = pbx.rig.daemon.sip
    refer_to = ("Refer-To", f"<sip:echo@{daemon[0]}:{daemon[1]}?Replaces={replaces}>")
    assert first.dialog.request("REFER", headers=(refer_to,)).code in {200, 202}
    telephone.ear.wait_heard(
        lambda heard: any(p.payload in telephone.talk.sent for p in heard if len(p.payload) == 160),
        what="its own echo: the telephone is in the other call now",
    )
    _transferred(pbx.provider, first)
    pbx.rig.daemon.wait("recording.sealed", call_ref=opened["call_ref"])
    telephone.dialog.bye()
    second.dialog.wait_ended()


def test_a_telephone_joins_two_calls_of_the_trunk(pbx: Stage) -> None:
    start = pbx.rig.daemon.mark
    outside, inside = pbx.to_telephone()
    first = pbx.recorded(start)
    start = pbx.rig.daemon.mark
    asking, other = pbx.from_telephone("+31205556677")
    second = pbx.recorded(start)
    to_tag, from_tag = (parameter(value, "tag") for value in (asking.dialog.remote, asking.dialog.local))
    replaces = quote(f"{asking.dialog.call_id};to-tag={to_tag};from-tag={from_tag}", safe="")
    refer_to = ("Refer-To", f"<sip:+31205556677@{pbx.pbx}?Replaces={replaces}>")
    assert inside.dialog.request("REFER", headers=(refer_to,)).code in {200, 202}
    _transferred(pbx.telephone, inside)
    for talk in (inside.talk, asking.talk):
        talk.stop()
    for ear, talk in ((other.ear, outside.talk), (outside.ear, other.talk)):
        ear.wait_heard(
            partial(_hears, talk),
            what="the other one outside",
        )
    outside.ear.wait_count(len(outside.ear.heard) + 100)
    outside.dialog.bye()
    other.dialog.wait_ended()
    waves = pbx.sealed(first), pbx.sealed(second)
    # Either call announces itself to whom joined it, through the PBX to the other call: its first words may
    # come there before that one pauses.
    announced = _announcement(outside.ear.heard, inside.talk)
    assert len(announced) > 8000 // 4
    before, new = inside.talk.sent, other.talk.sent
    joined = find_runs(waves[0].channel(1), before + new + announced)
    assert len(before) < joined[-1].sent < len(before + new), "the first recording goes on with the new party"
    before, new = asking.talk.sent, outside.talk.sent
    joined = find_runs(waves[1].channel(0), before + new + announced)
    assert len(before) < joined[-1].sent < len(before + new)
    joins = pbx.rig.daemon.said("party.joined")
    assert {(said["call_ref"], said["who"]) for said in joins} == {
        (opened["call_ref"], "outside") for opened in (first, second)
    }


def _announcement(heard: list[Heard], talk: Talk) -> bytes:
    """What was heard before the first word of the other party."""
    first = takewhile(lambda packet: packet.payload not in talk.sent, heard)
    return b"".join(packet.payload for packet in first)


def _hears(talk: Talk, heard: list[Heard]) -> bool:
    return bool(heard) and heard[-1].payload in talk.sent


def test_a_reinvite_changes_the_codec(pbx: Stage) -> None:
    start = pbx.rig.daemon.mark
    call = pbx.call_in("echo")
    opened = pbx.recorded(start)
    call.ear.wait_count(len(call.ear.heard) + 50)
    call.talk.stop()
    offer = sdp_bodies.audio(call.ear.address, call.ear.port, codecs=(sdp_bodies.PCMA,), version=2)
    answered = call.dialog.reinvite(offer)
    assert (answered.code, sdp_bodies.read(answered.body)[0].formats[0]) == (200, "8")
    again = pbx.talk(call.ear, call.dialog, sdp_bodies.PCMA, 3)
    call.ear.wait_heard(
        lambda heard: sum(packet.payload_type == 8 for packet in heard) > 100,
        what="the echo in A-law",
    )
    call.dialog.bye()
    wave = pbx.sealed(opened)
    again.stop()
    assert wave.code == 7, "the recording stays what it was"
    left = wave.channel(0)
    first = find_runs(left[: 8000 // 2], call.talk.sent)
    assert len(first) == 1
    late = left[-8000:]
    assert late.count(0xFF) < 800, "what is said in A-law is recorded in its place"


def test_fax_of_asterisk_falls_back_to_g711(tmp_path: Path, prompts: Path) -> None:
    def fax(text: str) -> str:
        return text.replace("t38_udptl=no", "t38_udptl=yes")

    with stage(tmp_path, prompts, pjsip=fax) as pbx:
        start = pbx.rig.daemon.mark
        call = pbx.call_in("fax")
        opened = pbx.recorded(start)
        pbx.asterisk.wait_said("m=image")
        pbx.asterisk.wait_said("SIP/2.0 488")
        assert not call.dialog.reoffers, "the provider never heard of it"
        call.ear.wait_count(len(call.ear.heard) + 100)
        call.dialog.bye()
        assert pbx.sealed(opened).frames > 1.8 * 8000


def test_keys_by_info_pass_both_ways_and_are_counted(tmp_path: Path, prompts: Path) -> None:
    def by_info(text: str) -> str:
        return text.replace("dtmf_mode=rfc4733", "dtmf_mode=info")

    with stage(tmp_path, prompts, pjsip=by_info) as pbx:
        for number, keys in (("presses", "9"), ("reads", "7")):
            start, mark = pbx.rig.daemon.mark, pbx.asterisk.mark
            call = pbx.call_in(number)
            opened = pbx.recorded(start)
            if number == "presses":
                told = pbx.provider.next_request("INFO")
                assert told.one("content-type") == "application/dtmf-relay"
                assert told.body.startswith(b"Signal=" + keys.encode())
            else:
                body = f"Signal={keys}\r\nDuration=160\r\n".encode()
                assert call.dialog.request("INFO", body, kind="application/dtmf-relay").code == 200
                pbx.asterisk.wait_said(f"pressed was {keys}", start=mark)
            call.dialog.bye()
            pbx.sealed(opened)
            ended = pbx.rig.daemon.wait("call.ended", call_ref=opened["call_ref"])
            assert ended["keys_pressed"] == 1


def test_asterisk_refreshes_the_call_by_a_session_timer(tmp_path: Path, prompts: Path) -> None:
    def timed(text: str) -> str:
        return text.replace("t38_udptl=no", "timers=always\ntimers_min_se=90\ntimers_sess_expires=90")

    with stage(tmp_path, prompts, pjsip=timed) as pbx:
        start = pbx.rig.daemon.mark
        caller, callee = pbx.from_telephone()
        opened = pbx.recorded(start)
        mark = pbx.asterisk.mark
        pbx.asterisk.wait_said("Session-Expires: 90;refresher=uac", start=mark, within_s=60)
        caller.ear.wait_count(len(caller.ear.heard) + 50)
        caller.dialog.bye()
        callee.dialog.wait_ended()
        assert not callee.dialog.reoffers, "it is a matter of one leg"
        wave = pbx.sealed(opened)
        for side, party in enumerate((caller, callee)):
            assert len(find_runs(wave.channel(side), party.talk.sent)) == 1, "the refresh left no trace"
