"""The two dialogs of a call, and who sits at which end. Pure."""

from __future__ import annotations

from recproxy.call import states
from recproxy.call.events import LegName
from recproxy.call.keypad import Party
from recproxy.call.states import CalleeLeg, CallerLeg, Symbol

_CALLER_GONE = frozenset({CallerLeg.ENDING, CallerLeg.ENDED})
_CALLEE_GONE = frozenset({CalleeLeg.ENDING, CalleeLeg.ENDED})


class Legs:
    """State of both dialogs; changed by the machine alone.

    Attributes:
        caller: Of our UAS dialog.
        callee: Of our UAC dialog.
        inbound: Whether the caller is the party outside the organisation.
        guests: Legs of the inside at which a party of the outside sits by now.
    """

    def __init__(self) -> None:
        """Begin with an INVITE received and none sent."""
        self.caller = CallerLeg.INVITED
        self.callee = CalleeLeg.IDLE
        self.inbound = True
        self.guests: frozenset[LegName] = frozenset()

    @property
    def is_up(self) -> bool:
        """Whether both parties are connected to each other."""
        return self.caller is CallerLeg.CONFIRMED and self.callee is CalleeLeg.CONFIRMED

    @property
    def is_early(self) -> bool:
        """Whether the callee rings, or speaks already, and the call is not answered."""
        return self.caller is CallerLeg.INVITED and self.callee is CalleeLeg.PROCEEDING

    @property
    def is_ending(self) -> bool:
        """Whether a leg is gone or going."""
        return self.caller in _CALLER_GONE or self.callee in _CALLEE_GONE

    @property
    def are_gone(self) -> bool:
        """Whether both dialogs are gone."""
        return self.caller is CallerLeg.ENDED and self.callee is CalleeLeg.ENDED

    def party(self, leg: LegName) -> Party:
        """Who sits at the far end of ``leg``."""
        return Party.OUTSIDE if (leg is LegName.CALLER) is self.inbound else Party.STAFF

    def speaker(self, leg: LegName) -> Party:
        """Whose keys are pressed at the far end of ``leg``."""
        return Party.OUTSIDE if leg in self.guests else self.party(leg)

    def seat(self, leg: LegName, *, outside: bool) -> None:
        """Somebody else sits at the far end of ``leg`` now."""
        self.guests -= {leg}
        if outside and self.party(leg) is Party.STAFF:
            self.guests |= {leg}

    def leg(self, party: Party) -> LegName:
        """The leg of ``party``."""
        return LegName.CALLER if self.party(LegName.CALLER) is party else LegName.CALLEE

    def move_caller(self, symbol: Symbol) -> None:
        """Advance the caller's dialog.

        Raises:
            IllegalEvent: Its state does not allow it.
        """
        self.caller = states.advance(states.CALLER, self.caller, symbol)

    def move_callee(self, symbol: Symbol) -> None:
        """Advance the callee's dialog.

        Raises:
            IllegalEvent: Its state does not allow it.
        """
        self.callee = states.advance(states.CALLEE, self.callee, symbol)
