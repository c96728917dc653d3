"""How the legs of a call come to their end. Pure."""

from __future__ import annotations

from recproxy.call.commands import Command, EndLeg, Note
from recproxy.call.events import LegName
from recproxy.call.legs import Legs
from recproxy.call.reoffer import Reoffers
from recproxy.call.states import CalleeLeg, CallerLeg, Symbol


class Ending:
    """Ends legs, and gives up those whose end nobody reports.

    Attributes:
        until: When an end that nobody reports is taken for one, monotonic seconds; None for never.
    """

    def __init__(self, legs: Legs, reoffers: Reoffers, longest_s: float) -> None:
        """Begin with both legs alive.

        Args:
            legs: Of the call.
            reoffers: Its exchanges, none of which may stay open.
            longest_s: From ending a leg to its dialog being gone.
        """
        self._legs = legs
        self._reoffers = reoffers
        self._longest_s = longest_s
        self.until: float | None = None

    def gone(self, leg: LegName) -> bool:
        """The dialog of ``leg`` is gone; False if that is known."""
        legs = self._legs
        if leg is LegName.CALLER:
            if legs.caller is CallerLeg.ENDED:
                return False
            legs.move_caller(Symbol.CALLER_ENDED)
            return True
        if legs.callee in {CalleeLeg.ENDED, CalleeLeg.IDLE}:
            return False
        legs.move_callee(Symbol.CALLEE_ENDED)
        return True

    def end(
        self, leg: LegName, code: int, reason: str, now: float, *, retry_after_s: int | None = None
    ) -> list[Command]:
        """End ``leg``; nothing if it is gone or going."""
        legs = self._legs
        if leg is LegName.CALLER:
            if legs.caller in {CallerLeg.ENDING, CallerLeg.ENDED}:
                return []
            legs.move_caller(Symbol.CALLER_ENDING)
        else:
            if legs.callee in {CalleeLeg.ENDING, CalleeLeg.ENDED}:
                return []
            if legs.callee is CalleeLeg.IDLE:
                legs.move_callee(Symbol.CALLEE_ENDED)
                return []
            parted = legs.callee is CalleeLeg.DIVERTING
            legs.move_callee(Symbol.CALLEE_ENDING)
            if parted:  # its BYE is on its way
                self.until = now + self._longest_s
                return []
        self.until = now + self._longest_s
        return [*self._reoffers.abandon(leg), EndLeg(leg, code, reason, retry_after_s)]

    def give_up(self) -> list[Command]:
        """The adapter never reported an end: take the dialogs for gone."""
        legs = self._legs
        commands: list[Command] = []
        self.until = None
        if legs.caller is CallerLeg.ENDING:
            legs.move_caller(Symbol.CALLER_ENDED)
            commands.append(Note("leg.failed", (("leg", "caller"), ("what", "no end was reported"))))
        if legs.callee is CalleeLeg.ENDING:
            legs.move_callee(Symbol.CALLEE_ENDED)
            commands.append(Note("leg.failed", (("leg", "callee"), ("what", "no end was reported"))))
        return commands
