"""What the parties say to being recorded, purpose by purpose, and the keys they say it by. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from recproxy.call import states
from recproxy.call.commands import AuditNote, Command, Note
from recproxy.call.keypad import Binding, KeyAction, Keypad, Party, Wish
from recproxy.call.states import Choice, Symbol
from recproxy.policy import ChoiceMode, ChoiceWindow, PurposePlan, RecordPlan

_STRICTEST: Final = (ChoiceMode.OPT_IN, ChoiceMode.OPT_OUT, ChoiceMode.NONE)


class CallChoice:
    """Yes, no, or nothing yet, to each purpose of the call.

    Attributes:
        until: When silence is a no, monotonic seconds; None for never.
        keypad: The keys of this call.
    """

    def __init__(self) -> None:
        """Begin with nothing to choose."""
        self._plans: tuple[PurposePlan, ...] = ()
        self._states: Mapping[str, Choice] = {}
        self._asleep: frozenset[str] = frozenset()
        self.until: float | None = None
        self.keypad = Keypad(())

    @property
    def state(self) -> Choice:
        """Of the whole: REFUSED once each purpose is, else the most that was said to those left."""
        if self._plans and not self.unrefused:
            return Choice.REFUSED
        said = {self._states[plan.purpose] for plan in self.left}
        return next((one for one in (Choice.OPEN, Choice.GIVEN) if one in said), Choice.NOT_OFFERED)

    @property
    def said(self) -> str:
        """The same for the log, which also tells a refusal of some purposes."""
        partly = self.refused and self.unrefused
        return "refused_in_part" if partly else self.state.name.lower()

    @property
    def mode(self) -> ChoiceMode:
        """What may be chosen: of several purposes the strictest."""
        found = {plan.choice.mode for plan in self._plans}
        return next((mode for mode in _STRICTEST if mode in found), ChoiceMode.NONE)

    @property
    def left(self) -> tuple[PurposePlan, ...]:
        """Purposes that nobody said no to, without those that staff may ask for; the leading one first."""
        return tuple(plan for plan in self.unrefused if plan.purpose not in self._asleep)

    @property
    def unrefused(self) -> tuple[PurposePlan, ...]:
        """Purposes that nobody said no to, those that staff may still ask for among them."""
        return tuple(plan for plan in self._plans if self._states[plan.purpose] is not Choice.REFUSED)

    @property
    def refused(self) -> frozenset[str]:
        """Ids of the purposes that somebody said no to."""
        return frozenset(name for name, said in self._states.items() if said is Choice.REFUSED)

    @property
    def allows(self) -> bool:
        """Whether what was said so far lets a recording be made, for those left."""
        return bool(self.left) and not self._pending

    @property
    def holds_up(self) -> bool:
        """Whether a yes is awaited while another purpose leaves no choice: then nobody speaks yet."""
        return bool(self._pending) and any(plan.choice.mode is ChoiceMode.NONE for plan in self.left)

    def take(self, plan: RecordPlan) -> None:
        """Purposes apply: their keys are heard."""
        self._plans = plan.each
        self._states = {one.purpose: Choice.NOT_OFFERED for one in plan.each}
        self._asleep = plan.waiting
        self.keypad = Keypad(_bindings(plan))

    def wake(self, purposes: Collection[str]) -> tuple[str, ...]:
        """Staff ask for these: which of them were not asked for, and are not refused."""
        woken = tuple(
            plan.purpose
            for plan in self.unrefused
            if plan.purpose in purposes and plan.purpose in self._asleep
        )
        self._asleep -= set(woken)
        return woken

    def lull(self, purposes: Collection[str]) -> None:
        """These are over until staff ask for them again; what was said to them is forgotten."""
        for plan in self.left:
            if plan.purpose in purposes:
                if self._states[plan.purpose] in {Choice.OPEN, Choice.GIVEN}:
                    self._move(plan, Symbol.CHOICE_LAPSED)
                self._asleep |= {plan.purpose}
        self._settle()

    def offer(self, purposes: Collection[str]) -> list[Command]:
        """An announcement began, which tells of the keys for these purposes."""
        offered = [
            plan
            for plan in self._plans
            if plan.purpose in purposes
            and plan.choice.mode is not ChoiceMode.NONE
            and self._states[plan.purpose] is Choice.NOT_OFFERED
        ]
        notes: list[Command] = []
        for plan in offered:
            self._move(plan, Symbol.CHOICE_OFFERED)
            fields = (("purpose", plan.purpose), ("mode", plan.choice.mode.value))
            notes.append(AuditNote("choice.offered", fields))
        return notes

    def ask_again(self) -> list[Command]:
        """Somebody joined: a yes that was said is none of his."""
        notes: list[Command] = []
        for plan in self.left:
            if self._states[plan.purpose] is Choice.GIVEN:
                self._move(plan, Symbol.CHOICE_OFFERED)
                fields = (("purpose", plan.purpose), ("mode", plan.choice.mode.value))
                notes.append(AuditNote("choice.offered", fields))
        self.until = None
        return notes

    def awaits_yes(self, now: float) -> bool:
        """The announcements ended: whether a yes is still needed, and then until when."""
        pending = self._pending
        if not pending:
            return False
        self.until = now + max(plan.choice.window_s for plan in pending)
        return True

    def accept(self, purposes: Collection[str]) -> list[Command]:
        """Yes to these; empty if nobody asked."""
        given = [
            plan
            for plan in self._pending
            if plan.purpose in purposes and self._states[plan.purpose] is Choice.OPEN
        ]
        if not given:
            return []
        for plan in given:
            self._move(plan, Symbol.CHOICE_ACCEPTED)
        self._settle()
        audits = [AuditNote("choice.opt_in", (("purpose", plan.purpose),)) for plan in given]
        return [Note("choice.accepted", _named(given)), *audits]

    def refuse(
        self, party: Party, purposes: Collection[str], *, announced: bool
    ) -> tuple[list[Command], tuple[PurposePlan, ...]]:
        """No to these, for the rest of the call.

        Args:
            party: Who says so; staff say it for the other, at any time.
            purposes: Which.
            announced: The announcements are over.

        Returns:
            What is written, and the purposes that are gone; none if that was said before, or
            comes too late.
        """
        gone = tuple(
            plan
            for plan in self.unrefused
            if plan.purpose in purposes and not (announced and party is Party.OUTSIDE and _closes_early(plan))
        )
        notes: list[Command] = []
        if gone:
            notes.append(Note("choice.refused", (*_named(gone), ("by", party.value))))
        for plan in gone:
            withdrawn = self._states[plan.purpose] is Choice.GIVEN
            self._move(plan, Symbol.CHOICE_REFUSED)
            audit_event = "consent.withdrawn" if withdrawn else "choice.opt_out"
            notes.append(AuditNote(audit_event, (("purpose", plan.purpose), ("by", party.value))))
        self._settle()
        return notes, gone

    def expire(self) -> tuple[list[Command], tuple[PurposePlan, ...]]:
        """Nobody said yes in time, which is no: what is written, and the purposes that are gone."""
        gone = self._pending
        for plan in gone:
            self._move(plan, Symbol.CHOICE_REFUSED)
        self.until = None
        audits = [AuditNote("choice.timeout", (("purpose", plan.purpose),)) for plan in gone]
        return [Note("choice.expired", _named(gone)), *audits], gone

    @property
    def _pending(self) -> tuple[PurposePlan, ...]:
        """Purposes that need a yes and have neither that nor a no."""
        return tuple(
            plan
            for plan in self.left
            if plan.choice.mode is ChoiceMode.OPT_IN and self._states[plan.purpose] is not Choice.GIVEN
        )

    def _settle(self) -> None:
        if not self._pending:
            self.until = None

    def _move(self, plan: PurposePlan, symbol: Symbol) -> None:
        moved = states.advance(states.CHOICE, self._states[plan.purpose], symbol)
        self._states = {**self._states, plan.purpose: moved}


def _named(plans: Collection[PurposePlan]) -> tuple[tuple[str, str], ...]:
    return (("purpose", ",".join(plan.purpose for plan in plans)),)


def _closes_early(plan: PurposePlan) -> bool:
    """Whether the outside party may refuse during the announcement alone."""
    return plan.choice.refused_in is ChoiceWindow.ANNOUNCEMENT


def _bindings(plan: RecordPlan) -> list[Binding]:
    """What which keys mean in a call of this plan; one key can speak of several purposes."""
    meant: dict[tuple[Party, str, KeyAction], list[str]] = {}
    for one in plan.each:
        for party, sequences, action in (
            (Party.OUTSIDE, one.choice.accept, KeyAction.ACCEPT),
            (Party.OUTSIDE, one.choice.refuse, KeyAction.REFUSE),
            (Party.STAFF, one.choice.staff_refuse, KeyAction.REFUSE),
            (Party.STAFF, one.start, KeyAction.START),
            (Party.STAFF, one.stop, KeyAction.STOP),
        ):
            for keys in sequences:
                meant.setdefault((party, keys, action), []).append(one.purpose)
    said = [Binding(party, keys, Wish(action, tuple(of))) for (party, keys, action), of in meant.items()]
    pausing = [Binding(Party.STAFF, keys, Wish(KeyAction.PAUSE)) for keys in plan.pause.keys]
    spoken = {key.keys: key.words.language for one in plan.each for key in one.languages}
    speaking = [
        Binding(Party.OUTSIDE, keys, Wish(KeyAction.LANGUAGE, language=language))
        for keys, language in spoken.items()
    ]
    return [*said, *pausing, *speaking]
