"""What the callee's side learns of a call, and calls that come round again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import sdp_bodies
from sip_bench import Bench, Dialog, bench

from recproxy.call.commands import NameRecording
from recproxy.call.events import CallerConfirmed
from recproxy.sip.carrying import HeaderRules
from recproxy.sip.trunks import Trunk

OFFER = sdp_bodies.audio("127.0.0.1", 6000, codecs=(sdp_bodies.AMR_WB,))
PAI = ("P-Asserted-Identity", "<sip:0307654321@pbx.example>")
PRIVACY = ("Privacy", "id")
UUID = "ab30317f1a784dc48ff824d0d3715d86"
OTHER = "b" * 32
NIL = "0" * 32


@pytest.fixture
def stage() -> Iterator[Bench]:
    with bench() as made:
        yield made


def _trunks(stage: Bench, change: Callable[[Trunk], Trunk]) -> None:
    stage.endpoint.apply(stage.settings(trunks=tuple(change(trunk) for trunk in stage.base.trunks)))


def _end(stage: Bench, a: Dialog) -> None:
    stage.hang_up(a)
    stage.caller.inbox.clear()
    stage.callee.inbox.clear()


@pytest.mark.parametrize("trusted", [False, True])
def test_who_asked_for_privacy_is_told_to_a_trusted_trunk_only(stage: Bench, trusted: bool) -> None:
    _trunks(stage, lambda trunk: replace(trunk, headers=HeaderRules(trusted=trusted)))
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", OFFER, (PAI, PRIVACY)))
    invite = stage.receive(stage.callee, "INVITE")
    text = invite.encode().decode()
    assert ("0307654321" in text) is trusted
    assert ("anonymous.invalid" in invite.one("from")) is not trusted
    assert (PAI in invite.headers) is trusted
    assert (PRIVACY in invite.headers) is trusted
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 486, "Busy Here"))
    stage.receive(stage.caller, "486")


def test_an_emergency_call_hides_nothing_and_no_number_is_denied(stage: Bench) -> None:
    _trunks(stage, lambda trunk: replace(trunk, deny=("1",), headers=HeaderRules()))
    a = Dialog.calling(stage.caller, "112")
    stage.caller.send(a.request("INVITE", OFFER, (PAI, PRIVACY)))
    invite = stage.receive(stage.callee, "INVITE")
    assert PAI in invite.headers
    assert "0307654321" in invite.one("from")


def test_a_peer_cannot_name_the_body_that_we_send(stage: Bench) -> None:
    """X-Recproxy-Body is how our own code says whose SDP goes into a message."""
    first = Dialog.calling(stage.caller)
    stage.caller.send(first.request("INVITE", OFFER))
    stage.receive(stage.callee, "INVITE")
    for token in range(1, 9):
        other = Dialog.calling(stage.caller, f"020123000{token}")
        stolen = ("X-Recproxy-Body", f"recproxy-{token:016x}")
        body = OFFER.replace(b"AMR-WB", b"OTHER")
        stage.caller.send(other.request("INVITE", body, (stolen,)))
        invite = stage.receive(stage.callee, f"INVITE sip:020123000{token}@")
        assert b"OTHER" in invite.body
        assert b"recproxy-body" not in invite.encode().lower()


def test_the_answer_tells_the_caller_who_answered(stage: Bench) -> None:
    _trunks(stage, lambda trunk: replace(trunk, headers=HeaderRules(hide=("X-Node",))))
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", OFFER, (("Session-ID", f"{UUID};remote={NIL}"),)))
    invite = stage.receive(stage.callee, "INVITE")
    assert invite.one("session-id") == f"{UUID};remote={NIL}"
    b = Dialog.called(stage.callee, invite)
    told = (("X-Node", "7"), ("X-Agent", "12"), PAI, ("Session-ID", f"{'b' * 32};remote={UUID}"))
    stage.callee.send(b.response(invite, 183, "Session Progress", OFFER, (("X-Early", "1"),)))
    assert ("X-Early", "1") in stage.receive(stage.caller, "183").headers
    stage.callee.send(b.response(invite, 200, "OK", OFFER, told))
    stage.receive(stage.callee, "ACK")
    answer = stage.receive(stage.caller, "200")
    names = [name for name, _ in answer.headers]
    assert "X-Node" not in names
    assert {told[1], told[2], told[3]} <= set(answer.headers)
    a.learn(answer)
    stage.caller.send(a.request("ACK"))
    _end(stage, a)


def test_a_call_without_session_id_gets_one(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", OFFER))
    made = stage.receive(stage.callee, "INVITE").one("session-id")
    assert made.endswith(f";remote={NIL}")
    assert made[12] == "5"


def test_a_call_that_comes_back_under_its_session_id_is_a_loop(stage: Bench) -> None:
    trace = (("Session-ID", f"{UUID};remote={NIL}"),)
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", OFFER, trace))
    stage.receive(stage.callee, "INVITE")
    looped = Dialog.calling(stage.caller)  # another element made a new dialog of it
    stage.caller.send(looped.request("INVITE", OFFER, trace))
    assert "been here before" in stage.receive(stage.caller, "482").one("warning")
    forwarded = Dialog.calling(stage.caller, "0209999999")  # and this one leads elsewhere
    stage.caller.send(forwarded.request("INVITE", OFFER, trace))
    stage.receive(stage.callee, "INVITE")


def test_the_same_caller_may_try_again_once_the_call_is_over(stage: Bench) -> None:
    trace = (("Session-ID", f"{UUID};remote={NIL}"),)
    for _ in range(2):
        a = Dialog.calling(stage.caller)
        stage.caller.send(a.request("INVITE", OFFER, trace))
        invite = stage.receive(stage.callee, "INVITE")
        stage.callee.send(Dialog.called(stage.callee, invite).response(invite, 486, "Busy Here"))
        stage.receive(stage.caller, "486")
        stage.caller.send(a.request("ACK"))
        stage.quiet()


def test_a_denied_number_is_refused_before_the_callee_hears_of_it(stage: Bench) -> None:
    _trunks(stage, lambda trunk: replace(trunk, deny=("+882", "0900")))
    for number in ("008825550", "09001234"):
        a = Dialog.calling(stage.caller, number)
        stage.caller.send(a.request("INVITE", OFFER))
        stage.receive(stage.caller, "403")
        stage.caller.send(a.request("ACK"))
    stage.quiet()
    assert not [message for message in stage.callee.inbox if message.start.startswith("INVITE")]


# ----------------------------------------------- what is told inside a call
def _named(value: str, remote: str) -> tuple[tuple[str, str], ...]:
    return (("Session-ID", f"{value};remote={remote}"),)


def _up(stage: Bench, theirs: str = OTHER) -> tuple[Dialog, Dialog]:
    """A call whose ends are named; the callee's only if it knows RFC 7989."""
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", OFFER, _named(UUID, NIL)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 200, "OK", OFFER, _named(theirs, UUID) if theirs else ()))
    ack = stage.receive(stage.callee, "ACK")
    assert ack.all("session-id") == [f"{UUID};remote={theirs or NIL}"]
    ok = stage.receive(stage.caller, "200")
    assert ok.all("session-id") == ([f"{OTHER};remote={UUID}"] if theirs else [])
    a.learn(ok)
    stage.caller.send(a.request("ACK"))
    stage.until(lambda: bool(stage.mirror.seen(CallerConfirmed)), "the ACK")
    return a, b


def test_both_ends_are_named_when_a_call_is_given_up(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", OFFER, _named(UUID, NIL)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 180, "Ringing", more=_named(OTHER, UUID)))
    to_callee, to_caller = [f"{UUID};remote={OTHER}"], [f"{OTHER};remote={UUID}"]
    assert stage.receive(stage.caller, "180").all("session-id") == to_caller
    stage.caller.send(a.request("CANCEL"))
    assert stage.receive(stage.caller, "200").all("session-id") == to_caller
    cancel = stage.receive(stage.callee, "CANCEL")
    assert cancel.all("session-id") == to_callee
    stage.callee.send(b.response(cancel, 200, "OK"))
    stage.callee.send(b.response(invite, 487, "Request Terminated"))
    assert stage.receive(stage.caller, "487").all("session-id") == to_caller
    stage.quiet()


@pytest.mark.parametrize("early", ["", "as it refuses", "another"])
def test_both_ends_are_named_in_trying_and_in_the_ack_to_a_refusal(stage: Bench, early: str) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", OFFER, _named(UUID.upper(), NIL)))
    assert stage.receive(stage.caller, "100").all("session-id") == [f"{NIL};remote={UUID}"]
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    if early:
        stage.callee.send(b.response(invite, 180, "Ringing", more=_named(OTHER, UUID)))
        assert stage.receive(stage.caller, "180").all("session-id") == [f"{OTHER};remote={UUID}"]
    if early == "another":  # a proxy forked the call, and reports how another branch ended
        b = Dialog.called(stage.callee, invite)
    refusal = b.response(invite, 486, "Busy Here")
    for _ in range(2):
        stage.callee.send(refusal)
        ack = stage.receive(stage.callee, "ACK")
        assert ack.all("session-id") == [f"{UUID};remote={OTHER if early else NIL}"]
    stage.receive(stage.caller, "486")
    stage.caller.send(a.request("ACK"))
    stage.quiet()


@pytest.mark.parametrize(
    "given", [NIL, "1234", UUID + "0", "x" * 32, f"{UUID[:31]}\u00e4"], ids=["nil", "short", "long", "x", "ä"]
)
def test_trying_names_nobody_for_a_name_that_is_none(stage: Bench, given: str) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", OFFER, (("Session-ID", given),)))
    assert not stage.receive(stage.caller, "100").all("session-id")


def test_what_is_refused_at_the_door_names_the_caller_and_no_other(stage: Bench) -> None:
    for uuid, more in ((UUID, ()), (OTHER, (("Require", "frob"),)), ("", ())):
        named = _named(uuid, NIL) if uuid else ()
        a = Dialog.calling(stage.caller)
        stage.caller.send(a.request("INVITE", OFFER, (*named, *more), hops=70 if more else 0))
        refusal = stage.receive(stage.caller, "420" if more else "483")
        assert refusal.all("session-id") == ([f"{NIL};remote={uuid}"] if uuid else [])
        stage.caller.send(a.request("ACK"))


def test_the_ack_to_a_refused_reoffer_names_both_ends(stage: Bench) -> None:
    a, b = _up(stage)
    body = sdp_bodies.audio("127.0.0.1", 6000, codecs=(sdp_bodies.AMR_WB,), version=2)
    stage.receive(stage.caller, "100")  # to the INVITE that made the call
    stage.caller.send(a.request("INVITE", body))
    assert stage.receive(stage.caller, "100").all("session-id") == [f"{OTHER};remote={UUID}"]
    passed = stage.receive(stage.callee, "INVITE")
    stage.callee.send(b.response(passed, 488, "Not Acceptable Here"))
    assert stage.receive(stage.callee, "ACK").all("session-id") == [f"{UUID};remote={OTHER}"]
    assert stage.receive(stage.caller, "488").all("session-id") == [f"{OTHER};remote={UUID}"]
    stage.caller.send(a.request("ACK"))
    stage.hang_up(a)


def test_both_ends_are_named_in_every_message_of_either_leg(stage: Bench) -> None:
    a, b = _up(stage)
    to_callee, to_caller = [f"{UUID};remote={OTHER}"], [f"{OTHER};remote={UUID}"]
    body = sdp_bodies.audio("127.0.0.1", 6000, codecs=(sdp_bodies.AMR_WB,), version=2)
    stage.caller.send(a.request("INVITE", body))
    passed = stage.receive(stage.callee, "INVITE")
    assert passed.all("session-id") == to_callee
    stage.callee.send(b.response(passed, 200, "OK", body))
    assert stage.receive(stage.callee, "ACK").all("session-id") == to_callee
    assert stage.receive(stage.caller, "200").all("session-id") == to_caller
    stage.caller.send(a.request("ACK"))
    stage.callee.send(b.request("UPDATE"))
    assert stage.receive(stage.callee, "200").all("session-id") == to_callee
    stage.caller.send(a.request("BYE"))
    assert stage.receive(stage.caller, "200").all("session-id") == to_caller
    bye = stage.receive(stage.callee, "BYE")
    assert bye.all("session-id") == to_callee
    stage.callee.send(b.response(bye, 200, "OK"))
    stage.quiet()


def test_an_end_that_names_itself_otherwise_is_passed_on_so(stage: Bench) -> None:
    a, b = _up(stage)
    moved = "c" * 32
    body = sdp_bodies.audio("127.0.0.1", 6000, codecs=(sdp_bodies.AMR_WB,), version=2)
    stage.caller.send(a.request("INVITE", body, _named(moved, OTHER)))
    passed = stage.receive(stage.callee, "INVITE")
    assert passed.all("session-id") == [f"{moved};remote={OTHER}"]
    stage.callee.send(b.response(passed, 200, "OK", body, _named(OTHER, moved)))
    assert stage.receive(stage.caller, "200").all("session-id") == [f"{OTHER};remote={moved}"]
    stage.caller.send(a.request("ACK"))
    stage.hang_up(a)


def test_an_end_without_a_name_gets_none(stage: Bench) -> None:
    a, b = _up(stage, theirs="")
    stage.caller.send(a.request("BYE"))
    assert not stage.receive(stage.caller, "200").all("session-id")
    bye = stage.receive(stage.callee, "BYE")
    assert bye.all("session-id") == [f"{UUID};remote={NIL}"]
    stage.callee.send(b.response(bye, 200, "OK"))
    stage.quiet()


def test_a_trunk_may_be_kept_from_the_names(stage: Bench) -> None:
    _trunks(stage, lambda trunk: replace(trunk, headers=HeaderRules(hide=("Session-ID",))))
    a, b = stage.establish(OFFER, OFFER, _named(UUID, NIL))
    stage.caller.send(a.request("BYE"))
    assert not stage.receive(stage.caller, "200").all("session-id")
    bye = stage.receive(stage.callee, "BYE")
    assert not bye.all("session-id")
    stage.callee.send(b.response(bye, 200, "OK"))
    stage.quiet()


def test_a_trunk_that_wants_to_know_is_told_the_recording_and_the_other_is_not(stage: Bench) -> None:
    _trunks(stage, lambda trunk: replace(trunk, tells_recording=trunk.name == "carrier"))
    a, b = stage.establish(OFFER, OFFER, (("X-Recording-ID", "forged"),))
    name = "5" * 32
    stage.endpoint.execute("call1", NameRecording(name))
    body = sdp_bodies.audio("127.0.0.1", 6000, codecs=(sdp_bodies.AMR_WB,), version=2)
    stage.callee.send(b.request("INVITE", body, (("X-Recording-ID", "forged"),)))
    passed = stage.receive(stage.caller, "INVITE")
    assert not passed.all("x-recording-id")
    stage.caller.send(a.response(passed, 200, "OK", body))
    assert stage.receive(stage.callee, "200").all("x-recording-id") == [name]
    stage.callee.send(b.request("ACK"))
    stage.receive(stage.caller, "ACK")
    stage.caller.send(a.request("BYE"))
    assert not stage.receive(stage.caller, "200").all("x-recording-id")
    bye = stage.receive(stage.callee, "BYE")
    assert bye.all("x-recording-id") == [name]
    stage.callee.send(b.response(bye, 200, "OK"))
    stage.quiet()
    assert not [raw for raw in (*stage.caller.raw, *stage.callee.raw) if b"forged" in raw]


def test_a_recording_that_is_discarded_is_named_no_more(stage: Bench) -> None:
    _trunks(stage, lambda trunk: replace(trunk, tells_recording=trunk.name == "carrier"))
    a, b = stage.establish(OFFER, OFFER)
    for name in ("5" * 32, ""):
        stage.endpoint.execute("call1", NameRecording(name))
        stage.callee.send(b.request("UPDATE"))
        told = stage.receive(stage.callee, "200").all("x-recording-id")
        assert told == ([name] if name else [])
    stage.caller.send(a.request("BYE"))
    stage.receive(stage.caller, "200")
    bye = stage.receive(stage.callee, "BYE")
    assert not bye.all("x-recording-id")
    stage.callee.send(b.response(bye, 200, "OK"))
    stage.quiet()
