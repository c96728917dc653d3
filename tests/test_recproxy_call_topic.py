"""A program names what a call is for while it goes on: announced then, and nothing before is recorded."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import pytest
from test_recproxy_call_machine import (
    ALLOCATED,
    AMR,
    CALLEE,
    CALLER,
    DTMF,
    FACTS,
    HEARD,
    HELD,
    HOLD,
    PCMU,
    STARTED,
    explore,
    plan,
    sdp,
    stream,
)

from recproxy.call.commands import (
    AnswerCaller,
    Command,
    InviteCallee,
    Note,
    OpenRecording,
    PlayPrompt,
    SetGate,
)
from recproxy.call.events import (
    CalleeAnswered,
    CallerConfirmed,
    DrainExpired,
    Event,
    InviteReceived,
    LegEnded,
    PromptFailed,
    RecordingOpened,
    ReofferAnswered,
    ReofferReceived,
    TopicNamed,
)
from recproxy.call.machine import CallMachine, Limits
from recproxy.call.states import CallerLeg, Notice, Recording
from recproxy.policy import CallQuestion, Decision, Newcomer, OnFailure, Pass, PassReason, Record, RecordPlan

VIDEO = stream(kind="video", port=4002)
NAMED = TopicNamed("training")
INVITE = InviteReceived(FACTS, sdp(stream(PCMU, AMR, DTMF), VIDEO))
ANSWERED = CalleeAnswered(sdp(stream(PCMU, DTMF), stream(kind="video", port=0)), "cid-b")
EVENTS: tuple[Event, ...] = (
    ALLOCATED,
    ANSWERED,
    CalleeAnswered(sdp(stream(AMR)), "cid-b"),
    CallerConfirmed(),
    NAMED,
    TopicNamed("other"),
    LegEnded(CALLER, 200, "", by_us=False),
    LegEnded(CALLEE, 200, "", by_us=True),
    ReofferReceived(CALLER, HOLD),
    ReofferAnswered(CALLEE, 200, "OK", HELD),
    STARTED,
    HEARD,
    PromptFailed("broken file"),
    RecordingOpened("ab" * 16),
    DrainExpired(),
)


@dataclass(frozen=True)
class ByTopic:
    """Records what is named to be for training."""

    plan: RecordPlan
    topics: tuple[str, ...] = ("training",)

    def decide(self, question: CallQuestion) -> Decision:
        if question.topic == "training":
            return Record(self.plan)
        return Pass(PassReason.NO_RULE, self.topics)

    def newcomer(self, number: str, *, outside: bool) -> Newcomer:
        return Newcomer(None, outside or bool(number))


def machine(
    made: RecordPlan | None = None, fault: str | None = None, **changes: tuple[str, ...]
) -> CallMachine:
    policy = ByTopic(made or plan(), **changes)
    return CallMachine(policy, Limits(), recorder_fault=lambda _purpose: fault)


def up(m: CallMachine) -> CallMachine:
    m.receive(INVITE, 0.0)
    m.receive(ALLOCATED, 0.1)
    m.receive(ANSWERED, 2.0)
    m.receive(CallerConfirmed(), 2.1)
    return m


def has(commands: list[Command], kind: type[Command]) -> bool:
    return any(isinstance(command, kind) for command in commands)


@functools.cache
def explored() -> tuple[tuple[CallMachine, Event, bool], ...]:
    """Every step of such a call, with the invariants of all calls checked on the way."""
    return tuple(explore(Pass(PassReason.NO_RULE), INVITE, EVENTS, machine()))


def test_every_event_in_every_reachable_state_keeps_the_invariants() -> None:
    reached = {(before.notice, before.recording) for before, _, _ in explored()}
    assert (Notice.NOT_REQUIRED, Recording.OFF) in reached
    assert (Notice.COMPLETED, Recording.ON) in reached
    assert not [one for one in reached if one[0] is Notice.NOT_REQUIRED and one[1] is not Recording.OFF]


def test_nobody_speaks_until_all_were_told_and_only_then_it_is_recorded() -> None:
    m = up(machine())
    commands = m.receive(NAMED, 30.0)
    assert commands[0] == Note("topic.named", (("purpose", "training"),))
    assert commands[2] == SetGate(opened=False)
    assert has(commands, PlayPrompt)
    m.receive(STARTED, 30.1)
    assert has(m.receive(HEARD, 33.0), OpenRecording)
    assert m.receive(TopicNamed("training"), 34.0) == [], "once"


def test_before_the_answer_it_is_as_if_it_had_been_named_at_once() -> None:
    m = machine()
    m.receive(INVITE, 0.0)
    m.receive(ALLOCATED, 0.1)
    assert [type(c).__name__ for c in m.receive(NAMED, 1.0)] == ["Note", "AuditNote"]
    answered = m.receive(ANSWERED, 2.0)
    assert SetGate(opened=False) in answered
    assert has(answered, AnswerCaller)
    assert has(m.receive(CallerConfirmed(), 2.1), PlayPrompt)


@pytest.mark.parametrize(
    ("m", "kept"), [(machine(), {0, 101}), (machine(topics=()), None)], ids=["may be named", "may not"]
)
def test_a_call_that_may_be_named_has_what_can_be_recorded_alone(
    m: CallMachine, kept: set[int] | None
) -> None:
    m.receive(INVITE, 0.0)
    (invite,) = [c for c in m.receive(ALLOCATED, 0.1) if isinstance(c, InviteCallee)]
    assert invite.offer.keep[0] == kept
    assert (invite.offer.local[1] is None) or kept is None, "no video"


def test_a_topic_is_not_taken_on_hold_nor_of_a_call_that_may_not_be_named() -> None:
    m = up(machine())
    m.receive(ReofferReceived(CALLER, HOLD), 5.0)
    assert m.receive(NAMED, 5.1) == [], "an offer is under way"
    m.receive(ReofferAnswered(CALLEE, 200, "OK", HELD), 5.2)
    assert m.receive(NAMED, 6.0) == [], "on hold"
    assert up(machine(topics=())).receive(NAMED, 5.0) == []
    assert up(machine()).receive(TopicNamed("other"), 5.0) == []


@pytest.mark.parametrize("outcome", list(OnFailure))
def test_without_a_recorder_it_has_the_outcome_that_its_purpose_names(outcome: OnFailure) -> None:
    m = up(machine(plan(outcome), fault="disk full"))
    commands = m.receive(NAMED, 5.0)
    assert not has(commands, PlayPrompt)
    ended = m.caller is not CallerLeg.CONFIRMED
    assert ended is (outcome is OnFailure.REFUSE)


def test_a_purpose_that_staff_start_by_a_key_waits_for_it() -> None:
    waiting = plan(start=("5",))
    m = up(machine(replace(waiting)))
    assert [type(c).__name__ for c in m.receive(NAMED, 5.0)] == ["Note", "AuditNote"]
    assert m.notice is Notice.WAITING
