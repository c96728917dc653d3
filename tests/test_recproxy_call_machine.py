"""The call machine: every reachable joint state, every event in each of them."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, cast

import pytest

from recproxy.call import states
from recproxy.call.agreement import OWN_OFFER
from recproxy.call.commands import (
    AcknowledgeReoffer,
    AnswerCaller,
    AnswerReoffer,
    AuditNote,
    Command,
    DiscardRecording,
    EndLeg,
    InviteCallee,
    Note,
    OpenRecording,
    PauseRecording,
    PlayPrompt,
    PlayTone,
    ReleaseMedia,
    ResumeRecording,
    SealRecording,
    SendReoffer,
    SetGate,
    StopPrompt,
)
from recproxy.call.events import (
    CalleeAnswered,
    CalleeProgress,
    CallerConfirmed,
    CallFacts,
    Codec,
    DigitPressed,
    DrainExpired,
    EarlyAnswer,
    Event,
    InviteReceived,
    LegEnded,
    LegFault,
    LegName,
    LocalMedia,
    MediaAllocated,
    MediaDirection,
    MediaUnavailable,
    PartyJoined,
    PauseAsked,
    PreferenceTold,
    PromptCompleted,
    PromptFailed,
    PromptStarted,
    RecordAsked,
    RecordingFailed,
    RecordingOpened,
    ReofferAnswered,
    ReofferConfirmed,
    ReofferReceived,
    ResumeAsked,
    Sdp,
    StreamFacts,
)
from recproxy.call.machine import CallMachine, Limits
from recproxy.call.reoffer import Stage
from recproxy.call.states import CalleeLeg, CallerLeg, Choice, Notice, PauseCause, Recording, Symbol
from recproxy.errors import IllegalEvent
from recproxy.policy import (
    Audience,
    CallQuestion,
    ChoiceEffect,
    ChoiceMode,
    ChoicePlan,
    ChoiceWindow,
    Decision,
    DeclinePlan,
    Newcomer,
    NewParty,
    OnFailure,
    Pass,
    PassReason,
    PausePlan,
    Phrase,
    Record,
    RecordPlan,
    RecordPreference,
    StaffNotice,
)
from recproxy.sip import sdp as sdp_reader
from storage.tags import Direction, LegalBasis

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PCMU = Codec(0, "PCMU", 8000)
DTMF = Codec(101, "TELEPHONE-EVENT", 8000)
AMR = Codec(97, "AMR-WB", 16000)
CALLER, CALLEE = LegName.CALLER, LegName.CALLEE
LAWYER, STRANGER, COLLEAGUE = "+31205550199", "+31612345678", "201"


def stream(
    *codecs: Codec,
    direction: MediaDirection = MediaDirection.SENDRECV,
    kind: str = "audio",
    protocol: str = "RTP/AVP",
    port: int = 4000,
) -> StreamFacts:
    return StreamFacts(kind, protocol, "192.0.2.1", port, None, direction, 20, codecs or (PCMU, DTMF))


def sdp(*streams: StreamFacts) -> Sdp:
    described = streams or (stream(),)
    return Sdp(repr(described).encode(), described)


HOLD = sdp(stream(direction=MediaDirection.SENDONLY))
HELD = sdp(stream(direction=MediaDirection.RECVONLY))
FACTS = CallFacts("carrier", Direction.INBOUND, "+31301234567", "100", False, False, "cid-a", NOW)


@dataclass(frozen=True)
class FixedPolicy:
    decision: Decision

    def decide(self, question: CallQuestion) -> Decision:
        assert question.trunk == "carrier"
        return self.decision

    def newcomer(self, number: str, *, outside: bool) -> Newcomer:
        lawyer = number == LAWYER
        return Newcomer(PassReason.CONFIDENTIAL if lawyer else None, outside or number.startswith("+"))


OPT_OUT = ChoicePlan(ChoiceMode.OPT_OUT, refuse=("9",), staff_refuse=("8",))
OPT_OUT_EARLY = replace(OPT_OUT, refused_in=ChoiceWindow.ANNOUNCEMENT, effect=ChoiceEffect.STOP)
OPT_IN = ChoicePlan(ChoiceMode.OPT_IN, accept=("1",), refuse=("9",), staff_refuse=("8",), window_s=5.0)
PAUSE = PausePlan(("7",), longest_s=60.0, api=True)
NO_CHOICE = ChoicePlan(refuse=("9",), staff_refuse=("8",))
DECLINE = DeclinePlan("training", Phrase("orders_refused", "nl"))
DESK = "+31205550177"


def plan(
    on_failure: OnFailure = OnFailure.CONTINUE,
    audience: Audience = Audience.BOTH,
    *,
    choice: ChoicePlan = ChoicePlan(),  # noqa: B008 - frozen
    pause: PausePlan = PausePlan(),  # noqa: B008 - frozen
    start: tuple[str, ...] = (),
    staff_notice: StaffNotice = StaffNotice.ANNOUNCEMENT,
    on_new_party: NewParty = NewParty.REPLAY,
    decline: DeclinePlan | None = None,
    statutory: frozenset[str] = frozenset(),
) -> RecordPlan:
    return RecordPlan(
        purpose="training",
        legal_basis=LegalBasis.LEGITIMATE_INTEREST,
        retention=timedelta(days=30),
        prompt="training",
        language="nl",
        audience=audience,
        on_failure=on_failure,
        policy_version="0" * 64,
        choice=choice,
        pause=pause,
        start=start,
        staff_notice=staff_notice,
        on_new_party=on_new_party,
        decline=decline,
        statutory=statutory,
        whisper=Phrase("recording_on", "nl"),
    )


def two_purposes(choice: ChoicePlan) -> RecordPlan:
    """One that leaves no choice and is announced first, and one that does."""
    alone = plan(choice=choice)
    orders = replace(alone.each[0], purpose="orders", prompt="orders", choice=ChoicePlan())
    return replace(alone, purposes=(orders, alone.each[0]))


def machine(decision: Decision, fault: str | None = None) -> CallMachine:
    return CallMachine(FixedPolicy(decision), Limits(), recorder_fault=lambda _purpose: fault)


ALLOCATED = MediaAllocated((LocalMedia("127.0.0.1", 20000),), (LocalMedia("127.0.0.1", 20002),))
STARTED = PromptStarted(NOW)
HEARD = PromptCompleted(NOW + timedelta(seconds=3), "training", "ab" * 32, "nl", (CALLER, CALLEE))
INVITE = InviteReceived(FACTS, sdp())
INVITE_WITHOUT_OFFER = InviteReceived(FACTS, None)

EVENTS: tuple[Event, ...] = (
    ALLOCATED,
    MediaUnavailable("none left"),
    CalleeProgress(180, "Ringing", None),
    CalleeProgress(183, "Session Progress", sdp()),
    CalleeProgress(183, "Session Progress", sdp(), reliable=True),
    CalleeAnswered(sdp(), "cid-b"),
    CalleeAnswered(sdp(stream(AMR)), "cid-b"),
    CalleeAnswered(HELD, "cid-b"),
    CalleeAnswered(None, "cid-b"),
    CallerConfirmed(),
    CallerConfirmed(HELD),
    EarlyAnswer(sdp()),
    EarlyAnswer(HELD),
    LegEnded(CALLER, 487, "", by_us=False),
    LegEnded(CALLER, 200, "", by_us=True),
    LegEnded(CALLEE, 486, "Busy Here", by_us=False),
    LegEnded(CALLEE, 200, "", by_us=False),
    LegFault(CALLEE, "callback failed"),
    LegFault(CALLER, "an address of another family", by_sdp=True),
    ReofferReceived(CALLER, sdp()),
    ReofferReceived(CALLER, HOLD),
    ReofferReceived(CALLEE, HOLD),
    ReofferReceived(CALLEE, sdp(stream(AMR))),
    ReofferReceived(CALLER, None),
    ReofferReceived(CALLEE, None),
    ReofferAnswered(CALLEE, 200, "OK", sdp()),
    ReofferAnswered(CALLEE, 200, "OK", HELD),
    ReofferAnswered(CALLEE, 200, "OK", sdp(stream(AMR))),
    ReofferAnswered(CALLER, 200, "OK", HELD),
    ReofferAnswered(CALLEE, 488, "Not Acceptable Here", None),
    ReofferConfirmed(CALLER, sdp()),
    ReofferConfirmed(CALLER, HELD),
    ReofferConfirmed(CALLER, None),
    ReofferConfirmed(CALLEE, sdp()),
    STARTED,
    HEARD,
    PromptCompleted(NOW + timedelta(seconds=3), "training", "ab" * 32, "nl", (CALLER,)),
    PromptFailed("broken file"),
    RecordingOpened("ab" * 16),
    RecordingFailed("disk full"),
    DrainExpired(),
)
LATE_OFFERS: tuple[Event, ...] = (  # walked with the decisions that leave no choice: eight times the states
    ReofferReceived(CALLER, None),
    ReofferReceived(CALLEE, None),
    ReofferReceived(CALLEE, sdp(stream(AMR))),
    ReofferAnswered(CALLEE, 200, "OK", sdp(stream(AMR))),
    ReofferConfirmed(CALLER, sdp()),
    ReofferConfirmed(CALLER, HELD),
    ReofferConfirmed(CALLER, None),
    ReofferConfirmed(CALLEE, sdp()),
)
IN_DETAIL: tuple[Event, ...] = (  # likewise: what a choice is asked in is a call that is up
    *LATE_OFFERS,
    CalleeProgress(183, "Session Progress", sdp()),
    CalleeProgress(183, "Session Progress", sdp(), reliable=True),
    CalleeAnswered(sdp(stream(AMR)), "cid-b"),
    CalleeAnswered(HELD, "cid-b"),
    CalleeAnswered(None, "cid-b"),
    CallerConfirmed(HELD),
    EarlyAnswer(sdp()),
    EarlyAnswer(HELD),
    ReofferReceived(CALLEE, HOLD),
    ReofferAnswered(CALLER, 200, "OK", HELD),
)
WISHES: tuple[Event, ...] = (
    DigitPressed(CALLER, "1"),
    DigitPressed(CALLER, "9"),
    DigitPressed(CALLER, "7"),
    DigitPressed(CALLEE, "8"),
    DigitPressed(CALLEE, "7"),
    DigitPressed(CALLEE, "5"),
    RecordAsked(CALLEE, on=False),
    RecordAsked(CALLEE, on=True),
    PauseAsked(),
    ResumeAsked(),
)
JOINING: tuple[Event, ...] = (
    PartyJoined(CALLER, STRANGER),
    PartyJoined(CALLEE, STRANGER),
    PartyJoined(CALLEE, COLLEAGUE),
    PartyJoined(CALLEE, LAWYER),
    PreferenceTold(CALLER, RecordPreference.OFF),
    ALLOCATED,
    CalleeAnswered(sdp(), "cid-b"),
    CallerConfirmed(),
    LegEnded(CALLER, 200, "", by_us=False),
    LegEnded(CALLEE, 200, "", by_us=True),
    ReofferReceived(CALLEE, sdp()),
    ReofferReceived(CALLEE, HOLD),
    ReofferAnswered(CALLER, 200, "OK", sdp()),
    ReofferAnswered(CALLER, 488, "Not Acceptable Here", None),
    STARTED,
    HEARD,
    PromptCompleted(NOW, "training", "ab" * 32, "nl", (CALLER,)),
    PromptFailed("broken file"),
    RecordingOpened("ab" * 16),
    RecordingFailed("disk full"),
    DigitPressed(CALLER, "1"),
    DigitPressed(CALLER, "9"),
    DigitPressed(CALLEE, "8"),
    DrainExpired(),
)

ORDERS = plan(
    OnFailure.REFUSE,
    choice=NO_CHOICE,
    decline=DECLINE,
    on_new_party=NewParty.STOP,
    statutory=frozenset({"training"}),
)
DECISIONS: tuple[Decision, ...] = (
    Pass(PassReason.NO_RULE),
    Record(plan(OnFailure.CONTINUE)),
    Record(plan(OnFailure.REFUSE)),
    Record(plan(choice=OPT_OUT, pause=PAUSE)),
    Record(plan(OnFailure.REFUSE, choice=OPT_IN)),
    Record(plan(choice=OPT_OUT, start=("5",))),
    Record(plan(choice=OPT_OUT_EARLY, pause=PAUSE, staff_notice=StaffNotice.BEEP_REPEAT)),
    Record(two_purposes(OPT_OUT)),
    Record(two_purposes(OPT_IN)),
    Record(plan(choice=OPT_OUT, audience=Audience.OUTSIDE, staff_notice=StaffNotice.WHISPER)),
    Record(plan(OnFailure.REFUSE, choice=replace(OPT_IN, window_s=6.0))),
    Record(ORDERS),
)
NAMES = (
    "pass",
    "record-continue",
    "record-refuse",
    "opt-out",
    "opt-in",
    "manual",
    "opt-out-early",
    "orders-and-opt-out",
    "orders-and-opt-in",
    "joined",
    "joined-opt-in",
    "statutory",
)


JOINED = DECISIONS[-3:]  # whom others join: with fewer events besides, there are states enough


def events_of(decision: Decision) -> tuple[Event, ...]:
    """What may happen to a call; keys only where some are bound, a second announcement if there is one."""
    if decision in JOINED:
        return JOINING
    if not isinstance(decision, Record):
        return EVENTS
    choosing = any(one.choice.mode is not ChoiceMode.NONE for one in decision.plan.each)
    if not choosing:
        return EVENTS
    further = (replace(HEARD, prompt="orders"),) if decision.plan.purposes else ()
    plain = tuple(event for event in EVENTS if event not in IN_DETAIL)
    return (*plain, *further, *WISHES)


def joint(m: CallMachine) -> tuple[object, ...]:
    """The whole state, less times and texts."""
    reoffer = m._reoffers.open
    return (
        m.caller,
        m.callee,
        m.notice,
        m.choice,
        m.recording,
        frozenset(m._permission.recording.causes),
        m._permission.choice.until is None,
        m._permission.recording.until is None,
        m._permission.notice.asked,
        m._permission.notice.told_of if m._permission.notice.is_undecided else (),
        m._permission.notice._started is None or not m._permission.notice.is_pending,
        m._permission.notice._silent and m.notice is Notice.COMPLETED,
        tuple(m._permission.choice._states.values()),
        m._permission.choice._asleep,
        m._permission.notice.further,
        m._permission.recording.follows,
        m._permission.recording._earlier,
        m._permission.recording._purposes if m._permission.recording.is_live else (),
        m._media.held[CALLER],
        m._media.held[CALLEE],
        m._media.answer is None,
        m._media.told is None,
        m._media.delayed,
        len(m._media.local),
        m._released,
        m._setup.until is None,
        m._ending.until is None,
        m._permission.notice.until is None,
        m._permission.notice.repeated,
        m._permission.notice._switches,
        m._permission.plan.language if m._permission.plan is not None else "",
        m._permission.notice._joined,
        m._permission._barred,
        m._permission._asked,
        m._permission._silenced,
        m._permission._parting.until is None,
        m._permission._declined is None,
        m._topics,
        m._diversion.number,
        m._diversion._renewed,
        m._diversion.until is None,
        m._permission.recording._joined,
        m._legs.guests,
        m._permission.recording.beep_at is None,
        None
        if reoffer is None
        else (
            reoffer.origin,
            reoffer.stage,
            reoffer.delayed,
            reoffer.paused_for_it,
            reoffer.ours,
            reoffer.offer is not None and reoffer.offer.streams[0].held,
        ),
        len(m._media.codecs),
    )


def leg_alive(m: CallMachine, leg: LegName) -> bool:
    if leg is CALLER:
        return m.caller not in {CallerLeg.ENDING, CallerLeg.ENDED}
    return m.callee not in {CalleeLeg.ENDING, CalleeLeg.ENDED, CalleeLeg.IDLE, CalleeLeg.DIVERTING}


def check(before: CallMachine, event: Event, after: CallMachine, commands: list[Command]) -> None:
    live = {Recording.OPENING, Recording.ON, Recording.PAUSED}
    # (1) nothing is recorded without a completed notice
    waits_for_joined = bool({PauseCause.PARTY, PauseCause.NOTICE} & after._permission.recording.causes)
    if after.recording in live:
        assert after.notice is Notice.COMPLETED or waits_for_joined
    if after.recording is Recording.ON:
        assert after.notice is Notice.COMPLETED
    for command in commands:
        if isinstance(command, OpenRecording):
            assert after.notice is Notice.COMPLETED
            assert after.caller is CallerLeg.CONFIRMED
            assert after.callee is CalleeLeg.CONFIRMED
            assert bool(after._permission.recording.causes) == (PauseRecording() in commands)
            assert not after._media.on_hold or after._permission.recording.causes
    # a no is a no for the rest of the call, and where a yes is needed nothing is recorded without
    if after.choice is Choice.REFUSED:
        assert after.recording not in live
        assert after.notice not in {Notice.WAITING, Notice.DUE, Notice.PLAYING} or not leg_alive(
            after, CALLER
        )
        if before.recording in live and before.choice is not Choice.REFUSED and not after.is_ending:
            effects = {one.choice.effect for one in before._permission.recording._purposes}
            destroyed = (
                ChoiceEffect.STOP not in effects
                and isinstance(before._permission.plan, RecordPlan)
                and not before._permission.plan.decline
            )
            assert any(isinstance(c, DiscardRecording) for c in commands) is destroyed
            assert any(isinstance(c, SealRecording) for c in commands) is not destroyed
            assert not any(isinstance(c, EndLeg) for c in commands)
    if before.choice is Choice.REFUSED:
        assert after.choice is Choice.REFUSED
        assert not any(isinstance(c, (OpenRecording, PlayPrompt)) for c in commands)
    for one in after._permission.recording._purposes if after.recording in live else ():
        said = after._permission.choice._states[one.purpose]
        assert said is not Choice.REFUSED
        assert one.choice.mode is not ChoiceMode.OPT_IN or said is Choice.GIVEN or waits_for_joined
        assert one.purpose in after._permission.notice.proofs
    if after.recording is Recording.DISCARDED:
        assert after.choice is Choice.REFUSED or after._permission._barred
    if before._permission._barred:
        assert not any(isinstance(c, OpenRecording) for c in commands)
        assert after.recording not in live
    # (2) an ended leg ends the other and seals in the same list
    for leg in LegName:
        gone = (after.caller is CallerLeg.ENDED) if leg is CALLER else (after.callee is CalleeLeg.ENDED)
        was_gone = (before.caller is CallerLeg.ENDED) if leg is CALLER else (before.callee is CalleeLeg.ENDED)
        if gone and not was_gone:
            assert not leg_alive(after, leg.other)
            other_gone = after.ended  # an INVITE that was never sent on has nobody to tell
            if leg_alive(before, leg.other) and not other_gone:
                assert any(isinstance(c, EndLeg) and c.leg is leg.other for c in commands)
            if before.recording in live:
                assert any(isinstance(c, SealRecording) for c in commands)
                assert after.recording is Recording.SEALED
    # a call that is going down never records on
    if not leg_alive(after, CALLER) or after.callee in {CalleeLeg.ENDING, CalleeLeg.ENDED}:
        assert after.recording not in live
        assert after._permission.choice.until is None
        assert after._permission.recording.until is None
        assert after._permission.recording.beep_at is None
        assert after.notice is not Notice.PLAYING
    # (4) an ended call emits nothing
    if before.ended:
        assert commands == []
    if after.ended and not before.ended:
        assert after.caller is CallerLeg.ENDED
        assert after.callee is CalleeLeg.ENDED
        if before._setup.asked:
            assert any(isinstance(c, ReleaseMedia) for c in commands)
    # (5) a failed notice has the named outcome
    if after.notice is Notice.FAILED and before.notice in {Notice.DUE, Notice.PLAYING}:
        assert after._permission.plan is not None
        refuse = after._permission.plan.on_failure is OnFailure.REFUSE
        if refuse:
            assert not leg_alive(after, CALLER)
        if before._permission.notice.asked:
            assert any(isinstance(c, StopPrompt) for c in commands)
        assert not any(isinstance(c, OpenRecording) for c in commands)
    # the gate stays shut from the answer until the notice is decided
    pending = after.notice in {Notice.DUE, Notice.PLAYING} and not after._permission.notice.is_put_off
    if pending and after._history.answered_at is not None:
        assert SetGate(opened=True) not in commands
    # exactly one answer, one INVITE, one recording in a call's life
    assert sum(isinstance(c, (AnswerCaller, InviteCallee, OpenRecording)) for c in commands) <= 1
    # a paused recording is told so
    if after.recording is Recording.PAUSED and before.recording is Recording.ON:
        assert any(isinstance(c, PauseRecording) for c in commands)
    if after.recording is Recording.ON and before.recording is Recording.PAUSED:
        assert any(isinstance(c, ResumeRecording) for c in commands)
        assert not after._permission.recording.causes
    if after.recording is Recording.ON:
        assert not after._media.on_hold or after._reoffers.open is not None
        assert not after._permission.recording.causes
    # one answer for each re-offer of a living dialog
    if isinstance(event, ReofferReceived) and not before.ended and leg_alive(before, event.leg):
        replies = [c for c in commands if isinstance(c, AnswerReoffer) and c.leg is event.leg]
        sent = [c for c in commands if isinstance(c, SendReoffer)]
        assert len(replies) + len(sent) <= 1, commands
        if before.caller is CallerLeg.CONFIRMED and before.callee is CalleeLeg.CONFIRMED:
            assert len(replies) + len(sent) == 1
    # deadlines: something always watches a call that waits for us or for an adapter
    waiting = after.caller is CallerLeg.ENDING or after.callee is CalleeLeg.ENDING
    if not after.ended and waiting:
        assert after.deadline() is not None


def clone(m: CallMachine) -> CallMachine:
    """The same call once more; its parts are copied, and know each other as those of the first do."""
    copies: dict[int, Any] = {}
    todo: list[Any] = [m]
    while todo:
        part = todo.pop()
        if id(part) not in copies:
            made = object.__new__(type(part))
            made.__dict__.update(part.__dict__)
            copies[id(part)] = made
            todo += [part.__dict__[name] for name in shape(part)[0]]
    for made in copies.values():
        parts, containers = shape(made)
        held = made.__dict__
        for name in parts:
            held[name] = copies[id(held[name])]
        for name in containers:
            held[name] = held[name].copy()
    return cast("CallMachine", copies[id(m)])


SHAPES: dict[type, tuple[tuple[str, ...], tuple[str, ...]]] = {}


def shape(part: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which attributes of a part of a machine are parts too, and which are containers; the same in all."""
    found = SHAPES.get(type(part))
    if found is None:
        held = part.__dict__.items()
        parts = tuple(name for name, value in held if is_part(value))
        containers = tuple(name for name, value in held if isinstance(value, (dict, list)))
        found = SHAPES[type(part)] = parts, containers
    return found


def is_part(value: object) -> bool:
    """Whether it is a part of a machine: what it keeps may change."""
    ours = type(value).__module__.startswith("recproxy.call.")
    return ours and hasattr(value, "__dict__") and not isinstance(value, Enum)


def check_exchange(before: CallMachine, event: Event, after: CallMachine, commands: list[Command]) -> None:
    """No transaction of an exchange stays open, whatever becomes of it."""
    was, now = before._reoffers.open, after._reoffers.open
    if was is None or before.is_ending or was.ours:
        return
    closed = now is not was and now != was and (now is None or now.origin is not was.origin)
    if not closed and not (after.is_ending and not before.is_ending):
        return
    answered = [c.leg for c in commands if isinstance(c, AnswerReoffer)]
    acknowledged = [c.leg for c in commands if isinstance(c, AcknowledgeReoffer)]
    waits_for_answer = not (was.delayed and was.stage is Stage.PASSED)
    waits_for_ack = was.delayed and was.stage is not Stage.ASKED
    gone = {
        leg
        for leg in LegName
        if (after.caller if leg is CALLER else after.callee) in {CallerLeg.ENDED, CalleeLeg.ENDED}
    }
    if waits_for_answer and was.origin not in gone:
        assert answered == [was.origin], (was, event, commands)
    if waits_for_ack and was.offerer not in gone:
        assert acknowledged == [was.offerer], (was, event, commands)


def check_end(m: CallMachine) -> None:
    """From every reachable state: drain, silence of the adapter, and the call is gone."""
    call = clone(m)
    call.receive(DrainExpired(), 1.0)
    call.expire(1e9)
    assert call.ended


def explore(
    decision: Decision,
    invite: InviteReceived,
    events: tuple[Event, ...] = (),
    begun: CallMachine | None = None,
) -> Iterator[tuple[CallMachine, Event, bool]]:
    start = begun or machine(decision)
    check(start, invite, start, start.receive(invite, 0.0))
    seen = {joint(start)}
    todo = deque([start])
    while todo:
        current = todo.popleft()
        check_end(current)
        for event in events or events_of(decision):
            following = clone(current)
            try:
                commands = following.receive(event, 1.0)
            except IllegalEvent:
                assert joint(following) == joint(current), "an illegal event changes nothing"
                yield current, event, False
                continue
            check(current, event, following, commands)
            check_exchange(current, event, following, commands)
            yield current, event, True
            if joint(following) not in seen:
                seen.add(joint(following))
                todo.append(following)
        if current.deadline() is not None:
            following = clone(current)
            commands = following.expire(1e9)
            check(current, DrainExpired(), following, commands)
            if joint(following) not in seen:
                seen.add(joint(following))
                todo.append(following)


def walk(decision: Decision) -> Iterator[tuple[CallMachine, Event, bool]]:
    """Every step from every reachable state, and whether it is legal; all is checked on the way."""
    yield from explore(decision, INVITE)
    if decision == DECISIONS[1]:
        yield from explore(decision, INVITE_WITHOUT_OFFER)


@pytest.mark.parametrize("decision", DECISIONS, ids=NAMES)
def test_every_event_in_every_reachable_state_keeps_the_invariants(decision: Decision) -> None:
    reached: set[tuple[object, ...]] = set()
    legal = illegal = 0
    for before, _event, is_legal in walk(decision):
        reached.add((before.caller, before.callee, before.notice, before.recording))
        legal += is_legal
        illegal += not is_legal
    assert legal > 500
    assert illegal > 0
    if isinstance(decision, Record):
        choice = decision.plan.choice
        kept = any(one.choice.mode is ChoiceMode.NONE for one in decision.plan.each)  # whatever is said
        chosen = choice.mode is not ChoiceMode.NONE and not kept
        destroyed = chosen and choice.effect is ChoiceEffect.STOP_AND_SHRED
        recordings = {state[3] for state in reached}
        joined = decision in JOINED
        destroyed |= joined and not decision.plan.statutory  # by a lawyer who joins
        assert recordings == set(Recording) - (set() if destroyed else {Recording.DISCARDED})
        notices = {state[2] for state in reached}
        expected = {Notice.DUE, Notice.PLAYING, Notice.COMPLETED, Notice.FAILED}
        expected |= {Notice.DECLINED} if chosen or joined else set()
        expected |= {Notice.WAITING} if decision.plan.start else set()
        assert notices == expected
    else:
        assert {state[3] for state in reached} == {Recording.OFF}
        assert {state[2] for state in reached} == {Notice.NOT_REQUIRED}
    assert {state[0] for state in reached} == set(CallerLeg)


def test_every_state_has_a_row_and_final_states_have_empty_ones() -> None:
    assert set(states.CALLER) == set(CallerLeg)
    assert set(states.CALLEE) == set(CalleeLeg)
    assert set(states.NOTICE) == set(Notice)
    assert set(states.CHOICE) == set(Choice)
    assert set(states.RECORDING) == set(Recording)
    for row in (
        states.CALLER[CallerLeg.ENDED],
        states.CALLEE[CalleeLeg.ENDED],
        states.NOTICE[Notice.FAILED],
        states.NOTICE[Notice.DECLINED],
        states.CHOICE[Choice.REFUSED],
        states.RECORDING[Recording.SEALED],
        states.RECORDING[Recording.ABORTED],
        states.RECORDING[Recording.DISCARDED],
    ):
        assert not row


def test_pairs_the_tables_do_not_list_are_refused() -> None:
    refused = 0
    tables: tuple[dict[Any, dict[Symbol, Any]], ...] = (
        states.CALLER,
        states.CALLEE,
        states.NOTICE,
        states.CHOICE,
        states.RECORDING,
    )
    for table in tables:
        for state, symbol in itertools.product(table, Symbol):
            if symbol not in table[state]:
                with pytest.raises(IllegalEvent, match="illegal"):
                    states.advance(table, state, symbol)
                refused += 1
    assert refused == sum(len(t) for t in tables) * len(Symbol) - sum(
        len(row) for t in tables for row in t.values()
    )


# ------------------------------------------------------------- single stories


def state_of(m: CallMachine) -> Recording:
    return m.recording


def up_to_answer(m: CallMachine) -> None:
    m.receive(INVITE, 0.0)
    m.receive(ALLOCATED, 0.0)
    m.receive(CalleeProgress(180, "Ringing", None), 0.1)
    m.receive(CalleeAnswered(sdp(), "cid-b"), 2.0)


def recording(m: CallMachine) -> list[Command]:
    up_to_answer(m)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    return m.receive(HEARD, 5.1)


def test_the_main_story() -> None:
    m = machine(Record(plan()))
    commands = recording(m)
    opened = next(c for c in commands if isinstance(c, OpenRecording))
    assert opened.purpose == "training"
    assert opened.codecs == (PCMU, DTMF)
    assert opened.notice.heard_by == (CALLER, CALLEE)
    assert commands.index(SetGate(opened=True)) < commands.index(opened)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    ended = m.receive(LegEnded(CALLER, 200, "", by_us=False), 60.0)
    assert [type(c).__name__ for c in ended] == ["SealRecording", "EndLeg"]
    last = m.receive(LegEnded(CALLEE, 200, "", by_us=True), 60.1)
    assert isinstance(last[0], ReleaseMedia)
    assert m.ended


def test_hold_in_mid_announcement_leaves_no_recording() -> None:
    m = machine(Record(plan()))
    up_to_answer(m)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    commands = m.receive(ReofferReceived(CALLEE, HOLD), 3.0)
    assert StopPrompt() in commands
    assert m.notice is Notice.FAILED
    assert m.receive(HEARD, 5.0) == []
    assert m.recording is Recording.OFF


def test_an_announcement_heard_by_one_party_only_is_not_heard() -> None:
    m = machine(Record(plan()))
    up_to_answer(m)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    m.receive(PromptCompleted(NOW, "training", "ab" * 32, "nl", (CALLER,)), 5.0)
    assert m.notice is Notice.FAILED
    assert m.recording is Recording.OFF


def test_the_outside_party_is_the_caller_inbound() -> None:
    m = machine(Record(plan(audience=Audience.OUTSIDE)))
    up_to_answer(m)
    (play,) = m.receive(CallerConfirmed(), 2.1)
    assert isinstance(play, PlayPrompt)
    assert play.legs == (CALLER,)


def test_codecs_that_cannot_be_recorded_are_taken_out() -> None:
    m = machine(Record(plan()))
    m.receive(InviteReceived(FACTS, sdp(stream(AMR, PCMU, DTMF), stream(AMR, kind="video"))), 0.0)
    commands = m.receive(ALLOCATED, 0.0)
    invite = next(c for c in commands if isinstance(c, InviteCallee))
    assert invite.offer.keep[0] == frozenset({0, 101})
    assert invite.offer.local[1] is None


def test_nothing_recordable_left_is_the_purposes_failure() -> None:
    only = InviteReceived(FACTS, sdp(stream(AMR, DTMF)))
    refusing = machine(Record(plan(OnFailure.REFUSE)))
    commands = refusing.receive(only, 0.0)
    assert EndLeg(CALLER, 488, "Not Acceptable Here", None) in commands
    going_on = machine(Record(plan(OnFailure.CONTINUE)))
    going_on.receive(only, 0.0)
    (_, invite) = going_on.receive(ALLOCATED, 0.0)
    assert isinstance(invite, InviteCallee)
    assert invite.offer.keep == (None,)


def test_a_recorder_that_is_down_refuses_before_the_callee_is_disturbed() -> None:
    m = machine(Record(plan(OnFailure.REFUSE)), fault="disk full")
    commands = m.receive(INVITE, 0.0)
    assert EndLeg(CALLER, 503, "Recorder Unavailable", None) in commands
    assert not any(isinstance(c, InviteCallee) for c in commands)


def test_a_passed_call_takes_every_stream() -> None:
    m = machine(Pass(PassReason.NO_RULE))
    offer = sdp(stream(AMR), stream(kind="video", port=5000), stream(kind="image", protocol="udptl", port=0))
    m.receive(InviteReceived(FACTS, offer), 0.0)
    ports = (LocalMedia("127.0.0.1", 20000), LocalMedia("127.0.0.1", 20004))
    (_, invite) = m.receive(MediaAllocated(ports, ports), 0.0)
    assert isinstance(invite, InviteCallee)
    assert invite.offer.local == (*ports, None)
    assert invite.offer.keep == (None, None, None)


def test_hold_and_resume_pause_the_recording() -> None:
    m = machine(Record(plan()))
    recording(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    held = m.receive(ReofferReceived(CALLER, HOLD), 10.0)
    assert isinstance(held[0], PauseRecording)
    assert any(isinstance(c, SendReoffer) for c in held)
    m.receive(ReofferAnswered(CALLEE, 200, "OK", HELD), 10.1)
    assert state_of(m) is Recording.PAUSED
    m.receive(ReofferReceived(CALLER, sdp()), 20.0)
    assert state_of(m) is Recording.PAUSED
    back = m.receive(ReofferAnswered(CALLEE, 200, "OK", sdp()), 20.1)
    assert ResumeRecording((PCMU, DTMF)) in back
    assert m.recording is Recording.ON


def test_a_refresh_that_says_what_stands_leaves_the_other_leg_alone() -> None:
    m = machine(Record(plan()))
    recording(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    assert m.receive(ReofferReceived(CALLER, sdp()), 10.0) == [AnswerReoffer(CALLER, 200, "OK", None)]
    assert m.receive(ReofferReceived(CALLEE, sdp()), 10.0) == [AnswerReoffer(CALLEE, 200, "OK", None)]
    assert m.recording is Recording.ON


def test_an_offer_that_was_asked_for_pauses_and_resumes_as_any() -> None:
    m = machine(Record(plan()))
    recording(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    assert m.receive(ReofferReceived(CALLER, None), 10.0) == [SendReoffer(CALLEE, None)]
    offered = m.receive(ReofferAnswered(CALLEE, 200, "OK", HOLD), 10.1)
    assert isinstance(offered[0], PauseRecording)
    assert isinstance(offered[-1], AnswerReoffer)
    done = m.receive(ReofferConfirmed(CALLER, HELD), 10.2)
    assert any(isinstance(c, AcknowledgeReoffer) and c.leg is CALLEE and c.sdp is not None for c in done)
    assert state_of(m) is Recording.PAUSED


def test_a_caller_that_leaves_the_offer_to_us_is_announced_to_in_what_it_answers() -> None:
    m = machine(Record(plan()))
    m.receive(INVITE_WITHOUT_OFFER, 0.0)
    m.receive(ALLOCATED, 0.0)
    m.receive(CalleeAnswered(sdp(), "cid-b"), 2.0)
    (_connect, play) = m.receive(CallerConfirmed(sdp()), 2.1)
    assert isinstance(play, PlayPrompt)
    assert play.codec == PCMU


def test_an_own_offer_is_what_its_bytes_say() -> None:
    assert sdp_reader.parse(OWN_OFFER.body) == OWN_OFFER


def test_a_refused_hold_resumes_at_once() -> None:
    m = machine(Record(plan()))
    recording(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    m.receive(ReofferReceived(CALLER, HOLD), 10.0)
    back = m.receive(ReofferAnswered(CALLEE, 488, "Not Acceptable Here", None), 10.1)
    assert any(isinstance(c, ResumeRecording) for c in back)
    assert AnswerReoffer(CALLER, 488, "Not Acceptable Here", None) in back
    assert m.recording is Recording.ON


def test_a_recording_that_fails_ends_the_call_if_the_purpose_says_so() -> None:
    m = machine(Record(plan(OnFailure.REFUSE)))
    recording(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    commands = m.receive(RecordingFailed("EIO"), 6.0)
    assert {c.leg for c in commands if isinstance(c, EndLeg)} == {CALLER, CALLEE}
    m = machine(Record(plan(OnFailure.CONTINUE)))
    recording(m)
    commands = m.receive(RecordingFailed("EIO"), 6.0)
    assert not any(isinstance(c, EndLeg) for c in commands)
    assert m.recording is Recording.ABORTED


def test_the_callees_failure_code_is_carried_over() -> None:
    m = machine(Record(plan()))
    m.receive(INVITE, 0.0)
    m.receive(ALLOCATED, 0.0)
    commands = m.receive(LegEnded(CALLEE, 486, "Busy Here", by_us=False), 1.0)
    assert EndLeg(CALLER, 486, "Busy Here", None) in commands


def test_a_cancel_reaches_the_callee() -> None:
    m = machine(Record(plan()))
    m.receive(INVITE, 0.0)
    m.receive(ALLOCATED, 0.0)
    commands = m.receive(LegEnded(CALLER, 487, "", by_us=False), 1.0)
    assert any(isinstance(c, EndLeg) and c.leg is CALLEE for c in commands)


def test_an_adapter_that_never_reports_the_end_is_given_up() -> None:
    m = machine(Record(plan()))
    up_to_answer(m)
    m.receive(DrainExpired(), 3.0)
    assert m.deadline() == 3.0 + Limits().ending_s
    assert m.expire(10.0) == []
    m.expire(100.0)
    assert m.ended


def test_states_md_is_what_the_tables_say() -> None:
    tree = Path(__file__).parent.parent
    printed = subprocess.run(
        [sys.executable, tree / "tools" / "states.py"], capture_output=True, text=True, check=True
    ).stdout
    assert (tree / "recproxy" / "call" / "STATES.md").read_text(encoding="utf-8") == printed


def heard(m: CallMachine) -> list[Command]:
    up_to_answer(m)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    return m.receive(HEARD, 5.1)


def press(m: CallMachine, leg: LegName, digit: str, now: float) -> list[Command]:
    return m.receive(DigitPressed(leg, digit), now)


def kinds(commands: list[Command]) -> list[str]:
    """What was said and done, in order."""
    return [c.event if isinstance(c, (Note, AuditNote)) else type(c).__name__ for c in commands]


def test_a_no_in_mid_call_destroys_the_recording_and_leaves_the_call_alone() -> None:
    m = machine(Record(plan(choice=OPT_OUT)))
    heard(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    assert press(m, CALLEE, "9", 6.0) == []  # the outside party's key, pressed by staff
    commands = press(m, CALLER, "9", 7.0)
    assert kinds(commands) == [
        "choice.refused",
        "choice.opt_out",
        "DiscardRecording",
        "NameRecording",
        "PlayTone",
    ]
    assert m.recording is Recording.DISCARDED
    assert press(m, CALLER, "9", 8.0) == []
    assert "OpenRecording" not in kinds(m.receive(RecordingOpened("ab" * 16), 8.0))


def test_a_no_during_the_announcement_ends_it_and_connects_the_parties() -> None:
    m = machine(Record(plan(OnFailure.REFUSE, choice=OPT_OUT)))
    up_to_answer(m)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    commands = press(m, CALLER, "9", 3.0)
    assert kinds(commands) == ["choice.refused", "choice.opt_out", "StopPrompt", "SetGate", "PlayTone"]
    assert SetGate(opened=True) in commands
    assert m.notice is Notice.DECLINED
    assert m.receive(HEARD, 5.0) == []
    assert m.deadline() is None


def test_a_no_after_the_announcement_comes_too_late_where_the_policy_says_so() -> None:
    m = machine(Record(plan(choice=replace(OPT_OUT, refused_in=ChoiceWindow.ANNOUNCEMENT))))
    heard(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    assert press(m, CALLER, "9", 7.0) == []
    assert state_of(m) is Recording.ON
    assert "DiscardRecording" in kinds(press(m, CALLEE, "8", 8.0))  # staff still say it for the other


def test_a_no_during_the_announcement_is_in_time_for_the_shorter_window() -> None:
    m = machine(Record(plan(choice=OPT_OUT_EARLY)))
    up_to_answer(m)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    assert "StopPrompt" in kinds(press(m, CALLER, "9", 3.0))
    assert m.notice is Notice.DECLINED


def test_a_no_may_leave_what_was_recorded_before_it() -> None:
    m = machine(Record(plan(choice=replace(OPT_OUT, effect=ChoiceEffect.STOP))))
    heard(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    commands = press(m, CALLER, "9", 7.0)
    assert kinds(commands) == ["choice.refused", "choice.opt_out", "SealRecording", "PlayTone"]
    assert state_of(m) is Recording.SEALED
    assert press(m, CALLER, "9", 8.0) == []


def test_staff_hear_the_tone_over_and_over_while_it_is_recorded() -> None:
    m = machine(Record(plan(choice=OPT_OUT, pause=PAUSE, staff_notice=StaffNotice.BEEP_REPEAT)))
    heard(m)
    first = m.receive(RecordingOpened("ab" * 16), 5.0)
    assert kinds(first) == ["NameRecording", "PlayTone", "staff.notified"]
    assert AuditNote("staff.notified", (("purpose", "training"), ("method", "beep_repeat"))) in first
    assert m.deadline() == 20.0
    assert m.expire(19.9) == []
    again = m.expire(20.0)
    assert kinds(again) == ["PlayTone"]
    assert [c.leg for c in again if isinstance(c, PlayTone)] == [CALLEE]
    assert m.deadline() == 35.0
    press(m, CALLEE, "7", 30.0)
    assert m.deadline() == 90.0  # none while it is paused, but the pause ends by itself
    assert kinds(press(m, CALLEE, "7", 40.0))[-2:] == ["PlayTone", "staff.notified"]
    assert m.deadline() == 55.0
    press(m, CALLER, "9", 50.0)
    assert m.deadline() is None


def test_staff_say_no_for_the_other() -> None:
    m = machine(Record(plan(choice=OPT_OUT)))
    heard(m)
    commands = press(m, CALLEE, "8", 6.0)
    assert Note("choice.refused", (("purpose", "training"), ("by", "staff"))) in commands
    assert m.recording is Recording.DISCARDED


def test_nothing_is_recorded_until_somebody_says_yes() -> None:
    m = machine(Record(plan(choice=OPT_IN)))
    commands = heard(m)
    assert SetGate(opened=True) in commands
    assert not any(isinstance(c, OpenRecording) for c in commands)
    assert m.deadline() == 5.1 + 5.0
    commands = press(m, CALLER, "1", 8.0)
    assert kinds(commands) == ["choice.accepted", "choice.opt_in", "OpenRecording"]
    withdrawn = press(m, CALLER, "9", 20.0)
    assert kinds(withdrawn) == [
        "choice.refused",
        "consent.withdrawn",
        "DiscardRecording",
        "PlayTone",
    ]


def test_a_yes_during_the_announcement_records_from_its_end() -> None:
    m = machine(Record(plan(choice=OPT_IN)))
    up_to_answer(m)
    m.receive(CallerConfirmed(), 2.1)
    m.receive(STARTED, 2.1)
    assert kinds(press(m, CALLER, "1", 3.0)) == ["choice.accepted", "choice.opt_in"]
    assert kinds(m.receive(HEARD, 5.0))[-1] == "OpenRecording"


def test_silence_is_no_where_a_yes_is_needed() -> None:
    m = machine(Record(plan(OnFailure.REFUSE, choice=OPT_IN)))
    heard(m)
    assert m.expire(10.0) == []
    assert kinds(m.expire(10.1)) == ["choice.expired", "choice.timeout"]
    assert m.choice is Choice.REFUSED
    assert press(m, CALLER, "1", 10.2) == []
    assert m.recording is Recording.OFF
    assert not m.ended


def test_staff_pause_by_key_and_forget_to_go_on() -> None:
    m = machine(Record(plan(choice=OPT_OUT, pause=PAUSE)))
    heard(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    assert press(m, CALLER, "7", 6.0) == []
    assert kinds(press(m, CALLEE, "7", 10.0)) == ["PauseRecording", "recording.paused", "rec.paused"]
    assert m.deadline() == 70.0
    assert kinds(press(m, CALLEE, "7", 20.0)) == ["ResumeRecording", "recording.resumed", "rec.resumed"]
    assert m.deadline() is None
    press(m, CALLEE, "7", 30.0)
    assert kinds(m.expire(90.0)) == ["ResumeRecording", "recording.resumed", "rec.resumed"]
    assert state_of(m) is Recording.ON


def test_it_goes_on_when_the_last_cause_of_a_pause_is_gone() -> None:
    m = machine(Record(plan(choice=OPT_OUT, pause=PAUSE)))
    heard(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    m.receive(PauseAsked(), 6.0)
    assert m.receive(RecordAsked(CALLEE, on=False), 7.0) == []
    m.receive(ReofferReceived(CALLER, HOLD), 8.0)
    m.receive(ReofferAnswered(CALLEE, 200, "OK", HELD), 8.1)
    assert m.receive(RecordAsked(CALLEE, on=True), 9.0) == []
    m.receive(ReofferReceived(CALLER, sdp()), 20.0)
    m.receive(ReofferAnswered(CALLEE, 200, "OK", sdp()), 20.1)
    assert state_of(m) is Recording.PAUSED
    assert kinds(m.receive(ResumeAsked(), 21.0)) == ["ResumeRecording", "recording.resumed", "rec.resumed"]


def test_a_program_pauses_and_its_pause_ends_by_itself() -> None:
    m = machine(Record(plan(choice=OPT_OUT, pause=PAUSE)))
    heard(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    assert kinds(m.receive(PauseAsked(), 6.0)) == ["PauseRecording", "recording.paused", "rec.paused"]
    assert m.receive(PauseAsked(), 7.0) == []
    assert m.deadline() == 66.0
    assert press(m, CALLEE, "7", 20.0) == []
    assert m.deadline() == 80.0
    assert press(m, CALLEE, "7", 21.0) == []
    assert state_of(m) is Recording.PAUSED
    assert kinds(m.expire(80.0)) == ["ResumeRecording", "recording.resumed", "rec.resumed"]
    assert m.deadline() is None


def test_no_program_pauses_what_the_policy_lets_none_pause() -> None:
    m = machine(Record(plan(choice=OPT_OUT, pause=replace(PAUSE, api=False))))
    heard(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    assert m.receive(PauseAsked(), 6.0) == []
    assert state_of(m) is Recording.ON


def test_staff_ask_for_the_recording_and_it_is_announced_first() -> None:
    m = machine(Record(plan(choice=OPT_OUT, start=("5",))))
    up_to_answer(m)
    assert m.receive(CallerConfirmed(), 2.1) == []
    assert m.notice is Notice.WAITING
    assert press(m, CALLER, "5", 30.0) == []
    commands = press(m, CALLEE, "5", 31.0)
    assert kinds(commands) == ["SetGate", "rec.asked", "PlayPrompt"]
    assert SetGate(opened=False) in commands
    m.receive(STARTED, 31.0)
    assert "OpenRecording" in kinds(m.receive(HEARD, 34.0))


def test_what_staff_never_asked_for_leaves_no_trace() -> None:
    m = machine(Record(plan(choice=OPT_OUT, start=("5",))))
    up_to_answer(m)
    m.receive(CallerConfirmed(), 2.1)
    commands = m.receive(LegEnded(CALLER, 200, "", by_us=False), 60.0)
    assert kinds(commands) == ["EndLeg"]


def test_keys_are_counted_and_never_told() -> None:
    m = machine(Record(plan()))
    for event in (INVITE, ALLOCATED, CalleeAnswered(sdp(), "cid-b"), CallerConfirmed(), STARTED, HEARD):
        m.receive(event, 0.0)
    for digit in "42#":
        assert m.receive(DigitPressed(CALLER, digit), 1.0) == []
    m.receive(LegEnded(CALLER, 200, "", by_us=False), 2.0)
    commands = m.receive(LegEnded(CALLEE, 200, "", by_us=True), 2.0)
    (ended,) = [c for c in commands if isinstance(c, Note) and c.event == "call.ended"]
    assert dict(ended.fields)["keys_pressed"] == 3


@pytest.mark.parametrize(
    "odd", [Codec(96, "PCMU", 16000), Codec(96, "PCMU", 8000, 2), Codec(96, "OPUS", 16000, 2)]
)
def test_a_codec_at_another_clock_is_another_codec(odd: Codec) -> None:
    m = machine(Record(plan()))
    m.receive(InviteReceived(FACTS, sdp(stream(odd, PCMU))), 0.0)
    commands = m.receive(ALLOCATED, 0.0)
    invite = next(c for c in commands if isinstance(c, InviteCallee))
    assert invite.offer.keep[0] == frozenset({0})


def test_staff_hear_each_time_that_it_is_recorded() -> None:
    m = machine(Record(plan(choice=OPT_OUT, pause=PAUSE, staff_notice=StaffNotice.BEEP)))
    heard(m)
    assert kinds(m.receive(RecordingOpened("ab" * 16), 5.2)) == [
        "NameRecording",
        "PlayTone",
        "staff.notified",
    ]
    press(m, CALLEE, "7", 6.0)
    (tone,) = [c for c in press(m, CALLEE, "7", 7.0) if isinstance(c, PlayTone)]
    assert (tone.leg, tone.codec) == (CALLEE, PCMU)


def test_who_says_no_hears_that_it_was_understood() -> None:
    m = machine(Record(plan(choice=OPT_OUT)))
    heard(m)
    m.receive(RecordingOpened("ab" * 16), 5.2)
    (tone,) = [c for c in press(m, CALLER, "9", 6.0) if isinstance(c, PlayTone)]
    assert tone.leg is CALLER
