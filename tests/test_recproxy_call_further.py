"""A purpose that staff begin and end by a key while the call is recorded for another."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Final

import pytest
from test_recproxy_call_machine import (
    CALLEE,
    CALLER,
    HOLD,
    LAWYER,
    STARTED,
    STRANGER,
    check,
    clone,
    joint,
    sdp,
)
from test_recproxy_call_purposes import (
    NO,
    OPENED,
    OPT_IN,
    OPT_OUT,
    ORDERS,
    TRAINING,
    YES,
    answered,
    heard,
    of,
    purpose,
    recorded,
    told,
)

from recproxy.call.commands import (
    AuditNote,
    Command,
    DiscardRecording,
    DropPurposes,
    OpenRecording,
    PartRecording,
    PauseRecording,
    PlayPrompt,
    ResumeRecording,
    SealRecording,
    SetGate,
    StopPrompt,
)
from recproxy.call.events import (
    DigitPressed,
    DrainExpired,
    Event,
    LegEnded,
    PartyJoined,
    PromptCompleted,
    PromptFailed,
    RecordingFailed,
    RecordingOpened,
    ReofferReceived,
)
from recproxy.call.machine import CallMachine
from recproxy.call.states import Notice, Recording
from recproxy.errors import IllegalEvent
from recproxy.policy import ChoiceEffect, PurposePlan

ALSO: Final = replace(
    purpose("agreements", 60, replace(OPT_OUT, refuse=("7",), staff_refuse=())), start=("5",), stop=("6",)
)
ASKED: Final = replace(ALSO, choice=replace(OPT_IN, staff_refuse=()))
STAYING: Final = replace(TRAINING, choice=replace(OPT_OUT, effect=ChoiceEffect.STOP))
START: Final = DigitPressed(CALLEE, "5")
STOP: Final = DigitPressed(CALLEE, "6")
NEXT: Final = RecordingOpened("cd" * 16)
NEVER: Final = DigitPressed(CALLER, "7")


def serves(command: Command) -> list[str]:
    """What a recording that a command opens is for."""
    opened = command.following if isinstance(command, PartRecording) else command
    assert isinstance(opened, OpenRecording)
    return [opened.purpose, *(further.purpose for further in opened.further)]


def begun(*purposes: PurposePlan) -> CallMachine:
    """A call whose staff asked for the agreements, which were announced."""
    m = recorded(*purposes)
    m.receive(START, 10.0)
    told(m, "agreements")
    m.receive(NEXT, 15.0)
    assert m.recording is Recording.ON
    return m


def test_staff_ask_for_it_and_nothing_is_kept_for_it_before_it_was_announced() -> None:
    m, first = answered(TRAINING, ALSO)
    (play,) = of(first, PlayPrompt)
    assert isinstance(play, PlayPrompt)
    assert play.prompt == "training"
    (opened,) = of(told(m, "training"), OpenRecording)
    assert serves(opened) == ["training"]
    m.receive(OPENED, 4.1)
    asked = m.receive(START, 10.0)
    assert of(asked, PauseRecording, SetGate, PlayPrompt, PartRecording)[:2] == [
        PauseRecording(),
        SetGate(opened=False),
    ]
    (play,) = of(asked, PlayPrompt)
    assert isinstance(play, PlayPrompt)
    assert (play.prompt, play.legs) == ("agreements", (CALLER, CALLEE))
    assert AuditNote("rec.asked", (("purpose", "agreements"),)) in asked
    assert m.receive(START, 10.5) == [], "it is being announced"
    m.receive(STARTED, 11.0)
    last = m.receive(heard("agreements", second=9), 14.0)
    gate, resumed, part = of(last, SetGate, ResumeRecording, PartRecording, OpenRecording, SealRecording)
    assert gate == SetGate(opened=True)
    assert isinstance(resumed, ResumeRecording)
    assert isinstance(part, PartRecording)
    assert (serves(part), part.guarded) == (["training", "agreements"], True)
    assert part.following.further[0].notice.prompt == "agreements"
    m.receive(NEXT, 14.5)
    assert m.recording is Recording.ON
    m.receive(LegEnded(CALLER, 200, "", by_us=False), 20.0)
    (ended,) = [
        c
        for c in m.receive(LegEnded(CALLEE, 200, "", by_us=True), 20.1)
        if getattr(c, "event", "") == "call.ended"
    ]
    fields = dict(getattr(ended, "fields", ()))
    assert fields["recording"] == f"{OPENED.recording},{NEXT.recording}"
    assert (fields["recording_state"], fields["notice"]) == ("sealed", "completed")


@pytest.mark.parametrize(
    "event",
    [
        PromptFailed("broken"),
        heard("agreements", by=(CALLER,)),
        ReofferReceived(CALLEE, HOLD),
        NEVER,
        STOP,
    ],
)
def test_what_is_not_announced_to_its_end_is_not_recorded_and_the_first_goes_on(event: Event) -> None:
    m = recorded(TRAINING, ALSO)
    m.receive(START, 10.0)
    m.receive(STARTED, 11.0)
    commands = m.receive(event, 12.0)
    assert SetGate(opened=True) in commands
    assert of(commands, PartRecording, SealRecording, DiscardRecording, DropPurposes) == []
    assert m.notice is Notice.COMPLETED
    held = isinstance(event, ReofferReceived)
    assert m.recording is (Recording.PAUSED if held else Recording.ON)
    again = m.receive(START, 20.0)
    refused = event == NEVER
    assert bool(of(again, PlayPrompt)) is not (refused or held)


def test_staff_end_it_and_the_first_goes_on_alone() -> None:
    m = begun(TRAINING, ALSO)
    commands = m.receive(STOP, 20.0)
    (part,) = of(commands, PartRecording)
    assert isinstance(part, PartRecording)
    assert (serves(part), part.guarded, part.reason) == (["training"], False, "purpose_ended")
    assert m.receive(STOP, 20.5) == []
    m.receive(RecordingOpened("ef" * 16), 21.0)
    assert of(m.receive(START, 22.0), PlayPrompt), "it can be asked for again, and is announced again"
    (part,) = of(told(m, "agreements"), PartRecording)
    assert serves(part) == ["training", "agreements"]


def test_a_no_is_for_its_purpose_in_all_recordings_of_the_call() -> None:
    m = begun(TRAINING, ALSO)
    assert of(m.receive(NO, 20.0), DropPurposes, PartRecording) == [DropPurposes(("training",), "opt_out")]
    assert m.recording is Recording.ON
    m = begun(TRAINING, ALSO)
    m.receive(STOP, 20.0)
    m.receive(OPENED, 20.5)
    assert of(m.receive(NEVER, 21.0), DropPurposes) == [DropPurposes(("agreements",), "opt_out")]
    assert m.receive(START, 22.0) == [], "no is no for the rest of the call"
    assert of(m.receive(NO, 23.0), DiscardRecording) == [DiscardRecording("opt_out", ("training",))]


def test_who_refuses_the_first_can_be_asked_for_the_other() -> None:
    m = recorded(TRAINING, ALSO)
    assert of(m.receive(NO, 9.0), DiscardRecording) == [DiscardRecording("opt_out")]
    assert (m.recording, m.notice) == (Recording.OFF, Notice.WAITING)
    assert of(m.receive(START, 10.0), PlayPrompt)
    (opened,) = of(told(m, "agreements"), OpenRecording)
    assert serves(opened) == ["agreements"]


def test_effect_stop_of_one_purpose_alone_ends_it_there_and_keeps_what_was_before() -> None:
    m = recorded(ORDERS, STAYING)
    (part,) = of(m.receive(NO, 9.0), PartRecording, DropPurposes, DiscardRecording)
    assert isinstance(part, PartRecording)
    assert (serves(part), part.reason, part.guarded) == (["orders"], "opt_out", False)


def test_a_yes_that_it_needs_is_waited_for_while_the_first_goes_on() -> None:
    m = recorded(TRAINING, ASKED)
    m.receive(START, 10.0)
    last = told(m, "agreements")
    assert of(last, SetGate, PartRecording) == [SetGate(opened=True)]
    assert m.recording is Recording.ON
    (part,) = of(m.receive(YES, 6.0), PartRecording)
    assert serves(part) == ["training", "agreements"]
    m = recorded(TRAINING, ASKED)
    m.receive(START, 10.0)
    told(m, "agreements")
    assert of(m.expire(99.0), PartRecording, DropPurposes, SealRecording) == []
    assert m.recording is Recording.ON


def test_somebody_who_joins_meanwhile_hears_all_and_then_it_begins() -> None:
    m = recorded(TRAINING, ALSO)
    m.receive(START, 10.0)
    m.receive(STARTED, 11.0)
    m.receive(PartyJoined(CALLER, STRANGER), 11.5)
    last = told(m, "training", "agreements")
    (part,) = of(last, PartRecording)
    assert serves(part) == ["training", "agreements"]


def test_alone_it_can_be_ended_and_begun_again() -> None:
    m, first = answered(ALSO)
    assert of(first, PlayPrompt) == []
    m.receive(START, 5.0)
    assert of(told(m, "agreements"), OpenRecording)
    m.receive(OPENED, 6.0)
    assert of(m.receive(STOP, 7.0), SealRecording) == [SealRecording("purpose_ended")]
    assert (m.recording, m.notice) == (Recording.OFF, Notice.WAITING)
    m.receive(START, 8.0)
    m.receive(STARTED, 8.5)
    assert of(m.receive(STOP, 9.0), StopPrompt, SetGate) == [StopPrompt(), SetGate(opened=True)]
    m.receive(START, 10.0)
    assert of(told(m, "agreements"), OpenRecording)


def test_with_somebody_who_is_never_recorded_only_what_a_statute_ordered_stays_of_any_recording() -> None:
    m = begun(replace(ORDERS, prompt="orders"), ALSO)
    m.receive(STOP, 20.0)
    m.receive(OPENED, 20.5)
    plan = m._permission.plan
    assert plan is not None
    m._permission.recording.take(replace(plan, statutory=frozenset({"orders"})))
    commands = m.receive(PartyJoined(CALLEE, LAWYER), 21.0)
    assert of(commands, DropPurposes, SealRecording, DiscardRecording) == [
        DropPurposes(("agreements",), "confidential"),
        SealRecording("confidential"),
    ]


# ------------------------------------------------------------------ every state
_EVENTS: Final = (
    STARTED,
    heard("training"),
    heard("agreements"),
    PromptFailed("broken"),
    START,
    STOP,
    NO,
    NEVER,
    YES,
    OPENED,
    RecordingFailed("disk full"),
    PartyJoined(CALLER, STRANGER),
    ReofferReceived(CALLEE, HOLD),
    ReofferReceived(CALLEE, sdp()),
    LegEnded(CALLER, 200, "", by_us=False),
    DrainExpired(),
)


@pytest.mark.parametrize(
    ("first", "also"),
    [(STAYING, ALSO), (TRAINING, ASKED), (replace(ORDERS, prompt="training"), ASKED)],
    ids=["effect-stop", "opt-in", "orders"],
)
def test_in_every_state_nothing_is_recorded_for_what_was_not_announced(
    first: PurposePlan, also: PurposePlan
) -> None:
    start, _ = answered(first, also)
    seen = {joint(start)}
    todo = deque([start])
    parted = sealed = 0
    while todo:
        current = todo.popleft()
        steps: list[Event | None] = [*_EVENTS, *([None] if current.deadline() is not None else [])]
        for event in steps:
            following = clone(current)
            try:
                commands = following.receive(event, 1.0) if event is not None else following.expire(1e9)
            except IllegalEvent:
                continue
            check(current, event or DrainExpired(), following, commands)
            parted += check_parts(current, event, following, commands)
            sealed += bool(of(commands, SealRecording))
            state = joint(following)
            if state not in seen:
                seen.add(state)
                todo.append(following)
    assert parted
    assert sealed
    assert len(seen) < 6000, "a walk of seconds"


def check_parts(before: CallMachine, event: Event | None, after: CallMachine, commands: list[Command]) -> int:
    """What holds whenever one recording goes on from another."""
    parts = [command for command in commands if isinstance(command, PartRecording)]
    assert len(parts) + len(of(commands, OpenRecording)) <= 1
    for part in parts:
        assert before.recording in {Recording.ON, Recording.PAUSED}
        was, now = before._permission.recording.serves, set(serves(part))
        assert was != now
        assert part.guarded is bool(now - was)
        if now - was:
            assert after.notice is Notice.COMPLETED
            assert before.notice is Notice.PLAYING or event in {YES, OPENED}
    served = after._permission.recording.serves
    left = {one.purpose for one in after._permission.choice.left}
    assert served <= left | ({"training"} if after.is_ending else set())
    if after.recording is Recording.ON and after._permission.choice.until is None:
        assert served == left, "once all is said, what was announced and not refused is recorded"
    if after.notice is Notice.WAITING:
        assert not left
    for drop in of(commands, DropPurposes):
        assert isinstance(drop, DropPurposes)
        assert not set(drop.purposes) & served
    gone = isinstance(event, PromptCompleted) and not before._permission.notice.is_pending
    assert not (gone and commands)
    return len(parts)
