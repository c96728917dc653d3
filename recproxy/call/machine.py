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
from typing import Final, Protocol, assert_never

from recproxy.call import selection as pick
from recproxy.call import states
from recproxy.call.agreement import OWN_OFFER, Agreement, is_secure
from recproxy.call.commands import (
    AllocateMedia,
    AnswerCaller,
    AnswerReoffer,
    AuditNote,
    Command,
    DiscardRecording,
    EndLeg,
    InviteCallee,
    Note,
    NoticeFacts,
    OpenRecording,
    PauseRecording,
    PlayPrompt,
    PlayTone,
    ProgressCaller,
    ReleaseMedia,
    ResumeRecording,
    SealRecording,
    SetGate,
    StopPrompt,
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
from recproxy.call.keypad import Binding, KeyAction, Keypad, Party
from recproxy.call.reoffer import Reoffers
from recproxy.call.states import CalleeLeg, CallerLeg, Choice, Notice, PauseCause, Recording, Symbol
from recproxy.errors import IllegalEvent
from recproxy.policy import Audience, CallQuestion, ChoiceMode, Decision, OnFailure, Pass, Record, RecordPlan
from storage.tags import Direction

_LIVE_RECORDING: Final = frozenset({Recording.OPENING, Recording.ON, Recording.PAUSED})
_TIMED_PAUSES: Final = frozenset({PauseCause.KEYS, PauseCause.OPERATOR})  # end by themselves
_LIVE_NOTICE: Final = frozenset({Notice.WAITING, Notice.DUE, Notice.PLAYING})


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
        self.caller = CallerLeg.INVITED
        self.callee = CalleeLeg.IDLE
        self.notice = Notice.NOT_REQUIRED
        self.choice = Choice.NOT_OFFERED
        self.recording = Recording.OFF
        self._facts: CallFacts | None = None
        self._plan: RecordPlan | None = None
        self._decision = "undecided"
        self._media = Agreement()
        self._reoffers = Reoffers(self._media, self)
        self._callee_call_id = ""
        self._prompt_asked = False
        self._prompt_started: PromptStarted | None = None
        self._proof: NoticeFacts | None = None
        self._keypad = Keypad(())
        self._pauses: set[PauseCause] = set()
        self._choice_until: float | None = None
        self._pause_until: float | None = None
        self._recording_id = ""
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

    def deadline(self) -> float | None:
        """When ``expire`` must be called, in monotonic seconds; None for never."""
        instants = (self._deadline, self._choice_until, self._pause_until)
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
                return self._notice_failed(event.why, now) if self._notice_pending else []
            case RecordingOpened():
                return self._recording_opened(event)
            case RecordingFailed():
                return self._recording_failed(event, now)
            case DigitPressed():
                return self._pressed(event, now)
            case RecordAsked():
                return self._record_asked(event, now)
            case PauseAsked():
                return self._pause_asked(now)
            case ResumeAsked():
                return self._resume(PauseCause.OPERATOR)
            case DrainExpired():
                return self._end_both(200, "", now)
        assert_never(event)

    def expire(self, now: float) -> list[Command]:
        """Act on a deadline that has passed; nothing if none has."""
        if self._released:
            return []
        if self._choice_until is not None and now >= self._choice_until:
            return self._no_answer()
        if self._pause_until is not None and now >= self._pause_until:
            return self._end_timed_pause()
        if self._deadline is None or now < self._deadline:
            return []
        self._deadline = None
        if CallerLeg.ENDING is self.caller or CalleeLeg.ENDING is self.callee:
            return self._give_up_on_endings(now)
        if self._notice_pending and self._prompt_asked:
            return self._notice_failed("no report of its end", now)
        if self.callee in {CalleeLeg.IDLE, CalleeLeg.CALLING, CalleeLeg.PROCEEDING}:
            return self._end_both(408, "Request Timeout", now)
        return []

    # ------------------------------------------------------------ setting up

    def _invited(self, event: InviteReceived, now: float) -> list[Command]:
        if self._facts is not None:
            raise IllegalEvent("a second INVITE for one call")
        self._facts = facts = event.facts
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
                self.notice = Notice.WAITING if plan.start else Notice.DUE
                self._keypad = Keypad(_bindings(plan))
                recordable = pick.select_recordable(offer)
                fault = self._recorder_fault or (None if recordable else "no codec that can be recorded")
                if fault is None and recordable is not None:
                    selection = recordable
                else:
                    self._notice(Symbol.NOTICE_FAILED)
                    notes = self._failure_notes(str(fault))
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
        self._callee(Symbol.CALLEE_INVITED)
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
        self._callee(Symbol.CALLEE_PROCEEDING)
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
        self._callee(Symbol.CALLEE_CONFIRMED)
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
        self._caller(Symbol.CALLER_ANSWERED)
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
        self._caller(Symbol.CALLER_CONFIRMED)
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
        return [*commands, *self._announce(now)]

    # -------------------------------------------------------------- notice

    def _announce(self, now: float) -> list[Command]:
        media, selection = self._media, self._media.selection
        plan = self._plan
        if plan is None or selection.recorded is None or media.speech is None:
            raise IllegalEvent("a notice is due without a plan")
        self._prompt_asked = True
        self._deadline = now + self._limits.prompt_s
        play = PlayPrompt(
            prompt=plan.prompt,
            language=plan.language,
            legs=self._audience(plan),
            stream=media.recorded_port(),
            codec=media.speech,
            ptime_ms=media.ptime_ms(),
        )
        return [play]

    def _prompt_is_playing(self, event: PromptStarted) -> list[Command]:
        if self.notice is not Notice.DUE or not self._prompt_asked:
            return []
        self._notice(Symbol.NOTICE_STARTED)
        self._prompt_started = event
        notes: list[Command] = [
            Note("notice.started", self._purpose_field()),
            AuditNote("announce.started", self._purpose_field()),
        ]
        if self._mode is not ChoiceMode.NONE:
            self._choose(Symbol.CHOICE_OFFERED)
            notes.append(AuditNote("choice.offered", (*self._purpose_field(), ("mode", self._mode.value))))
        return notes

    def _prompt_heard(self, event: PromptCompleted, now: float) -> list[Command]:
        if self.notice is not Notice.PLAYING:
            return []
        plan, facts, started = self._plan, self._facts, self._prompt_started
        if plan is None or facts is None or started is None:
            raise IllegalEvent("an announcement ended that no plan asked for")
        missing = [leg.value for leg in self._audience(plan) if leg not in event.heard_by]
        if missing:
            return self._notice_failed(f"not heard by {', '.join(missing)}", now)
        self._notice(Symbol.NOTICE_COMPLETED)
        self._deadline = None
        self._proof = NoticeFacts(
            prompt=event.prompt,
            sha256=event.sha256,
            language=event.language,
            heard_by=event.heard_by,
            started=started.at,
            completed=event.at,
        )
        heard = ",".join(leg.value for leg in event.heard_by)
        facts_of_it: tuple[tuple[str, str | int], ...] = (
            *self._purpose_field(),
            ("prompt_sha256", event.sha256),
            ("language", event.language),
            ("heard_by", heard),
            ("duration_ms", round((event.at - started.at).total_seconds() * 1000)),
        )
        commands: list[Command] = [
            Note("notice.completed", facts_of_it),
            AuditNote("announce.completed", facts_of_it),
            SetGate(opened=True),
        ]
        if self._mode is ChoiceMode.OPT_IN and self.choice is Choice.OPEN:
            self._choice_until = now + plan.choice.window_s
            return commands
        return [*commands, *self._open()]

    def _notice_failed(self, why: str, now: float) -> list[Command]:
        """Close the notice as not heard, and take the outcome its purpose names."""
        plan = self._plan
        if plan is None:
            raise IllegalEvent("a notice failed that no plan asked for")
        stop: list[Command] = [StopPrompt()] if self._prompt_asked else []
        self._notice(Symbol.NOTICE_FAILED)
        self._deadline = None
        notes = self._failure_notes(why)
        match plan.on_failure:
            case OnFailure.CONTINUE:
                return [*stop, *notes, SetGate(opened=True)]
            case OnFailure.REFUSE:
                return [*stop, *notes, *self._end_both(503, "Recording Not Possible", now)]
        assert_never(plan.on_failure)

    def _failure_notes(self, why: str) -> list[Command]:
        return [
            Note("notice.failed", (*self._purpose_field(), ("why", why))),
            AuditNote("announce.failed", (*self._purpose_field(), ("why", why))),
        ]

    # -------------------------------------------------------------- choice

    def _pressed(self, event: DigitPressed, now: float) -> list[Command]:
        self._digits += 1
        if self.is_ending:
            return []
        match self._keypad.press(self._party(event.leg), event.digit, now):
            case KeyAction.ACCEPT:
                return self._accepted()
            case KeyAction.REFUSE:
                return self._refused(event.leg)
            case KeyAction.PAUSE:
                return self._toggle_pause(now)
            case KeyAction.START:
                return self._asked_for(now)
            case None:
                return []

    def _record_asked(self, event: RecordAsked, now: float) -> list[Command]:
        """``Record: on`` or ``off`` of a telephone of staff; of anybody else it means nothing."""
        if self.is_ending or self._plan is None or self._party(event.leg) is not Party.STAFF:
            return []
        if event.on:
            return self._asked_for(now) if self.notice is Notice.WAITING else self._resume(PauseCause.KEYS)
        return self._pause_for_a_while(PauseCause.KEYS, now)

    def _accepted(self) -> list[Command]:
        """Yes: record, once the announcement is over."""
        if self.choice is not Choice.OPEN or self._mode is not ChoiceMode.OPT_IN:
            return []
        self._choose(Symbol.CHOICE_ACCEPTED)
        self._choice_until = None
        notes: list[Command] = [
            Note("choice.accepted", self._purpose_field()),
            AuditNote("choice.opt_in", self._purpose_field()),
        ]
        return [*notes, *self._open()] if self.notice is Notice.COMPLETED else notes

    def _refused(self, leg: LegName) -> list[Command]:
        """No: whatever there is of a recording is destroyed; the call goes on as it was."""
        if self.choice is Choice.REFUSED:
            return []
        withdrawn = self.choice is Choice.GIVEN
        self._choose(Symbol.CHOICE_REFUSED)
        by = "staff" if self._party(leg) is Party.STAFF else "outside"
        fields = (*self._purpose_field(), ("by", by))
        return [
            Note("choice.refused", fields),
            AuditNote("consent.withdrawn" if withdrawn else "choice.opt_out", fields),
            *self._decline("opt_out"),
            *self._tone(Party.OUTSIDE),
        ]

    def _no_answer(self) -> list[Command]:
        """Nobody said yes in time, which is no."""
        self._choose(Symbol.CHOICE_REFUSED)
        return [
            Note("choice.expired", self._purpose_field()),
            AuditNote("choice.timeout", self._purpose_field()),
            *self._decline("opt_in_missing"),
        ]

    def _decline(self, why: str) -> list[Command]:
        self._choice_until = None
        commands: list[Command] = []
        if self.notice in _LIVE_NOTICE:
            if self._prompt_asked:
                commands.append(StopPrompt())
                self._deadline = None
            self._notice(Symbol.NOTICE_DECLINED)
            if self._answered_at is not None:
                commands.append(SetGate(opened=True))
        if self.recording in _LIVE_RECORDING:
            self._record(Symbol.RECORDING_DISCARDED)
            self._pause_until = None
            commands.append(DiscardRecording(why))
        return commands

    def _asked_for(self, now: float) -> list[Command]:
        """Staff ask for the recording: announce it first, nothing is retroactive."""
        if (
            self.notice is not Notice.WAITING
            or not self._is_up
            or self._media.on_hold
            or self._reoffers.open is not None
        ):
            return []
        self._notice(Symbol.NOTICE_ASKED)
        return [
            SetGate(opened=False),
            AuditNote("rec.asked", self._purpose_field()),
            *self._announce(now),
        ]

    # ----------------------------------------------------------- recording

    def _open(self) -> list[Command]:
        plan, facts, proof = self._plan, self._facts, self._proof
        if plan is None or facts is None or proof is None:
            raise IllegalEvent("a recording that no announcement precedes")
        self._record(Symbol.RECORDING_REQUESTED)
        opened = OpenRecording(
            facts=facts,
            callee_call_id=self._callee_call_id,
            purpose=plan.purpose,
            legal_basis=plan.legal_basis,
            retention=plan.retention,
            policy_version=plan.policy_version,
            notice=proof,
            stream=self._media.recorded_port(),
            codecs=self._media.codecs,
        )
        return [opened, PauseRecording()] if self._pauses else [opened]

    def _recording_opened(self, event: RecordingOpened) -> list[Command]:
        if self.recording is not Recording.OPENING:
            return []  # sealed before it was open: the recorder closes it in that order
        self._record(Symbol.RECORDING_OPENED)
        self._recording_id = event.recording
        if self._pauses:
            self._record(Symbol.RECORDING_PAUSED)  # PauseRecording was sent when its cause came
            return []
        return self._tell_staff()

    def _recording_failed(self, event: RecordingFailed, now: float) -> list[Command]:
        if self.recording not in _LIVE_RECORDING or self._plan is None:
            return []
        self._record(Symbol.RECORDING_FAILED)
        failed: list[Command] = [
            Note("recording.failed", (*self._purpose_field(), ("why", event.why))),
            SealRecording("recorder failed"),
        ]
        match self._plan.on_failure:
            case OnFailure.CONTINUE:
                return failed
            case OnFailure.REFUSE:
                return [*failed, *self._end_both(503, "Recording Not Possible", now)]
        assert_never(self._plan.on_failure)

    def _toggle_pause(self, now: float) -> list[Command]:
        if PauseCause.KEYS in self._pauses:
            return self._resume(PauseCause.KEYS)
        return self._pause_for_a_while(PauseCause.KEYS, now)

    def _pause_asked(self, now: float) -> list[Command]:
        """A program asks; only where the purpose lets one."""
        if self._plan is None or not self._plan.pause.api:
            return []
        return self._pause_for_a_while(PauseCause.OPERATOR, now)

    def _pause_for_a_while(self, cause: PauseCause, now: float) -> list[Command]:
        """A pause of staff, that ends by itself; for as long as there is something to pause."""
        if self._plan is None or self.recording not in _LIVE_RECORDING or cause in self._pauses:
            return []
        self._pause_until = now + self._plan.pause.longest_s
        return self._pause(cause)

    def _end_timed_pause(self) -> list[Command]:
        """Staff forgot to go on."""
        ended = self._pauses & _TIMED_PAUSES
        self._pauses -= ended
        return self._resume(PauseCause.KEYS if PauseCause.KEYS in ended else PauseCause.OPERATOR)

    def _pause(self, cause: PauseCause) -> list[Command]:
        """Silence until no cause is left."""
        before = bool(self._pauses)
        self._pauses.add(cause)
        if before or self.recording not in {Recording.ON, Recording.OPENING}:
            return []
        if self.recording is Recording.ON:
            self._record(Symbol.RECORDING_PAUSED)
        why = (("why", cause.value),)
        return [PauseRecording(), Note("recording.paused", why), AuditNote("rec.paused", why)]

    def _resume(self, cause: PauseCause) -> list[Command]:
        """One cause less; what is recorded goes on in the codecs agreed now."""
        self._pauses.discard(cause)
        if not self._pauses & _TIMED_PAUSES:
            self._pause_until = None
        if self._pauses:
            return []
        if self.recording is Recording.PAUSED:
            self._record(Symbol.RECORDING_RESUMED)
            why = (("why", cause.value),)
            return [
                ResumeRecording(self._media.codecs),
                Note("recording.resumed", why),
                AuditNote("rec.resumed", why),
                *self._tell_staff(),
            ]
        if self.recording in {Recording.ON, Recording.OPENING}:
            return [ResumeRecording(self._media.codecs)]
        return []

    def _tell_staff(self) -> list[Command]:
        """Staff hear that what follows is recorded (law: informed on the spot, each time)."""
        if self._plan is None or not self._plan.beep:
            return []
        heard = self._tone(Party.STAFF)
        told = (*self._purpose_field(), ("method", "beep"))
        return [*heard, AuditNote("staff.notified", told)] if heard else []

    def _tone(self, party: Party) -> list[Command]:
        """The tone to one party of a call that is up; what it hears is no part of the recording."""
        speech = self._media.speech
        if speech is None or not self._is_up or self._media.on_hold:
            return []
        leg = next(leg for leg in LegName if self._party(leg) is party)
        return [PlayTone(leg, self._media.recorded_port(), speech, self._media.ptime_ms())]

    # ------------------------------------------------------------ re-offer

    def _reoffered(self, event: ReofferReceived, now: float) -> list[Command]:
        if self._is_up:
            return self._reoffers.received(event, now)
        return [] if self.is_ending else [AnswerReoffer(event.leg, 491, "Request Pending", None)]

    def hold_offered(self, now: float) -> tuple[list[Command], bool]:
        """A party wants to hold: what to do, and whether the recording was paused for it."""
        if self._notice_pending:
            return self._notice_failed("put on hold before the announcement had ended", now), False
        if self._media.on_hold:
            return [], False
        return self._pause(PauseCause.HOLD), True

    def hold_settled(self, now: float, *, resume: bool) -> list[Command]:
        """An exchange is over: pause if somebody is on hold now, else go on recording if ``resume``."""
        if self._media.on_hold:
            if self._notice_pending:
                return self._notice_failed("put on hold before the announcement had ended", now)
            return self._pause(PauseCause.HOLD)
        return self._resume(PauseCause.HOLD) if resume else []

    def end_for(self, code: int, reason: str, now: float) -> list[Command]:
        """An exchange left the legs apart: end the call."""
        return self._end_both(code, reason, now)

    # -------------------------------------------------------------- ending

    def _leg_ended(self, event: LegEnded, now: float) -> list[Command]:
        if event.leg is LegName.CALLER:
            if self.caller is CallerLeg.ENDED:
                return []
            self._caller(Symbol.CALLER_ENDED)
        else:
            if self.callee in {CalleeLeg.ENDED, CalleeLeg.IDLE}:
                return []
            self._callee(Symbol.CALLEE_ENDED)
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
            self._caller(Symbol.CALLER_ENDING)
        else:
            if self.callee in {CalleeLeg.ENDING, CalleeLeg.ENDED}:
                return []
            if self.callee is CalleeLeg.IDLE:
                self._callee(Symbol.CALLEE_ENDED)
                return []
            self._callee(Symbol.CALLEE_ENDING)
        self._deadline = now + self._limits.ending_s
        return [*self._reoffers.abandon(leg), EndLeg(leg, code, reason, retry_after_s)]

    def _close_media_of_call(self, why: str) -> list[Command]:
        """Stop an announcement that was not heard to its end; seal what is open."""
        commands: list[Command] = []
        self._choice_until = self._pause_until = None
        if self._notice_pending:
            if self._prompt_asked:
                commands.append(StopPrompt())
                commands += self._failure_notes("the call ended before the announcement had")
            self._notice(Symbol.NOTICE_FAILED)
        if self.recording in _LIVE_RECORDING:
            self._record(Symbol.RECORDING_CLOSED)
            commands.append(SealRecording(why))
        return commands

    def _give_up_on_endings(self, now: float) -> list[Command]:
        """The adapter never reported an end: take the dialogs for gone."""
        commands: list[Command] = []
        if self.caller is CallerLeg.ENDING:
            self._caller(Symbol.CALLER_ENDED)
            commands.append(Note("leg.failed", (("leg", "caller"), ("what", "no end was reported"))))
        if self.callee is CalleeLeg.ENDING:
            self._callee(Symbol.CALLEE_ENDED)
            commands.append(Note("leg.failed", (("leg", "callee"), ("what", "no end was reported"))))
        return [*commands, *self._release(now)]

    def _release(self, now: float) -> list[Command]:
        if self.caller is not CallerLeg.ENDED or self.callee is not CalleeLeg.ENDED:
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
                ("recording", self._recording_id),
                ("duration_s", round(now - self._invited_at, 3)),
                ("talk_s", round(talk, 3)),
                ("keys_pressed", self._digits),
            ),
        )

    def _purpose_field(self) -> tuple[tuple[str, str], ...]:
        return (("purpose", self._plan.purpose),) if self._plan is not None else ()

    # -------------------------------------------------------------- ground

    @property
    def _notice_pending(self) -> bool:
        return self.notice in {Notice.DUE, Notice.PLAYING}

    @property
    def is_over(self) -> bool:
        """Whether nothing of the call is, or will be, recorded any more."""
        return self.notice in {Notice.FAILED, Notice.DECLINED} or self.recording in {
            Recording.SEALED,
            Recording.ABORTED,
            Recording.DISCARDED,
        }

    @property
    def is_ending(self) -> bool:
        """Whether a leg is gone or going."""
        return self.caller in {CallerLeg.ENDING, CallerLeg.ENDED} or self.callee in {
            CalleeLeg.ENDING,
            CalleeLeg.ENDED,
        }

    @property
    def _is_up(self) -> bool:
        """Whether both parties are connected to each other."""
        return self.caller is CallerLeg.CONFIRMED and self.callee is CalleeLeg.CONFIRMED

    @property
    def _mode(self) -> ChoiceMode:
        return self._plan.choice.mode if self._plan is not None else ChoiceMode.NONE

    @property
    def trunk(self) -> str:
        """The trunk that the call came from."""
        return self._facts.trunk if self._facts is not None else ""

    def _party(self, leg: LegName) -> Party:
        inbound = self._facts is None or self._facts.direction is Direction.INBOUND
        return Party.OUTSIDE if (leg is LegName.CALLER) is inbound else Party.STAFF

    def _audience(self, plan: RecordPlan) -> tuple[LegName, ...]:
        match plan.audience:
            case Audience.BOTH:
                return (LegName.CALLER, LegName.CALLEE)
            case Audience.OUTSIDE:
                inbound = self._facts is None or self._facts.direction is Direction.INBOUND
                return (LegName.CALLER,) if inbound else (LegName.CALLEE,)
        assert_never(plan.audience)

    # -------------------------------------------------------------- tables

    def _caller(self, symbol: Symbol) -> None:
        self.caller = states.advance(states.CALLER, self.caller, symbol)

    def _callee(self, symbol: Symbol) -> None:
        self.callee = states.advance(states.CALLEE, self.callee, symbol)

    def _notice(self, symbol: Symbol) -> None:
        self.notice = states.advance(states.NOTICE, self.notice, symbol)

    def _choose(self, symbol: Symbol) -> None:
        self.choice = states.advance(states.CHOICE, self.choice, symbol)

    @property
    def _may_record(self) -> bool:
        agreed = self.choice is Choice.GIVEN or (
            self._mode is not ChoiceMode.OPT_IN and self.choice is not Choice.REFUSED
        )
        return agreed and self._is_up and self.notice is Notice.COMPLETED

    def _record(self, symbol: Symbol) -> None:
        if symbol is Symbol.RECORDING_REQUESTED and not self._may_record:
            raise IllegalEvent("a recording needs a completed notice, two confirmed legs, and no refusal")
        self.recording = states.advance(states.RECORDING, self.recording, symbol)


def _bindings(plan: RecordPlan) -> list[Binding]:
    """What which keys mean in a call of this plan."""
    bound = (
        (Party.OUTSIDE, plan.choice.accept, KeyAction.ACCEPT),
        (Party.OUTSIDE, plan.choice.refuse, KeyAction.REFUSE),
        (Party.STAFF, plan.choice.staff_refuse, KeyAction.REFUSE),
        (Party.STAFF, plan.pause.keys, KeyAction.PAUSE),
        (Party.STAFF, plan.start, KeyAction.START),
    )
    return [Binding(party, keys, action) for party, sequences, action in bound for keys in sequences]
