"""The call: five coupled machines, events in, commands out. No I/O, no clock.

The tables are in ``states.py``. What couples them is here:

* ``RECORDING_REQUESTED`` is legal only if the notice is COMPLETED and both legs
  are CONFIRMED: no audio before everybody was told (law: no secret recording),
  and only if nobody said no, or, where a yes is needed, somebody said it.
* A leg that ends ends the other, and seals an open recording, in the same list
  of commands.
* A notice that fails has the outcome its purpose names, never a default.

A SIP or media event that crossed one of our commands on its way (a prompt that
ended just before it was stopped, say) is not illegal: it is answered with
nothing. An event that no race explains raises ``IllegalEvent`` and changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, assert_never

from recproxy.call import selection as pick
from recproxy.call.agreement import OWN_OFFER, Agreement, is_secure
from recproxy.call.choice import CallChoice
from recproxy.call.commands import (
    AllocateMedia,
    AnswerCaller,
    AnswerReoffer,
    AuditNote,
    Command,
    EndLeg,
    InviteCallee,
    Note,
    ProgressCaller,
    ReleaseMedia,
    SetGate,
    purpose_fields,
)
from recproxy.call.events import (
    CalleeAnswered,
    CalleeProgress,
    CallerConfirmed,
    CallFacts,
    DigitPressed,
    DrainExpired,
    Event,
    InviteReceived,
    LegEnded,
    LegFault,
    LegName,
    MediaAllocated,
    MediaUnavailable,
    PauseAsked,
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
)
from recproxy.call.keypad import KeyAction, Party
from recproxy.call.legs import Legs
from recproxy.call.notice import CallNotice
from recproxy.call.recording import CallRecording
from recproxy.call.reoffer import Reoffers
from recproxy.call.states import CalleeLeg, CallerLeg, Choice, Notice, PauseCause, Recording, Symbol
from recproxy.call.tones import Tones
from recproxy.errors import IllegalEvent
from recproxy.policy import CallQuestion, Decision, OnFailure, Pass, Record, RecordPlan
from storage.tags import Direction


class Decider(Protocol):
    """What the machine asks of the policy."""

    def decide(self, question: CallQuestion) -> Decision:
        """Tell what happens to a call with these facts; pure."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Guards against peers and parts of ours that fall silent; all in seconds.

    Attributes:
        setup_s: From INVITE to the callee's 200.
        prompt_s: From asking for the announcement to its end.
        ending_s: From ending a leg to its dialog being gone.
    """

    setup_s: float = 180.0
    prompt_s: float = 75.0
    ending_s: float = 40.0


class CallMachine:
    """One call, from INVITE to the end of both dialogs.

    ``now`` is monotonic seconds everywhere. The object is used by one thread.
    """

    def __init__(self, policy: Decider, limits: Limits, *, recorder_fault: str | None = None) -> None:
        """Prepare a call.

        Args:
            policy: Decides whether the call is recorded.
            limits: Guard times.
            recorder_fault: Why nothing can be recorded at present; None if it can.
        """
        self._policy = policy
        self._limits = limits
        self._recorder_fault = recorder_fault
        self._legs = Legs()
        self._facts: CallFacts | None = None
        self._plan: RecordPlan | None = None
        self._decision = "undecided"
        self._media = Agreement()
        self._tones = Tones(self._legs, self._media)
        self._notice = CallNotice(self._legs, self._media, limits.prompt_s)
        self._choice = CallChoice()
        self._recording = CallRecording(self._media, self._tones)
        self._reoffers = Reoffers(self._media, self)
        self._callee_call_id = ""
        self._digits = 0
        self._invited_at = 0.0
        self._answered_at: float | None = None
        self._deadline: float | None = None
        self._media_asked = False
        self._first_end: LegEnded | None = None
        self._released = False

    @property
    def ended(self) -> bool:
        """Whether both dialogs are gone and everything was released."""
        return self._released

    @property
    def caller(self) -> CallerLeg:
        """State of the caller's dialog."""
        return self._legs.caller

    @property
    def callee(self) -> CalleeLeg:
        """State of the callee's dialog."""
        return self._legs.callee

    @property
    def notice(self) -> Notice:
        """State of the announcement."""
        return self._notice.state

    @property
    def choice(self) -> Choice:
        """What was said to being recorded."""
        return self._choice.state

    @property
    def recording(self) -> Recording:
        """State of the recording."""
        return self._recording.state

    def deadline(self) -> float | None:
        """When ``expire`` must be called, in monotonic seconds; None for never."""
        recording = self._recording
        instants = (
            self._deadline,
            self._notice.until,
            self._choice.until,
            recording.until,
            recording.beep_at,
        )
        return min((instant for instant in instants if instant is not None), default=None)

    # ------------------------------------------------------------------ events

    def receive(self, event: Event, now: float) -> list[Command]:  # noqa: C901, PLR0911, PLR0912 - one row an event
        """Take one event and tell what to do, in order.

        Args:
            event: What happened.
            now: Monotonic seconds.

        Returns:
            Commands for the ports; empty if nothing needs doing.

        Raises:
            IllegalEvent: No race explains this event in this state; nothing changed.
        """
        if self._released:
            return []
        match event:
            case InviteReceived():
                return self._invited(event, now)
            case MediaAllocated():
                return self._allocated(event, now)
            case MediaUnavailable():
                return self._no_media(event, now)
            case CalleeProgress():
                return self._progress(event)
            case CalleeAnswered():
                return self._answered(event, now)
            case CallerConfirmed():
                return self._confirmed(event, now)
            case LegEnded():
                return self._leg_ended(event, now)
            case LegFault():
                note = Note("leg.failed", (("leg", event.leg.value), ("what", event.what)))
                return [note, *self._leg_ended(LegEnded(event.leg, 500, "", by_us=False), now)]
            case ReofferReceived():
                return self._reoffered(event, now)
            case ReofferAnswered():
                return self._reoffers.answered(event, now)
            case ReofferConfirmed():
                return self._reoffers.confirmed(event.leg, event.sdp, now)
            case PromptStarted():
                return self._prompt_is_playing(event)
            case PromptCompleted():
                return self._prompt_heard(event, now)
            case PromptFailed():
                return self._notice_failed(event.why, now) if self._notice.is_pending else []
            case RecordingOpened():
                return self._recording.opened(event, now)
            case RecordingFailed():
                return self._recording_failed(event, now)
            case DigitPressed():
                return self._pressed(event, now)
            case RecordAsked():
                return self._record_asked(event, now)
            case PauseAsked():
                return self._recording.ask_pause(now)
            case ResumeAsked():
                return self._recording.resume(PauseCause.OPERATOR, now)
            case DrainExpired():
                return self._end_both(200, "", now)
        assert_never(event)

    def expire(self, now: float) -> list[Command]:
        """Act on a deadline that has passed; nothing if none has."""
        if self._released:
            return []
        if _has_passed(self._choice.until, now):
            return [*self._choice.expire(), *self._decline("opt_in_missing")]
        if _has_passed(self._recording.until, now):
            return self._recording.end_timed_pause(now)
        if _has_passed(self._recording.beep_at, now):
            return self._recording.beep_again(now)
        if _has_passed(self._notice.until, now):
            return self._notice_failed("no report of its end", now)
        if not _has_passed(self._deadline, now):
            return []
        self._deadline = None
        if CallerLeg.ENDING is self.caller or CalleeLeg.ENDING is self.callee:
            return self._give_up_on_endings(now)
        if self.callee in {CalleeLeg.IDLE, CalleeLeg.CALLING, CalleeLeg.PROCEEDING}:
            return self._end_both(408, "Request Timeout", now)
        return []

    # ------------------------------------------------------------ setting up

    def _invited(self, event: InviteReceived, now: float) -> list[Command]:
        if self._facts is not None:
            raise IllegalEvent("a second INVITE for one call")
        self._facts = facts = event.facts
        self._legs.inbound = facts.direction is Direction.INBOUND
        self._media.delayed = event.offer is None
        self._media.offer = offer = event.offer or OWN_OFFER
        self._invited_at = now
        question = CallQuestion(
            trunk=facts.trunk,
            direction=facts.direction,
            caller=facts.caller,
            callee=facts.callee,
            anonymous=facts.anonymous,
            sos=facts.sos,
            call=facts.sip_call_id,
            day=facts.received.date(),
            identities=facts.identities,
            emergency_callback=facts.emergency_callback,
            preference=facts.preference,
        )
        decision = self._policy.decide(question)
        notes: list[Command] = []
        selection = pick.select_all(offer)
        match decision:
            case Pass(why=why):
                self._decision = why.value
            case Record(plan=plan):
                self._decision = "record"
                self._plan = plan
                self._notice.take(plan)
                self._choice.take(plan)
                self._recording.take(plan)
                recordable = pick.select_recordable(offer)
                fault = self._recorder_fault or (None if recordable else "no codec that can be recorded")
                if fault is None and recordable is not None:
                    selection = recordable
                else:
                    notes = self._notice.fail(str(fault))
                    if plan.on_failure is OnFailure.REFUSE:
                        code = 503 if self._recorder_fault else 488
                        text = "Recorder Unavailable" if self._recorder_fault else "Not Acceptable Here"
                        return [self._offered_note(facts), *notes, *self._end_both(code, text, now)]
        self._media.choose(selection)
        if event.offer is not None:
            self._media.heard(LegName.CALLER, event.offer)
        self._deadline = now + self._limits.setup_s
        self._media_asked = True
        return [self._offered_note(facts), *notes, AllocateMedia(facts.trunk, selection.ports)]

    def _allocated(self, event: MediaAllocated, now: float) -> list[Command]:
        if not self._media_asked:
            raise IllegalEvent("media ports that nobody asked for")
        if self._reoffers.awaits_ports:
            return self._reoffers.allocated(event)
        media = self._media
        media.local = {LegName.CALLER: event.caller, LegName.CALLEE: event.callee}
        if self.caller is not CallerLeg.INVITED or self.callee is not CalleeLeg.IDLE:
            return []
        selection, offer = media.ground()
        self._legs.move_callee(Symbol.CALLEE_INVITED)
        self._deadline = now + self._limits.setup_s
        secure = not media.delayed and is_secure(selection, offer)
        media.secure = {
            LegName.CALLER: secure,
            LegName.CALLEE: secure if event.callee_secure is None else event.callee_secure,
        }
        connect = [] if media.delayed else [media.connect(LegName.CALLER, selection, offer)]
        sent_on = selection.offer(offer, event.callee, secure=media.secure[LegName.CALLEE])
        return [*connect, InviteCallee(sent_on)]

    def _no_media(self, event: MediaUnavailable, now: float) -> list[Command]:
        note = Note("media.unavailable", (("why", event.why),))
        if self._reoffers.awaits_ports:
            return [note, *self._reoffers.no_ports(now)]
        if self.caller is not CallerLeg.INVITED:
            return [note]
        return [note, *self._end_both(503, "Media Ports Exhausted", now, retry_after_s=10)]

    def _progress(self, event: CalleeProgress) -> list[Command]:
        if self.callee not in {CalleeLeg.CALLING, CalleeLeg.PROCEEDING}:
            return []
        self._legs.move_callee(Symbol.CALLEE_PROCEEDING)
        if self.caller is not CallerLeg.INVITED:
            return []
        media = self._media
        selection, offer = media.ground()
        secure = media.secure[LegName.CALLEE]
        if event.sdp is None or not pick.takes_key(selection, event.sdp, secure=secure):
            return [ProgressCaller(event.code, event.reason, None)]
        media.answer = event.sdp
        early = selection.answer(offer, event.sdp, media.local[LegName.CALLER])
        return [
            media.connect(LegName.CALLEE, selection, event.sdp),
            SetGate(opened=True),
            # An offer that is not sent reliably has no answer: the caller who left it to us waits.
            ProgressCaller(event.code, event.reason, None if media.delayed else early),
        ]

    def _answered(self, event: CalleeAnswered, now: float) -> list[Command]:
        if self.callee in {CalleeLeg.ENDING, CalleeLeg.ENDED}:
            return []  # our CANCEL crossed the 200: the adapter ends that dialog
        answer = event.sdp or self._media.answer
        self._legs.move_callee(Symbol.CALLEE_CONFIRMED)
        self._callee_call_id = event.sip_call_id
        if self.caller is not CallerLeg.INVITED:
            return []
        if answer is None:
            return self._end_both(502, "Callee Answered Without SDP", now)
        media = self._media
        selection, offer = media.ground()
        if not pick.takes_key(selection, answer, secure=media.secure[LegName.CALLEE]):
            return self._end_both(502, "Callee Answered Without a Usable Key", now)
        media.answer = answer
        media.heard(LegName.CALLEE, answer)
        media.codecs = pick.agreed_codecs(selection, answer)
        self._answered_at = now
        self._deadline = None
        self._legs.move_caller(Symbol.CALLER_ANSWERED)
        local = media.local[LegName.CALLER]
        commands: list[Command] = [
            media.connect(LegName.CALLEE, selection, answer),
            SetGate(opened=self.notice is not Notice.DUE),
            AnswerCaller(
                selection.offer(answer, local, secure=False)
                if media.delayed
                else selection.answer(offer, answer, local)
            ),
            Note("call.answered", (("setup_s", round(now - self._invited_at, 3)),)),
        ]
        if self.notice in {Notice.WAITING, Notice.DUE} and not media.codecs:
            commands += self._notice_failed("the callee agreed on no codec that can be recorded", now)
        return commands

    def _confirmed(self, event: CallerConfirmed, now: float) -> list[Command]:
        if self.caller is not CallerLeg.ANSWERED:
            return []  # the ACK crossed our BYE, or was repeated
        self._legs.move_caller(Symbol.CALLER_CONFIRMED)
        media, selection = self._media, self._media.selection
        commands: list[Command] = []
        if media.delayed:
            if event.sdp is None:
                return self._end_both(488, "No Answer in ACK", now)
            media.heard(LegName.CALLER, event.sdp)
            media.codecs = pick.agreed_codecs(selection, event.sdp)
            commands.append(media.connect(LegName.CALLER, selection, event.sdp))
            if self.notice in {Notice.WAITING, Notice.DUE} and not media.codecs:
                why = "the caller agreed on no codec that can be recorded"
                return [*commands, *self._notice_failed(why, now)]
        if self.notice is not Notice.DUE:
            return commands
        if media.on_hold:
            return [*commands, *self._notice_failed("a party is on hold", now)]
        return [*commands, *self._notice.announce(now)]

    # -------------------------------------------------------------- notice

    def _prompt_is_playing(self, event: PromptStarted) -> list[Command]:
        notes = self._notice.started(event)
        return [*notes, *self._choice.offer()] if notes else []

    def _prompt_heard(self, event: PromptCompleted, now: float) -> list[Command]:
        if self.notice is not Notice.PLAYING:
            return []
        missing = self._notice.unheard_by(event)
        if missing:
            return self._notice_failed(f"not heard by {missing}", now)
        commands = self._notice.completed(event)
        return commands if self._choice.awaits_yes(now) else [*commands, *self._open()]

    def _notice_failed(self, why: str, now: float) -> list[Command]:
        """Close the notice as not heard, and take the outcome its purpose names."""
        plan = self._plan
        if plan is None:
            raise IllegalEvent("a notice failed that no plan asked for")
        failed = self._notice.fail(why)
        match plan.on_failure:
            case OnFailure.CONTINUE:
                return [*failed, SetGate(opened=True)]
            case OnFailure.REFUSE:
                return [*failed, *self._end_both(503, "Recording Not Possible", now)]
        assert_never(plan.on_failure)

    # -------------------------------------------------------------- choice

    def _pressed(self, event: DigitPressed, now: float) -> list[Command]:
        self._digits += 1
        if self.is_ending:
            return []
        party = self._legs.party(event.leg)
        match self._choice.keypad.press(party, event.digit, now):
            case KeyAction.ACCEPT:
                return self._accepted()
            case KeyAction.REFUSE:
                return self._refused(party)
            case KeyAction.PAUSE:
                return self._recording.toggle(now)
            case KeyAction.START:
                return self._asked_for(now)
            case None:
                return []

    def _record_asked(self, event: RecordAsked, now: float) -> list[Command]:
        """``Record: on`` or ``off`` of a telephone of staff; of anybody else it means nothing."""
        if self.is_ending or self._plan is None or self._legs.party(event.leg) is not Party.STAFF:
            return []
        if not event.on:
            return self._recording.pause_for_a_while(PauseCause.KEYS, now)
        if self.notice is Notice.WAITING:
            return self._asked_for(now)
        return self._recording.resume(PauseCause.KEYS, now)

    def _accepted(self) -> list[Command]:
        """Yes: record, once the announcement is over."""
        notes = self._choice.accept()
        return [*notes, *self._open()] if notes and self.notice is Notice.COMPLETED else notes

    def _refused(self, party: Party) -> list[Command]:
        """No: what there is of a recording is destroyed, or ends; the call goes on as it was."""
        notes = self._choice.refuse(party, announced=self.notice is Notice.COMPLETED)
        return [*notes, *self._decline("opt_out"), *self._tones.to(Party.OUTSIDE)] if notes else []

    def _decline(self, why: str) -> list[Command]:
        commands: list[Command] = []
        if self._notice.is_undecided:
            commands = self._notice.decline()
            if self._answered_at is not None:
                commands.append(SetGate(opened=True))
        recording = self._recording
        return [*commands, *(recording.discard(why) if self._choice.destroys else recording.seal(why))]

    def _asked_for(self, now: float) -> list[Command]:
        """Staff ask for the recording: announce it first, nothing is retroactive."""
        if (
            self.notice is not Notice.WAITING
            or not self._legs.is_up
            or self._media.on_hold
            or self._reoffers.open is not None
        ):
            return []
        self._notice.move(Symbol.NOTICE_ASKED)
        return [
            SetGate(opened=False),
            AuditNote("rec.asked", purpose_fields(self._plan)),
            *self._notice.announce(now),
        ]

    # ----------------------------------------------------------- recording

    @property
    def _may_record(self) -> bool:
        """The joint rule: everybody connected, told, and of those who said something nobody said no."""
        return self._legs.is_up and self.notice is Notice.COMPLETED and self._choice.allows

    def _open(self) -> list[Command]:
        if self._facts is None or not self._may_record:
            raise IllegalEvent("a recording needs a completed notice, two confirmed legs, and no refusal")
        return self._recording.open(self._facts, self._callee_call_id, self._notice.proof)

    def _recording_failed(self, event: RecordingFailed, now: float) -> list[Command]:
        if not self._recording.is_live or self._plan is None:
            return []
        failed = self._recording.fail(event.why)
        match self._plan.on_failure:
            case OnFailure.CONTINUE:
                return failed
            case OnFailure.REFUSE:
                return [*failed, *self._end_both(503, "Recording Not Possible", now)]
        assert_never(self._plan.on_failure)

    # ------------------------------------------------------------ re-offer

    def _reoffered(self, event: ReofferReceived, now: float) -> list[Command]:
        if self._legs.is_up:
            return self._reoffers.received(event, now)
        return [] if self.is_ending else [AnswerReoffer(event.leg, 491, "Request Pending", None)]

    def hold_offered(self, now: float) -> tuple[list[Command], bool]:
        """A party wants to hold: what to do, and whether the recording was paused for it."""
        if self._notice.is_pending:
            return self._notice_failed("put on hold before the announcement had ended", now), False
        if self._media.on_hold:
            return [], False
        return self._recording.pause(PauseCause.HOLD), True

    def hold_settled(self, now: float, *, resume: bool) -> list[Command]:
        """An exchange is over: pause if somebody is on hold now, else go on recording if ``resume``."""
        if self._media.on_hold:
            if self._notice.is_pending:
                return self._notice_failed("put on hold before the announcement had ended", now)
            return self._recording.pause(PauseCause.HOLD)
        return self._recording.resume(PauseCause.HOLD, now) if resume else []

    def end_for(self, code: int, reason: str, now: float) -> list[Command]:
        """An exchange left the legs apart: end the call."""
        return self._end_both(code, reason, now)

    # -------------------------------------------------------------- ending

    def _leg_ended(self, event: LegEnded, now: float) -> list[Command]:
        if event.leg is LegName.CALLER:
            if self.caller is CallerLeg.ENDED:
                return []
            self._legs.move_caller(Symbol.CALLER_ENDED)
        else:
            if self.callee in {CalleeLeg.ENDED, CalleeLeg.IDLE}:
                return []
            self._legs.move_callee(Symbol.CALLEE_ENDED)
        if self._first_end is None:
            self._first_end = event
        commands = self._close_media_of_call("hangup")
        code, reason = (event.code, event.reason) if event.code >= 300 else (200, event.reason)  # noqa: PLR2004
        commands += self._end_leg(event.leg.other, code, reason, now)
        return [*commands, *self._release(now)]

    def _end_both(
        self, code: int, reason: str, now: float, *, retry_after_s: int | None = None
    ) -> list[Command]:
        if self._first_end is None:
            self._first_end = LegEnded(LegName.CALLER, code, reason, by_us=True)
        commands = self._close_media_of_call("ended by recproxy")
        commands += self._end_leg(LegName.CALLER, code, reason, now, retry_after_s=retry_after_s)
        commands += self._end_leg(LegName.CALLEE, code, reason, now)
        return [*commands, *self._release(now)]

    def _end_leg(
        self, leg: LegName, code: int, reason: str, now: float, *, retry_after_s: int | None = None
    ) -> list[Command]:
        if leg is LegName.CALLER:
            if self.caller in {CallerLeg.ENDING, CallerLeg.ENDED}:
                return []
            self._legs.move_caller(Symbol.CALLER_ENDING)
        else:
            if self.callee in {CalleeLeg.ENDING, CalleeLeg.ENDED}:
                return []
            if self.callee is CalleeLeg.IDLE:
                self._legs.move_callee(Symbol.CALLEE_ENDED)
                return []
            self._legs.move_callee(Symbol.CALLEE_ENDING)
        self._deadline = now + self._limits.ending_s
        return [*self._reoffers.abandon(leg), EndLeg(leg, code, reason, retry_after_s)]

    def _close_media_of_call(self, why: str) -> list[Command]:
        """Stop an announcement that was not heard to its end; seal what is open."""
        self._choice.until = None
        told = self._notice.close("the call ended before the announcement had")
        return [*told, *self._recording.seal(why)]

    def _give_up_on_endings(self, now: float) -> list[Command]:
        """The adapter never reported an end: take the dialogs for gone."""
        commands: list[Command] = []
        if self.caller is CallerLeg.ENDING:
            self._legs.move_caller(Symbol.CALLER_ENDED)
            commands.append(Note("leg.failed", (("leg", "caller"), ("what", "no end was reported"))))
        if self.callee is CalleeLeg.ENDING:
            self._legs.move_callee(Symbol.CALLEE_ENDED)
            commands.append(Note("leg.failed", (("leg", "callee"), ("what", "no end was reported"))))
        return [*commands, *self._release(now)]

    def _release(self, now: float) -> list[Command]:
        if not self._legs.are_gone:
            return []
        self._released = True
        self._deadline = None
        release: list[Command] = [ReleaseMedia()] if self._media_asked else []
        return [*release, self._ended_note(now)]

    # --------------------------------------------------------------- notes

    def _offered_note(self, facts: CallFacts) -> Note:
        purpose = self._plan.purpose if self._plan is not None else ""
        return Note(
            "call.offered",
            (
                ("trunk", facts.trunk),
                ("direction", facts.direction.value),
                ("decision", self._decision),
                ("purpose", purpose),
            ),
        )

    def _ended_note(self, now: float) -> Note:
        end = self._first_end
        code = end.code if end is not None else 0
        if self._answered_at is not None:
            outcome = "answered"
        elif end is not None and end.leg is LegName.CALLER and not end.by_us:
            outcome = "cancelled"
        else:
            outcome = "failed"
        talk = now - self._answered_at if self._answered_at is not None else 0.0
        return Note(
            "call.ended",
            (
                ("outcome", outcome),
                ("code", code),
                ("ended_by", "recproxy" if end is None or end.by_us else end.leg.value),
                ("decision", self._decision),
                ("purpose", self._plan.purpose if self._plan is not None else ""),
                ("notice", self.notice.name.lower()),
                ("choice", self.choice.name.lower()),
                ("recording_state", self.recording.name.lower()),
                ("recording", self._recording.name),
                ("duration_s", round(now - self._invited_at, 3)),
                ("talk_s", round(talk, 3)),
                ("keys_pressed", self._digits),
            ),
        )

    # -------------------------------------------------------------- ground

    @property
    def is_over(self) -> bool:
        """Whether nothing of the call is, or will be, recorded any more."""
        return self.notice in {Notice.FAILED, Notice.DECLINED} or self._recording.is_over

    @property
    def is_ending(self) -> bool:
        """Whether a leg is gone or going."""
        return self._legs.is_ending

    @property
    def trunk(self) -> str:
        """The trunk that the call came from."""
        return self._facts.trunk if self._facts is not None else ""


def _has_passed(instant: float | None, now: float) -> bool:
    return instant is not None and now >= instant
