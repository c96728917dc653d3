"""Offers inside a call: hold, resume, refusal, glare, refresh."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sdp_bodies import AMR_WB, OPUS, audio
from sip_bench import Bench, Dialog, bench
from sip_message import SipMessage

from recproxy.call.events import CallerConfirmed, ReofferAnswered, ReofferReceived

pytestmark = pytest.mark.interop


@pytest.fixture
def stage() -> Iterator[Bench]:
    with bench() as opened:
        yield opened
        assert opened.endpoint.counters()["bodies_lost"] == 0


def _offer(stage: Bench, direction: str = "sendrecv", version: int = 1) -> bytes:
    return audio(stage.caller.address, 4000, codecs=(AMR_WB, OPUS), direction=direction, version=version)


def _answer(stage: Bench, direction: str = "sendrecv", version: int = 1) -> bytes:
    return audio(stage.callee.address, 5000, codecs=(OPUS,), direction=direction, version=version)


def _ours(stage: Bench, body: bytes, peer: str) -> bytes:
    ours = stage.lease.addresses.daemon.encode()
    text = body.replace(peer.encode(), ours)
    return text.replace(b"m=audio 4000", b"m=audio 20000").replace(b"m=audio 5000", b"m=audio 20000")


def _reoffer(stage: Bench, a: Dialog, b: Dialog, offer: bytes, answer: bytes) -> SipMessage:
    """The caller re-offers, the callee accepts; both bodies are checked."""
    stage.caller.send(a.request("INVITE", offer))
    passed = stage.receive(stage.callee, "INVITE")
    assert passed.body == _ours(stage, offer, stage.caller.address)
    stage.callee.send(b.response(passed, 200, "OK", answer))
    ok = stage.receive(stage.caller, "200")
    assert ok.body == _ours(stage, answer, stage.callee.address)
    stage.receive(stage.callee, "ACK")
    stage.caller.send(a.request("ACK"))
    return ok


def test_hold_and_resume_by_the_caller(stage: Bench) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    _reoffer(stage, a, b, _offer(stage, "sendonly", 2), _answer(stage, "recvonly", 2))
    _reoffer(stage, a, b, _offer(stage, "inactive", 3), _answer(stage, "inactive", 3))
    _reoffer(stage, a, b, _offer(stage, "sendrecv", 4), _answer(stage, "sendrecv", 4))
    assert len(stage.mirror.seen(ReofferReceived)) == 3
    stage.hang_up(a)


def test_hold_by_the_callee(stage: Bench) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    offer, answer = _answer(stage, "sendonly", 2), _offer(stage, "recvonly", 2)
    stage.callee.send(b.request("INVITE", offer))
    passed = stage.receive(stage.caller, "INVITE")
    assert passed.body == _ours(stage, offer, stage.callee.address)
    stage.caller.send(Dialog.called(stage.caller, passed).response(passed, 200, "OK", answer))
    assert stage.receive(stage.callee, "200").body == _ours(stage, answer, stage.caller.address)
    stage.receive(stage.caller, "ACK")
    stage.callee.send(b.request("ACK"))
    stage.hang_up(a)


def test_a_switch_to_fax(stage: Bench) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    fax = "v=0\r\no=- 7 2 IN IP4 {}\r\ns=-\r\nc=IN IP4 {}\r\nt=0 0\r\nm=image {} udptl t38\r\n"
    ours = fax.format(*[stage.lease.addresses.daemon] * 2, 20000).encode()
    stage.caller.send(a.request("INVITE", fax.format(*[stage.caller.address] * 2, 4444).encode()))
    passed = stage.receive(stage.callee, "INVITE")
    assert passed.body == ours
    stage.callee.send(b.response(passed, 200, "OK", fax.format(*[stage.callee.address] * 2, 5555).encode()))
    assert stage.receive(stage.caller, "200").body == ours


@pytest.mark.parametrize("code", [488, 415, 491])
def test_a_refused_reoffer_leaves_the_call_and_never_shows_again(stage: Bench, code: int) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    stage.caller.send(a.request("INVITE", _offer(stage, "sendonly", 2)))
    passed = stage.receive(stage.callee, "INVITE")
    stage.callee.send(b.response(passed, code, "No"))
    stage.receive(stage.callee, "ACK")
    assert stage.receive(stage.caller, str(code))
    stage.caller.send(a.request("ACK"))
    stage.until(lambda: bool(stage.mirror.seen(ReofferAnswered)), "the answer")

    # What we repeat in the ACK to an offer that nobody answered is the first answer.
    stage.caller.send(a.request("INVITE"))
    asked = stage.receive(stage.callee, "INVITE")
    stage.callee.send(b.response(asked, 200, "OK", b"garbage"))
    assert stage.receive(stage.callee, "ACK").body == _ours(stage, _offer(stage), stage.caller.address)
    assert stage.receive(stage.caller, "488")
    stage.caller.send(a.request("ACK"))
    stage.hang_up(a)


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_a_re_invite_without_an_offer_brings_one_and_its_ack_the_answer(stage: Bench, who: str) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    asking, asked = (a, b) if who == "caller" else (b, a)
    offer, answer = (
        (_answer(stage, version=2), _offer(stage, version=2))
        if who == "caller"
        else (_offer(stage, version=2), _answer(stage, version=2))
    )
    request = asking.request("INVITE")
    asking.wire.send(request)
    asking.wire.send(request)  # a retransmission asks for nothing more
    passed = stage.receive(asked.wire, "INVITE")
    assert passed.body == b""
    ok = asked.response(passed, 200, "OK", offer)
    asked.wire.send(ok)
    asked.wire.send(ok)
    got = stage.receive(asking.wire, "200")
    assert got.body == _ours(stage, offer, asked.wire.address)
    asking.wire.send(asking.request("ACK", answer))
    assert stage.receive(asked.wire, "ACK").body == _ours(stage, answer, asking.wire.address)
    assert not [m for m in asked.wire.inbox if m.start.startswith("INVITE")]
    _reoffer(stage, a, b, _offer(stage, "sendonly", 3), _answer(stage, "recvonly", 3))
    stage.hang_up(a)


def test_a_call_that_ends_while_an_offer_is_awaited_leaves_nothing_open(stage: Bench) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    stage.caller.send(a.request("INVITE"))
    passed = stage.receive(stage.callee, "INVITE")
    stage.callee.send(b.response(passed, 200, "OK", _answer(stage, version=2)))
    stage.receive(stage.caller, "200")
    stage.callee.send(b.request("BYE"))
    bye = stage.receive(stage.caller, "BYE")
    stage.caller.send(Dialog.called(stage.caller, bye).response(bye, 200))
    stage.quiet()


def test_an_invite_without_an_offer_gets_the_callees_answer_as_one(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE"))
    invite = stage.receive(stage.callee, "INVITE")
    assert b"m=audio 20000 RTP/AVP 8 0 101" in invite.body
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 200, "OK", _answer(stage)))
    stage.receive(stage.callee, "ACK")
    ok = stage.receive(stage.caller, "200")
    assert ok.body == _ours(stage, _answer(stage), stage.callee.address)
    a.learn(ok)
    stage.caller.send(a.request("ACK", _offer(stage)))
    stage.until(lambda: bool(stage.mirror.seen(CallerConfirmed)), "the ACK")
    (confirmed,) = stage.mirror.seen(CallerConfirmed)
    assert confirmed.sdp is not None
    assert confirmed.sdp.body == _offer(stage)
    stage.hang_up(a)


def test_garbage_in_a_reoffer_is_488_and_the_call_lives(stage: Bench) -> None:
    a, _ = stage.establish(_offer(stage), _answer(stage))
    for body in (b"garbage", b"v=0\r\nm=audio 1 RTP/AVP\r\n", b"v=0\r\n" * 500):
        stage.caller.send(a.request("INVITE", body))
        assert stage.receive(stage.caller, "488")
        stage.caller.send(a.request("ACK"))
    assert not stage.mirror.seen(ReofferReceived)
    stage.hang_up(a)


def test_glare_is_491(stage: Bench) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    stage.caller.send(a.request("INVITE", _offer(stage, "sendonly", 2)))
    passed = stage.receive(stage.callee, "INVITE")
    stage.callee.send(b.request("INVITE", _answer(stage, "sendonly", 2)))
    assert stage.receive(stage.callee, "491")
    stage.callee.send(b.request("ACK"))
    b.cseq -= 1
    stage.callee.send(b.response(passed, 200, "OK", _answer(stage, "recvonly", 2)))
    assert stage.receive(stage.caller, "200")
    stage.caller.send(a.request("ACK"))
    stage.hang_up(a)


def test_after_glare_on_both_legs_each_party_may_try_again(stage: Bench) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    stage.caller.send(a.request("INVITE", _offer(stage, "sendonly", 2)))
    passed = stage.receive(stage.callee, "INVITE")
    stage.callee.send(b.request("INVITE", _answer(stage, "sendonly", 2)))
    assert stage.receive(stage.callee, "491")
    stage.callee.send(b.request("ACK"))
    stage.callee.send(b.response(passed, 491, "Request Pending"))
    stage.receive(stage.callee, "ACK")
    assert stage.receive(stage.caller, "491"), "who tries again, and when, is theirs (RFC 3261, 14.1)"
    stage.caller.send(a.request("ACK"))
    stage.callee.send(b.request("INVITE", _answer(stage, "sendonly", 3)))
    again = stage.receive(stage.caller, "INVITE")
    stage.caller.send(
        Dialog.called(stage.caller, again).response(again, 200, "OK", _offer(stage, "recvonly", 3))
    )
    assert stage.receive(stage.callee, "200").method == "INVITE"
    stage.receive(stage.caller, "ACK")
    stage.callee.send(b.request("ACK"))
    _reoffer(stage, a, b, _offer(stage, "sendonly", 4), _answer(stage, "recvonly", 4))
    stage.hang_up(a)


def test_a_hang_up_ends_a_reoffer_under_way(stage: Bench) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    stage.caller.send(a.request("INVITE", _offer(stage, "sendonly", 2)))
    stage.receive(stage.callee, "INVITE")
    stage.callee.send(b.request("BYE"))
    stage.receive(stage.callee, "200")
    assert stage.receive(stage.caller, "487").method == "INVITE", "no transaction stays open"
    bye = stage.receive(stage.caller, "BYE")
    stage.caller.send(Dialog.called(stage.caller, bye).response(bye, 200))
    stage.quiet()


def test_update_without_sdp_refreshes_the_dialog(stage: Bench) -> None:
    a, _ = stage.establish(_offer(stage), _answer(stage))
    stage.caller.send(a.request("UPDATE"))
    assert stage.receive(stage.caller, "200").method == "UPDATE"
    stage.hang_up(a)


def test_update_with_an_offer_waits_for_the_other_side(stage: Bench) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    offer, answer = _offer(stage, "sendonly", 2), _answer(stage, "recvonly", 2)
    update = a.request("UPDATE", offer)
    stage.caller.send(update)
    stage.caller.send(update)  # a retransmission is not a second offer
    passed = stage.receive(stage.callee, "INVITE")
    assert passed.body == _ours(stage, offer, stage.caller.address)
    assert not [message for message in stage.caller.inbox if message.method == "UPDATE"]
    stage.callee.send(b.response(passed, 200, "OK", answer))
    ok = stage.receive(stage.caller, "200")
    assert (ok.method, ok.body) == ("UPDATE", _ours(stage, answer, stage.callee.address))
    stage.caller.send(update)  # our answer was lost
    assert stage.receive(stage.caller, "200").body == ok.body
    assert len(stage.mirror.seen(ReofferReceived)) == 1
    _reoffer(stage, a, b, _offer(stage, "sendrecv", 3), _answer(stage, "sendrecv", 3))
    stage.hang_up(a)


@pytest.mark.parametrize("code", [488, 503])
def test_a_refused_update_leaves_the_call(stage: Bench, code: int) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    stage.callee.send(b.request("UPDATE", _answer(stage, "sendonly", 2)))
    passed = stage.receive(stage.caller, "INVITE")
    stage.caller.send(Dialog.called(stage.caller, passed).response(passed, code, "No"))
    assert stage.receive(stage.callee, str(code)).method == "UPDATE"
    stage.hang_up(a)


def test_garbage_in_an_update_is_488(stage: Bench) -> None:
    a, _ = stage.establish(_offer(stage), _answer(stage))
    stage.caller.send(a.request("UPDATE", b"garbage"))
    assert stage.receive(stage.caller, "488")
    stage.hang_up(a)


def test_one_offer_at_a_time(stage: Bench) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    first = a.request("UPDATE", _offer(stage, "sendonly", 2))
    stage.caller.send(first)
    passed = stage.receive(stage.callee, "INVITE")
    for method in ("UPDATE", "INVITE"):
        stage.caller.send(a.request(method, _offer(stage, "inactive", 3)))
        assert stage.receive(stage.caller, "491").method == method
    stage.callee.send(b.response(passed, 200, "OK", _answer(stage, "recvonly", 2)))
    assert stage.receive(stage.caller, "200").cseq == first.cseq


def test_an_update_dies_with_its_call(stage: Bench) -> None:
    a, b = stage.establish(_offer(stage), _answer(stage))
    stage.caller.send(a.request("UPDATE", _offer(stage, "sendonly", 2)))
    stage.receive(stage.callee, "INVITE")
    stage.callee.send(b.request("BYE"))
    stage.receive(stage.callee, "200")
    bye = stage.receive(stage.caller, "BYE")
    stage.caller.send(Dialog.called(stage.caller, bye).response(bye, 200))
    assert stage.receive(stage.caller, "487").method == "UPDATE"
    stage.quiet()
