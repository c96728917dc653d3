"""One call for several purposes: all announced, each refused on its own, one recording."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_recproxy_call_machine import (
    ALLOCATED,
    CALLEE,
    CALLER,
    INVITE,
    LAWYER,
    STARTED,
    machine,
    plan,
    sdp,
)

from recproxy.call.commands import (
    AuditNote,
    Command,
    DiscardRecording,
    DropPurposes,
    OpenRecording,
    PartRecording,
    PlayPrompt,
    SealRecording,
    SetGate,
    StopPrompt,
)
from recproxy.call.events import (
    CalleeAnswered,
    CallerConfirmed,
    DigitPressed,
    Event,
    LegEnded,
    PartyJoined,
    PromptCompleted,
    PromptFailed,
    RecordingOpened,
)
from recproxy.call.machine import CallMachine
from recproxy.call.states import Choice, Notice, Recording
from recproxy.policy import (
    Audience,
    ChoiceEffect,
    ChoiceMode,
    ChoicePlan,
    OnFailure,
    PurposePlan,
    Record,
    RecordPlan,
)
from storage.tags import LegalBasis

NOW: Final = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY: Final = timedelta(days=1)
FREE: Final = ChoicePlan()
OPT_OUT: Final = ChoicePlan(ChoiceMode.OPT_OUT, refuse=("9",), staff_refuse=("8",))
OPT_IN: Final = ChoicePlan(ChoiceMode.OPT_IN, accept=("1",), staff_refuse=("8",), window_s=5.0)
OPENED: Final = RecordingOpened("ab" * 16)
NO: Final = DigitPressed(CALLER, "9")
YES: Final = DigitPressed(CALLER, "1")


def purpose(
    name: str,
    days: int,
    choice: ChoicePlan = FREE,
    audience: Audience = Audience.BOTH,
) -> PurposePlan:
    return PurposePlan(name, LegalBasis.LEGITIMATE_INTEREST, days * DAY, name, "nl", audience, choice)


def several(*purposes: PurposePlan, on_failure: OnFailure = OnFailure.CONTINUE) -> RecordPlan:
    lead = purposes[0]
    return replace(
        plan(on_failure, choice=lead.choice),
        purpose=lead.purpose,
        retention=lead.retention,
        prompt=lead.prompt,
        purposes=purposes,
    )


ORDERS = purpose("orders", 400)
TRAINING = purpose("training", 30, OPT_OUT)
AGREEMENTS = purpose("agreements", 60, replace(OPT_OUT, refuse=("7",)))
SAMPLE = purpose("sample", 14, OPT_IN)


def heard(name: str, *, by: tuple[object, ...] = (CALLER, CALLEE), second: int = 3) -> PromptCompleted:
    legs = tuple(leg for leg in (CALLER, CALLEE) if leg in by)
    return PromptCompleted(NOW + timedelta(seconds=second), name, "ab" * 32, "nl", legs)


def answered(
    *purposes: PurposePlan, on_failure: OnFailure = OnFailure.CONTINUE
) -> tuple[CallMachine, list[Command]]:
    """A call that was answered; the first announcement is asked for."""
    m = machine(Record(several(*purposes, on_failure=on_failure)))
    m.receive(INVITE, 0.0)
    m.receive(ALLOCATED, 0.0)
    m.receive(CalleeAnswered(sdp(), "cid-b"), 1.0)
    return m, m.receive(CallerConfirmed(), 1.1)


def told(m: CallMachine, *names: str) -> list[Command]:
    """Hear these announcements; what came of the last."""
    commands: list[Command] = []
    for name in names:
        m.receive(STARTED, 2.0)
        commands = m.receive(heard(name), 4.0)
    return commands


def of(commands: list[Command], *kinds: type[Command]) -> list[Command]:
    return [command for command in commands if isinstance(command, kinds)]


def recorded(*purposes: PurposePlan) -> CallMachine:
    """A call that is recorded for all of these but those that staff start."""
    m, _ = answered(*purposes)
    told(m, *(one.prompt for one in purposes if not one.start))
    m.receive(OPENED, 4.1)
    assert m.recording is Recording.ON
    return m


def test_every_announcement_is_heard_before_the_gate_opens_and_one_recording_serves_all() -> None:
    m, first = answered(ORDERS, TRAINING)
    (play,) = of(first, PlayPrompt)
    assert isinstance(play, PlayPrompt)
    assert play.prompt == "orders"
    m.receive(STARTED, 2.0)
    between = m.receive(heard("orders"), 4.0)
    assert m.notice is Notice.PLAYING
    assert of(between, SetGate, OpenRecording) == []
    (play,) = of(between, PlayPrompt)
    assert isinstance(play, PlayPrompt)
    assert play.prompt == "training"
    m.receive(STARTED, 4.0)
    last = m.receive(heard("training", second=6), 6.0)
    gate, opened = of(last, SetGate, OpenRecording)
    assert gate == SetGate(opened=True)
    assert isinstance(opened, OpenRecording)
    assert (opened.purpose, opened.retention, opened.notice.prompt) == ("orders", 400 * DAY, "orders")
    (further,) = opened.further
    assert (further.purpose, further.retention, further.notice.prompt) == ("training", 30 * DAY, "training")
    assert further.notice.completed == NOW + timedelta(seconds=6)


def test_each_announcement_and_each_choice_is_in_the_chain() -> None:
    m, _ = answered(ORDERS, TRAINING)
    audits = [
        (note.event, dict(note.fields)["purpose"])
        for event in (STARTED, heard("orders"), STARTED, heard("training"), NO)
        for note in m.receive(event, 4.0)
        if isinstance(note, AuditNote)
    ]
    assert audits == [
        ("announce.started", "orders"),
        ("announce.completed", "orders"),
        ("announce.started", "training"),
        ("choice.offered", "training"),
        ("announce.completed", "training"),
        ("choice.opt_out", "training"),
    ]


def test_an_announcement_of_which_one_fails_makes_no_recording_at_all() -> None:
    for event in (PromptFailed("broken"), heard("training", by=(CALLER,))):
        m, _ = answered(ORDERS, TRAINING)
        told(m, "orders")
        m.receive(STARTED, 4.0)
        commands = m.receive(event, 5.0)
        assert m.notice is Notice.FAILED
        assert of(commands, OpenRecording) == []
        assert SetGate(opened=True) in commands


def test_the_audience_is_that_of_each_announcement() -> None:
    m, _ = answered(purpose("orders", 9, audience=Audience.OUTSIDE), TRAINING)
    m.receive(STARTED, 2.0)
    (play,) = of(m.receive(heard("orders", by=(CALLER,)), 4.0), PlayPrompt)
    assert isinstance(play, PlayPrompt)
    assert play.legs == (CALLER, CALLEE)


def test_a_no_in_mid_call_ends_the_purposes_whose_key_it_is_and_no_other() -> None:
    m = recorded(ORDERS, AGREEMENTS, TRAINING)
    commands = m.receive(NO, 9.0)
    assert of(commands, DropPurposes, DiscardRecording, SealRecording) == [
        DropPurposes(("training",), "opt_out")
    ]
    assert m.recording is Recording.ON
    assert m.receive(NO, 9.5) == []
    commands = m.receive(DigitPressed(CALLER, "7"), 10.0)
    assert of(commands, DropPurposes) == [DropPurposes(("agreements",), "opt_out")]
    assert m.receive(DigitPressed(CALLER, "7"), 10.5) == []
    assert m.recording is Recording.ON, "what the statute orders stays"
    ended = m.receive(LegEnded(CALLER, 200, "", by_us=False), 11.0)
    assert of(ended, SealRecording)


def test_one_key_can_refuse_several_purposes_and_the_last_no_destroys_the_recording() -> None:
    m = recorded(replace(AGREEMENTS, choice=OPT_OUT), TRAINING)
    commands = m.receive(NO, 9.0)
    assert of(commands, DropPurposes, DiscardRecording) == [DiscardRecording("opt_out")]
    assert (m.recording, m.choice) == (Recording.DISCARDED, Choice.REFUSED)


def test_what_was_recorded_before_stays_only_for_the_purposes_that_let_it() -> None:
    staying = replace(OPT_OUT, effect=ChoiceEffect.STOP)
    m = recorded(replace(AGREEMENTS, choice=staying), TRAINING)
    commands = m.receive(NO, 9.0)
    assert of(commands, DropPurposes, DiscardRecording, SealRecording) == [
        DropPurposes(("training",), "opt_out"),
        SealRecording("opt_out"),
    ]
    m = recorded(ORDERS, replace(TRAINING, choice=staying))
    commands = m.receive(NO, 9.0)
    assert of(commands, DropPurposes, DiscardRecording, SealRecording) == []
    (part,) = of(commands, PartRecording)
    assert isinstance(part, PartRecording)
    assert (part.following.purpose, part.following.further, part.guarded) == ("orders", (), False)


def test_a_no_in_the_announcement_of_its_purpose_stops_it_and_the_rest_is_recorded() -> None:
    m, _ = answered(ORDERS, TRAINING)
    told(m, "orders")
    m.receive(STARTED, 4.0)
    commands = m.receive(NO, 5.0)
    assert of(commands, StopPrompt) == [StopPrompt()]
    (opened,) = of(commands, OpenRecording)
    assert isinstance(opened, OpenRecording)
    assert (opened.purpose, opened.further) == ("orders", ())
    assert m.receive(heard("training"), 5.0) == [], "its end crossed our stop"


def test_a_purpose_that_was_refused_before_it_was_announced_is_not_announced() -> None:
    m, _ = answered(ORDERS, TRAINING)
    m.receive(STARTED, 2.0)
    assert of(m.receive(NO, 3.0), StopPrompt, PlayPrompt) == []
    commands = m.receive(heard("orders"), 4.0)
    assert of(commands, PlayPrompt) == []
    (opened,) = of(commands, OpenRecording)
    assert isinstance(opened, OpenRecording)
    assert opened.further == ()


def test_the_leading_purpose_may_be_refused_and_the_next_leads() -> None:
    m, _ = answered(replace(TRAINING, retention=900 * DAY), ORDERS)
    m.receive(STARTED, 2.0)
    commands = m.receive(NO, 3.0)
    stop, play = of(commands, StopPrompt, PlayPrompt)
    assert isinstance(play, PlayPrompt)
    assert (stop, play.prompt) == (StopPrompt(), "orders")
    m.receive(STARTED, 3.1)
    assert m.receive(heard("training"), 3.2) == []
    (opened,) = of(m.receive(heard("orders"), 6.0), OpenRecording)
    assert isinstance(opened, OpenRecording)
    assert (opened.purpose, opened.retention) == ("orders", 400 * DAY)


def test_a_yes_is_waited_for_with_the_gate_shut_where_another_purpose_leaves_no_choice() -> None:
    m, _ = answered(ORDERS, SAMPLE)
    last = told(m, "orders", "sample")
    assert of(last, SetGate, OpenRecording) == []
    assert m.deadline() == 9.0
    gate, opened = of(m.receive(YES, 6.0), SetGate, OpenRecording)
    assert gate == SetGate(opened=True)
    assert isinstance(opened, OpenRecording)
    assert [further.purpose for further in opened.further] == ["sample"]

    m, _ = answered(ORDERS, SAMPLE)
    told(m, "orders", "sample")
    gate, opened = of(m.expire(9.0), SetGate, OpenRecording)
    assert gate == SetGate(opened=True)
    assert isinstance(opened, OpenRecording)
    assert opened.further == (), "silence is no"


def test_a_yes_in_the_announcement_begins_at_its_end() -> None:
    m, _ = answered(ORDERS, SAMPLE)
    told(m, "orders")
    m.receive(STARTED, 4.0)
    assert of(m.receive(YES, 5.0), OpenRecording) == []
    (opened,) = of(m.receive(heard("sample"), 6.0), OpenRecording)
    assert isinstance(opened, OpenRecording)
    assert [further.purpose for further in opened.further] == ["sample"]


def test_without_a_purpose_that_leaves_no_choice_the_parties_speak_while_a_yes_is_waited_for() -> None:
    m, _ = answered(replace(TRAINING, choice=replace(OPT_IN, refuse=("9",))), SAMPLE)
    assert of(told(m, "training", "sample"), SetGate, OpenRecording) == [SetGate(opened=True)]
    m.receive(NO, 6.0)
    (opened,) = of(m.receive(YES, 7.0), OpenRecording)
    assert isinstance(opened, OpenRecording)
    assert (opened.purpose, opened.further) == ("sample", ())


def test_the_log_tells_a_no_to_a_part() -> None:
    m = recorded(ORDERS, TRAINING)
    m.receive(NO, 9.0)
    m.receive(LegEnded(CALLER, 200, "", by_us=False), 10.0)
    (ended,) = [
        c
        for c in m.receive(LegEnded(CALLEE, 200, "", by_us=True), 10.1)
        if getattr(c, "event", "") == "call.ended"
    ]
    assert dict(getattr(ended, "fields", ()))["choice"] == "refused_in_part"
    assert dict(getattr(ended, "fields", ()))["purpose"] == "orders,training"


_EVENTS: Final = (
    STARTED,
    *(heard(name) for name in ("orders", "agreements", "training", "sample")),
    PromptFailed("broken"),
    NO,
    YES,
    DigitPressed(CALLER, "7"),
    DigitPressed(CALLEE, "8"),
    OPENED,
    LegEnded(CALLEE, 200, "", by_us=False),
)


@given(
    purposes=st.lists(
        st.sampled_from([ORDERS, AGREEMENTS, TRAINING, SAMPLE]), min_size=1, max_size=4, unique=True
    ),
    events=st.lists(st.sampled_from(_EVENTS), max_size=25),
)
def test_nothing_is_recorded_for_a_purpose_that_was_not_announced_or_was_refused(
    purposes: list[PurposePlan], events: list[Event]
) -> None:
    m, commands = answered(*purposes)
    playing: list[str] = [c.prompt for c in commands if isinstance(c, PlayPrompt)]
    announced: set[str] = set()
    started = False
    refused: set[str] = set()
    live: set[str] | None = None
    for second, event in enumerate(events, 2):
        if event == STARTED and playing:
            started = True
        if isinstance(event, PromptCompleted) and started and playing and playing[-1] == event.prompt:
            announced.add(event.prompt)
        commands = m.receive(event, float(second))
        for note in commands:
            if isinstance(note, AuditNote) and note.event in {"choice.opt_out", "consent.withdrawn"}:
                refused.add(str(dict(note.fields)["purpose"]))
        for command in commands:
            match command:
                case PlayPrompt():
                    playing.append(command.prompt)
                    started = False
                case OpenRecording():
                    assert live is None
                    live = {command.purpose, *(one.purpose for one in command.further)}
                    assert live <= announced
                    assert m.notice is Notice.COMPLETED
                case DropPurposes():
                    assert live is not None
                    live -= set(command.purposes)
                    assert live, "the last purpose ends the recording"
                case DiscardRecording() | SealRecording():
                    live = set()
                case _:
                    pass
        if live:
            assert not live & refused
            assert "sample" not in live or any(e == YES for e in events[: second - 1])
        if "orders" in refused:
            pytest.fail("a purpose without a choice was refused")


def test_with_a_confidential_number_only_what_a_statute_orders_stays() -> None:
    made = replace(several(ORDERS, TRAINING), statutory=frozenset({"orders"}))
    m = machine(Record(made))
    m.receive(INVITE, 0.0)
    m.receive(ALLOCATED, 0.0)
    m.receive(CalleeAnswered(sdp(), "cid-b"), 1.0)
    m.receive(CallerConfirmed(), 1.1)
    told(m, "orders", "training")
    m.receive(OPENED, 6.0)
    commands = m.receive(PartyJoined(CALLEE, LAWYER), 20.0)
    assert [one for one in commands if isinstance(one, DropPurposes | SealRecording | DiscardRecording)] == [
        DropPurposes(("training",), "confidential"),
        SealRecording("confidential"),
    ]
    assert m.recording is Recording.SEALED
