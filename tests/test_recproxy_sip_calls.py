"""Calls through the endpoint, message by message."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pjsua2 as pj
import pytest
from sdp_bodies import AMR_WB, OPUS, TELEPHONE_EVENT, audio, read
from sip_bench import Bench, Dialog, bench

from recproxy.call.events import (
    CalleeAnswered,
    CalleeProgress,
    CallerConfirmed,
    InviteReceived,
    LegEnded,
    LegFault,
    LegName,
)
from recproxy.sip.leg import Leg
from recproxy.sip.stack import _Log
from storage.tags import Direction

pytestmark = pytest.mark.interop


@pytest.fixture
def stage() -> Iterator[Bench]:
    with bench() as opened:
        yield opened
        assert opened.endpoint.counters()["bodies_lost"] == 0


def _offer(stage: Bench) -> bytes:
    return audio(stage.caller.address, 4000, codecs=(AMR_WB, OPUS, TELEPHONE_EVENT))


def _answer(stage: Bench, version: int = 1, codecs: tuple[tuple[str, str], ...] = (OPUS,)) -> bytes:
    return audio(stage.callee.address, 5000, codecs=codecs, version=version)


def _ours(stage: Bench, body: bytes, peer: str) -> bytes:
    """The body with our address and first port in the place of the peer's."""
    port = b"4000" if peer == stage.caller.address else b"5000"
    ours = stage.lease.addresses.daemon.encode()
    return body.replace(peer.encode(), ours).replace(b"m=audio " + port, b"m=audio 20000")


def test_a_call_is_bridged_and_ended_by_the_caller(stage: Bench) -> None:
    a, _ = stage.establish(_offer(stage), _answer(stage))
    facts = stage.mirror.seen(InviteReceived)[0].facts
    assert (facts.trunk, facts.direction) == ("office", Direction.OUTBOUND)
    assert (facts.caller, facts.callee) == ("0307654321", "0201234567")
    assert facts.sip_call_id == a.call_id
    stage.hang_up(a)
    ends = [(end.leg, end.code, end.by_us) for end in stage.mirror.seen(LegEnded)]
    assert ends == [(LegName.CALLER, 200, False), (LegName.CALLEE, 200, True)]


def test_a_single_listener_names_its_own_address_in_every_request() -> None:
    with bench(transports=("udp",)) as stage:
        a, b = stage.establish(_offer(stage), _answer(stage))
        ours = f"{stage.lease.addresses.daemon}:5060"
        stage.callee.send(b.request("BYE"))
        stage.receive(stage.callee, "200")
        bye = stage.receive(stage.caller, "BYE")
        assert bye.all("via")[0].split(";")[0] == f"SIP/2.0/UDP {ours}"
        stage.caller.send(a.response(bye, 200))
        stage.quiet()
        assert stage.endpoint.active == 0
        assert b.request("INFO").start.startswith(f"INFO sip:recproxy@{ours}")


def test_the_callee_may_end_the_call_and_its_reason_is_carried(stage: Bench) -> None:
    _, b = stage.establish(_offer(stage), _answer(stage))
    why = ("Reason", 'Q.850;cause=16;text="Normal call clearing"')
    stage.callee.send(b.request("BYE", more=(why,)))
    stage.receive(stage.callee, "200")
    bye = stage.receive(stage.caller, "BYE")
    assert bye.all("reason") == [why[1]]
    stage.caller.send(Dialog.called(stage.caller, bye).response(bye, 200))
    stage.quiet()
    assert stage.mirror.seen(LegEnded)[0].leg is LegName.CALLEE


def test_the_invite_is_passed_on_with_fewer_hops_and_its_identities(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    carried = (
        ("P-Asserted-Identity", "<sip:+31307654321@example.nl>"),
        ("Privacy", "id"),
        ("Diversion", "<sip:100@example.nl>;reason=unconditional"),
        ("X-Account", "42"),
        ("User-to-User", "abc;encoding=hex"),
    )
    stage.caller.send(a.request("INVITE", _offer(stage), carried, hops=12))
    invite = stage.receive(stage.callee, "INVITE")
    assert invite.uri == f"sip:0201234567@{stage.callee.address}:5060;transport=udp"
    assert invite.one("max-forwards") == "11"
    assert invite.one("call-id") != a.call_id
    assert a.local.partition(";")[0] in invite.one("from")
    for name, value in carried:
        assert invite.all(name) == [value]
    assert set(invite.one("supported").split(", ")) == {"100rel", "replaces", "timer"}
    assert "REFER" in invite.one("allow")
    assert stage.mirror.seen(InviteReceived)[0].facts.anonymous


def test_early_media_then_another_answer_with_codecs_that_pjsip_does_not_know(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    offer = _offer(stage)
    stage.caller.send(a.request("INVITE", offer))
    invite = stage.receive(stage.callee, "INVITE")
    assert invite.body == _ours(stage, offer, stage.caller.address)
    b = Dialog.called(stage.callee, invite)

    early = _answer(stage, codecs=(AMR_WB,))
    stage.callee.send(b.response(invite, 183, "Session Progress", early))
    assert stage.receive(stage.caller, "183").body == _ours(stage, early, stage.callee.address)

    final = _answer(stage, version=2)
    stage.callee.send(b.response(invite, 200, "OK", final))
    ok = stage.receive(stage.caller, "200")
    assert ok.body == _ours(stage, final, stage.callee.address)
    stage.receive(stage.callee, "ACK")
    a.learn(ok)
    stage.caller.send(a.request("ACK"))
    stage.until(lambda: bool(stage.mirror.seen(CallerConfirmed)), "the ACK")
    stage.hang_up(a)


def test_ringing_with_and_without_sdp_in_turn(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    one, two = _answer(stage), _answer(stage, version=2)
    for code, body in ((180, b""), (180, one), (183, two), (180, b""), (183, b""), (181, one)):
        stage.callee.send(b.response(invite, code, "Progress", body))
        got = stage.receive(stage.caller, str(code))
        assert got.body == _ours(stage, body, stage.callee.address), (code, body)
        assert "x-recproxy" not in {name.lower() for name, _ in got.headers}
        assert not got.all("x-recproxy-body")
    stage.callee.send(b.response(invite, 200, "OK"))
    assert stage.receive(stage.caller, "200").body == _ours(stage, one, stage.callee.address)
    assert [event.code for event in stage.mirror.seen(CalleeProgress)] == [180, 180, 183, 180, 183, 181]
    assert stage.mirror.seen(CalleeAnswered)[0].sdp is None


def test_cancel_reaches_the_callee_with_its_reason(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 180, "Ringing"))
    stage.receive(stage.caller, "180")
    why = ("Reason", 'SIP;cause=200;text="Call completed elsewhere"')
    stage.caller.send(a.request("CANCEL", more=(why,)))
    stage.receive(stage.caller, "200")
    stage.receive(stage.caller, "487")
    cancel = stage.receive(stage.callee, "CANCEL")
    assert cancel.one("reason") == why[1]
    stage.callee.send(b.response(cancel, 200, "OK"))
    stage.callee.send(b.response(invite, 487, "Request Terminated"))
    stage.receive(stage.callee, "ACK")
    stage.quiet()
    assert [(end.leg, end.code) for end in stage.mirror.seen(LegEnded)] == [
        (LegName.CALLER, 487),
        (LegName.CALLEE, 487),
    ]


def test_a_cancel_that_crosses_the_200_ends_both_legs(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 180, "Ringing"))
    stage.receive(stage.caller, "180")
    stage.caller.send(a.request("CANCEL"))
    cancel = stage.receive(stage.callee, "CANCEL")
    stage.callee.send(b.response(invite, 200, "OK", _answer(stage)))
    stage.callee.send(b.response(cancel, 200, "OK"))
    stage.receive(stage.callee, "ACK")
    bye = stage.receive(stage.callee, "BYE")
    stage.callee.send(b.response(bye, 200, "OK"))
    stage.quiet()


@pytest.mark.parametrize(
    ("code", "reason"),
    [(404, "Not Found"), (486, "Busy Here"), (488, "Not Acceptable Here"), (603, "Decline")],
)
def test_a_failure_is_carried_over_with_its_headers(stage: Bench, code: int, reason: str) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    more = (("Reason", "Q.850;cause=17"), ("Retry-After", "30"), ("X-Why", "because"))
    stage.callee.send(b.response(invite, code, reason, more=more))
    stage.receive(stage.callee, "ACK")
    got = stage.receive(stage.caller, str(code))
    assert got.start == f"SIP/2.0 {code} {reason}"
    for name, value in more:
        assert got.all(name) == [value]
    stage.caller.send(a.request("ACK"))
    stage.quiet()


def test_a_reliable_provisional_response_is_acknowledged(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    answer = _answer(stage)
    reliable = (("Require", "100rel"), ("RSeq", "71"))
    stage.callee.send(b.response(invite, 183, "Session Progress", answer, reliable))
    prack = stage.receive(stage.callee, "PRACK")
    assert prack.one("rack") == f"71 {invite.cseq} INVITE"
    stage.callee.send(b.response(prack, 200))
    early = stage.receive(stage.caller, "183")
    assert early.body == _ours(stage, answer, stage.callee.address)
    assert not early.all("rseq")
    stage.callee.send(b.response(invite, 200, "OK"))
    assert stage.receive(stage.caller, "200").body == _ours(stage, answer, stage.callee.address)
    stage.receive(stage.callee, "ACK")


def test_a_caller_may_require_reliable_provisional_responses(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage), (("Require", "100rel"),)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    answer = _answer(stage)
    stage.callee.send(b.response(invite, 183, "Session Progress", answer))
    early = stage.receive(stage.caller, "183")
    assert early.body == _ours(stage, answer, stage.callee.address)
    assert early.one("require") == "100rel"
    a.learn(early)
    invite_cseq = a.cseq
    stage.caller.send(a.request("PRACK", more=(("RAck", f"{early.one('rseq')} {invite_cseq} INVITE"),)))
    assert stage.receive(stage.caller, "200").method == "PRACK"
    stage.callee.send(b.response(invite, 200, "OK", answer))
    assert stage.receive(stage.caller, "200").method == "INVITE"


def test_a_fork_with_two_answers_gives_the_caller_the_one_that_answered(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    invite = stage.receive(stage.callee, "INVITE")
    one, two = Dialog.called(stage.callee, invite), Dialog.called(stage.callee, invite)
    first, second = _answer(stage), _answer(stage, version=2, codecs=(AMR_WB,))
    stage.callee.send(one.response(invite, 183, "Session Progress", first))
    assert stage.receive(stage.caller, "183").body == _ours(stage, first, stage.callee.address)
    stage.callee.send(two.response(invite, 183, "Session Progress", second))
    assert stage.receive(stage.caller, "183").body == _ours(stage, second, stage.callee.address)
    stage.callee.send(two.response(invite, 200, "OK", second))
    assert stage.receive(stage.caller, "200").body == _ours(stage, second, stage.callee.address)
    assert two.local.partition("tag=")[2] in stage.receive(stage.callee, "ACK").one("to")


def test_a_redirection_is_left_to_the_caller(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 302, "Moved Temporarily"))
    got = stage.receive(stage.caller, "302")
    assert f"@{stage.callee.address}" in got.one("contact")
    assert len(got.all("contact")) == 1
    stage.quiet()


def test_a_cancel_waits_until_the_callee_has_spoken(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    stage.caller.send(a.request("CANCEL"))
    stage.receive(stage.caller, "487")
    assert not stage.callee.inbox
    stage.callee.send(b.response(invite, 180, "Ringing"))
    cancel = stage.receive(stage.callee, "CANCEL")
    stage.callee.send(b.response(cancel, 200, "OK"))
    stage.callee.send(b.response(invite, 487, "Request Terminated"))
    stage.receive(stage.callee, "ACK")
    stage.quiet()


def test_tokens_of_a_call_are_freed_with_it(stage: Bench) -> None:
    a, _ = stage.establish(_offer(stage), _answer(stage))
    assert pj.recproxy_body_count() == 2
    stage.hang_up(a)
    assert pj.recproxy_body_count() == 0
    assert read(_offer(stage))[0].kind == "audio"


def test_a_leg_is_gone_when_its_dialog_is(stage: Bench) -> None:
    def standing() -> int:
        return sum(isinstance(found, Leg) for found in gc.get_objects())

    a, _ = stage.establish(_offer(stage), _answer(stage))
    assert standing() == 2
    stage.hang_up(a)
    assert standing() == 0


def test_an_exception_in_a_callback_ends_the_call_and_no_other(
    stage: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, _ = stage.establish(_offer(stage), _answer(stage))
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)

    def fail(*_: object) -> None:
        raise KeyError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(Leg, "_callee_answered", fail)
        stage.callee.send(b.response(invite, 200, "OK", _answer(stage)))
        bye = stage.receive(stage.callee, "BYE")
    assert bye.one("call-id") == invite.one("call-id")
    stage.callee.send(b.response(bye, 200))
    assert stage.receive(stage.caller, "500")
    assert [event.what for event in stage.mirror.seen(LegFault)] == ["onCallState: KeyError"]
    stage.caller.send(other.request("OPTIONS"))
    assert stage.receive(stage.caller, "200")
    assert stage.endpoint.active == 1


def test_closing_hangs_up_what_stands() -> None:
    with bench() as opened:
        opened.establish(_offer(opened), _answer(opened))
        opened.endpoint.close()
        opened.caller.read()
        opened.callee.read()
        assert [message.method for message in opened.caller.inbox][-1] == "BYE"
        assert [message.method for message in opened.callee.inbox][-1] == "BYE"


def test_pjsips_own_messages_name_no_number(stage: Bench) -> None:
    writer = _Log(lambda _, line: stage.log.append(line))
    entry = pj.LogEntry()
    entry.level, entry.msg = 1, "Unable to reach sip:+31201234567@192.0.2.1;x=1 for 0201234567\n"
    writer.write(entry)
    assert stage.log[-1] == "Unable to reach sip:…@192.0.2.1;x=1 for …"
