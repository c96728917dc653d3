"""What is recorded of a call: opened, paused, gone on with, closed or destroyed. Pure.

There may be several recordings in sequence: one body has one beginning and one end for all of its
purposes, so where a purpose begins later than another, or ends sooner, the recording is closed there
and another goes on from the same instant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
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
    PartRecording,
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
_RUNS: Final = frozenset({Recording.ON, Recording.PAUSED})
_TIMED: Final = frozenset({PauseCause.KEYS, PauseCause.OPERATOR})  # end by themselves


class CallRecording:
    """The recording and its pauses; whether it may begin is the machine's to say.

    Attributes:
        state: Of the recording.
        causes: Why it is paused.
        until: When a pause of staff ends by itself, monotonic seconds; None for never.
        beep_at: When staff hear the tone again, monotonic seconds; None for never.
        name: Its id, or theirs with commas, in order; empty until one is open.
        follows: Whether it goes on from one that was closed, and is not open yet.
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
        self._opening: OpenRecording | None = None
        self._earlier: tuple[str, ...] = ()
        self.state = Recording.OFF
        self.causes: frozenset[PauseCause] = frozenset()
        self.until: float | None = None
        self.beep_at: float | None = None
        self.name = ""
        self.follows = False
        self._joined = False

    @property
    def is_live(self) -> bool:
        """Whether it is open, or about to be."""
        return self.state in _LIVE

    @property
    def is_over(self) -> bool:
        """Whether it has been, and is no more."""
        return self.state in {Recording.SEALED, Recording.ABORTED, Recording.DISCARDED}

    @property
    def outcome(self) -> Recording:
        """What became of it all: closed, if there is none at present and was one before."""
        return Recording.SEALED if self.state is Recording.OFF and self._earlier else self.state

    @property
    def runs(self) -> bool:
        """Whether it is open."""
        return self.state in _RUNS

    @property
    def serves(self) -> frozenset[str]:
        """Ids of the purposes that it is made for; none if it is not made."""
        return frozenset(one.purpose for one in self._purposes) if self.is_live else frozenset()

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
        opened = self._asked_of(facts, callee_call_id, purposes, proofs)
        self._move(Symbol.RECORDING_REQUESTED)
        self._purposes, self._opening = purposes, opened
        return [opened, PauseRecording()] if self.causes else [opened]

    def follow(
        self,
        facts: CallFacts,
        callee_call_id: str,
        purposes: tuple[PurposePlan, ...],
        proofs: Mapping[str, NoticeFacts],
        now: float,
    ) -> list[Command]:
        """Close what runs, and go on for these purposes, some of which were announced just now.

        Args:
            facts: The call.
            callee_call_id: Call-ID of the callee's dialog.
            purposes: What the other is made for, the leading one first.
            proofs: What was heard, by purpose.
            now: Monotonic seconds.

        Raises:
            IllegalEvent: No announcement precedes, or nothing runs.
        """
        following = self._asked_of(facts, callee_call_id, purposes, proofs)
        staff = self._tell_staff(now) if self.state is Recording.ON else []
        return [*self._part(purposes, following, "purpose_began", guarded=True), *staff]

    def _asked_of(
        self,
        facts: CallFacts,
        callee_call_id: str,
        purposes: tuple[PurposePlan, ...],
        proofs: Mapping[str, NoticeFacts],
    ) -> OpenRecording:
        plan = self._plan
        if plan is None or not purposes or any(one.purpose not in proofs for one in purposes):
            raise IllegalEvent("a recording that no announcement precedes")
        lead, *others = purposes
        return OpenRecording(
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

    def refuse(
        self, gone: Sequence[PurposePlan], why: str, *, more: bool = False, closing: bool = False
    ) -> list[Command]:
        """A party said no to some of its purposes, or to all that are left.

        What was recorded before is destroyed for them, in recordings that were closed before too,
        unless a purpose lets it stay.

        Args:
            gone: The purposes.
            why: The reason.
            more: Another recording may follow.
            closing: It is sealed next.
        """
        staying = {one.purpose for one in gone if one.choice.effect is ChoiceEffect.STOP}
        ending = {one.purpose for one in gone}
        left, hit = self._without(ending)
        shredded = tuple(dict.fromkeys(one.purpose for one in gone if one.purpose not in staying))
        if hit and not left and not ending & staying & self.serves:
            return self.discard(why, shredded if self._earlier else None, more=more)
        reached = self.serves.union(self._earlier)
        dropped = tuple(name for name in shredded if name in reached)
        commands: list[Command] = [DropPurposes(dropped, why)] if dropped else []
        if not hit:
            return commands
        self._purposes = tuple(one for one in self._purposes if one.purpose not in dropped)
        return commands if closing else [*commands, *self.end(ending & staying, why, more=more)]

    def end(self, purposes: Collection[str], why: str, *, more: bool) -> list[Command]:
        """Record no further for these purposes; what there is stays, and goes on for those left.

        Args:
            purposes: Their ids.
            why: The reason.
            more: Another recording may follow.
        """
        left, hit = self._without(purposes)
        if not hit:
            return []
        if not left:
            return self.seal(why, more=more)
        if not self.runs or self._opening is None:  # there is as good as nothing for them yet
            self._purposes = left
            return [DropPurposes(tuple(one.purpose for one in hit), why, earlier=False)]
        return self._part(left, _narrowed(self._opening, left), why, guarded=False)

    def _without(self, purposes: Collection[str]) -> tuple[tuple[PurposePlan, ...], tuple[PurposePlan, ...]]:
        """Those of its purposes that are left without these, and those that are not."""
        live = self._purposes if self.is_live else ()
        return (
            tuple(one for one in live if one.purpose not in purposes),
            tuple(one for one in live if one.purpose in purposes),
        )

    def _part(
        self, purposes: tuple[PurposePlan, ...], following: OpenRecording, why: str, *, guarded: bool
    ) -> list[Command]:
        """Close what runs, and go on in another."""
        self._leave()
        self._move(Symbol.RECORDING_PARTED)
        self._move(Symbol.RECORDING_REQUESTED)
        self._purposes, self._opening, self.follows = purposes, following, True
        return [PartRecording(why, following, guarded)]

    def _leave(self) -> None:
        """What it serves now was recorded before."""
        self._earlier = tuple(dict.fromkeys((*self._earlier, *(one.purpose for one in self._purposes))))
        self.follows = False

    def opened(self, event: RecordingOpened, now: float) -> list[Command]:
        """It exists."""
        if self.state is not Recording.OPENING:
            return []  # sealed before it was open: the recorder closes it in that order
        self._move(Symbol.RECORDING_OPENED)
        self.name = f"{self.name},{event.recording}" if self.name else event.recording
        named = NameRecording(event.recording)
        followed, self.follows = self.follows, False
        if self.causes:
            self._move(Symbol.RECORDING_PAUSED)  # PauseRecording was sent when its cause came
            return [named]
        if followed:
            self._tell_again(now)
            return [named]
        return [named, *self._tell_staff(now)]

    def fail(self, why: str) -> list[Command]:
        """The recorder lost it; what it holds is kept for salvage."""
        self._leave()
        self._move(Symbol.RECORDING_FAILED)
        purposes = ",".join(one.purpose for one in self._purposes)
        return [
            Note("recording.failed", (("purpose", purposes), ("why", why))),
            SealRecording("recorder failed"),
        ]

    def seal(self, why: str, *, more: bool = False) -> list[Command]:
        """Close what is open; pauses of staff are over. For good, unless ``more`` may follow."""
        self.until = None
        if not self.is_live:
            return []
        self._leave()
        self._over(Symbol.RECORDING_CLOSED, more=more)
        return [SealRecording(why)]

    def discard(
        self, why: str, purposes: tuple[str, ...] | None = None, *, more: bool = False
    ) -> list[Command]:
        """Destroy what is open; nobody is told its name any more.

        Args:
            why: The reason.
            purposes: What is destroyed of recordings that were closed before; None: there is none.
            more: Another recording may follow.
        """
        if not self.is_live:
            return []
        self._over(Symbol.RECORDING_DISCARDED, more=more)
        self.until = None
        unnamed = [NameRecording("")] if self.name else []
        return [DiscardRecording(why, purposes), *unnamed]

    def _over(self, symbol: Symbol, *, more: bool) -> None:
        self._move(Symbol.RECORDING_PARTED if more else symbol)
        self.follows = False
        if more:
            self.causes -= _TIMED | {PauseCause.NOTICE}

    def give_up(self, why: str) -> list[Command]:
        """Somebody joins who is never recorded: destroy it, but for what a statute orders (C-8, C-5).

        That was recorded before he came, as it had to be; it is closed at this instant and kept
        for its statute alone.
        """
        statutory = self._plan.statutory if self._plan is not None else frozenset()
        kept = tuple(one for one in self._purposes if one.purpose in statutory)
        served = (*self._earlier, *(one.purpose for one in self._purposes if self.is_live))
        gone = tuple(dict.fromkeys(name for name in served if name not in statutory))
        if self.is_live and not kept:
            return self.discard(why, gone if self._earlier else None)
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

    def resume_told(self, now: float) -> list[Command]:
        """Everybody was told of what must be: no cause is left for want of that."""
        if PauseCause.NOTICE not in self.causes:
            return self.resume(PauseCause.PARTY, now)
        self.causes -= {PauseCause.PARTY}
        return self.resume(PauseCause.NOTICE, now)

    def resume_if(self, cause: PauseCause, now: float) -> list[Command]:
        """One cause less, if it is one."""
        return self.resume(cause, now) if cause in self.causes else []

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
        self._tell_again(now)
        return self._tones.tell_staff(self._plan, joined=joined)

    def _tell_again(self, now: float) -> None:
        if self._plan is not None and self._plan.staff_notice is StaffNotice.BEEP_REPEAT:
            self.beep_at = now + REPEATED_EVERY_S

    def _move(self, symbol: Symbol) -> None:
        self.state = states.advance(states.RECORDING, self.state, symbol)
        self.beep_at = None


def _narrowed(opened: OpenRecording, left: Sequence[PurposePlan]) -> OpenRecording:
    """The same for some of its purposes, under the announcements that were heard."""
    first = FurtherPurpose(
        opened.purpose, opened.legal_basis, opened.retention, opened.notice, opened.from_end
    )
    each = {one.purpose: one for one in (first, *opened.further)}
    lead, *others = (each[one.purpose] for one in left)
    return replace(
        opened,
        purpose=lead.purpose,
        legal_basis=lead.legal_basis,
        retention=lead.retention,
        notice=lead.notice,
        from_end=lead.from_end,
        further=tuple(others),
    )
