"""The call: five coupled machines, events in, commands out. No I/O, no clock.

The tables are in ``states.py``. What couples them:

* ``RECORDING_REQUESTED`` is legal only if the notice is COMPLETED and both legs
  are CONFIRMED: no audio before everybody was told (law: no secret recording),
  and only if nobody said no, or, where a yes is needed, somebody said it
  (``permission.py``).
* A leg that ends ends the other, and seals an open recording, in the same list
  of commands (here).
* A notice that fails has the outcome its purpose names, never a default.

A SIP or media event that crossed one of our commands on its way (a prompt that
ended just before it was stopped, say) is not illegal: it is answered with
nothing. An event that no race explains raises ``IllegalEvent`` and changes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, assert_never

from recproxy.call import selection as pick
from recproxy.call.agreement import Agreement
from recproxy.call.commands import (
    AnswerReoffer,
    AuditNote,
    Command,
    Note,
    ReleaseMedia,
    purpose_fields,
)
from recproxy.call.diverting import REFUSED, Diversion
from recproxy.call.ending import Ending
from recproxy.call.events import (
    CalleeAnswered,
    CalleeProgress,
    CallerConfirmed,
    CallFacts,
    DigitPressed,
    DrainExpired,
    EarlyAnswer,
    Event,
    ForkChanged,
    ForkInvited,
    IndicationRefused,
    InviteReceived,
    LegEnded,
    LegFault,
    LegName,
    MediaAllocated,
    MediaRenewed,
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
    TopicNamed,
    TransferAsked,
)
from recproxy.call.history import History
from recproxy.call.indications import Indications
from recproxy.call.keypad import Party
from recproxy.call.legs import Legs
from recproxy.call.permission import Permission, has_passed
from recproxy.call.reoffer import Reoffers
from recproxy.call.setup import Setup
from recproxy.call.states import CalleeLeg, CallerLeg, Choice, Notice, PauseCause, Recording
from recproxy.errors import IllegalEvent
from recproxy.policy import (
    CallQuestion,
    Decision,
    DeclinePlan,
    Newcomer,
    NewParty,
    OnFailure,
    Pass,
    PassReason,
    Record,
    RecordPlan,
)
from storage.tags import Direction


class Decider(Protocol):
    """What the machine asks of the policy."""

    def decide(self, question: CallQuestion) -> Decision:
        """Tell what happens to a call with these facts; pure."""
        ...

    def newcomer(self, number: str, *, outside: bool) -> Newcomer:
        """Tell what it means that this number joins a call; pure."""
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


RecorderFault: TypeAlias = Callable[[str], str | None]
"""Tells why nothing can be recorded for a purpose at present; None if it can."""


def no_fault(_purpose: str) -> str | None:
    """Everything can be recorded."""
    return None


def fault_of(plan: RecordPlan, recorder_fault: RecorderFault) -> str | None:
    """Why a call cannot be recorded for one of its purposes at present; None if it can for all."""
    purposes = [one.purpose for one in plan.purposes] or [plan.purpose]
    return next(filter(None, map(recorder_fault, purposes)), None)


class CallMachine:
    """One call, from INVITE to the end of both dialogs.

    ``now`` is monotonic seconds everywhere. The object is used by one thread.
    """

    def __init__(self, policy: Decider, limits: Limits, *, recorder_fault: RecorderFault = no_fault) -> None:
        """Prepare a call.

        Args:
            policy: Decides whether the call is recorded.
            limits: Guard times.
            recorder_fault: Why nothing can be recorded for a purpose at present; None if it can.
        """
        self._policy = policy
        self._recorder_fault = recorder_fault
        self._legs = Legs()
        self._facts: CallFacts | None = None
        self._history = History()
        self._media = Agreement()
        self._permission = Permission(self._legs, self._media, self._history, self, limits.prompt_s)
        self._reoffers = Reoffers(self._media, self)
        self._setup = Setup(self._legs, self._media, self._history, self, limits.setup_s)
        self._ending = Ending(self._legs, self._reoffers, limits.ending_s)
        self._diversion = Diversion(
            self._legs,
            self._media,
            self._reoffers,
            self,
            ring_s=limits.setup_s,
            part_s=limits.ending_s,
        )
        self._released = False
        self._told = Indications()
        self._topics: tuple[str, ...] = ()

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
        return self._permission.notice.state

    @property
    def choice(self) -> Choice:
        """What was said to being recorded."""
        return self._permission.choice.state

    @property
    def recording(self) -> Recording:
        """State of the recording."""
        return self._permission.recording.state

    def deadline(self) -> float | None:
        """When ``expire`` must be called, in monotonic seconds; None for never."""
        own = (self._setup.until, self._ending.until, self._diversion.until, self._told.until)
        awaited = [instant for instant in (*own, *self._permission.instants) if instant is not None]
        return min(awaited) if awaited else None

    # ------------------------------------------------------------------ events

    def receive(self, event: Event, now: float) -> list[Command]:
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
        commands = self._take(event, now)
        return [*commands, *self._indications()]

    def _take(self, event: Event, now: float) -> list[Command]:  # noqa: C901, PLR0911, PLR0912 - one row an event
        permission = self._permission
        match event:
            case InviteReceived():
                return self._invited(event, now)
            case MediaAllocated():
                waits = self._reoffers.awaits_ports
                return self._reoffers.allocated(event) if waits else self._setup.allocated(event, now)
            case MediaRenewed():
                return self._diversion.renewed(event, now)
            case MediaUnavailable():
                return self._no_media(event, now)
            case CalleeProgress():
                diverted = self._diversion.number
                return self._diversion.progress(event) if diverted else self._setup.progress(event)
            case CalleeAnswered():
                return self._answered(event, now)
            case CallerConfirmed():
                return self._confirmed(event, now)
            case EarlyAnswer():
                return [] if self.is_ending else self._setup.accepted_early(event, now)
            case LegEnded():
                return self._leg_ended(event, now)
            case LegFault():
                note = Note("leg.failed", (("leg", event.leg.value), ("what", event.what)))
                if event.by_sdp and self.caller is CallerLeg.INVITED:
                    return [note, *self.end_for(488, "Not Acceptable Here", now)]
                return [note, *self._leg_ended(LegEnded(event.leg, 500, "", by_us=False), now)]
            case ReofferReceived():
                return self._reoffered(event, now)
            case ReofferAnswered():
                return self._reoffers.answered(event, now)
            case ReofferConfirmed():
                return self._reoffers.confirmed(event.leg, event.sdp, now)
            case PromptStarted():
                return permission.prompt_started(event)
            case PromptCompleted():
                return permission.prompt_heard(event, now)
            case PromptFailed():
                return permission.prompt_failed(event.why, now)
            case RecordingOpened():
                return permission.recording_opened(event, now)
            case RecordingFailed():
                return permission.recording_failed(event, now)
            case DigitPressed():
                return permission.pressed(event, now)
            case RecordAsked():
                return permission.record_asked(event, now)
            case PartyJoined():
                outside = self._legs.party(event.leg) is Party.OUTSIDE
                newcomer = self._policy.newcomer(event.number, outside=outside)
                if event.answering:
                    return permission.answers(event.leg, newcomer)
                return permission.joined(event.leg, newcomer, now)
            case TransferAsked():
                return self._transferred(event)
            case IndicationRefused():
                self._told.refused(event, now)
                return []
            case PreferenceTold():
                return permission.prefers(event.leg, event.preference, now)
            case PauseAsked():
                return permission.recording.ask_pause(now)
            case ResumeAsked():
                return permission.recording.resume(PauseCause.OPERATOR, now)
            case TopicNamed():
                return self._named(event, now)
            case DrainExpired():
                return self.end_for(200, "", now)
            case ForkInvited() | ForkChanged():
                raise IllegalEvent("an event of a forked call in a call of ours")
        assert_never(event)

    def expire(self, now: float) -> list[Command]:
        """Act on a deadline that has passed; nothing if none has."""
        if self._released:
            return []
        commands = self._expire(now)
        return [*commands, *self._indications()]

    def _expire(self, now: float) -> list[Command]:
        self._told.expire(now)
        if any(has_passed(instant, now) for instant in self._permission.instants):
            return self._permission.expire(now)
        if has_passed(self._ending.until, now):
            return [*self._ending.give_up(), *self._release(now)]
        if has_passed(self._setup.until, now):
            return self.end_for(408, "Request Timeout", now)
        if has_passed(self._diversion.until, now):
            return self._diversion.expire(now)
        return []

    def _indications(self) -> list[Command]:
        """Tell record-aware telephones what has changed, once no offer is under way."""
        if self.is_ending:
            self._told.close()
        between = self.is_negotiating or self._permission.recording.follows
        return [] if between or not self._legs.is_up else self._told.tell(self.recording)

    # ------------------------------------------------------------ setting up

    def _invited(self, event: InviteReceived, now: float) -> list[Command]:
        if self._facts is not None:
            raise IllegalEvent("a second INVITE for one call")
        self._facts = facts = event.facts
        self._legs.inbound = facts.direction is Direction.INBOUND
        self._told.aware = frozenset({LegName.CALLER}) if facts.aware else frozenset()
        offer = self._setup.offered(event.offer)
        history = self._history
        history.invited_at = now
        decision = self._policy.decide(question_of(facts))
        notes: list[Command] = []
        selection = pick.select_all(offer)
        match decision:
            case Pass(why=why, topics=topics):
                history.decision = why.value
                recordable = pick.select_recordable(offer) if topics else None
                self._topics = () if recordable is None else topics
                selection = recordable or selection
            case Record(plan=plan):
                history.decision = "record"
                self._permission.take(plan, facts)
                recordable = pick.select_recordable(offer)
                down = fault_of(plan, self._recorder_fault)
                fault = down or (None if recordable else "no codec that can be recorded")
                if fault is None and recordable is not None:
                    selection = recordable
                else:
                    notes = self._permission.notice.fail(str(fault))
                    if plan.on_failure is OnFailure.REFUSE:
                        code = 503 if down else 488
                        text = "Recorder Unavailable" if down else "Not Acceptable Here"
                        return [history.offered(facts), *notes, *self.end_for(code, text, now)]
        return [history.offered(facts), *notes, *self._setup.begin(selection, facts.trunk, now)]

    def _named(self, event: TopicNamed, now: float) -> list[Command]:
        """A program says what the call is for: tell the parties, and then record it."""
        facts = self._facts
        if facts is None or event.purpose not in self._topics:
            return []
        if self.is_ending or self.is_negotiating or self._media.on_hold:
            return []
        decision = self._policy.decide(replace(question_of(facts), topic=event.purpose))
        if not isinstance(decision, Record):
            return []
        self._topics = ()
        self._history.decision = "record"
        self._permission.take(decision.plan, facts)
        fields = purpose_fields(decision.plan)
        notes: list[Command] = [Note("topic.named", fields), AuditNote("topic.named", fields)]
        fault = fault_of(decision.plan, self._recorder_fault)
        if fault is not None:
            return [*notes, *self._permission.fail(fault, now)]
        return [*notes, *self._permission.named(now)]

    def _no_media(self, event: MediaUnavailable, now: float) -> list[Command]:
        if self._reoffers.awaits_ports:
            return [Note("media.unavailable", (("why", event.why),)), *self._reoffers.no_ports(now)]
        return self._setup.no_ports(event, now)

    def _answered(self, event: CalleeAnswered, now: float) -> list[Command]:
        if event.aware:
            self._told.aware |= {LegName.CALLEE}
        if self._diversion.number:
            return self._diversion.answered(event, now)
        commands = self._setup.answered(event, now, opened=self.notice is not Notice.DUE)
        if not commands or self.is_ending:
            return commands
        return [*commands, *self._permission.answered(now)]

    def _confirmed(self, event: CallerConfirmed, now: float) -> list[Command]:
        if self.caller is not CallerLeg.ANSWERED:
            return []  # the ACK crossed our BYE, or was repeated
        commands = self._setup.confirmed(event, now)
        return commands if self.is_ending else [*commands, *self._permission.confirmed(now)]

    # ------------------------------------------------------------ re-offer

    def _reoffered(self, event: ReofferReceived, now: float) -> list[Command]:
        if self._legs.is_up or (self._legs.is_early and self._media.answer is not None):
            return self._reoffers.received(event, now)
        return [] if self.is_ending else [AnswerReoffer(event.leg, 491, "Request Pending", None)]

    def hold_offered(self, now: float) -> tuple[list[Command], bool]:
        """A party wants to hold: what to do, and whether the recording was paused for it."""
        return self._permission.hold_offered(now) if self.is_up else ([], False)

    def hold_settled(self, now: float, *, resume: bool) -> list[Command]:
        """An exchange is over: pause if somebody is on hold now, else go on recording if ``resume``."""
        return self._permission.hold_settled(now, resume=resume) if self.is_up else []

    def _transferred(self, event: TransferAsked) -> list[Command]:
        """A party sends the other on: what comes of it is a call of its own, but not every end is free."""
        permission = self._permission
        newcomer = self._policy.newcomer(event.number, outside=True)
        if newcomer.exempt is not None:
            return permission.exempt(event.leg, newcomer.exempt)
        stops = permission.plan is not None and permission.plan.on_new_party is NewParty.STOP
        return permission.stop("sent on to somebody else") if stops else []

    # -------------------------------------------------------------- ending

    def refused(self, decline: DeclinePlan, now: float) -> list[Command]:
        """A party refused what a statute orders, and knows: go on elsewhere, or end the call."""
        diverted = self._diversion.begin(decline, now)
        if diverted:
            self._told.aware -= {LegName.CALLEE}
        return diverted or self.end_for(*REFUSED, now)

    def end_for(
        self, code: int, reason: str, now: float, *, retry_after_s: int | None = None
    ) -> list[Command]:
        """End the call, on our own."""
        self._history.ends(LegEnded(LegName.CALLER, code, reason, by_us=True))
        commands = self._close_media_of_call("ended by recproxy")
        commands += self._ending.end(LegName.CALLER, code, reason, now, retry_after_s=retry_after_s)
        commands += self._ending.end(LegName.CALLEE, code, reason, now)
        return [*commands, *self._release(now)]

    def _leg_ended(self, event: LegEnded, now: float) -> list[Command]:
        if event.leg is LegName.CALLEE and self._diversion.number:
            return self._diversion.gone(event, now)
        if not self._ending.gone(event.leg):
            return []
        self._history.ends(event)
        commands = self._close_media_of_call("hangup")
        code, reason = (event.code, event.reason) if event.code >= 300 else (200, event.reason)  # noqa: PLR2004
        commands += self._ending.end(event.leg.other, code, reason, now)
        return [*commands, *self._release(now)]

    def _close_media_of_call(self, why: str) -> list[Command]:
        self._setup.until = None
        self._diversion.close()
        return self._permission.close(why)

    def _release(self, now: float) -> list[Command]:
        if not self._legs.are_gone:
            return []
        self._released = True
        self._ending.until = None
        release: list[Command] = [ReleaseMedia()] if self._setup.asked else []
        name = self._permission.recording.name
        return [
            *release,
            self._history.ended(
                now, self.notice, self._permission.choice.said, self._permission.recording.outcome, name
            ),
        ]

    # -------------------------------------------------------------- ground

    @property
    def is_over(self) -> bool:
        """Whether nothing of the call is, or will be, recorded any more."""
        return self._permission.is_over

    @property
    def is_up(self) -> bool:
        """Whether both parties are connected to each other."""
        return self._legs.is_up

    @property
    def is_ending(self) -> bool:
        """Whether a leg is gone or going."""
        return self._legs.is_ending

    @property
    def is_negotiating(self) -> bool:
        """Whether an offer is under way."""
        return self._reoffers.open is not None

    @property
    def callee_call_id(self) -> str:
        """Call-ID of the callee's dialog; empty before its answer."""
        return self._setup.callee_call_id

    def exempts(self, number: str) -> PassReason | None:
        """Why nothing may be recorded with this number; None if it may."""
        return self._policy.newcomer(number, outside=False).exempt

    @property
    def trunk(self) -> str:
        """The trunk that the call came from."""
        return self._facts.trunk if self._facts is not None else ""


def question_of(facts: CallFacts) -> CallQuestion:
    """What the policy is asked about a call."""
    return CallQuestion(
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
        topic=facts.topic,
    )
