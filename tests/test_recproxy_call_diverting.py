"""A call that goes on to another number, once its party has refused what a statute orders."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TypeVar

import pytest
from test_recproxy_call_machine import (
    ALLOCATED,
    AMR,
    CALLEE,
    CALLER,
    DECLINE,
    DESK,
    DTMF,
    FACTS,
    HEARD,
    HOLD,
    INVITE,
    LAWYER,
    NO_CHOICE,
    PCMU,
    STARTED,
    clone,
    explore,
    joint,
    machine,
    plan,
    sdp,
    stream,
)

from recproxy.call.commands import (
    AnswerReoffer,
    AuditNote,
    Command,
    ConnectMedia,
    DiscardRecording,
    EndLeg,
    InviteCallee,
    Note,
    RenewMedia,
    SealRecording,
    SendReoffer,
    SetGate,
)
from recproxy.call.events import (
    CalleeAnswered,
    CalleeProgress,
    CallerConfirmed,
    Codec,
    DigitPressed,
    DrainExpired,
    Event,
    InviteReceived,
    LegEnded,
    LegFault,
    LocalMedia,
    MediaRenewed,
    PartyJoined,
    PromptFailed,
    RecordingOpened,
    ReofferAnswered,
    ReofferReceived,
    Sdp,
)
from recproxy.call.machine import CallMachine
from recproxy.call.states import CalleeLeg, CallerLeg, Recording
from recproxy.errors import IllegalEvent
from recproxy.policy import OnFailure, Record
from storage.tags import Direction

_Kind = TypeVar("_Kind")
PCMA = Codec(8, "PCMA", 8000)
BOTH = sdp(stream(PCMU, PCMA, DTMF))
DIVERTED = Record(
    plan(
        OnFailure.REFUSE,
        choice=NO_CHOICE,
        decline=replace(DECLINE, target=DESK),
        statutory=frozenset({"training"}),
    )
)
TOLD = replace(HEARD, prompt="orders_refused", heard_by=(CALLER,))
RENEWED = MediaRenewed(CALLEE, (LocalMedia("127.0.0.1", 20002, b"new"),))
GONE = LegEnded(CALLEE, 200, "", by_us=True)
BUSY = LegEnded(CALLEE, 486, "Busy Here", by_us=False)
EVENTS: tuple[Event, ...] = (
    ALLOCATED,
    RENEWED,
    CalleeProgress(183, "Session Progress", sdp()),
    CalleeAnswered(BOTH, "cid-b"),
    CalleeAnswered(sdp(), "cid-c"),
    CalleeAnswered(sdp(stream(AMR)), "cid-c"),
    CalleeAnswered(None, "cid-c"),
    CallerConfirmed(),
    LegEnded(CALLER, 200, "", by_us=False),
    GONE,
    BUSY,
    LegFault(CALLEE, "callback failed"),
    ReofferReceived(CALLER, BOTH),
    ReofferAnswered(CALLER, 200, "OK", sdp()),
    ReofferAnswered(CALLER, 491, "Request Pending", None),
    STARTED,
    HEARD,
    TOLD,
    PromptFailed("broken file"),
    RecordingOpened("ab" * 16),
    DigitPressed(CALLER, "9"),
    DrainExpired(),
)


def of(commands: list[Command], kind: type[_Kind]) -> list[_Kind]:
    return [command for command in commands if isinstance(command, kind)]


def refused(decision: Record = DIVERTED, *, offer: Sdp = BOTH, answer: Sdp = BOTH) -> CallMachine:
    """A call that was recorded, whose caller has said no and hears why."""
    m = machine(decision)
    m.receive(InviteReceived(FACTS, offer), 0.0)
    m.receive(ALLOCATED, 0.1)
    m.receive(CalleeAnswered(answer, "cid-b"), 2.0)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    m.receive(HEARD, 5.1)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    m.receive(DigitPressed(CALLER, "9"), 10.0)
    m.receive(STARTED, 10.0)
    return m


def calling(*, offer: Sdp = BOTH, answer: Sdp = BOTH) -> CallMachine:
    """The same, which is on its way to the number."""
    m = refused(offer=offer, answer=answer)
    m.receive(TOLD, 13.0)
    m.receive(RENEWED, 13.0)
    assert of(m.receive(GONE, 13.2), InviteCallee)
    return m


@functools.cache
def explored() -> tuple[tuple[CallMachine, Event, bool], ...]:
    """Every step of such a call, with the invariants of all calls checked on the way."""
    return tuple(explore(DIVERTED, InviteReceived(FACTS, BOTH), EVENTS))


def test_every_event_in_every_reachable_state_keeps_the_invariants() -> None:
    reached = {(before.callee, before.recording) for before, _, _ in explored()}
    assert {callee for callee, _ in reached} == set(CalleeLeg)
    live = {Recording.OPENING, Recording.ON, Recording.PAUSED}
    assert not [one for one in reached if one[0] is CalleeLeg.DIVERTING and one[1] in live]


def test_an_illegal_event_changes_nothing_and_every_call_comes_to_an_end() -> None:
    for before, event, legal in explored():
        if not legal:
            copied = clone(before)
            with pytest.raises(IllegalEvent):
                copied.receive(event, 1.0)
            assert joint(copied) == joint(before)
    for before in {joint(before): before for before, _, _ in explored()}.values():
        call = clone(before)
        call.receive(DrainExpired(), 1.0)
        call.expire(1e9)
        assert call.ended


def test_who_was_called_leaves_and_the_number_is_invited_with_new_keys() -> None:
    m = refused()
    parted = m.receive(TOLD, 13.0)
    assert [(end.leg, end.code, end.reason) for end in of(parted, EndLeg)] == [
        (CALLEE, 603, "Recording Refused")
    ]
    assert RenewMedia(CALLEE) in parted
    assert SetGate(opened=False) in parted
    assert Note("call.diverted", (("purpose", "training"),)) in parted
    assert AuditNote("call.diverted", (("purpose", "training"),)) in parted
    assert m.receive(GONE, 13.1) == [], "its keys are still those of who was there"
    (invite,) = of(m.receive(RENEWED, 13.2), InviteCallee)
    assert invite.number == DESK
    assert invite.offer.keep == (frozenset({0, 8, 101}),)
    assert invite.offer.local[0] is not None
    assert invite.offer.local[0].secret == b"new"
    answered = m.receive(CalleeAnswered(BOTH, "cid-c"), 20.0)
    assert [type(c).__name__ for c in answered] == ["ConnectMedia", "SetGate", "Note"]
    assert answered[1] == SetGate(opened=True)
    assert m.recording is Recording.SEALED
    assert m.caller is CallerLeg.CONFIRMED
    later = m.receive(LegEnded(CALLEE, 200, "", by_us=False), 60.0)
    assert [end.leg for end in of(later, EndLeg)] == [CALLER]


def test_the_caller_is_offered_an_answer_that_is_less_than_what_it_agreed_on() -> None:
    m = calling()
    told = m.receive(CalleeAnswered(sdp(), "cid-c"), 20.0)
    assert [offer.leg for offer in of(told, SendReoffer)] == [CALLER]
    done = m.receive(ReofferAnswered(CALLER, 200, "OK", sdp()), 20.1)
    assert [connect.leg for connect in of(done, ConnectMedia)] == [CALLEE, CALLER]
    assert not of(done, AnswerReoffer), "nobody had asked"
    assert m.receive(ReofferReceived(CALLER, HOLD), 21.0), "an exchange of the parties is possible again"


def test_the_number_is_offered_what_the_caller_has_agreed_on_alone() -> None:
    m = refused(offer=BOTH, answer=sdp())
    m.receive(TOLD, 13.0)
    m.receive(RENEWED, 13.0)
    (invite,) = of(m.receive(GONE, 13.2), InviteCallee)
    assert invite.offer.keep == (frozenset({0, 101}),)
    assert of(m.receive(CalleeAnswered(sdp(stream(PCMA)), "cid-c"), 20.0), EndLeg)


@pytest.mark.parametrize(
    "event", [BUSY, LegFault(CALLEE, "no route"), CalleeAnswered(sdp(stream(AMR)), "cid-c"), None]
)
def test_a_number_that_does_not_take_the_call_ends_it_as_without_one(event: Event | None) -> None:
    m = calling()
    commands = m.receive(event, 20.0) if event is not None else m.expire(1e6)
    ends = {(end.leg, end.code, end.reason) for end in of(commands, EndLeg)}
    assert (CALLER, 603, "Recording Refused") in ends
    assert any(isinstance(c, Note) and c.event == "diversion.failed" for c in commands)


def test_what_it_sends_while_it_rings_is_heard() -> None:
    m = calling()
    commands = m.receive(CalleeProgress(183, "Session Progress", BOTH), 15.0)
    assert SetGate(opened=True) in commands
    assert [connect.leg for connect in of(commands, ConnectMedia)] == [CALLEE]
    assert of(m.receive(CalleeAnswered(None, "cid-c"), 20.0), SetGate), "the answer has been given"


def test_a_caller_who_hangs_up_on_the_way_ends_the_call() -> None:
    m = refused()
    m.receive(TOLD, 13.0)
    assert not of(m.receive(LegEnded(CALLER, 200, "", by_us=False), 13.1), EndLeg), "its BYE is on its way"
    assert not m.ended
    m.receive(GONE, 13.2)
    assert m.ended
    late = calling()
    ended = late.receive(LegEnded(CALLER, 200, "", by_us=False), 15.0)
    assert [end.leg for end in of(ended, EndLeg)] == [CALLEE]


def test_keys_mean_nothing_any_more_and_who_joins_is_not_recorded() -> None:
    m = calling()
    m.receive(CalleeAnswered(BOTH, "cid-c"), 20.0)
    assert m.receive(DigitPressed(CALLER, "9"), 21.0) == []
    assert m.receive(PartyJoined(CALLEE, "201"), 22.0) == []


def test_a_call_that_goes_out_ends_as_without_a_number() -> None:
    m = machine(DIVERTED)
    facts = replace(FACTS, direction=Direction.OUTBOUND)
    m.receive(replace(INVITE, facts=facts), 0.0)
    m.receive(ALLOCATED, 0.1)
    m.receive(CalleeAnswered(sdp(), "cid-b"), 2.0)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    m.receive(HEARD, 5.1)
    m.receive(DigitPressed(CALLEE, "9"), 10.0)
    m.receive(STARTED, 10.0)
    ended = m.receive(replace(TOLD, heard_by=(CALLEE,)), 13.0)
    assert {end.leg for end in of(ended, EndLeg)} == {CALLER, CALLEE}


def test_to_a_number_that_is_never_recorded_what_there_is_goes() -> None:
    exempt = plan(OnFailure.REFUSE, choice=NO_CHOICE, decline=replace(DECLINE, target=LAWYER))
    m = machine(Record(exempt))
    m.receive(INVITE, 0.0)
    m.receive(ALLOCATED, 0.1)
    m.receive(CalleeAnswered(sdp(), "cid-b"), 2.0)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    m.receive(HEARD, 5.1)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    commands = m.receive(DigitPressed(CALLER, "9"), 10.0)
    assert of(commands, DiscardRecording) == [DiscardRecording("confidential")]
    assert not of(commands, SealRecording)
