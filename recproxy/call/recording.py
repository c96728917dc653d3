"""The one recording that a call may have: opened, paused, gone on with, closed or destroyed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from recproxy.call import states
from recproxy.call.agreement import Agreement
from recproxy.call.commands import (
    AuditNote,
    Command,
    DiscardRecording,
    DropPurposes,
    FurtherPurpose,
    NameRecording,
    Note,
    NoticeFacts,
    OpenRecording,
    PauseRecording,
    ResumeRecording,
    SealRecording,
)
from recproxy.call.events import CallFacts, RecordingOpened
from recproxy.call.keypad import Party
from recproxy.call.states import PauseCause, Recording, Symbol
from recproxy.call.tones import REPEATED_EVERY_S, Tones
from recproxy.errors import IllegalEvent
from recproxy.policy import ChoiceEffect, PurposePlan, RecordPlan, StaffNotice

_LIVE: Final = frozenset({Recording.OPENING, Recording.ON, Recording.PAUSED})
_RUNNING: Final = frozenset({Recording.OPENING, Recording.ON})
_TIMED: Final = frozenset({PauseCause.KEYS, PauseCause.OPERATOR})  # end by themselves


class CallRecording:
    """The recording and its pauses; whether it may begin is the machine's to say.

    Attributes:
        state: Of the recording.
        causes: Why it is paused.
        until: When a pause of staff ends by itself, monotonic seconds; None for never.
        beep_at: When staff hear the tone again, monotonic seconds; None for never.
        name: Its id; empty until it is open.
    """

    def __init__(self, agreement: Agreement, tones: Tones) -> None:
        """Begin with none.

        Args:
            agreement: What is recorded.
            tones: How staff are told.
        """
        self._agreement = agreement
        self._tones = tones
        self._plan: RecordPlan | None = None
        self._purposes: tuple[PurposePlan, ...] = ()
        self.state = Recording.OFF
        self.causes: frozenset[PauseCause] = frozenset()
        self.until: float | None = None
        self.beep_at: float | None = None
        self.name = ""
        self._joined = False

    @property
    def is_live(self) -> bool:
        """Whether it is open, or about to be."""
        return self.state in _LIVE

    @property
    def is_over(self) -> bool:
        """Whether it has been, and is no more."""
        return self.state in {Recording.SEALED, Recording.ABORTED, Recording.DISCARDED}

    def take(self, plan: RecordPlan) -> None:
        """A purpose applies."""
        self._plan = plan

    def open(
        self,
        facts: CallFacts,
        callee_call_id: str,
        purposes: tuple[PurposePlan, ...],
        proofs: Mapping[str, NoticeFacts],
    ) -> list[Command]:
        """Ask the recorder for it; the caller has looked whether it may.

        Args:
            facts: The call.
            callee_call_id: Call-ID of the callee's dialog.
            purposes: What it is made for, the leading one first.
            proofs: What was heard, by purpose.

        Raises:
            IllegalEvent: No announcement precedes, or there has been a recording.
        """
        plan = self._plan
        if plan is None or not purposes or any(one.purpose not in proofs for one in purposes):
            raise IllegalEvent("a recording that no announcement precedes")
        self._move(Symbol.RECORDING_REQUESTED)
        self._purposes = purposes
        lead, *others = purposes
        opened = OpenRecording(
            facts=facts,
            callee_call_id=callee_call_id,
            purpose=lead.purpose,
            legal_basis=lead.legal_basis,
            retention=lead.retention,
            policy_version=plan.policy_version,
            notice=proofs[lead.purpose],
            stream=self._agreement.recorded_port(),
            codecs=self._agreement.codecs,
            further=tuple(
                FurtherPurpose(one.purpose, one.legal_basis, one.retention, proofs[one.purpose], one.from_end)
                for one in others
            ),
            from_end=lead.from_end,
        )
        return [opened, PauseRecording()] if self.causes else [opened]

    def refuse(self, gone: Sequence[PurposePlan], why: str) -> list[Command]:
        """A party said no to some of its purposes, or to all that are left.

        What was recorded before stays only where every purpose that is left is refused and one
        of them lets it stay: one body cannot end for one purpose and go on for another.
        """
        names = {one.purpose for one in gone}
        hit = tuple(one for one in self._purposes if one.purpose in names)
        if not self.is_live or not hit:
            return []
        left = tuple(one for one in self._purposes if one not in hit)
        staying = () if left else tuple(one for one in hit if one.choice.effect is ChoiceEffect.STOP)
        if not left and not staying:
            return self.discard(why)
        self._purposes = left or staying
        dropped = tuple(one.purpose for one in hit if one not in staying)
        drop: list[Command] = [DropPurposes(dropped, why)] if dropped else []
        return drop if left else [*drop, *self.seal(why)]

    def opened(self, event: RecordingOpened, now: float) -> list[Command]:
        """It exists."""
        if self.state is not Recording.OPENING:
            return []  # sealed before it was open: the recorder closes it in that order
        self._move(Symbol.RECORDING_OPENED)
        self.name = event.recording
        named = NameRecording(event.recording)
        if self.causes:
            self._move(Symbol.RECORDING_PAUSED)  # PauseRecording was sent when its cause came
            return [named]
        return [named, *self._tell_staff(now)]

    def fail(self, why: str) -> list[Command]:
        """The recorder lost it; what it holds is kept for salvage."""
        self._move(Symbol.RECORDING_FAILED)
        purposes = ",".join(one.purpose for one in self._purposes)
        return [
            Note("recording.failed", (("purpose", purposes), ("why", why))),
            SealRecording("recorder failed"),
        ]

    def seal(self, why: str) -> list[Command]:
        """Close what is open, for good; pauses are over."""
        self.until = None
        if not self.is_live:
            return []
        self._move(Symbol.RECORDING_CLOSED)
        return [SealRecording(why)]

    def discard(self, why: str) -> list[Command]:
        """Destroy what is open; nobody is told its name any more."""
        if not self.is_live:
            return []
        self._move(Symbol.RECORDING_DISCARDED)
        self.until = None
        unnamed = [NameRecording("")] if self.name else []
        return [DiscardRecording(why), *unnamed]

    def give_up(self, why: str) -> list[Command]:
        """Somebody joins who is never recorded: destroy it, but for what a statute orders (C-8, C-5).

        That was recorded before he came, as it had to be; it is closed at this instant and kept
        for its statute alone.
        """
        statutory = self._plan.statutory if self._plan is not None else frozenset()
        kept = tuple(one for one in self._purposes if one.purpose in statutory)
        if not self.is_live or not kept:
            return self.discard(why)
        gone = tuple(one.purpose for one in self._purposes if one not in kept)
        self._purposes = kept
        drop: list[Command] = [DropPurposes(gone, why)] if gone else []
        return [*drop, *self.seal(why)]

    def toggle(self, now: float) -> list[Command]:
        """The key of staff: pause, or go on."""
        if PauseCause.KEYS in self.causes:
            return self.resume(PauseCause.KEYS, now)
        return self.pause_for_a_while(PauseCause.KEYS, now)

    def ask_pause(self, now: float) -> list[Command]:
        """A program asks for a pause; only where the purpose lets one."""
        if self._plan is None or not self._plan.pause.api:
            return []
        return self.pause_for_a_while(PauseCause.OPERATOR, now)

    def pause_for_a_while(self, cause: PauseCause, now: float) -> list[Command]:
        """A pause of staff, that ends by itself; for as long as there is something to pause."""
        if self._plan is None or not self.is_live or cause in self.causes:
            return []
        self.until = now + self._plan.pause.longest_s
        return self.pause(cause)

    def end_timed_pause(self, now: float) -> list[Command]:
        """Staff forgot to go on."""
        ended = self.causes & _TIMED
        self.causes -= ended
        return self.resume(PauseCause.KEYS if PauseCause.KEYS in ended else PauseCause.OPERATOR, now)

    def pause(self, cause: PauseCause) -> list[Command]:
        """Silence until no cause is left."""
        before = self.causes
        self.causes |= {cause}
        if before or self.state not in _RUNNING:
            return []
        if self.state is Recording.ON:
            self._move(Symbol.RECORDING_PAUSED)
        why = (("why", cause.value),)
        return [PauseRecording(), Note("recording.paused", why), AuditNote("rec.paused", why)]

    def resume(self, cause: PauseCause, now: float) -> list[Command]:
        """One cause less; what is recorded goes on in the codecs agreed now."""
        self.causes -= {cause}
        if not self.causes & _TIMED:
            self.until = None
        if self.causes:
            return []
        if self.state is Recording.PAUSED:
            self._move(Symbol.RECORDING_RESUMED)
            why = (("why", cause.value),)
            return [
                ResumeRecording(self._agreement.codecs),
                Note("recording.resumed", why),
                AuditNote("rec.resumed", why),
                *self._tell_staff(now),
            ]
        return [ResumeRecording(self._agreement.codecs)] if self.state in _RUNNING else []

    def beep_again(self, now: float) -> list[Command]:
        """Staff are still recorded, and hear it."""
        self.beep_at = now + REPEATED_EVERY_S
        return self._tones.to(Party.STAFF)

    def staff_joined(self, now: float) -> list[Command]:
        """Staff who have not heard the announcement hear of it: at once, or when it goes on."""
        self._joined = True
        return self._tell_staff(now) if self.state is Recording.ON else []

    def _tell_staff(self, now: float) -> list[Command]:
        if self._plan is None:
            return []
        joined, self._joined = self._joined, False
        if self._plan.staff_notice is StaffNotice.BEEP_REPEAT:
            self.beep_at = now + REPEATED_EVERY_S
        return self._tones.tell_staff(self._plan, joined=joined)

    def _move(self, symbol: Symbol) -> None:
        self.state = states.advance(states.RECORDING, self.state, symbol)
        self.beep_at = None
