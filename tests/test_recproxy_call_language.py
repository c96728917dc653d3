"""An announcement in another language: from its beginning, and nothing is recorded before its end."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from test_recproxy_call_machine import (
    ALLOCATED,
    CALLEE,
    CALLER,
    DECLINE,
    FACTS,
    HEARD,
    INVITE,
    NO_CHOICE,
    OPT_IN,
    OPT_OUT,
    STARTED,
    STRANGER,
    explore,
    machine,
    plan,
    sdp,
)

from recproxy.call.commands import Command, Note, OpenRecording, PlayPrompt, StopPrompt
from recproxy.call.events import (
    CalleeAnswered,
    CallerConfirmed,
    DigitPressed,
    DrainExpired,
    Event,
    InviteReceived,
    LegEnded,
    PartyJoined,
    PromptFailed,
    RecordingOpened,
)
from recproxy.call.machine import CallMachine
from recproxy.call.states import Notice, Recording
from recproxy.policy import ChoicePlan, LanguageKey, Phrase, PurposePlan, Record, RecordPlan

KEYS = (LanguageKey("2", Phrase("training_en", "en")), LanguageKey("1", Phrase("training", "nl")))
ENGLISH = replace(HEARD, prompt="training_en", language="en")
EVENTS: tuple[Event, ...] = (
    ALLOCATED,
    CalleeAnswered(sdp(), "cid-b"),
    CallerConfirmed(),
    LegEnded(CALLER, 200, "", by_us=False),
    LegEnded(CALLEE, 200, "", by_us=True),
    PartyJoined(CALLEE, STRANGER),
    STARTED,
    HEARD,
    ENGLISH,
    PromptFailed("broken file"),
    RecordingOpened("ab" * 16),
    DigitPressed(CALLER, "1"),
    DigitPressed(CALLER, "2"),
    DigitPressed(CALLER, "9"),
    DigitPressed(CALLEE, "2"),
    DrainExpired(),
)


def spoken(choice: ChoicePlan = OPT_OUT, *further: PurposePlan) -> RecordPlan:
    """A purpose that can be told of in two languages, and others."""
    alone = plan(choice=choice)
    return replace(alone, purposes=(replace(alone.each[0], languages=KEYS), *further))


def playing(decision: RecordPlan) -> CallMachine:
    m = machine(Record(decision))
    m.receive(INVITE, 0.0)
    m.receive(ALLOCATED, 0.1)
    m.receive(CalleeAnswered(sdp(), "cid-b"), 2.0)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    return m


def said(commands: Sequence[Command]) -> list[tuple[str, str]]:
    return [(c.prompt, c.language) for c in commands if isinstance(c, PlayPrompt)]


def opened(commands: Sequence[Command]) -> list[OpenRecording]:
    return [c for c in commands if isinstance(c, OpenRecording)]


@functools.cache
def explored() -> tuple[tuple[CallMachine, Event, bool], ...]:
    """Every step of such a call, with the invariants of all calls checked on the way."""
    return tuple(explore(Record(spoken()), InviteReceived(FACTS, sdp()), EVENTS))


def test_every_event_in_every_reachable_state_keeps_the_invariants() -> None:
    told = set()
    for before, _, _ in explored():
        permission = before._permission
        if before.recording in {Recording.OPENING, Recording.ON}:
            told.add(permission.notice.proofs["training"].language)
    assert told == {"nl", "en"}


def test_a_key_begins_the_announcement_anew_in_its_language() -> None:
    m = playing(spoken())
    commands = m.receive(DigitPressed(CALLER, "2"), 3.0)
    assert commands[:2] == [
        StopPrompt(),
        Note("notice.switched", (("purpose", "training"), ("language", "en"))),
    ]
    assert said(commands) == [("training_en", "en")]
    assert m.notice is Notice.DUE
    assert m.receive(HEARD, 3.1) == [], "its end crossed the key: that was the other language"
    m.receive(STARTED, 3.1)
    assert m.receive(HEARD, 3.2) == []
    (recording,) = opened(m.receive(ENGLISH, 6.0))
    assert (recording.notice.language, recording.notice.prompt) == ("en", "training_en")


def test_the_language_that_is_spoken_already_does_not_begin_anew() -> None:
    m = playing(spoken())
    assert m.receive(DigitPressed(CALLER, "1"), 3.0) == []
    assert opened(m.receive(HEARD, 5.0))


def test_staff_do_not_choose_it_and_nobody_does_without_end() -> None:
    m = playing(spoken())
    assert m.receive(DigitPressed(CALLEE, "2"), 3.0) == []
    for key in ("2", "1", "2"):
        assert said(m.receive(DigitPressed(CALLER, key), 3.0))
    assert m.receive(DigitPressed(CALLER, "1"), 3.0) == []
    m.receive(STARTED, 3.0)
    assert opened(m.receive(ENGLISH, 6.0))
    assert m.receive(DigitPressed(CALLER, "1"), 7.0) == [], "nothing is said any more"


def test_what_was_told_before_in_one_language_is_told_again_in_the_other() -> None:
    orders = replace(plan(choice=ChoicePlan()).each[0], purpose="orders", prompt="orders")
    m = playing(spoken(OPT_OUT, orders))
    assert said(m.receive(HEARD, 5.0)) == [("orders", "nl")]
    m.receive(STARTED, 5.0)
    assert said(m.receive(DigitPressed(CALLER, "2"), 6.0)) == [("training_en", "en")]
    m.receive(STARTED, 6.0)
    assert said(m.receive(ENGLISH, 9.0)) == [("orders", "nl")], "which has no other language"
    m.receive(STARTED, 9.0)
    (recording,) = opened(m.receive(replace(HEARD, prompt="orders"), 12.0))
    assert recording.notice.language == "en"
    assert [further.notice.language for further in recording.further] == ["nl"]


def test_a_yes_is_still_needed_after_it() -> None:
    m = playing(spoken(replace(OPT_IN, accept=("5",))))
    m.receive(DigitPressed(CALLER, "2"), 3.0)
    m.receive(STARTED, 3.0)
    assert not opened(m.receive(ENGLISH, 6.0))
    assert opened(m.receive(DigitPressed(CALLER, "5"), 7.0))


@pytest.mark.parametrize(("keys", "words"), [(("2", "9"), "en"), (("9",), "nl")])
def test_who_refuses_what_a_statute_orders_hears_why_in_the_language_chosen(
    keys: tuple[str, ...], words: str
) -> None:
    others = (Phrase("orders_refused", "nl"), Phrase("orders_refused", "en"))
    m = playing(replace(spoken(NO_CHOICE), decline=replace(DECLINE, others=others)))
    commands = [m.receive(DigitPressed(CALLER, key), 3.0) for key in keys]
    assert said(commands[-1]) == [("orders_refused", words)]


def test_what_staff_start_by_a_key_is_told_in_the_language_chosen_too() -> None:
    alone = spoken()
    m = machine(Record(replace(alone, purposes=(replace(alone.purposes[0], start=("5",)),))))
    m.receive(INVITE, 0.0)
    m.receive(ALLOCATED, 0.1)
    m.receive(CalleeAnswered(sdp(), "cid-b"), 2.0)
    m.receive(CallerConfirmed(), 2.1)
    assert m.receive(DigitPressed(CALLER, "2"), 3.0) == [], "nothing is said yet"
    assert said(m.receive(DigitPressed(CALLEE, "5"), 4.0)) == [("training", "nl")]
    m.receive(STARTED, 4.0)
    assert said(m.receive(DigitPressed(CALLER, "2"), 5.0)) == [("training_en", "en")]
    m.receive(STARTED, 5.0)
    (recording,) = opened(m.receive(ENGLISH, 8.0))
    assert recording.notice.language == "en"
