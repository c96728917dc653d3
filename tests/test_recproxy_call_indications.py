"""Record-aware telephones are told of the recording, and again when their offer met ours."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from test_recproxy_call_machine import (
    ALLOCATED,
    CALLEE,
    CALLER,
    FACTS,
    HEARD,
    HELD,
    HOLD,
    STARTED,
    machine,
    plan,
    sdp,
)

from recproxy.call.commands import Command, IndicateRecording, RecordState
from recproxy.call.events import (
    CalleeAnswered,
    CallerConfirmed,
    IndicationRefused,
    InviteReceived,
    LegEnded,
    LegName,
    RecordingOpened,
    ReofferAnswered,
    ReofferReceived,
)
from recproxy.call.machine import CallMachine
from recproxy.policy import Record


def told(commands: list[Command]) -> list[tuple[LegName, RecordState]]:
    return [(one.leg, one.state) for one in commands if isinstance(one, IndicateRecording)]


def recorded() -> CallMachine:
    """A call between two such telephones, that is recorded since 6.0."""
    m = machine(Record(plan()))
    m.receive(InviteReceived(replace(FACTS, aware=True), sdp()), 0.0)
    m.receive(ALLOCATED, 0.0)
    m.receive(CalleeAnswered(sdp(), "cid-b", aware=True), 1.0)
    m.receive(CallerConfirmed(), 1.1)
    m.receive(STARTED, 2.0)
    m.receive(HEARD, 5.0)
    both = told(m.receive(RecordingOpened("ab" * 16), 6.0))
    assert both == [(CALLER, RecordState.ON), (CALLEE, RecordState.ON)]
    assert m.deadline() is None
    return m


@given(draw=st.integers(0, 1_000_000))
def test_who_owns_the_call_id_waits_longer(draw: int) -> None:
    for leg, least_s, most_s in ((CALLER, 0.0, 2.0), (CALLEE, 2.1, 4.0)):
        m = recorded()
        assert m.receive(IndicationRefused(leg, draw), 10.0) == []
        at = m.deadline()
        assert at is not None
        assert 10.0 + least_s - 1e-9 <= at <= 10.0 + most_s + 1e-9
        assert told(m.expire(at)) == [(leg, RecordState.ON)]
        assert m.deadline() is None


def test_it_is_not_said_while_an_offer_is_under_way_and_then_it_is() -> None:
    m = recorded()
    m.receive(IndicationRefused(CALLEE, 0), 10.0)
    m.receive(ReofferReceived(CALLEE, sdp(*sdp().streams, *sdp().streams)), 11.0)
    assert m.is_negotiating
    assert told(m.expire(12.2)) == []
    assert m.deadline() is None, "nothing is polled"
    assert told(m.receive(ReofferAnswered(CALLER, 488, "No", None), 13.0)) == [(CALLEE, RecordState.ON)]


def test_what_has_changed_meanwhile_is_told_instead_to_both() -> None:
    m = recorded()
    m.receive(IndicationRefused(CALLER, 150), 10.0)
    changed = m.receive(ReofferReceived(CALLEE, HOLD), 10.1)
    changed += m.receive(ReofferAnswered(CALLER, 200, "OK", HELD), 10.2)
    assert told(changed) == [(CALLER, RecordState.PAUSED), (CALLEE, RecordState.PAUSED)]
    assert m.deadline() is None


def test_who_never_takes_it_is_left_in_peace_and_an_end_ends_it() -> None:
    m = recorded()
    tries = 0
    m.receive(IndicationRefused(CALLER, 0), 10.0)
    while (at := m.deadline()) is not None:
        tries += len(told(m.expire(at)))
        m.receive(IndicationRefused(CALLER, 0), at)
    assert tries == 4
    m = recorded()
    m.receive(IndicationRefused(CALLER, 0), 10.0)
    m.receive(LegEnded(CALLEE, 200, "", by_us=False), 10.1)
    m.receive(LegEnded(CALLER, 200, "", by_us=True), 10.2)
    assert m.ended
    assert m.deadline() is None
