"""Who joins a call that is recorded, what a telephone asks for in mid-call, and who refuses a statute."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from test_recproxy_call_machine import (
    CALLEE,
    CALLER,
    COLLEAGUE,
    DECLINE,
    HEARD,
    HELD,
    HOLD,
    LAWYER,
    NO_CHOICE,
    NOW,
    OPT_IN,
    OPT_OUT,
    STARTED,
    STRANGER,
    heard,
    kinds,
    machine,
    plan,
    press,
    sdp,
    state_of,
    up_to_answer,
)

from recproxy.call.commands import (
    AuditNote,
    Command,
    EndLeg,
    Note,
    OpenRecording,
    PlayPrompt,
    PlayTone,
    ResumeRecording,
    SealRecording,
    SetGate,
)
from recproxy.call.events import (
    CallerConfirmed,
    LegName,
    PartyJoined,
    PreferenceTold,
    PromptCompleted,
    PromptFailed,
    RecordingFailed,
    RecordingOpened,
    ReofferAnswered,
    ReofferReceived,
    TransferAsked,
)
from recproxy.call.machine import CallMachine
from recproxy.call.states import Choice, Notice, Recording
from recproxy.policy import NewParty, OnFailure, Phrase, Record, RecordPlan, RecordPreference, StaffNotice

ORDERED = frozenset({"training"})


def recorded(made: RecordPlan) -> CallMachine:
    """A call that is being recorded."""
    m = machine(Record(made))
    heard(m)
    if m.choice is Choice.OPEN and m.recording is Recording.OFF:
        press(m, CALLER, "1", 5.1)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    assert m.recording is Recording.ON
    return m


def heard_by(leg: LegName) -> PromptCompleted:
    return replace(HEARD, at=NOW + timedelta(seconds=30), heard_by=(leg,))


def prompts(commands: list[Command]) -> list[tuple[LegName, ...]]:
    return [c.legs for c in commands if isinstance(c, PlayPrompt)]


def test_somebody_from_outside_is_told_before_it_goes_on() -> None:
    m = recorded(plan(staff_notice=StaffNotice.BEEP))
    commands = m.receive(PartyJoined(CALLER, STRANGER), 20.0)
    assert kinds(commands) == [
        "party.joined",
        "party.joined",
        "PauseRecording",
        "recording.paused",
        "rec.paused",
        "SetGate",
        "PlayPrompt",
    ]
    assert SetGate(opened=False) in commands
    assert prompts(commands) == [(CALLER,)]
    assert state_of(m) is Recording.PAUSED
    m.receive(STARTED, 20.0)
    after = m.receive(heard_by(CALLER), 24.0)
    assert SetGate(opened=True) in after
    assert any(isinstance(c, ResumeRecording) for c in after)
    assert [c.leg for c in after if isinstance(c, PlayTone)] == [CALLEE]
    assert not any(isinstance(c, OpenRecording) for c in after)
    assert state_of(m) is Recording.ON


def test_the_number_of_whoever_joins_is_told_to_nobody() -> None:
    m = recorded(plan())
    said = repr(m.receive(PartyJoined(CALLER, STRANGER), 20.0)) + repr(PartyJoined(CALLER, STRANGER))
    assert STRANGER not in said
    assert STRANGER not in repr(TransferAsked(CALLER, STRANGER))


def test_a_colleague_hears_a_tone_and_it_goes_on() -> None:
    m = recorded(plan())
    commands = m.receive(PartyJoined(CALLEE, COLLEAGUE), 20.0)
    assert kinds(commands) == ["party.joined", "party.joined", "PlayTone", "staff.notified"]
    assert AuditNote("staff.notified", (("purpose", "training"), ("method", "beep"))) in commands
    assert state_of(m) is Recording.ON


def test_a_colleague_who_joins_during_a_hold_hears_the_tone_after_it() -> None:
    m = recorded(plan())
    m.receive(ReofferReceived(CALLEE, HOLD), 10.0)
    m.receive(ReofferAnswered(CALLER, 200, "OK", HELD), 10.1)
    assert "PlayTone" not in kinds(m.receive(PartyJoined(CALLEE, COLLEAGUE), 11.0))
    m.receive(ReofferReceived(CALLEE, sdp()), 20.0)
    back = m.receive(ReofferAnswered(CALLER, 200, "OK", sdp()), 20.1)
    assert kinds(back)[-2:] == ["PlayTone", "staff.notified"]


def test_a_stranger_at_the_end_of_staff_is_told_and_has_the_keys_of_the_outside() -> None:
    m = recorded(plan(choice=OPT_OUT))
    commands = m.receive(PartyJoined(CALLEE, STRANGER), 20.0)
    assert prompts(commands) == [(CALLEE,)]
    m.receive(STARTED, 20.0)
    m.receive(heard_by(CALLEE), 24.0)
    assert state_of(m) is Recording.ON
    assert "DiscardRecording" in kinds(press(m, CALLEE, "9", 25.0))


@pytest.mark.parametrize("event", [PartyJoined(CALLEE, LAWYER), TransferAsked(CALLEE, LAWYER)])
def test_to_a_confidential_number_what_there_is_is_destroyed(event: PartyJoined | TransferAsked) -> None:
    m = recorded(plan(choice=OPT_OUT))
    commands = m.receive(event, 20.0)
    assert kinds(commands) == ["party.joined", "party.joined", "DiscardRecording", "NameRecording"]
    fields = (("purpose", "training"), ("leg", "callee"), ("who", "confidential"))
    assert Note("party.joined", fields) in commands
    assert m.recording is Recording.DISCARDED
    assert m.receive(PartyJoined(CALLER, STRANGER), 21.0) == []
    assert not m.is_ending


@pytest.mark.parametrize("event", [PartyJoined(CALLEE, LAWYER), TransferAsked(CALLEE, LAWYER)])
def test_what_a_statute_ordered_before_a_confidential_number_came_is_closed_and_kept(
    event: PartyJoined | TransferAsked,
) -> None:
    m = recorded(plan(statutory=ORDERED))
    commands = m.receive(event, 20.0)
    assert kinds(commands) == ["party.joined", "party.joined", "SealRecording"]
    assert SealRecording("confidential") in commands
    assert m.recording is Recording.SEALED
    assert not m.is_ending
    assert m.receive(PartyJoined(CALLEE, COLLEAGUE), 30.0) == []  # nor does it begin anew


def test_a_confidential_number_before_the_announcement_is_over_ends_that() -> None:
    m = machine(Record(plan()))
    up_to_answer(m)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    commands = m.receive(PartyJoined(CALLEE, LAWYER), 3.0)
    assert "StopPrompt" in kinds(commands)
    assert SetGate(opened=True) in commands
    assert m.notice is Notice.DECLINED
    assert m.receive(HEARD, 5.0) == []


def test_a_confidential_number_that_answers_is_not_announced_to() -> None:
    m = machine(Record(plan()))
    m.receive(PartyJoined(CALLEE, LAWYER, answering=True), 0.0)
    up_to_answer(m)
    m.receive(PartyJoined(CALLEE, LAWYER, answering=True), 2.0)
    assert m.receive(CallerConfirmed(), 2.1) == []
    assert m.notice is Notice.DECLINED


def test_no_yes_is_taken_once_a_confidential_number_is_there() -> None:
    m = machine(Record(plan(choice=OPT_IN)))
    heard(m)
    m.receive(PartyJoined(CALLEE, LAWYER), 6.0)
    assert m.deadline() is None
    assert press(m, CALLER, "1", 7.0) == []
    assert m.recording is Recording.OFF


def test_the_recording_ends_there_if_the_purpose_says_so() -> None:
    m = recorded(plan(on_new_party=NewParty.STOP))
    commands = m.receive(PartyJoined(CALLER, STRANGER), 20.0)
    assert kinds(commands) == ["party.joined", "party.joined", "SealRecording"]
    assert SealRecording("somebody joined") in commands
    assert not m.is_ending
    m = recorded(plan(on_new_party=NewParty.STOP))
    assert kinds(m.receive(TransferAsked(CALLEE, STRANGER), 20.0)) == ["SealRecording"]
    assert recorded(plan()).receive(TransferAsked(CALLEE, STRANGER), 20.0) == []


def test_who_joins_during_a_hold_is_told_after_it() -> None:
    m = recorded(plan())
    m.receive(ReofferReceived(CALLEE, HOLD), 10.0)
    m.receive(ReofferAnswered(CALLER, 200, "OK", HELD), 10.1)
    waiting = m.receive(PartyJoined(CALLEE, STRANGER), 11.0)
    assert prompts(waiting) == []
    assert SetGate(opened=False) not in waiting
    m.receive(ReofferReceived(CALLEE, sdp()), 20.0)
    back = m.receive(ReofferAnswered(CALLER, 200, "OK", sdp()), 20.1)
    assert prompts(back) == [(CALLEE,)]
    assert not any(isinstance(c, ResumeRecording) for c in back)
    m.receive(STARTED, 20.1)
    m.receive(heard_by(CALLEE), 24.0)
    assert state_of(m) is Recording.ON


def test_a_hold_puts_the_announcement_off_and_it_is_played_again() -> None:
    m = recorded(plan())
    m.receive(PartyJoined(CALLER, STRANGER), 10.0)
    m.receive(STARTED, 10.0)
    held = m.receive(ReofferReceived(CALLER, HOLD), 11.0)
    assert kinds(held)[:2] == ["StopPrompt", "SetGate"]
    m.receive(ReofferAnswered(CALLEE, 200, "OK", HELD), 11.1)
    assert m.receive(heard_by(CALLER), 12.0) == []
    m.receive(ReofferReceived(CALLER, sdp()), 20.0)
    assert prompts(m.receive(ReofferAnswered(CALLEE, 200, "OK", sdp()), 20.1)) == [(CALLER,)]


def test_who_joins_in_mid_announcement_hears_it_from_its_beginning_with_the_others() -> None:
    m = machine(Record(plan()))
    up_to_answer(m)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    again = m.receive(PartyJoined(CALLER, STRANGER), 3.0)
    assert "StopPrompt" in kinds(again)
    assert prompts(again) == [(CALLER, CALLEE)]
    m.receive(STARTED, 3.0)
    assert "OpenRecording" in kinds(m.receive(HEARD, 6.0))


def test_who_cannot_be_told_ends_the_recording_and_not_the_call() -> None:
    m = recorded(plan())
    m.receive(PartyJoined(CALLER, STRANGER), 10.0)
    commands = m.receive(PromptFailed("broken"), 10.1)
    assert SealRecording("somebody who joined was not told") in commands
    assert not m.is_ending
    m = recorded(plan(OnFailure.REFUSE))
    m.receive(PartyJoined(CALLER, STRANGER), 10.0)
    m.receive(PromptFailed("broken"), 10.1)
    assert m.is_ending
    assert m.recording is Recording.SEALED


def test_a_recorder_that_fails_while_somebody_is_told_opens_nothing_anew() -> None:
    m = recorded(plan())
    m.receive(PartyJoined(CALLER, STRANGER), 10.0)
    m.receive(STARTED, 10.0)
    commands = m.receive(RecordingFailed("disk full"), 11.0)
    assert "StopPrompt" in kinds(commands)
    assert SetGate(opened=True) in commands
    assert m.receive(heard_by(CALLER), 14.0) == []
    assert m.recording is Recording.ABORTED


def test_consent_is_asked_of_whoever_joins() -> None:
    m = recorded(plan(choice=OPT_IN))
    m.receive(PartyJoined(CALLEE, STRANGER), 20.0)
    m.receive(STARTED, 20.0)
    waiting = m.receive(heard_by(CALLEE), 23.0)
    assert not any(isinstance(c, ResumeRecording) for c in waiting)
    assert m.choice is Choice.OPEN
    assert press(m, CALLER, "1", 24.0) == [], "the other has said yes already; it is not for him to say"
    assert any(isinstance(c, ResumeRecording) for c in press(m, CALLEE, "1", 25.0))
    assert state_of(m) is Recording.ON
    m = recorded(plan(choice=OPT_IN))
    m.receive(PartyJoined(CALLEE, STRANGER), 20.0)
    m.receive(STARTED, 20.0)
    m.receive(heard_by(CALLEE), 23.0)
    assert "DiscardRecording" in kinds(m.expire(40.0))


def test_a_telephone_that_changes_its_mind_is_heeded() -> None:
    m = recorded(plan())
    paused = m.receive(PreferenceTold(CALLER, RecordPreference.PAUSE), 10.0)
    assert kinds(paused) == ["PauseRecording", "recording.paused", "rec.paused"]
    assert m.receive(PreferenceTold(CALLEE, RecordPreference.PAUSE), 11.0) == []
    assert m.receive(PreferenceTold(CALLER, RecordPreference.NONE), 12.0) == []
    assert "ResumeRecording" in kinds(m.receive(PreferenceTold(CALLEE, RecordPreference.NONE), 13.0))
    off = m.receive(PreferenceTold(CALLER, RecordPreference.OFF), 14.0)
    assert kinds(off) == ["choice.refused", "choice.opt_out", "DiscardRecording", "NameRecording", "PlayTone"]
    assert m.recording is Recording.DISCARDED


def test_a_statute_does_not_ask_a_telephone() -> None:
    m = recorded(plan(statutory=ORDERED))
    for preference in RecordPreference:
        assert m.receive(PreferenceTold(CALLER, preference), 10.0) == []
    assert m.recording is Recording.ON


def test_a_telephone_that_answers_and_wants_no_recording_is_not_announced_to() -> None:
    m = machine(Record(plan()))
    up_to_answer(m)
    m.receive(PreferenceTold(CALLEE, RecordPreference.OFF), 2.0)
    assert m.receive(CallerConfirmed(), 2.1) == []
    assert m.notice is Notice.DECLINED


def test_staff_hear_words_that_nobody_else_hears() -> None:
    m = machine(Record(plan(staff_notice=StaffNotice.WHISPER)))
    heard(m)
    *_, whisper, told = m.receive(RecordingOpened("ab" * 16), 5.2)
    assert isinstance(whisper, PlayTone)
    assert (whisper.leg, whisper.words) == (CALLEE, Phrase("recording_on", "nl"))
    assert told == AuditNote("staff.notified", (("purpose", "training"), ("method", "whisper")))


def refusing() -> CallMachine:
    return recorded(
        plan(OnFailure.REFUSE, choice=NO_CHOICE, decline=DECLINE, statutory=frozenset({"training"}))
    )


def test_who_refuses_what_a_statute_orders_is_told_why_the_call_ends() -> None:
    m = refusing()
    commands = press(m, CALLER, "9", 10.0)
    assert kinds(commands) == [
        "choice.refused",
        "choice.opt_out",
        "SealRecording",
        "SetGate",
        "PlayPrompt",
    ]
    (play,) = [c for c in commands if isinstance(c, PlayPrompt)]
    assert (play.prompt, play.legs) == ("orders_refused", (CALLER,))
    m.receive(STARTED, 10.0)
    ended = m.receive(heard_by(CALLER), 13.0)
    assert [(c.leg, c.code, c.reason) for c in ended if isinstance(c, EndLeg)] == [
        (CALLER, 603, "Recording Refused"),
        (CALLEE, 603, "Recording Refused"),
    ]
    assert m.recording is Recording.SEALED, "what the statute ordered until then stays"


@pytest.mark.parametrize("end", [PromptFailed("broken"), None])
def test_words_that_cannot_be_said_do_not_keep_the_call(end: PromptFailed | None) -> None:
    m = refusing()
    press(m, CALLER, "9", 10.0)
    ended = m.receive(end, 11.0) if end is not None else m.expire(200.0)
    assert any(isinstance(c, EndLeg) for c in ended)


def test_a_refusal_during_the_announcement_of_a_statute_ends_the_call_unrecorded() -> None:
    m = machine(Record(plan(OnFailure.REFUSE, choice=NO_CHOICE, decline=DECLINE)))
    up_to_answer(m)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    commands = press(m, CALLER, "9", 3.0)
    assert prompts(commands) == [(CALLER,)]
    assert commands.index(SetGate(opened=False)) > commands.index(SetGate(opened=True))
    m.receive(STARTED, 3.0)
    assert any(isinstance(c, EndLeg) for c in m.receive(heard_by(CALLER), 6.0))
    assert m.recording is Recording.OFF
