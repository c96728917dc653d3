"""What a policy may want of a call while it lasts: words, tones, consent, refusals, topics, call backs."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sdp_bodies
import yaml
from daemon import Purpose, Settings
from policies import policy_text
from rig import NUMBER, Call, Rig
from rtp_peer import Heard
from sip_message import SipMessage

pytestmark = pytest.mark.interop

CODECS = (sdp_bodies.PCMU, sdp_bodies.TELEPHONE_EVENT)
TALK_SSRC = 0x11110001
DESK, DESK_SSRC = "+31205550177", 0x33330003


def started(make_rig: Callable[..., Rig], purposes: dict[str, Purpose], **top: Any) -> Rig:
    """A daemon with these purposes, and other keys of the policy."""
    rig = make_rig(Settings(purposes))
    policy = yaml.safe_load(rig.daemon.policy.read_text())
    for key, value in top.items():
        policy[key] = {**policy.get(key, {}), **value} if isinstance(value, dict) else value
    rig.daemon.policy.write_text(policy_text(policy))
    rig.daemon.start()
    return rig


def played(heard: list[Heard], seed: int = 1) -> list[Heard]:
    """What a party heard that the other did not say."""
    return [packet for packet in heard if len(packet.data) > 12 and packet.ssrc & 0xFFFF != seed]


def press(call: Call, keys: str) -> None:
    call.left.press(keys, sdp_bodies.media_target(call.caller.remote_sdp))


def test_staff_hear_a_whisper_and_the_caller_does_not(make_rig: Callable[..., Rig]) -> None:
    more = {"announce__staff": "whisper", "announce__audience": "outside"}
    rig = started(make_rig, {"training": Purpose(more=more)})
    call = rig.dial(codecs=CODECS)
    rig.recorded(call)
    call.right.wait_heard(lambda packets: len(played(list(packets))) >= 20, what="a whisper")
    told = {packet.ssrc for packet in played(call.left.heard)}
    rig.talk_on(call, 0.5)
    assert {packet.ssrc for packet in played(call.left.heard)} == told, "only the announcement"
    call.hang_up()
    rig.sealed(call)
    rig.daemon.stop()
    assert '"method":"whisper"' in (rig.daemon.data / "audit" / "chain.jsonl").read_text().replace(" ", "")


def test_staff_hear_the_tone_again_after_a_quarter_of_a_minute(make_rig: Callable[..., Rig]) -> None:
    more = {"announce__staff": "beep_repeat", "announce__audience": "outside"}
    rig = started(make_rig, {"training": Purpose(more=more)})
    call = rig.dial(codecs=CODECS, seconds=25.0)
    rig.recorded(call)
    heard = call.right.wait_heard(
        lambda packets: len({packet.ssrc for packet in played(list(packets))}) >= 2,
        what="a second tone",
        within_s=40.0,
    )
    tones = played(list(heard))
    first = min(packet.at_ns for packet in tones)
    second = min(packet.at_ns for packet in tones if packet.ssrc != tones[0].ssrc)
    assert 14.0 < (second - first) / 1e9 < 17.0
    call.hang_up()
    rig.sealed(call)


CONSENT = {
    "kind": "training",
    "choice": {"mode": "opt_out", "keys": ["9"]},
    "consent": {"prompts": {"nl": "ask", "de": "ask_de"}, "keys": ["1"], "timeout": "PT3S"},
}


def test_a_caller_from_a_country_that_wants_consent_is_asked_in_its_language(
    make_rig: Callable[..., Rig],
) -> None:
    rig = started(
        make_rig,
        {"training": Purpose(text="Opname voor training. Geen opname? Toets 9.", more=CONSENT)},
        jurisdictions={"default": "NL", "by_prefix": {"+49": "DE"}},
        prompts={
            "ask": {"text": "Opname voor training? Toets 1."},
            "ask_de": {"text": "Aufnahme zur Schulung? Taste 1."},
        },
    )
    german = rig.dial(codecs=CODECS, caller="+4930123456")
    asked = rig.daemon.wait("notice.completed", call_ref=german.ref)
    assert asked["language"] == "de"
    press(german, "1")
    recording = rig.recorded(german)
    german.hang_up()
    rig.sealed(german)
    assert '"consent"' in rig.daemon.cli("recordings", "show", recording, "--json").stdout
    silent = rig.dial(codecs=CODECS, caller="+4930123456", seed=2)
    rig.daemon.wait("choice.expired", call_ref=silent.ref)
    silent.hang_up()
    assert rig.daemon.wait("call.ended", call_ref=silent.ref).recording == ""
    dutch = rig.dial(codecs=CODECS, seed=3)
    kept = rig.recorded(dutch)
    dutch.hang_up()
    rig.sealed(dutch)
    assert '"legitimate_interest"' in rig.daemon.cli("recordings", "show", kept, "--json").stdout


STATUTORY = {
    "kind": "statutory",
    "basis": {"caller": "legal_obligation", "staff": "legal_obligation"},
    "legal_ref": ["Wet"],
    "decline": {"keys": ["9"]},
}


def test_a_caller_chooses_the_language_by_a_key_while_the_announcement_is_played(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(Settings({"training": Purpose(text="Wij nemen dit gesprek op om collega's te trainen.")}))
    policy = yaml.safe_load(rig.daemon.policy.read_text())
    policy["languages"] = ["nl", "en"]
    policy["prompts"]["training_en"] = {"text": "We record this call to train our staff."}
    announce = policy["purposes"]["training"]["announce"]
    announce["prompts"]["en"] = "training_en"
    announce["language_keys"] = {"2": "en"}
    rig.daemon.policy.write_text(policy_text(policy))
    rig.daemon.start()
    call = rig.dial(codecs=CODECS)
    rig.daemon.wait("notice.started", call_ref=call.ref)
    press(call, "2")
    assert rig.daemon.wait("notice.switched", call_ref=call.ref)["language"] == "en"
    told = rig.daemon.wait("notice.completed", call_ref=call.ref)
    assert told["language"] == "en"
    recording = rig.recorded(call)
    call.hang_up()
    rig.sealed(call)
    notice = json.loads(rig.daemon.cli("recordings", "show", recording, "--json").stdout)["notice"]
    assert (notice["language"], notice["prompt"]) == ("en", "training_en")


def test_who_refuses_what_a_statute_orders_is_told_so_and_the_call_ends(
    make_rig: Callable[..., Rig],
) -> None:
    rig = started(make_rig, {"orders": Purpose(text="Opname volgens de wet.", more=STATUTORY)})
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.0)
    before = {packet.ssrc for packet in played(call.left.heard)}
    press(call, "9")
    assert rig.sealed(call).recording == recording
    bye = call.caller.wait_ended()
    assert 'cause=603;text="Recording Refused"' in bye.one("reason")
    call.callee.wait_ended()
    call.silence()
    words = [packet for packet in played(call.left.heard) if packet.ssrc not in before]
    assert len(words) > 50, "the words that say why"
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert (ended["ended_by"], ended["code"]) == ("recproxy", 603)


def test_who_refuses_what_a_statute_orders_is_put_through_to_another_desk(
    make_rig: Callable[..., Rig],
) -> None:
    more = {**STATUTORY, "decline": {"keys": ["9"], "target": DESK}}
    rig = started(make_rig, {"orders": Purpose(text="Opname volgens de wet.", more=more)})
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    press(call, "9")
    assert rig.sealed(call).recording == recording
    bye = call.callee.wait_ended()
    assert 'cause=603;text="Recording Refused"' in bye.one("reason")
    desk = rig.callee.next_call()
    assert desk.invite.uri.startswith(f"sip:{DESK}@")
    seat = rig.peer(rig.callee.address)
    desk.answer(sdp_bodies.audio(seat.address, seat.port, codecs=CODECS))
    rig.daemon.wait("diversion.answered", call_ref=call.ref)
    seat.talk(bytes(20 * 160), sdp_bodies.media_target(desk.remote_sdp), ssrc=DESK_SSRC)
    call.left.wait_heard(lambda heard: any(packet.ssrc == DESK_SSRC for packet in heard), what="the desk")
    seat.wait_heard(lambda heard: any(packet.ssrc == TALK_SSRC for packet in heard), what="the caller")
    call.caller.bye()
    desk.wait_ended()
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert (ended["ended_by"], ended["code"], ended.recording) == ("caller", 200, recording)
    assert len(rig.daemon.said("recording.opened")) == 1, "nothing is recorded there"
    nobody = rig.dial(codecs=CODECS, seed=2)
    rig.recorded(nobody)
    press(nobody, "9")
    nobody.callee.wait_ended()
    rig.callee.next_call().reject(486, "Busy Here")
    assert 'cause=603;text="Recording Refused"' in nobody.caller.wait_ended().one("reason")
    rig.daemon.stop()
    assert DESK not in rig.daemon.everything_said
    assert '"call.diverted"' in (rig.daemon.data / "audit" / "chain.jsonl").read_text()


def test_a_term_counts_from_the_end_of_the_call_after_a_crash_too(make_rig: Callable[..., Rig]) -> None:
    rig = started(make_rig, {"training": Purpose(more={"retention__start": "call_end"})})

    def kept(recording: str) -> tuple[timedelta, timedelta]:
        """How long it is kept from its start, and from its end."""
        shown = json.loads(rig.daemon.cli("recordings", "show", recording, "--json").stdout)
        assert shown["terms"][0]["counts_from"] == "call_end"
        expiry, *rest = (datetime.fromisoformat(shown[key]) for key in ("expiry", "started", "ended"))
        return expiry - rest[0], expiry - rest[1]

    call = rig.dial(codecs=CODECS)
    ended = rig.recorded(call)
    rig.talk_on(call, 1.0)
    call.hang_up()
    rig.sealed(call)
    from_start, from_end = kept(ended)
    assert from_start > from_end + timedelta(seconds=1)
    cut = rig.dial(codecs=CODECS, seed=2)
    crashed = rig.recorded(cut)
    rig.talk_on(cut, 2.0)
    rig.daemon.kill()
    rig.daemon.start()
    rig.daemon.wait("recording.recovered", recording=crashed)
    assert kept(crashed)[1] == from_end
    assert kept(crashed)[0] > from_end + timedelta(seconds=1)


def test_the_pbx_names_what_a_call_is_for(make_rig: Callable[..., Rig]) -> None:
    rig = started(
        make_rig,
        {
            "training": Purpose(match=("+3130*",)),
            "orders": Purpose(match=("+3120*",), more={"selection__topic": True, "selection__code": "*81"}),
        },
    )
    policy = yaml.safe_load(rig.daemon.policy.read_text())
    policy["purposes"]["orders"]["scope"]["lines"] = ["training"]
    rig.daemon.policy.write_text(policy_text(policy))
    config = yaml.safe_load(rig.daemon.config.read_text())
    config["trunks"]["pbx"]["names_purpose"] = True
    rig.daemon.config.write_text(yaml.safe_dump(config))
    rig.daemon.stop()
    rig.daemon.start()

    def purpose(number: str, *headers: tuple[str, str]) -> tuple[str, str]:
        start = rig.daemon.mark
        here = rig.lease.addresses
        rig.callee.invite(
            number, rig.daemon.sip, sdp_bodies.audio(here.callee, 6000), caller=NUMBER, headers=headers
        )
        rig.caller.next_call().reject(486, "Busy Here")
        offered = rig.daemon.wait("call.offered", start=start)
        return str(offered["decision"]), str(offered.fields.get("purpose", ""))

    named = ("X-Recording-Purpose", "orders")
    assert purpose("+31612345678") == ("record", "training")
    assert purpose("+31612345678", named) == ("record", "orders")
    assert purpose("*81+31612345678") == ("record", "orders")
    assert purpose("+31612345678", ("X-Recording-Purpose", "other")) == ("no_rule", "")


def test_a_header_of_a_trunk_that_may_not_name_purposes_is_not_heeded(make_rig: Callable[..., Rig]) -> None:
    rig = started(make_rig, {"training": Purpose()})
    here = rig.lease.addresses
    start = rig.daemon.mark
    rig.caller.invite(
        NUMBER,
        rig.daemon.sip,
        sdp_bodies.audio(here.caller, 6000),
        headers=(("X-Recording-Purpose", "other"),),
    )
    rig.callee.next_call().reject(486, "Busy Here")
    assert rig.daemon.wait("call.offered", start=start)["decision"] == "record"


def test_a_call_back_to_who_called_112_passes(make_rig: Callable[..., Rig]) -> None:
    rig = started(make_rig, {"training": Purpose()}, exempt={"emergency": {"callback_window": "PT1H"}})
    here = rig.lease.addresses

    def decision(number: str) -> object:
        start = rig.daemon.mark
        rig.caller.invite(number, rig.daemon.sip, sdp_bodies.audio(here.caller, 6000))
        rig.callee.next_call().reject(486, "Busy Here")
        return rig.daemon.wait("call.offered", start=start, direction="inbound")["decision"]

    assert decision(NUMBER) == "record"
    rig.callee.invite("112", rig.daemon.sip, sdp_bodies.audio(here.callee, 6000), caller=NUMBER)
    rig.caller.next_call().reject(486, "Busy Here")
    assert decision("+31301234568") == "record"
    assert decision(NUMBER) == "emergency"


def test_a_telephone_that_changes_its_mind_in_mid_call(make_rig: Callable[..., Rig]) -> None:
    rig = started(make_rig, {"training": Purpose()})
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.0)

    def offer(version: int, more: str) -> bytes:
        return sdp_bodies.audio(call.left.address, call.left.port, codecs=CODECS, version=version, more=more)

    assert call.caller.reinvite(offer(2, "a=recordpref:pause\r\n")).code == 200
    rig.daemon.wait("recording.paused", call_ref=call.ref)
    assert call.caller.reinvite(offer(3, "a=recordpref:nopreference\r\n")).code == 200
    rig.daemon.wait("recording.resumed", call_ref=call.ref)
    assert call.caller.reinvite(offer(4, "a=recordpref:off\r\n")).code == 200
    assert rig.daemon.wait("recording.discarded", call_ref=call.ref).recording == recording
    rig.keeps_nothing_of(call)
    call.hang_up()
    assert rig.daemon.wait("call.ended", call_ref=call.ref)["choice"] == "refused"


def test_a_record_aware_telephone_is_told_when_it_is_recorded(make_rig: Callable[..., Rig]) -> None:
    more = {"pause": {"on_hold": True, "payment": {"keys": ["*7"], "api": False, "max": "PT3M"}}}
    rig = started(make_rig, {"training": Purpose(more=more)})
    left, right = rig.peer(rig.caller.address), rig.peer(rig.callee.address)
    start = rig.daemon.mark
    body = sdp_bodies.audio(left.address, left.port, codecs=CODECS)
    offers: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def answered(offer: SipMessage) -> bytes:
        offers.put(offer.body)
        return body

    caller = rig.caller.invite(NUMBER, rig.daemon.sip, body, headers=(("Supported", "record-aware"),))
    caller.on_reoffer = answered
    callee = rig.callee.next_call()
    callee.answer(sdp_bodies.audio(right.address, right.port, codecs=CODECS))
    caller.wait_answer()
    assert b"a=record:off\r\n" in caller.remote_sdp
    first = caller.remote_sdp
    ref = str(rig.daemon.wait("call.answered", start=start)["call_ref"])
    rig.daemon.wait("recording.opened", call_ref=ref)
    told = offers.get(timeout=20)
    assert b"a=record:on\r\n" in told
    assert version(told) > version(first)
    right.press("*7", sdp_bodies.media_target(callee.remote_sdp))
    rig.daemon.wait("recording.paused", call_ref=ref)
    paused = offers.get(timeout=20)
    assert b"a=record:paused\r\n" in paused
    assert version(paused) > version(told)
    assert callee.reoffers == [], "who does not understand is not asked"
    assert b"a=record" not in callee.remote_sdp
    caller.bye()
    callee.wait_ended()


def test_a_telephone_whose_offer_met_ours_is_told_again(make_rig: Callable[..., Rig]) -> None:
    rig = started(make_rig, {"training": Purpose()})
    left, right = rig.peer(rig.caller.address), rig.peer(rig.callee.address)
    body = sdp_bodies.audio(left.address, left.port, codecs=CODECS)
    offers: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def pending_first(offer: SipMessage) -> bytes | int:
        offers.put(offer.body)
        return 491 if len(caller.reoffers) == 1 else body

    caller = rig.caller.invite(NUMBER, rig.daemon.sip, body, headers=(("Supported", "record-aware"),))
    caller.on_reoffer = pending_first
    callee = rig.callee.next_call()
    callee.answer(sdp_bodies.audio(right.address, right.port, codecs=CODECS))
    caller.wait_answer()
    refused, again = offers.get(timeout=20), offers.get(timeout=20)
    assert b"a=record:on\r\n" in refused
    assert b"a=record:on\r\n" in again
    caller.bye()
    callee.wait_ended()


def version(body: bytes) -> int:
    return int(body.partition(b"o=")[2].split()[2])
