"""Whether a call may be recorded, from moment to moment: announcement, choice and recording together. Pure.

The joint rule is here: a recording opens only once the announcements of all its purposes were heard
by all who must hear them, both legs are confirmed, nobody said no to one of them and, where a yes is
needed, somebody said it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol, assert_never

from recproxy.call.agreement import Agreement
from recproxy.call.choice import CallChoice
from recproxy.call.commands import AuditNote, Command, Note, SetGate, purpose_fields
from recproxy.call.events import (
    CallFacts,
    DigitPressed,
    LegName,
    PromptCompleted,
    PromptStarted,
    RecordAsked,
    RecordingFailed,
    RecordingOpened,
)
from recproxy.call.further import FurtherPurposes
from recproxy.call.history import History
from recproxy.call.keypad import KeyAction, Party, Wish
from recproxy.call.legs import Legs
from recproxy.call.notice import CallNotice
from recproxy.call.parting import Parting
from recproxy.call.recording import CallRecording
from recproxy.call.states import Choice, Notice, PauseCause, Recording
from recproxy.call.tones import Tones
from recproxy.errors import IllegalEvent
from recproxy.policy import (
    DeclinePlan,
    Newcomer,
    NewParty,
    OnFailure,
    PassReason,
    PurposePlan,
    RecordPlan,
    RecordPreference,
)

_UNTOLD: Final = frozenset({PauseCause.PARTY, PauseCause.NOTICE})


class Surroundings(Protocol):
    """What the rest of the call knows and does; implemented by the machine."""

    @property
    def is_negotiating(self) -> bool:
        """Whether an offer is under way."""
        ...

    @property
    def callee_call_id(self) -> str:
        """Call-ID of the callee's dialog."""
        ...

    def end_for(self, code: int, reason: str, now: float) -> list[Command]:
        """The purpose does not let the call go on unrecorded: end it."""
        ...

    def refused(self, decline: DeclinePlan, now: float) -> list[Command]:
        """A party refused what a statute orders, and knows: go on elsewhere, or end the call."""
        ...

    def exempts(self, number: str) -> PassReason | None:
        """Why nothing may be recorded with this number; None if it may."""
        ...


class Permission:
    """What may be recorded of one call, and what is.

    Attributes:
        plan: How it is to be recorded; None if it is not.
        notice: Its announcement.
        choice: What was said to it.
        recording: What is made.
    """

    def __init__(
        self, legs: Legs, agreement: Agreement, history: History, call: Surroundings, prompt_s: float
    ) -> None:
        """Begin with nothing to record.

        Args:
            legs: Who sits where.
            agreement: What is agreed on.
            history: Counts keys, and knows whether the call was answered.
            call: The rest of the call.
            prompt_s: From asking for the announcement to its end.
        """
        self._legs = legs
        self._media = agreement
        self._history = history
        self._call = call
        self._tones = Tones(legs, agreement)
        self._parting = Parting(legs, agreement, prompt_s)
        self._facts: CallFacts | None = None
        self.plan: RecordPlan | None = None
        self.notice = CallNotice(legs, agreement, prompt_s)
        self.choice = CallChoice()
        self.recording = CallRecording(agreement, self._tones)
        self._further = FurtherPurposes(self.notice, self.choice, self.recording)
        self._barred = False
        self._asked: LegName | None = None
        self._declined: DeclinePlan | None = None
        self._silenced: frozenset[LegName] = frozenset()

    def take(self, plan: RecordPlan, facts: CallFacts) -> None:
        """A purpose applies."""
        self._facts = facts
        self.plan = plan
        self._history.purpose = plan.names
        self.notice.take(plan)
        self.choice.take(plan)
        self.recording.take(plan)

    @property
    def is_over(self) -> bool:
        """Whether nothing of the call is, or will be, recorded any more."""
        return self._barred or self.notice.state in {Notice.FAILED, Notice.DECLINED} or self.recording.is_over

    @property
    def instants(self) -> tuple[float | None, ...]:
        """When ``expire`` has something to do, monotonic seconds."""
        recording = self.recording
        parting = self._parting.until
        return (parting, self.notice.until, self.choice.until, recording.until, recording.beep_at)

    def expire(self, now: float) -> list[Command]:
        """Act on what has been waited for in vain; nothing if nothing has."""
        choice, recording = self.choice, self.recording
        if has_passed(self._parting.until, now):
            return [*self._parting.close(), *self._part(now)]
        if has_passed(choice.until, now):
            notes, gone = choice.expire()
            return [*notes, *self._go_without(gone, "opt_in_missing", now)]
        if has_passed(recording.until, now):
            return recording.end_timed_pause(now)
        if has_passed(recording.beep_at, now):
            return recording.beep_again(now)
        if has_passed(self.notice.until, now):
            return self.fail("no report of its end", now)
        return []

    def close(self, why: str) -> list[Command]:
        """The call ends: stop an announcement that was not heard to its end, seal what is open."""
        self.choice.until = None
        told = self.notice.close("the call ended before the announcement had")
        return [*told, *self._parting.close(), *self.recording.seal(why)]

    # -------------------------------------------------------------- notice

    def confirmed(self, now: float) -> list[Command]:
        """Both legs are confirmed: tell the parties, if they are to be told at once."""
        notice, media = self.notice, self._media
        if notice.state not in {Notice.WAITING, Notice.DUE}:
            return []
        if media.delayed and not media.codecs:
            return self.fail("the caller agreed on no codec that can be recorded", now)
        if notice.state is Notice.WAITING:
            return []
        if media.on_hold:
            return self.fail("a party is on hold", now)
        return notice.announce(now)

    def named(self, now: float) -> list[Command]:
        """It is known what the call is for, and it goes on already: nobody speaks before all were told."""
        if self.notice.state is not Notice.DUE or self._history.answered_at is None:
            return []  # staff begin it by a key, or it is told with the answer
        if not self._media.codecs and not self._media.delayed:
            return self.fail("no codec that can be recorded was agreed", now)
        shut: list[Command] = [SetGate(opened=False)]
        return [*shut, *self.confirmed(now)] if self._legs.is_up else shut

    def answered(self, now: float) -> list[Command]:
        """The callee answered: nothing can be announced in codecs that are not agreed on."""
        if self.notice.state not in {Notice.WAITING, Notice.DUE} or self._media.codecs:
            return []
        return self.fail("the callee agreed on no codec that can be recorded", now)

    def prompt_started(self, event: PromptStarted) -> list[Command]:
        """The first frame of the announcement left."""
        notes = self.notice.started(event)
        return [*notes, *self.choice.offer(self.notice.told_of)] if notes else []

    def prompt_heard(self, event: PromptCompleted, now: float) -> list[Command]:
        """The last frame of an announcement left: play the next one, or record."""
        if self._parting.until is not None:
            return self._part(now)
        if not self.notice.awaits(event):
            return []
        missing = self.notice.unheard_by(event)
        if missing:
            return self.fail(f"not heard by {missing}", now)
        commands = self.notice.completed(event, now)
        return commands if self.notice.is_pending else [*commands, *self._told(now)]

    def _told(self, now: float) -> list[Command]:
        """All announcements are over: record, unless a yes is still needed."""
        if self.choice.awaits_yes(now):
            if self.choice.holds_up:
                return []
            return [*self.notice.let_speak(), *self.recording.resume_if(PauseCause.NOTICE, now)]
        return [*self.notice.let_speak(), *self._record(now)]

    def prompt_failed(self, why: str, now: float) -> list[Command]:
        """What was to be heard could not be."""
        if self._parting.until is not None:
            return self._part(now)
        return self.fail(why, now) if self.notice.is_pending else []

    def fail(self, why: str, now: float) -> list[Command]:
        """Close the notice as not heard, and take the outcome its purpose names."""
        plan = self.plan
        if plan is None:
            raise IllegalEvent("a notice failed that no plan asked for")
        if self.notice.further:
            return self._further.leave_off(why, now)
        failed = self.notice.fail(why)
        match plan.on_failure:
            case OnFailure.CONTINUE:
                return [
                    *failed,
                    *self.recording.seal("somebody who joined was not told"),
                    SetGate(opened=True),
                ]
            case OnFailure.REFUSE:
                return [*failed, *self._call.end_for(503, "Recording Not Possible", now)]
        assert_never(plan.on_failure)

    # -------------------------------------------------------------- choice

    def pressed(self, event: DigitPressed, now: float) -> list[Command]:
        """A party pressed a key."""
        self._history.digits += 1
        if self._legs.is_ending or self._declined is not None:
            return []
        party = self._legs.speaker(event.leg)
        match self.choice.keypad.press(party, event.digit, now):
            case Wish(KeyAction.ACCEPT, purposes):
                return self._accepted(event.leg, purposes, now)
            case Wish(KeyAction.REFUSE, purposes):
                return self._refused(party, purposes, now)
            case Wish(KeyAction.PAUSE):
                return self.recording.toggle(now)
            case Wish(KeyAction.START, purposes):
                return self._asked_for(purposes, now)
            case Wish(KeyAction.STOP, purposes) if not self.is_over:
                ended = self._further.end(purposes, now)
                return [*ended, *self._begin(now)] if ended else []
            case Wish(KeyAction.LANGUAGE, language=language):
                return self._speak(language, now)
            case _:
                return []

    def _speak(self, language: str, now: float) -> list[Command]:
        """The outside party wants to hear it in another language."""
        plan = self.plan.spoken_in(language) if self.plan is not None else None
        if plan is None:
            return []
        switched = self.notice.switch(plan, [one.purpose for one in self.choice.left], now)
        self.plan = plan if switched else self.plan
        return switched

    def record_asked(self, event: RecordAsked, now: float) -> list[Command]:
        """``Record: on`` or ``off`` of a telephone of staff; of anybody else it means nothing."""
        if self._legs.is_ending or self.plan is None or self._legs.party(event.leg) is not Party.STAFF:
            return []
        if not event.on:
            return self.recording.pause_for_a_while(PauseCause.KEYS, now)
        if self.notice.state is Notice.WAITING:
            return self._asked_for(self.plan.waiting, now)
        return self.recording.resume(PauseCause.KEYS, now)

    def _accepted(self, leg: LegName, purposes: tuple[str, ...], now: float) -> list[Command]:
        """Yes: record, once the announcements are over and nobody else is waited for."""
        if self._barred or (self._asked is not None and leg is not self._asked):
            return []
        notes = self.choice.accept(purposes)
        return [*notes, *self._begin(now)] if notes else []

    def _refused(self, party: Party, purposes: tuple[str, ...], now: float) -> list[Command]:
        """No: what there is for these purposes is destroyed, or ends; the call goes on as it was.

        Where a statute orders the recording it cannot: the party is told so, and the call ends, or
        goes on to somebody else. If nothing may be recorded with that one, only what a statute orders stays.
        """
        announced = self.notice.state is Notice.COMPLETED
        notes, gone = self.choice.refuse(party, purposes, announced=announced)
        if not gone:
            return []
        decline = self.plan.decline if self.plan is not None else None
        if decline is not None and any(one.purpose == decline.purpose for one in gone):
            others = tuple(one for one in gone if one.purpose != decline.purpose)
            dropped = self.recording.refuse(others, "opt_out", closing=True)
            self._declined = decline
            exempt = self._call.exempts(decline.target) if decline.target else None
            ended = self.recording.give_up(exempt.value) if exempt else self.recording.seal("opt_out")
            stopped = [*notes, *dropped, *self._bar(), *ended]
            return [*stopped, *(self._parting.say(decline, now) or self._part(now))]
        return [*notes, *self._go_without(gone, "opt_out", now), *self._tones.to(Party.OUTSIDE)]

    def _part(self, now: float) -> list[Command]:
        """All was said to who refused: the call ends, or goes on to somebody else.

        Raises:
            IllegalEvent: Nobody refused.
        """
        self._parting.until = None
        if self._declined is None:
            raise IllegalEvent("parting from somebody who did not refuse")
        return self._call.refused(self._declined, now)

    def _go_without(self, gone: tuple[PurposePlan, ...], why: str, now: float) -> list[Command]:
        """Some purposes are refused: go on for those left, or not at all."""
        more = bool(self.choice.unrefused)
        ended = self.recording.refuse(gone, why, more=more)
        if not more:
            return [*self._decline(), *ended]
        if not self.choice.left:
            return [*self.notice.set_aside(), *self.notice.let_speak(), *ended]
        pending = self.notice.is_pending
        told = self.notice.skip(self.choice.refused, now)
        if pending and not self.notice.is_pending:
            return [*told, *ended, *self._told(now)]
        return [*told, *ended, *self._begin(now)]

    def _decline(self) -> list[Command]:
        if not self.notice.is_undecided:
            return self.notice.let_speak()
        commands = self.notice.decline()
        return [*commands, SetGate(opened=True)] if self._history.answered_at is not None else commands

    def _begin(self, now: float) -> list[Command]:
        """The last word that was waited for was said: record, or go on after somebody joined."""
        recording = self.recording
        waits = recording.state is Recording.OFF or (
            recording.is_live and (recording.causes & _UNTOLD or self._further.are_unserved)
        )
        if not waits or self._barred or not self._may_record:
            return []
        return [*self.notice.let_speak(), *self._record(now)]

    def _asked_for(self, purposes: Collection[str], now: float) -> list[Command]:
        """Staff ask for a purpose: announce it first, nothing is retroactive."""
        busy = self._media.on_hold or self._call.is_negotiating
        if self.is_over or busy or not self._legs.is_up or self._parting.until is not None:
            return []
        return self._further.begin(purposes, now)

    # ----------------------------------------------------------- recording

    def recording_opened(self, event: RecordingOpened, now: float) -> list[Command]:
        """It exists; what was announced meanwhile begins."""
        opened = self.recording.opened(event, now)
        return [*opened, *self._begin(now)] if opened else []

    def recording_failed(self, event: RecordingFailed, now: float) -> list[Command]:
        """The recorder lost it: take the outcome that the purpose names."""
        if not self.recording.is_live or self.plan is None:
            return []
        failed = self.recording.fail(event.why)
        match self.plan.on_failure:
            case OnFailure.CONTINUE:
                return [*failed, *self._bar()]
            case OnFailure.REFUSE:
                return [*failed, *self._call.end_for(503, "Recording Not Possible", now)]
        assert_never(self.plan.on_failure)

    @property
    def _may_record(self) -> bool:
        """The joint rule: everybody connected, told, and of those who said something nobody said no."""
        return self._legs.is_up and self.notice.state is Notice.COMPLETED and self.choice.allows

    def _record(self, now: float) -> list[Command]:
        """Everybody was told, and nobody said no: begin, or go on after somebody joined."""
        self._asked = None
        recording = self.recording
        if not recording.is_live:
            recording.causes -= _UNTOLD
            return self._open(now)
        if not self._further.are_unserved:
            return recording.resume_told(now)
        # One that is not open yet is gone on from as soon as it is.
        return [*recording.resume_told(now), *self._open(now)] if recording.runs else []

    def _open(self, now: float) -> list[Command]:
        if self._facts is None or not self._may_record:
            raise IllegalEvent("a recording needs a completed notice, two confirmed legs, and no refusal")
        call_id, purposes, proofs = self._call.callee_call_id, self.choice.left, self.notice.proofs
        if self.recording.is_live:
            return self.recording.follow(self._facts, call_id, purposes, proofs, now)
        return self.recording.open(self._facts, call_id, purposes, proofs)

    # ---------------------------------------------------------------- hold

    def hold_offered(self, now: float) -> tuple[list[Command], bool]:
        """A party wants to hold: what to do, and whether the recording was paused for it."""
        if self.notice.further:
            return self._leave_off_for_hold(now), True
        if self.notice.is_pending and not self.notice.repeated:
            return self.fail("put on hold before the announcement had ended", now), False
        if self.notice.is_pending:
            return [*self._put_off(), *self.recording.pause(PauseCause.HOLD)], True
        if self._media.on_hold:
            return [], False
        return self.recording.pause(PauseCause.HOLD), True

    def hold_settled(self, now: float, *, resume: bool) -> list[Command]:
        """An exchange is over: pause if somebody is on hold now, else go on recording if ``resume``."""
        if self._media.on_hold:
            if self.notice.further:
                return self._leave_off_for_hold(now)
            if self.notice.is_pending and not self.notice.repeated:
                return self.fail("put on hold before the announcement had ended", now)
            return [*self._put_off(), *self.recording.pause(PauseCause.HOLD)]
        resumed = self.recording.resume(PauseCause.HOLD, now) if resume else []
        return [*resumed, *self._tell_joined(now)]

    def _leave_off_for_hold(self, now: float) -> list[Command]:
        paused = self.recording.pause(PauseCause.HOLD)
        return [*paused, *self._further.leave_off("put on hold before the announcement had ended", now)]

    # ----------------------------------------------------- somebody who joins

    def joined(self, leg: LegName, newcomer: Newcomer, now: float) -> list[Command]:
        """Somebody else sits at the far end of a leg: nothing of him is stored before he was told."""
        self._legs.seat(leg, outside=newcomer.outside)
        plan = self.plan
        if plan is None or self.is_over or self._legs.is_ending or self.choice.state is Choice.REFUSED:
            return []
        if newcomer.exempt is not None:
            return self.exempt(leg, newcomer.exempt)
        told = _joined_notes(plan, leg, "outside" if newcomer.outside else "staff")
        if not newcomer.outside:
            return [*told, *self.recording.staff_joined(now)]
        match plan.on_new_party:
            case NewParty.STOP:
                return [*told, *self.stop("somebody joined")]
            case NewParty.REPLAY:
                return [*told, *self._repeat(leg, now)]
        assert_never(plan.on_new_party)

    def answers(self, leg: LegName, newcomer: Newcomer) -> list[Command]:
        """Somebody answers in place of whoever was called, and will be told as he would be."""
        self._legs.seat(leg, outside=newcomer.outside)
        return self.exempt(leg, newcomer.exempt) if newcomer.exempt is not None else []

    def exempt(self, leg: LegName, why: PassReason) -> list[Command]:
        """The call goes on to somebody who is never recorded: only what a statute ordered before stays."""
        plan = self.plan
        if plan is None or self.is_over:
            return []
        return [*_joined_notes(plan, leg, why.value), *self._bar(), *self.recording.give_up(why.value)]

    def stop(self, why: str) -> list[Command]:
        """Record no further; what there is stays."""
        return [] if self.is_over else [*self._bar(), *self.recording.seal(why)]

    def prefers(self, leg: LegName, preference: RecordPreference, now: float) -> list[Command]:
        """A telephone says anew whether it wants to be recorded; a statute does not ask it."""
        plan = self.plan
        free = tuple(
            one.purpose for one in self.choice.unrefused if plan and one.purpose not in plan.statutory
        )
        if plan is None or not free or self.is_over or self._legs.is_ending:
            return []
        silenced = self._silenced | {leg}
        match preference:
            case RecordPreference.OFF:
                party = self._legs.party(leg)
                notes, gone = self.choice.refuse(party, free, announced=False)
                return [*notes, *self._go_without(gone, "preference", now), *self._tones.to(party)]
            case RecordPreference.PAUSE if plan.statutory:
                return []
            case RecordPreference.PAUSE:
                self._silenced = silenced
                return self.recording.pause(PauseCause.PREFERENCE)
            case RecordPreference.NONE:
                self._silenced = silenced - {leg}
                if self._silenced or PauseCause.PREFERENCE not in self.recording.causes:
                    return []
                return self.recording.resume(PauseCause.PREFERENCE, now)
        assert_never(preference)

    def _bar(self) -> list[Command]:
        """Nothing is recorded from here on."""
        self._barred = True
        self.choice.until = None
        return self._decline()

    def _repeat(self, leg: LegName, now: float) -> list[Command]:
        notice = self.notice
        if notice.state is Notice.WAITING or (notice.state is Notice.DUE and not self._legs.is_up):
            return []  # told with the others, when it begins
        self._asked = leg
        told = [one.purpose for one in self.choice.left]
        paused = [*self.recording.pause(PauseCause.PARTY), *self.choice.ask_again()]
        return [*paused, *notice.repeat(leg, told), *self._tell_joined(now)]

    def _tell_joined(self, now: float) -> list[Command]:
        """Somebody who joined waits for the announcement: play it, if he can hear it."""
        if not self.notice.is_put_off or self._media.on_hold or self._call.is_negotiating:
            return []
        return [SetGate(opened=False), *self.notice.announce(now)]

    def _put_off(self) -> list[Command]:
        """A party holds while somebody waits for the announcement, or hears it: again after that."""
        if not self.notice.is_pending:
            return []
        return [*self.notice.put_off(), *self.notice.let_speak()]


def _joined_notes(plan: RecordPlan, leg: LegName, who: str) -> list[Command]:
    fields = (*purpose_fields(plan), ("leg", leg.value), ("who", who))
    return [Note("party.joined", fields), AuditNote("party.joined", fields)]


def has_passed(instant: float | None, now: float) -> bool:
    """Whether an instant that may be never has come."""
    return instant is not None and now >= instant
