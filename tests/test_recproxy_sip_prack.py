"""Offers and answers before the call is answered: reliable responses, PRACK, UPDATE (RFC 3262, 3311, 6337).

Codecs are such as are not in the body that PJSIP negotiates with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sdp_bodies import AMR_WB, OPUS, audio
from sip_bench import Bench, Dialog, Wire, bench
from sip_message import SipMessage

from recproxy.call.events import CallerConfirmed, EarlyAnswer, ReofferReceived

pytestmark = pytest.mark.interop

KNOWS = (("Supported", "100rel, timer"), ("Allow", "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE"))


@pytest.fixture
def stage() -> Iterator[Bench]:
    with bench() as opened:
        yield opened
        assert opened.endpoint.counters()["bodies_lost"] == 0


def _of_caller(stage: Bench, version: int = 1, codecs: tuple[tuple[str, str], ...] = (AMR_WB, OPUS)) -> bytes:
    return audio(stage.caller.address, 4000, codecs=codecs, version=version)


def _of_callee(stage: Bench, version: int = 1, codecs: tuple[tuple[str, str], ...] = (OPUS,)) -> bytes:
    return audio(stage.callee.address, 5000, codecs=codecs, version=version)


def _ours(stage: Bench, body: bytes) -> bytes:
    """A body as the other side gets it."""
    here = stage.lease.addresses.daemon.encode()
    for wire, port in ((stage.caller, b"4000"), (stage.callee, b"5000")):
        body = body.replace(wire.address.encode(), here).replace(b"m=audio " + port, b"m=audio 20000")
    return body


def _invited(stage: Bench, offer: bytes) -> tuple[Dialog, SipMessage, Dialog]:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", offer, KNOWS))
    invite = stage.receive(stage.callee, "INVITE")
    return a, invite, Dialog.called(stage.callee, invite)


def _reliable(stage: Bench, b: Dialog, invite: SipMessage, body: bytes, rseq: int = 1) -> SipMessage:
    """The callee speaks early; its response is acknowledged, and the caller's is returned."""
    more = (("Require", "100rel"), ("RSeq", str(rseq)), *KNOWS[1:])
    stage.callee.send(b.response(invite, 183, "Session Progress", body, more))
    prack = stage.receive(stage.callee, "PRACK")
    assert prack.one("rack") == f"{rseq} {invite.cseq} INVITE"
    stage.callee.send(b.response(prack, 200, "OK"))
    heard = stage.receive(stage.caller, "183")
    assert "100rel" in heard.one("require")
    return heard


def _acknowledge(stage: Bench, a: Dialog, heard: SipMessage, body: bytes = b"") -> None:
    a.learn(heard)
    rack = ("RAck", f"{heard.one('rseq')} {heard.cseq} INVITE")
    stage.caller.send(a.request("PRACK", body, (rack,)))


def _early(stage: Bench) -> tuple[Dialog, SipMessage, Dialog]:
    """Offer and answer are done, the callee rings."""
    a, invite, b = _invited(stage, _of_caller(stage))
    heard = _reliable(stage, b, invite, _of_callee(stage))
    assert heard.body == _ours(stage, _of_callee(stage))
    _acknowledge(stage, a, heard)
    done = stage.receive(stage.caller, "200")
    assert (done.method, done.body) == ("PRACK", b"")
    return a, invite, b


def _answered(stage: Bench, a: Dialog, b: Dialog, invite: SipMessage, body: bytes = b"") -> None:
    """The call is answered, without SDP to the caller, and ends."""
    stage.callee.send(b.response(invite, 200, "OK", body))
    stage.receive(stage.callee, "ACK")
    ok = stage.receive(stage.caller, "200")
    assert (ok.method, ok.body) == ("INVITE", b"")
    assert not ok.all("require")
    stage.caller.send(replace(a, cseq=ok.cseq).request("ACK"))
    stage.until(lambda: bool(stage.mirror.seen(CallerConfirmed)), "the ACK")
    stage.hang_up(a)


def _wires(stage: Bench, who: str, a: Dialog, b: Dialog) -> tuple[Wire, Dialog, Wire, Dialog]:
    pair = (stage.caller, a, stage.callee, b)
    return pair if who == "caller" else (pair[2], pair[3], pair[0], pair[1])


def _update(stage: Bench, who: str, wire: Wire, dialog: Dialog, version: int) -> bytes:
    make = _of_caller if who == "caller" else _of_callee
    offer = make(stage, version, (AMR_WB,))
    wire.send(dialog.request("UPDATE", offer))
    return offer


def test_a_reliable_answer_is_reliable_on_the_other_side_and_the_200_repeats_nothing(stage: Bench) -> None:
    a, invite, b = _early(stage)
    _answered(stage, a, b, invite)


def test_sdp_in_the_200_after_a_reliable_answer_counts_for_nothing(stage: Bench) -> None:
    a, invite, b = _early(stage)
    _answered(stage, a, b, invite, _of_callee(stage))


def test_a_caller_that_does_not_know_100rel_gets_the_answer_as_before(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _of_caller(stage)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    more = (("Require", "100rel"), ("RSeq", "1"))
    stage.callee.send(b.response(invite, 183, "Session Progress", _of_callee(stage), more))
    stage.callee.send(b.response(stage.receive(stage.callee, "PRACK"), 200, "OK"))
    heard = stage.receive(stage.caller, "183")
    assert not heard.all("require")
    assert heard.body == _ours(stage, _of_callee(stage))
    a.learn(heard)
    stage.caller.send(a.request("UPDATE", _of_caller(stage, 2)))
    stage.receive(stage.caller, "491")
    stage.callee.send(b.response(invite, 200, "OK"))
    stage.receive(stage.callee, "ACK")
    ok = stage.receive(stage.caller, "200")
    assert ok.body == _ours(stage, _of_callee(stage))
    stage.caller.send(replace(a, cseq=ok.cseq).request("ACK"))
    stage.hang_up(a)


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_an_early_update_goes_to_the_other_party_and_its_answer_back(stage: Bench, who: str) -> None:
    a, invite, b = _early(stage)
    near, mine, far, theirs = _wires(stage, who, a, b)
    for version in (2, 3):
        offer = _update(stage, who, near, mine, version)
        passed = stage.receive(far, "UPDATE")
        assert passed.body == _ours(stage, offer)
        answer = (_of_callee if who == "caller" else _of_caller)(stage, version, (AMR_WB,))
        far.send(theirs.response(passed, 200, "OK", answer))
        done = stage.receive(near, "200")
        assert (done.method, done.body) == ("UPDATE", _ours(stage, answer))
    assert len(stage.mirror.seen(ReofferReceived)) == 2
    _answered(stage, a, b, invite)


@pytest.mark.parametrize("who", ["caller", "callee"])
@pytest.mark.parametrize(("code", "told"), [(488, 488), (491, 491), (501, 488)])
def test_a_refused_early_update_leaves_the_call(stage: Bench, who: str, code: int, told: int) -> None:
    a, invite, b = _early(stage)
    near, mine, far, theirs = _wires(stage, who, a, b)
    _update(stage, who, near, mine, 2)
    far.send(theirs.response(stage.receive(far, "UPDATE"), code, "No"))
    assert stage.receive(near, str(told)).method == "UPDATE"
    _answered(stage, a, b, invite)


def test_an_update_before_the_first_answer_is_491(stage: Bench) -> None:
    a, invite, b = _invited(stage, _of_caller(stage))
    stage.callee.send(b.response(invite, 180, "Ringing"))
    a.learn(stage.receive(stage.caller, "180"))
    stage.caller.send(a.request("UPDATE", _of_caller(stage, 2)))
    assert stage.receive(stage.caller, "491").method == "UPDATE"
    assert not stage.mirror.seen(ReofferReceived)


def test_one_early_offer_at_a_time(stage: Bench) -> None:
    a, invite, b = _early(stage)
    _update(stage, "caller", stage.caller, a, 2)
    passed = stage.receive(stage.callee, "UPDATE")
    stage.callee.send(b.request("UPDATE", _of_callee(stage, 9)))
    assert stage.receive(stage.callee, "491").method == "UPDATE"
    stage.callee.send(b.response(passed, 200, "OK", _of_callee(stage, 2, (AMR_WB,))))
    assert stage.receive(stage.caller, "200").method == "UPDATE"
    _answered(stage, a, b, invite)


def test_an_offer_in_prack_goes_on_in_update_and_its_answer_back_in_the_200(stage: Bench) -> None:
    a, invite, b = _invited(stage, _of_caller(stage))
    heard = _reliable(stage, b, invite, _of_callee(stage))
    offer = _of_caller(stage, 2, (AMR_WB,))
    _acknowledge(stage, a, heard, offer)
    passed = stage.receive(stage.callee, "UPDATE")
    assert passed.body == _ours(stage, offer)
    answer = _of_callee(stage, 2, (AMR_WB,))
    stage.callee.send(b.response(passed, 200, "OK", answer))
    done = stage.receive(stage.caller, "200")
    assert (done.method, done.body) == ("PRACK", _ours(stage, answer))
    _answered(stage, a, b, invite)


def test_an_offer_in_prack_that_the_callee_cannot_take_is_answered_with_what_stands(stage: Bench) -> None:
    a, invite, b = _invited(stage, _of_caller(stage))
    heard = _reliable(stage, b, invite, _of_callee(stage))
    _acknowledge(stage, a, heard, _of_caller(stage, 2))
    stage.callee.send(b.response(stage.receive(stage.callee, "UPDATE"), 405, "No"))
    done = stage.receive(stage.caller, "200")
    assert (done.method, done.body) == ("PRACK", _ours(stage, _of_callee(stage)))
    _answered(stage, a, b, invite)


def test_the_200_waits_for_the_prack(stage: Bench) -> None:
    a, invite, b = _invited(stage, _of_caller(stage))
    heard = _reliable(stage, b, invite, _of_callee(stage))
    stage.callee.send(b.response(invite, 200, "OK"))
    stage.receive(stage.callee, "ACK")
    assert not [m for m in stage.caller.inbox if m.start.startswith("SIP/2.0 200")]
    _acknowledge(stage, a, heard)
    first, second = stage.receive(stage.caller, "200"), stage.receive(stage.caller, "200")
    assert {first.method, second.method} == {"PRACK", "INVITE"}
    final = first if first.method == "INVITE" else second
    stage.caller.send(replace(a, cseq=final.cseq).request("ACK"))
    stage.until(lambda: bool(stage.mirror.seen(CallerConfirmed)), "the ACK")
    stage.hang_up(a)


def test_an_invite_without_an_offer_gets_one_early_and_answers_it_in_prack(stage: Bench) -> None:
    a, invite, b = _invited(stage, b"")
    answer = audio(stage.callee.address, 5000)
    heard = _reliable(stage, b, invite, answer)
    assert heard.body == _ours(stage, answer)
    mine = audio(stage.caller.address, 4000)
    _acknowledge(stage, a, heard, mine)
    done = stage.receive(stage.caller, "200")
    assert (done.method, done.body) == ("PRACK", b"")
    (early,) = stage.mirror.seen(EarlyAnswer)
    assert early.sdp.body == mine
    offer = _update(stage, "caller", stage.caller, a, 2)
    passed = stage.receive(stage.callee, "UPDATE")
    assert passed.body == _ours(stage, offer)
    stage.callee.send(b.response(passed, 200, "OK", _of_callee(stage, 2, (AMR_WB,))))
    assert stage.receive(stage.caller, "200").method == "UPDATE"
    _answered(stage, a, b, invite)
    assert stage.mirror.seen(CallerConfirmed) == [CallerConfirmed()]


def test_a_caller_that_gives_up_leaves_no_early_offer_open(stage: Bench) -> None:
    a, invite, b = _invited(stage, _of_caller(stage))
    begun = replace(a)
    _acknowledge(stage, a, _reliable(stage, b, invite, _of_callee(stage)))
    stage.receive(stage.caller, "200")
    _update(stage, "callee", stage.callee, b, 2)
    stage.receive(stage.caller, "UPDATE")
    stage.caller.send(begun.request("CANCEL"))
    stage.receive(stage.caller, "487")
    ended = stage.receive(stage.callee, "CANCEL")
    stage.callee.send(b.response(ended, 200, "OK"))
    stage.callee.send(b.response(invite, 487, "Request Terminated"))
    assert stage.receive(stage.callee, "487").method == "UPDATE"
    stage.quiet()
