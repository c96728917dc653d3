"""A call that a recording client forks to us (SIPREC, RFC 7866): one dialog, no announcement of ours.

The client (an SBC, a PBX) has announced, or nobody has: recproxy cannot play a sound into a
fork. So nothing is recorded before what the policy takes for evidence of it is there,
and a fork of which that can never be is refused. Events in, commands out; no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import assert_never

from recproxy.call.agreement import Agreement
from recproxy.call.choice import CallChoice
from recproxy.call.commands import (
    AllocateMedia,
    AnswerReoffer,
    Command,
    EndLeg,
    Note,
    ReleaseMedia,
    SwapSides,
)
from recproxy.call.events import (
    CallerConfirmed,
    CallFacts,
    DigitPressed,
    DrainExpired,
    Event,
    ForkChanged,
    ForkInvited,
    LegEnded,
    LegFault,
    LegName,
    MediaAllocated,
    MediaUnavailable,
    PauseAsked,
    RecordingFailed,
    RecordingOpened,
    ResumeAsked,
)
from recproxy.call.forkmedia import Taken, take
from recproxy.call.forknotice import ForkEvidence
from recproxy.call.keypad import KeyAction, Wish
from recproxy.call.legs import Legs
from recproxy.call.machine import Decider, Limits, RecorderFault, fault_of, no_fault, question_of
from recproxy.call.recording import CallRecording
from recproxy.call.selection import Selection
from recproxy.call.states import CallerLeg, Choice, ForkTold, PauseCause, Recording, Symbol
from recproxy.call.tones import Tones
from recproxy.errors import IllegalEvent
from recproxy.policy import Decision, Pass, PassReason, PurposePlan, Record, RecordPlan
from storage.tags import Direction

__all__ = ["ForkedCall"]

_FORBIDDEN = 403
_NOT_ACCEPTABLE_HERE = 488


class ForkedCall:
    """One fork, from INVITE to the end of its dialog.

    ``now`` is monotonic seconds everywhere. The object is used by one thread.
    """

    def __init__(self, policy: Decider, limits: Limits, *, recorder_fault: RecorderFault = no_fault) -> None:
        """Prepare a fork.

        Args:
            policy: Decides whether the call is recorded.
            limits: Guard times.
            recorder_fault: Why nothing can be recorded for a purpose at present; None if it can.
        """
        self._policy = policy
        self._limits = limits
        self._recorder_fault = recorder_fault
        self._legs = Legs()
        self._agreement = Agreement()
        self._agreement.choose(Selection(0, (True,), (None,)))
        self._evidence = ForkEvidence(self._legs)
        self._choice = CallChoice()
        # With one dialog nobody is connected to anybody: tones fall away.
        self._recording = CallRecording(self._agreement, Tones(self._legs, self._agreement))
        self._facts: CallFacts | None = None
        self._plan: RecordPlan | None = None
        self._taken: Taken | None = None
        self._decision = "undecided"
        self._invited_at = 0.0
        self._answered_at: float | None = None
        self._deadline: float | None = None
        self._media_asked = False
        self._first_end: LegEnded | None = None
        self._released = False
        self._digits = 0
        self._swapped = False

    @property
    def ended(self) -> bool:
        """Whether the dialog is gone and everything was released."""
        return self._released

    @property
    def dialog(self) -> CallerLeg:
        """State of the client's dialog."""
        return self._legs.caller

    @property
    def told(self) -> ForkTold:
        """What is known of the announcement."""
        return self._evidence.state

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
        instants = (self._deadline, self._choice.until, self._recording.until)
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
            IllegalEvent: It is not one of a fork, or no race explains it; nothing changed.
        """
        if self._released:
            return []
        match event:
            case ForkInvited():
                return self._invited(event, now)
            case ForkChanged():
                return self._changed(event, now)
            case MediaAllocated():
                return self._allocated(event, now)
            case MediaUnavailable():
                note = Note("media.unavailable", (("why", event.why),))
                return [note, *self._end(503, "Media Ports Exhausted", now, retry_after_s=10)]
            case CallerConfirmed():
                return self._confirmed(now)
            case LegEnded():
                return self._ended(event, now)
            case LegFault():
                note = Note("leg.failed", (("leg", "src"), ("what", event.what)))
                return [note, *self._ended(LegEnded(event.leg, 500, "", by_us=False), now)]
            case RecordingOpened():
                return self._recording.opened(event, now)
            case RecordingFailed():
                failed = self._recording.fail(event.why) if self._recording.is_live else []
                return [*failed, *self._end(503, "Recording Not Possible", now)] if failed else []
            case DigitPressed():
                return self._pressed(event, now)
            case PauseAsked():
                return self._recording.ask_pause(now)
            case ResumeAsked():
                return self._recording.resume(PauseCause.OPERATOR, now)
            case DrainExpired():
                return self._end(200, "", now)
            case _:
                return self._nothing_of_ours(event)

    def expire(self, now: float) -> list[Command]:
        """Act on a deadline that has passed; nothing if none has."""
        if self._released:
            return []
        if _has_passed(self._choice.until, now):
            notes, gone = self._choice.expire()
            return [*notes, *self._go_without(gone, "opt_in_missing", now)]
        if _has_passed(self._recording.until, now):
            return self._recording.end_timed_pause(now)
        if not _has_passed(self._deadline, now):
            return []
        self._deadline = None
        note = Note("leg.failed", (("leg", "src"), ("what", "no end was reported")))
        return [note, *self._ended(LegEnded(LegName.CALLER, 408, "", by_us=True), now)]

    @staticmethod
    def _nothing_of_ours(event: Event) -> list[Command]:
        """Events that a fork has no use for; a client may wish or confirm something all the same."""
        name = type(event).__name__
        if name in {"RecordAsked", "ReofferConfirmed", "ReofferAnswered", "TopicNamed"}:
            return []
        raise IllegalEvent(f"{name} in a call that is forked to us")

    # ------------------------------------------------------------ setting up

    def _invited(self, event: ForkInvited, now: float) -> list[Command]:
        if self._facts is not None:
            raise IllegalEvent("a second INVITE for one call")
        self._invited_at = now
        self._facts = facts = event.facts
        decision = self._decide(facts)
        match decision:
            case Pass(why=reason):
                self._decision = reason.value
                return [self._offered_note(), *self._end(_FORBIDDEN, "Not To Be Recorded", now)]
            case Record(plan=whole):
                plan = whole.at_once  # nobody presses a key to begin another: it is announced elsewhere
                self._decision = "record"
                self._plan = plan
                self._evidence.take(plan)
                self._choice.take(plan)
                self._recording.take(plan)
            case _:
                assert_never(decision)
        self._legs.inbound = self._facts.direction is Direction.INBOUND
        refusal = self._why_not(event, plan)
        if refusal is not None:
            code, text, why = refusal
            return [self._offered_note(), *self._evidence.fail(why), *self._end(code, text, now)]
        told = self._hear(event, now)
        self._media_asked = True
        return [self._offered_note(), *told, AllocateMedia(self._facts.trunk, 1)]

    def _decide(self, facts: CallFacts) -> Decision:
        """As the trunk's direction has it; if no purpose is for such a call, as in the other."""
        decision = self._policy.decide(question_of(facts))
        if isinstance(decision, Pass) and decision.why is PassReason.NO_RULE:
            other = Direction.OUTBOUND if facts.direction is Direction.INBOUND else Direction.INBOUND
            turned = replace(facts, direction=other)
            again = self._policy.decide(question_of(turned))
            if not isinstance(again, Pass) or again.why is not PassReason.NO_RULE:
                self._facts = turned
                return again
        return decision

    def _why_not(self, event: ForkInvited, plan: RecordPlan) -> tuple[int, str, str] | None:
        """Why it cannot be recorded: status, reason phrase, and the same for the log; None if it can."""
        self._taken = take(event.offer, event.sides)
        down = fault_of(plan, self._recorder_fault)
        if down is not None:
            return 503, "Recorder Unavailable", down
        if self._taken is None:
            return _NOT_ACCEPTABLE_HERE, "No Audio That Can Be Recorded", "no codec that can be recorded"
        why = self._evidence.why_not(event.notice)
        return (_FORBIDDEN, "No Evidence Of The Announcement", why) if why else None

    def _allocated(self, event: MediaAllocated, now: float) -> list[Command]:
        taken = self._taken
        if not self._media_asked or taken is None:
            raise IllegalEvent("media ports that nobody asked for")
        self._agreement.local = {LegName.CALLER: event.caller, LegName.CALLEE: event.callee}
        if self.dialog is not CallerLeg.INVITED:
            return []
        self._agreement.codecs = taken.all_codecs
        self._legs.move_caller(Symbol.CALLER_ANSWERED)
        self._answered_at = now
        return [
            *taken.connect(self._agreement.local),
            taken.answer(self._agreement.local, again=False),
            Note("call.answered", (("setup_s", round(now - self._invited_at, 3)),)),
        ]

    def _confirmed(self, now: float) -> list[Command]:
        if self.dialog is not CallerLeg.ANSWERED:
            return []  # the ACK crossed our BYE, or was repeated
        self._legs.move_caller(Symbol.CALLER_CONFIRMED)
        paused = self._taken is not None and self._taken.paused
        return [*(self._recording.pause(PauseCause.HOLD) if paused else []), *self._open_after_notice(now)]

    # ---------------------------------------------------- later in the call

    def _changed(self, event: ForkChanged, now: float) -> list[Command]:
        return [*self._moved(event), *self._offered_again(event, now)]

    def _moved(self, event: ForkChanged) -> list[Command]:
        """Metadata alone may say that the voices changed sections; any other move needs an offer."""
        if event.offer is not None or self._taken is None or self.dialog is CallerLeg.INVITED:
            return []
        swapped = self._taken.is_swapped(event.sides)
        if swapped is None or swapped is self._swapped:
            return []
        self._swapped = swapped
        return [SwapSides(swapped)]

    def _offered_again(self, event: ForkChanged, now: float) -> list[Command]:
        if self.dialog is not CallerLeg.CONFIRMED:
            if self._legs.caller in {CallerLeg.ENDING, CallerLeg.ENDED} or event.offer is None:
                return []
            return [AnswerReoffer(LegName.CALLER, 491, "Request Pending", None)]
        commands: list[Command] = []
        if event.offer is not None:
            taken = take(event.offer, event.sides)
            if taken is None:
                return [AnswerReoffer(LegName.CALLER, _NOT_ACCEPTABLE_HERE, "Not Acceptable Here", None)]
            self._taken = taken
            commands = self._retaken(taken, now)
        if self.told is ForkTold.DUE and event.notice is not None and event.notice.completed:
            why = self._evidence.why_not(event.notice)
            if why:
                text = "No Evidence Of The Announcement"
                return [*commands, *self._evidence.fail(why), *self._end(_FORBIDDEN, text, now)]
            commands += [*self._hear(event, now), *self._open_after_notice(now)]
        return commands

    def _retaken(self, taken: Taken, now: float) -> list[Command]:
        """Go on with another offer: elsewhere, in other codecs, the other way round, paused or no longer."""
        changed = self._agreement.codecs != taken.all_codecs
        self._agreement.codecs = taken.all_codecs
        local = self._agreement.local
        commands: list[Command] = [*taken.connect(local), taken.answer(local, again=True)]
        if self._swapped:  # each section is sent to its speaker's ports again
            self._swapped = False
            commands.append(SwapSides(swapped=False))
        if taken.paused:
            return [*commands, *self._recording.pause(PauseCause.HOLD)]
        if changed or PauseCause.HOLD in self._recording.causes:
            commands += self._recording.resume(PauseCause.HOLD, now)
        return commands

    # -------------------------------------------------------------- choice

    def _pressed(self, event: DigitPressed, now: float) -> list[Command]:
        """A key in one of the streams; the action is the plan's."""
        self._digits += 1
        if self._legs.is_ending:
            return []
        party = self._legs.party(event.leg)
        match self._choice.keypad.press(party, event.digit, now):
            case Wish(KeyAction.ACCEPT, purposes):
                return [*self._choice.accept(purposes), *self._open()]
            case Wish(KeyAction.REFUSE, purposes):
                told = self.told is ForkTold.COMPLETED
                notes, gone = self._choice.refuse(party, purposes, announced=told)
                return [*notes, *self._go_without(gone, "opt_out", now)] if gone else []
            case Wish(KeyAction.PAUSE):
                return self._recording.toggle(now)
            case _:
                return []

    def _go_without(self, gone: tuple[PurposePlan, ...], why: str, now: float) -> list[Command]:
        """A no: what there is for these purposes goes, or ends; with the last of them so does the fork."""
        ended = self._recording.refuse(gone, why)
        if self._choice.left:
            return [*ended, *self._open()]
        self._evidence.decline()
        return [*ended, *self._end(_FORBIDDEN, "Recording Refused", now)]

    # ----------------------------------------------------------- recording

    def _hear(self, event: ForkInvited | ForkChanged, now: float) -> list[Command]:
        """Keep what shows that the parties were told, if it is there; the choice is open from then on."""
        facts = self._facts
        if facts is None:
            raise IllegalEvent("an announcement in a call that has not begun")
        at = facts.received + timedelta(seconds=now - self._invited_at)
        told = self._evidence.hear(event.notice, at)
        return [*told, *self._choice.offer([one.purpose for one in self._choice.left])] if told else []

    def _open_after_notice(self, now: float) -> list[Command]:
        told = self.told is ForkTold.COMPLETED
        return [] if not told or self._choice.awaits_yes(now) else self._open()

    def _open(self) -> list[Command]:
        """Begin to record, if everything that must be is: the dialog, the evidence, and no no."""
        if (
            self._facts is None
            or self.dialog is not CallerLeg.CONFIRMED
            or self.told is not ForkTold.COMPLETED
            or not self._choice.allows
            or self.recording is not Recording.OFF
        ):
            return []
        proof, left = self._evidence.proof, self._choice.left
        proofs = {} if proof is None else {one.purpose: proof for one in left}
        return self._recording.open(self._facts, "", left, proofs)

    # -------------------------------------------------------------- ending

    def _ended(self, event: LegEnded, now: float) -> list[Command]:
        if self.dialog is CallerLeg.ENDED:
            return []
        self._legs.move_caller(Symbol.CALLER_ENDED)
        self._first_end = self._first_end or event
        self._choice.until = self._deadline = None
        commands = self._recording.seal("hangup")
        self._released = True
        release: list[Command] = [ReleaseMedia()] if self._media_asked else []
        return [*commands, *release, self._ended_note(now)]

    def _end(self, code: int, text: str, now: float, *, retry_after_s: int | None = None) -> list[Command]:
        if self.dialog in {CallerLeg.ENDING, CallerLeg.ENDED}:
            return []
        self._first_end = self._first_end or LegEnded(LegName.CALLER, code, text, by_us=True)
        self._choice.until = None
        self._legs.move_caller(Symbol.CALLER_ENDING)
        self._deadline = now + self._limits.ending_s
        sealed = self._recording.seal("ended by recproxy")
        return [*sealed, EndLeg(LegName.CALLER, code, text, retry_after_s)]

    # --------------------------------------------------------------- notes

    def _offered_note(self) -> Note:
        facts = self._facts
        return Note(
            "call.offered",
            (
                ("trunk", facts.trunk if facts is not None else ""),
                ("direction", facts.direction.value if facts is not None else ""),
                ("decision", self._decision),
                ("purpose", self._plan.names if self._plan is not None else ""),
            ),
        )

    def _ended_note(self, now: float) -> Note:
        end = self._first_end
        by_us = end is None or end.by_us
        return Note(
            "call.ended",
            (
                (
                    "outcome",
                    "answered" if self._answered_at is not None else "failed" if by_us else "cancelled",
                ),
                ("code", end.code if end is not None else 0),
                ("ended_by", "recproxy" if by_us else "src"),
                ("decision", self._decision),
                ("purpose", self._plan.names if self._plan is not None else ""),
                ("notice", self.told.name.lower()),
                ("choice", self._choice.said),
                ("recording_state", self.recording.name.lower()),
                ("recording", self._recording.name),
                ("duration_s", round(now - self._invited_at, 3)),
                ("talk_s", round(now - self._answered_at, 3) if self._answered_at is not None else 0.0),
                ("keys_pressed", self._digits),
            ),
        )


def _has_passed(instant: float | None, now: float) -> bool:
    return instant is not None and now >= instant
