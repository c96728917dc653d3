"""What the parties say to being recorded, and the keys they say it by. Pure."""

from __future__ import annotations

from recproxy.call import states
from recproxy.call.commands import AuditNote, Command, Note, purpose_fields
from recproxy.call.keypad import Binding, KeyAction, Keypad, Party
from recproxy.call.states import Choice, Symbol
from recproxy.policy import ChoiceEffect, ChoiceMode, ChoiceWindow, RecordPlan


class CallChoice:
    """Yes, no, or nothing yet.

    Attributes:
        state: Of the choice.
        until: When silence is a no, monotonic seconds; None for never.
        keypad: The keys of this call.
    """

    def __init__(self) -> None:
        """Begin with nothing to choose."""
        self._plan: RecordPlan | None = None
        self.state = Choice.NOT_OFFERED
        self.until: float | None = None
        self.keypad = Keypad(())

    @property
    def mode(self) -> ChoiceMode:
        """What may be chosen."""
        return self._plan.choice.mode if self._plan is not None else ChoiceMode.NONE

    @property
    def allows(self) -> bool:
        """Whether what was said so far lets a recording be made."""
        return self.state is Choice.GIVEN or (
            self.mode is not ChoiceMode.OPT_IN and self.state is not Choice.REFUSED
        )

    def take(self, plan: RecordPlan) -> None:
        """A purpose applies: its keys are heard."""
        self._plan = plan
        self.keypad = Keypad(_bindings(plan))

    def offer(self) -> list[Command]:
        """The announcement began, which tells of the keys."""
        if self.mode is ChoiceMode.NONE:
            return []
        self._move(Symbol.CHOICE_OFFERED)
        return [AuditNote("choice.offered", (*purpose_fields(self._plan), ("mode", self.mode.value)))]

    def awaits_yes(self, now: float) -> bool:
        """The announcement ended: whether a yes is still needed, and then until when."""
        if self._plan is None or self.mode is not ChoiceMode.OPT_IN or self.state is not Choice.OPEN:
            return False
        self.until = now + self._plan.choice.window_s
        return True

    def accept(self) -> list[Command]:
        """Yes; empty if nobody asked."""
        if self.state is not Choice.OPEN or self.mode is not ChoiceMode.OPT_IN:
            return []
        self._move(Symbol.CHOICE_ACCEPTED)
        self.until = None
        fields = purpose_fields(self._plan)
        return [Note("choice.accepted", fields), AuditNote("choice.opt_in", fields)]

    @property
    def destroys(self) -> bool:
        """Whether a no takes back what was recorded before it; a consent that is withdrawn always does."""
        plan = self._plan
        return plan is None or plan.choice.effect is ChoiceEffect.STOP_AND_SHRED

    def refuse(self, party: Party, *, announced: bool) -> list[Command]:
        """No, for the rest of the call; empty if that was said before, or comes too late.

        Args:
            party: Who says so; staff say it for the other, at any time.
            announced: The announcement is over.
        """
        if self.state is Choice.REFUSED or (announced and party is Party.OUTSIDE and self._is_closed):
            return []
        withdrawn = self.state is Choice.GIVEN
        self._move(Symbol.CHOICE_REFUSED)
        self.until = None
        fields = (*purpose_fields(self._plan), ("by", party.value))
        return [
            Note("choice.refused", fields),
            AuditNote("consent.withdrawn" if withdrawn else "choice.opt_out", fields),
        ]

    def expire(self) -> list[Command]:
        """Nobody said yes in time, which is no."""
        self._move(Symbol.CHOICE_REFUSED)
        self.until = None
        fields = purpose_fields(self._plan)
        return [Note("choice.expired", fields), AuditNote("choice.timeout", fields)]

    @property
    def _is_closed(self) -> bool:
        """Whether the outside party may refuse during the announcement alone."""
        plan = self._plan
        return plan is not None and plan.choice.refused_in is ChoiceWindow.ANNOUNCEMENT

    def _move(self, symbol: Symbol) -> None:
        self.state = states.advance(states.CHOICE, self.state, symbol)


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
