"""The call: four coupled machines, events in, commands out. No I/O, no clock.

The tables are in ``states.py``. What couples them is here:

* ``RECORDING_REQUESTED`` is legal only if the notice is COMPLETED and both legs
  are CONFIRMED: no audio before everybody was told (law: no secret recording).
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
from recproxy.call.commands import (
    AllocateMedia,
    AnswerCaller,
    AnswerReoffer,
    AuditNote,
    Command,
    ConnectMedia,
    EndLeg,
    InviteCallee,
    Note,
    NoticeFacts,
    OpenRecording,
    PauseRecording,
    PlayPrompt,
    ProgressCaller,
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
    Event,
    InviteReceived,
    LegEnded,
    LegFault,
    LegName,
    LocalMedia,
    MediaAllocated,
    MediaUnavailable,
    PromptCompleted,
    PromptFailed,
    PromptStarted,
    RecordingFailed,
    RecordingOpened,
    ReofferAnswered,
    ReofferReceived,
    Sdp,
)
from recproxy.call.states import CalleeLeg, CallerLeg, Notice, Recording, Symbol
from recproxy.errors import IllegalEvent
from recproxy.policy import Audience, CallQuestion, Decision, OnFailure, Pass, Record, RecordPlan
from storage.tags import Direction

_LIVE_RECORDING: Final = frozenset({Recording.OPENING, Recording.ON, Recording.PAUSED})
_DEFAULT_PTIME_MS: Final = 20


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


@dataclass(frozen=True, slots=True)
class _Reoffer:
    """A re-offer under way."""

    origin: LegName
    offer: Sdp
    selection: pick.Selection
    sent: bool
    paused_for_it: bool


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
        self.recording = Recording.OFF
        self._facts: CallFacts | None = None
        self._plan: RecordPlan | None = None
        self._decision = "undecided"
        self._offer: Sdp | None = None
        self._answer: Sdp | None = None
        self._selection: pick.Selection | None = None
        self._local: dict[LegName, tuple[LocalMedia, ...]] = {}
        self._secure: dict[LegName, bool] = {LegName.CALLER: False, LegName.CALLEE: False}
        self._held: dict[LegName, bool] = {LegName.CALLER: False, LegName.CALLEE: False}
        self._codecs: tuple[Codec, ...] = ()
        self._callee_call_id = ""
        self._reoffer: _Reoffer | None = None
        self._prompt_asked = False
        self._prompt_started: PromptStarted | None = None
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
        return self._deadline

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
                return self._confirmed(now)
            case LegEnded():
                return self._leg_ended(event, now)
            case LegFault():
                note = Note("leg.failed", (("leg", event.leg.value), ("what", event.what)))
                return [note, *self._leg_ended(LegEnded(event.leg, 500, "", by_us=False), now)]
            case ReofferReceived():
                return self._reoffered(event, now)
            case ReofferAnswered():
                return self._reoffer_answered(event, now)
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
                self._digits += 1
                return []
            case DrainExpired():
                return self._end_both(200, "", now)
        assert_never(event)

    def expire(self, now: float) -> list[Command]:
        """Act on a deadline that has passed; nothing if none has."""
        if self._deadline is None or now < self._deadline or self._released:
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
        self._offer = event.offer
        self._invited_at = now
        question = CallQuestion(
            trunk=facts.trunk,
            direction=facts.direction,
            caller=facts.caller,
            callee=facts.callee,
            anonymous=facts.anonymous,
            sos=facts.sos,
        )
        decision = self._policy.decide(question)
        notes: list[Command] = []
        selection = pick.select_all(event.offer)
        match decision:
            case Pass(why=why):
                self._decision = why.value
            case Record(plan=plan):
                self._decision = "record"
                self._plan = plan
                self.notice = Notice.DUE
                recordable = pick.select_recordable(event.offer)
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
        self._selection = selection
        self._held[LegName.CALLER] = self._is_held(event.offer)
        self._deadline = now + self._limits.setup_s
        self._media_asked = True
        return [self._offered_note(facts), *notes, AllocateMedia(facts.trunk, selection.ports)]

    def _allocated(self, event: MediaAllocated, now: float) -> list[Command]:
        if not self._media_asked:
            raise IllegalEvent("media ports that nobody asked for")
        if self._reoffer is not None and not self._reoffer.sent:
            self._local = {
                LegName.CALLER: self._local[LegName.CALLER] + event.caller,
                LegName.CALLEE: self._local[LegName.CALLEE] + event.callee,
            }
            return self._send_reoffer()
        self._local = {LegName.CALLER: event.caller, LegName.CALLEE: event.callee}
        if self.caller is not CallerLeg.INVITED or self.callee is not CalleeLeg.IDLE:
            return []
        selection, offer = self._ground()
        self._callee(Symbol.CALLEE_INVITED)
        self._deadline = now + self._limits.setup_s
        self._secure[LegName.CALLER] = secure = self._is_secure(selection, offer)
        self._secure[LegName.CALLEE] = secure if event.callee_secure is None else event.callee_secure
        return [
            self._connect(LegName.CALLER, selection, offer),
            InviteCallee(selection.offer(offer, event.callee, secure=self._secure[LegName.CALLEE])),
        ]

    def _no_media(self, event: MediaUnavailable, now: float) -> list[Command]:
        note = Note("media.unavailable", (("why", event.why),))
        if self._reoffer is not None and not self._reoffer.sent:
            origin = self._reoffer.origin
            resumed = self._close_reoffer(accepted=False)
            return [note, AnswerReoffer(origin, 488, "Not Acceptable Here", None), *resumed]
        if self.caller is not CallerLeg.INVITED:
            return [note]
        return [note, *self._end_both(503, "Media Ports Exhausted", now, retry_after_s=10)]

    def _progress(self, event: CalleeProgress) -> list[Command]:
        if self.callee not in {CalleeLeg.CALLING, CalleeLeg.PROCEEDING}:
            return []
        self._callee(Symbol.CALLEE_PROCEEDING)
        if self.caller is not CallerLeg.INVITED:
            return []
        selection, offer = self._ground()
        secure = self._secure[LegName.CALLEE]
        if event.sdp is None or not pick.takes_key(selection, event.sdp, secure=secure):
            return [ProgressCaller(event.code, event.reason, None)]
        self._answer = event.sdp
        early = selection.answer(offer, event.sdp, self._local[LegName.CALLER])
        return [
            self._connect(LegName.CALLEE, selection, event.sdp),
            SetGate(opened=True),
            ProgressCaller(event.code, event.reason, early),
        ]

    def _answered(self, event: CalleeAnswered, now: float) -> list[Command]:
        if self.callee in {CalleeLeg.ENDING, CalleeLeg.ENDED}:
            return []  # our CANCEL crossed the 200: the adapter ends that dialog
        answer = event.sdp or self._answer
        self._callee(Symbol.CALLEE_CONFIRMED)
        self._callee_call_id = event.sip_call_id
        if self.caller is not CallerLeg.INVITED:
            return []
        if answer is None:
            return self._end_both(502, "Callee Answered Without SDP", now)
        selection, offer = self._ground()
        if not pick.takes_key(selection, answer, secure=self._secure[LegName.CALLEE]):
            return self._end_both(502, "Callee Answered Without a Usable Key", now)
        self._answer = answer
        self._answered_at = now
        self._deadline = None
        self._held[LegName.CALLEE] = self._is_held(answer)
        self._caller(Symbol.CALLER_ANSWERED)
        commands: list[Command] = [
            self._connect(LegName.CALLEE, selection, answer),
            SetGate(opened=self.notice is not Notice.DUE),
            AnswerCaller(selection.answer(offer, answer, self._local[LegName.CALLER])),
            Note("call.answered", (("setup_s", round(now - self._invited_at, 3)),)),
        ]
        if self.notice is Notice.DUE:
            self._codecs = pick.agreed_codecs(selection, answer)
            if not self._codecs:
                commands += self._notice_failed("the callee agreed on no codec that can be recorded", now)
        return commands

    def _confirmed(self, now: float) -> list[Command]:
        if self.caller is not CallerLeg.ANSWERED:
            return []  # the ACK crossed our BYE, or was repeated
        self._caller(Symbol.CALLER_CONFIRMED)
        if self.notice is not Notice.DUE:
            return []
        if self._on_hold:
            return self._notice_failed("a party is on hold", now)
        selection, _ = self._ground()
        plan = self._plan
        if plan is None or selection.recorded is None:
            raise IllegalEvent("a notice is due without a plan")
        self._prompt_asked = True
        self._deadline = now + self._limits.prompt_s
        speech = next(codec for codec in self._codecs if pick.is_speech(codec))
        return [
            PlayPrompt(
                prompt=plan.prompt,
                language=plan.language,
                legs=self._audience(plan),
                stream=self._recorded_port(selection),
                codec=speech,
                ptime_ms=self._ptime(selection),
            )
        ]

    # -------------------------------------------------------------- notice

    def _prompt_is_playing(self, event: PromptStarted) -> list[Command]:
        if self.notice is not Notice.DUE or not self._prompt_asked:
            return []
        self._notice(Symbol.NOTICE_STARTED)
        self._prompt_started = event
        return [
            Note("notice.started", self._purpose_field()),
            AuditNote("announce.started", self._purpose_field()),
        ]

    def _prompt_heard(self, event: PromptCompleted, now: float) -> list[Command]:
        if self.notice is not Notice.PLAYING:
            return []
        plan, facts, started = self._plan, self._facts, self._prompt_started
        if plan is None or facts is None or started is None:
            raise IllegalEvent("an announcement ended that no plan asked for")
        missing = [leg.value for leg in self._audience(plan) if leg not in event.heard_by]
        if missing:
            return self._notice_failed(f"not heard by {', '.join(missing)}", now)
        selection, _ = self._ground()
        self._notice(Symbol.NOTICE_COMPLETED)
        self._deadline = None
        self._record(Symbol.RECORDING_REQUESTED)
        proof = NoticeFacts(
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
        return [
            Note("notice.completed", facts_of_it),
            AuditNote("announce.completed", facts_of_it),
            SetGate(opened=True),
            OpenRecording(
                facts=facts,
                callee_call_id=self._callee_call_id,
                purpose=plan.purpose,
                legal_basis=plan.legal_basis,
                retention=plan.retention,
                policy_version=plan.policy_version,
                notice=proof,
                stream=self._recorded_port(selection),
                codecs=self._codecs,
            ),
        ]

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

    # ----------------------------------------------------------- recording

    def _recording_opened(self, event: RecordingOpened) -> list[Command]:
        if self.recording is not Recording.OPENING:
            return []  # sealed before it was open: the recorder closes it in that order
        self._record(Symbol.RECORDING_OPENED)
        self._recording_id = event.recording
        if self._on_hold:
            self._record(Symbol.RECORDING_PAUSED)  # PauseRecording was sent when the hold came
        return []

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

    def _pause(self) -> list[Command]:
        if self.recording is Recording.ON:
            self._record(Symbol.RECORDING_PAUSED)
            return [PauseRecording(), Note("recording.paused", (("why", "hold"),))]
        if self.recording is Recording.OPENING:
            return [PauseRecording(), Note("recording.paused", (("why", "hold"),))]
        return []

    def _resume(self) -> list[Command]:
        if self.recording is Recording.PAUSED:
            self._record(Symbol.RECORDING_RESUMED)
            return [ResumeRecording(self._codecs), Note("recording.resumed", ())]
        if self.recording in {Recording.ON, Recording.OPENING}:
            return [ResumeRecording(self._codecs)]
        return []

    # ------------------------------------------------------------ re-offer

    def _reoffered(self, event: ReofferReceived, now: float) -> list[Command]:
        both = self.caller is CallerLeg.CONFIRMED and self.callee is CalleeLeg.CONFIRMED
        if not both:
            return [] if self._ending else [AnswerReoffer(event.leg, 491, "Request Pending", None)]
        if self._reoffer is not None:
            return [AnswerReoffer(event.leg, 491, "Request Pending", None)]
        current, _ = self._ground()
        selection = self._reselect(current, event.offer)
        if selection is None or (self._secure[event.leg] and not self._is_secure(selection, event.offer)):
            return [AnswerReoffer(event.leg, 488, "Not Acceptable Here", None)]
        commands: list[Command] = []
        held = self._is_held(event.offer, selection)
        paused_for_it = False
        if held and self._notice_pending:
            commands += self._notice_failed("put on hold before the announcement had ended", now)
            if self._ending:
                return [*commands, AnswerReoffer(event.leg, 488, "Not Acceptable Here", None)]
        elif held and not self._on_hold:
            pausing = self._pause()
            paused_for_it = bool(pausing)
            commands += pausing
        self._reoffer = _Reoffer(event.leg, event.offer, selection, sent=False, paused_for_it=paused_for_it)
        missing = selection.ports - len(self._local[LegName.CALLER])
        if missing > 0:
            trunk = self._facts.trunk if self._facts is not None else ""
            return [*commands, AllocateMedia(trunk, missing)]
        return [*commands, *self._send_reoffer()]

    def _send_reoffer(self) -> list[Command]:
        reoffer = self._reoffer
        if reoffer is None:
            raise IllegalEvent("no re-offer to send")
        self._reoffer = _Reoffer(
            reoffer.origin, reoffer.offer, reoffer.selection, sent=True, paused_for_it=reoffer.paused_for_it
        )
        target = reoffer.origin.other
        offer = reoffer.selection.offer(reoffer.offer, self._local[target], secure=self._secure[target])
        return [SendReoffer(target, offer)]

    def _reoffer_answered(self, event: ReofferAnswered, now: float) -> list[Command]:
        reoffer = self._reoffer
        if reoffer is None or not reoffer.sent or reoffer.origin is event.leg:
            return []
        if not 200 <= event.code < 300 or event.sdp is None:  # noqa: PLR2004 - SIP status classes
            resumed = self._close_reoffer(accepted=False)
            code = event.code if event.code >= 300 else 500  # noqa: PLR2004
            return [AnswerReoffer(reoffer.origin, code, event.reason, None), *resumed]
        if not pick.takes_key(reoffer.selection, event.sdp, secure=self._secure[event.leg]):
            self._reoffer = None
            refused = AnswerReoffer(reoffer.origin, 488, "Not Acceptable Here", None)
            return [refused, *self._end_both(502, "Answer Without a Usable Key", now)]
        self._selection = reoffer.selection
        self._secure[reoffer.origin] = self._is_secure(reoffer.selection, reoffer.offer)
        self._held[reoffer.origin] = self._is_held(reoffer.offer)
        self._held[event.leg] = self._is_held(event.sdp)
        commands: list[Command] = [
            self._connect(reoffer.origin, reoffer.selection, reoffer.offer),
            self._connect(event.leg, reoffer.selection, event.sdp),
            AnswerReoffer(
                reoffer.origin,
                200,
                "OK",
                reoffer.selection.answer(reoffer.offer, event.sdp, self._local[reoffer.origin]),
            ),
        ]
        if reoffer.selection.recorded is not None:
            self._codecs = pick.agreed_codecs(reoffer.selection, event.sdp) or self._codecs
        if self._on_hold and self._notice_pending:
            self._reoffer = None
            return [*commands, *self._notice_failed("put on hold before the announcement had ended", now)]
        return [*commands, *self._close_reoffer(accepted=True)]

    def _close_reoffer(self, *, accepted: bool) -> list[Command]:
        reoffer = self._reoffer
        self._reoffer = None
        if reoffer is None:
            return []
        if self._on_hold:
            return self._pause()
        return self._resume() if accepted or reoffer.paused_for_it else []

    def _reselect(self, current: pick.Selection, offer: Sdp) -> pick.Selection | None:
        """Selection for a re-offer: the recorded section stays where it is.

        So does one that we began to open and seal, when nothing is recorded any more.
        """
        over = not any(self._secure.values()) and (
            self.notice is Notice.FAILED or self.recording in {Recording.SEALED, Recording.ABORTED}
        )
        if current.recorded is None or over:
            return self._grown(pick.select_all(offer))
        again = pick.select_recordable(offer)
        if again is None or again.recorded != current.recorded:
            return None
        return again

    def _grown(self, wanted: pick.Selection) -> pick.Selection:
        """A passed call's sections keep their ports, even while one is disabled."""
        current, _ = self._ground()
        active = tuple(
            on or (index < len(current.active) and current.active[index])
            for index, on in enumerate(wanted.active)
        )
        return pick.Selection(wanted.recorded, active, wanted.keep)

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
        return [EndLeg(leg, code, reason, retry_after_s)]

    def _close_media_of_call(self, why: str) -> list[Command]:
        """Stop an announcement that was not heard to its end; seal what is open."""
        commands: list[Command] = []
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
    def _on_hold(self) -> bool:
        return self._held[LegName.CALLER] or self._held[LegName.CALLEE]

    @property
    def _ending(self) -> bool:
        return self.caller in {CallerLeg.ENDING, CallerLeg.ENDED} or self.callee in {
            CalleeLeg.ENDING,
            CalleeLeg.ENDED,
        }

    def _ground(self) -> tuple[pick.Selection, Sdp]:
        if self._selection is None or self._offer is None:
            raise IllegalEvent("the call has no offer yet")
        return self._selection, self._offer

    def _connect(self, leg: LegName, selection: pick.Selection, sdp: Sdp) -> ConnectMedia:
        """Where ``leg`` receives and with which keys, by its own offer or answer."""
        return ConnectMedia(leg, selection.connect(sdp), selection.keys(sdp, self._local[leg]))

    @staticmethod
    def _is_secure(selection: pick.Selection, offer: Sdp) -> bool:
        return selection.recorded is not None and pick.is_secure(offer.streams[selection.recorded])

    def _recorded_port(self, selection: pick.Selection) -> int:
        """Index of the recorded section among the relayed ones."""
        return sum(selection.active[: selection.recorded or 0])

    def _ptime(self, selection: pick.Selection) -> int:
        answer = self._answer
        if answer is None or selection.recorded is None:
            return _DEFAULT_PTIME_MS
        return answer.streams[selection.recorded].ptime_ms or _DEFAULT_PTIME_MS

    def _is_held(self, sdp: Sdp, selection: pick.Selection | None = None) -> bool:
        """Whether the recorded section (or the first) is not to be heard and spoken both ways."""
        chosen = selection or self._selection
        index = (chosen.recorded if chosen is not None else None) or 0
        return index < len(sdp.streams) and sdp.streams[index].held

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

    def _record(self, symbol: Symbol) -> None:
        if symbol is Symbol.RECORDING_REQUESTED and not (
            self.notice is Notice.COMPLETED
            and self.caller is CallerLeg.CONFIRMED
            and self.callee is CalleeLeg.CONFIRMED
        ):
            raise IllegalEvent("a recording needs a completed notice and two confirmed legs")
        self.recording = states.advance(states.RECORDING, self.recording, symbol)
