"""A trunk of two servers, message by message: the caller sees one call, whoever takes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from loopback import Addresses
from sdp_bodies import AMR_WB, audio
from sip_bench import Bench, Dialog, Wire, bench
from sip_message import SipMessage

from recproxy.call.events import CallerConfirmed, LegEnded, LegName
from recproxy.sip.hunt import SILENCE_S
from recproxy.sip.targets import Target

pytestmark = pytest.mark.interop


def _servers(where: Addresses) -> tuple[Target, ...]:
    return (Target(where.callee, 5060, "udp", 1), Target(where.foreign, 5060, "udp", 2))


@pytest.fixture
def stage() -> Iterator[Bench]:
    with bench(targets=_servers) as opened:
        yield opened
        assert opened.endpoint.counters()["bodies_lost"] == 0


@pytest.fixture
def second(stage: Bench) -> Iterator[Wire]:
    wire = Wire(stage.lease.addresses.foreign, 5060, stage.caller.proxy)
    stage.more(wire)
    yield wire
    wire.close()


def _offer(stage: Bench) -> bytes:
    return audio(stage.caller.address, 4000, codecs=(AMR_WB,))


def _call(stage: Bench) -> tuple[Dialog, SipMessage]:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    return a, stage.receive(stage.callee, "INVITE")


def _take(stage: Bench, a: Dialog, wire: Wire) -> Dialog:
    """The server at ``wire`` takes the call."""
    invite = stage.receive(wire, "INVITE")
    assert b"AMR-WB" in invite.body
    b = Dialog.called(wire, invite)
    wire.send(b.response(invite, 180, "Ringing"))
    stage.receive(stage.caller, "180")
    wire.send(b.response(invite, 200, "OK", audio(wire.address, 5000, codecs=(AMR_WB,))))
    stage.receive(wire, "ACK")
    a.learn(stage.receive(stage.caller, "200"))
    stage.caller.send(a.request("ACK"))
    stage.until(lambda: bool(stage.mirror.seen(CallerConfirmed)), "the ACK")
    return b


def _hang_up(stage: Bench, a: Dialog, wire: Wire) -> None:
    stage.caller.send(a.request("BYE"))
    stage.receive(stage.caller, "200")
    bye = stage.receive(wire, "BYE")
    wire.send(Dialog.called(wire, bye).response(bye, 200, "OK"))
    stage.quiet()


def test_a_server_that_answers_503_is_followed_by_the_next_and_left_alone(stage: Bench, second: Wire) -> None:
    a, invite = _call(stage)
    busy = Dialog.called(stage.callee, invite)
    stage.callee.send(busy.response(invite, 503, "Full", more=(("Retry-After", "20"),)))
    stage.receive(stage.callee, "ACK")
    _take(stage, a, second)
    _hang_up(stage, a, second)
    assert [m.start for m in stage.caller.inbox if m.start.startswith("SIP/2.0 5")] == []
    b = Dialog.calling(stage.caller)
    stage.caller.send(b.request("INVITE", _offer(stage)))
    _take(stage, b, second)
    assert stage.callee.inbox == [], "it asked to be left alone"


def test_a_silent_server_costs_four_seconds(stage: Bench, second: Wire) -> None:
    a, _ = _call(stage)
    stage.later(SILENCE_S - 0.5)
    for _ in range(20):
        stage.turn()
    assert second.inbox == []
    stage.later(0.5)
    _take(stage, a, second)
    _hang_up(stage, a, second)


def test_a_100_says_that_the_server_is_there(stage: Bench, second: Wire) -> None:
    a, invite = _call(stage)
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 100, "Trying"))
    for _ in range(20):
        stage.turn()
    stage.later(60)
    for _ in range(20):
        stage.turn()
    assert second.inbox == []
    stage.callee.send(b.response(invite, 486, "Busy Here"))
    assert stage.receive(stage.caller, "486")
    stage.caller.send(a.request("ACK"))
    stage.quiet()


def test_a_server_that_wakes_up_too_late_is_told_that_the_call_is_elsewhere(
    stage: Bench, second: Wire
) -> None:
    a, invite = _call(stage)
    stage.later(SILENCE_S)
    _take(stage, a, second)
    late = Dialog.called(stage.callee, invite)
    stage.callee.send(late.response(invite, 200, "OK", audio(stage.callee.address, 5000, codecs=(AMR_WB,))))
    stage.receive(stage.callee, "ACK")
    bye = stage.receive(stage.callee, "BYE")
    stage.callee.send(late.response(bye, 200, "OK"))
    _hang_up(stage, a, second)


def test_a_server_that_wakes_up_with_100_gets_a_cancel(stage: Bench, second: Wire) -> None:
    a, invite = _call(stage)
    stage.later(SILENCE_S)
    _take(stage, a, second)
    late = Dialog.called(stage.callee, invite)
    stage.callee.send(late.response(invite, 100, "Trying"))
    cancel = stage.receive(stage.callee, "CANCEL")
    stage.callee.send(late.response(cancel, 200, "OK"))
    stage.callee.send(late.response(invite, 487, "Request Terminated"))
    stage.receive(stage.callee, "ACK")
    _hang_up(stage, a, second)


def test_the_callers_cancel_ends_the_search(stage: Bench, second: Wire) -> None:
    a, invite = _call(stage)
    stage.caller.send(a.request("CANCEL"))
    stage.receive(stage.caller, "200")
    stage.receive(stage.caller, "487")
    busy = Dialog.called(stage.callee, invite)
    stage.callee.send(busy.response(invite, 503, "Full"))
    stage.receive(stage.callee, "ACK")
    stage.quiet()
    stage.later(60)
    for _ in range(20):
        stage.turn()
    assert second.inbox == []


def test_a_busy_callee_is_busy_at_every_server(stage: Bench, second: Wire) -> None:
    a, invite = _call(stage)
    stage.callee.send(Dialog.called(stage.callee, invite).response(invite, 486, "Busy Here"))
    assert stage.receive(stage.caller, "486")
    stage.caller.send(a.request("ACK"))
    stage.quiet()
    assert second.inbox == []


def test_the_caller_is_told_what_a_server_said_rather_than_what_none_said(stage: Bench, second: Wire) -> None:
    a, invite = _call(stage)
    more = (("Retry-After", "20"), ("Reason", 'Q.850;cause=42;text="Congestion"'))
    stage.callee.send(Dialog.called(stage.callee, invite).response(invite, 503, "Full", more=more))
    stage.receive(second, "INVITE")
    stage.later(SILENCE_S)
    refused = stage.receive(stage.caller, "503")
    assert (refused.one("retry-after"), refused.one("reason")) == ("20", more[1][1])
    stage.caller.send(a.request("ACK"))
    stage.quiet()
    ends = [end.code for end in stage.mirror.seen(LegEnded) if end.leg is LegName.CALLEE]
    assert ends == [503], "one call, one end"


def test_when_all_want_to_be_left_alone_the_caller_hears_how_long(stage: Bench, second: Wire) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    for wire in (stage.callee, second):
        invite = stage.receive(wire, "INVITE")
        wire.send(Dialog.called(wire, invite).response(invite, 503, more=(("Retry-After", "30"),)))
        stage.receive(wire, "ACK")
    assert stage.receive(stage.caller, "503").one("retry-after") == "30"
    stage.caller.send(a.request("ACK"))
    b = Dialog.calling(stage.caller)
    stage.caller.send(b.request("INVITE", _offer(stage)))
    assert stage.receive(stage.caller, "503").one("retry-after") == "30"
    stage.caller.send(b.request("ACK"))
    stage.quiet()
    assert stage.callee.inbox == second.inbox == []


def test_a_port_that_nobody_listens_on_is_passed_by_over_tcp() -> None:
    def servers(where: Addresses) -> tuple[Target, ...]:
        return (Target(where.callee, 5099, "tcp", 1), Target(where.callee, 5060, "udp", 2))

    with bench(targets=servers) as stage:
        a = Dialog.calling(stage.caller)
        stage.caller.send(a.request("INVITE", _offer(stage)))
        _take(stage, a, stage.callee)
        _hang_up(stage, a, stage.callee)


def test_options_find_out_that_a_server_is_down_and_that_it_is_back() -> None:
    with bench(targets=_servers, keepalive_s=30.0) as stage:
        second = Wire(stage.lease.addresses.foreign, 5060, stage.caller.proxy)
        stage.more(second)
        try:
            _health(stage, second)
        finally:
            second.close()


def _health(stage: Bench, second: Wire) -> None:
    def answer(wire: Wire) -> None:
        options = stage.receive(wire, "OPTIONS")
        wire.send(Dialog.called(wire, options).response(options, 200, "OK"))

    def told(count: int) -> list[tuple[str, str]]:
        def of_servers() -> list[tuple[str, str]]:
            notes = [note for note in stage.told if note.event.startswith("target.")]
            return [(note.event, str(dict(note.fields)["target"])) for note in notes]

        stage.until(lambda: len(of_servers()) >= count, "what became of the server")
        return of_servers()

    first = f"sip:{stage.callee.address}:5060;transport=udp"
    answer(second)
    options = stage.receive(stage.callee, "OPTIONS")
    assert options.uri == first
    stage.later(SILENCE_S)
    stage.turn()
    stage.later(2)
    stage.receive(stage.callee, "OPTIONS")
    stage.later(SILENCE_S)
    assert told(1) == [("target.down", first)]
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    _take(stage, a, second)
    assert [m for m in stage.callee.inbox if m.start.startswith("INVITE")] == []
    stage.callee.inbox.clear()
    stage.later(30)
    answer(stage.callee)
    for _ in range(50):
        stage.turn()
    stage.later(2)
    answer(stage.callee)
    assert told(2)[1:] == [("target.up", first)]
