"""What record-aware telephones are told of the recording (RFC 7866 section 7.1), and told again. Pure.

An offer of ours that meets one of theirs is answered 491; it is made again after the time of RFC 3261
section 14.1: who owns the Call-ID of the dialog waits longer. The callee's dialog is ours.
"""

from __future__ import annotations

from typing import Final

from recproxy.call.commands import Command, IndicateRecording, RecordState
from recproxy.call.events import IndicationRefused, LegName
from recproxy.call.states import Recording

_SAID: Final = {Recording.ON: RecordState.ON, Recording.PAUSED: RecordState.PAUSED}
#: Least and greatest wait in seconds, in steps of 10 ms; by leg.
_WAITS_S: Final = {LegName.CALLER: (0.0, 2.0), LegName.CALLEE: (2.1, 4.0)}
_STEP_S: Final = 0.01
_MOST_TRIES: Final = 5
"""Of one state; then the next body that goes to the telephone tells it."""


class Indications:
    """Which telephones are told, of what, and when again.

    Attributes:
        aware: Legs whose telephone understands.
    """

    def __init__(self) -> None:
        """Begin with nobody to tell, and nothing recorded."""
        self.aware: frozenset[LegName] = frozenset()
        self._said = RecordState.OFF
        self._tries: dict[LegName, int] = {}
        self._at: dict[LegName, float] = {}
        self._due: frozenset[LegName] = frozenset()

    @property
    def until(self) -> float | None:
        """When somebody is to be told again, monotonic seconds; None for never."""
        return min(self._at.values()) if self._at else None

    def tell(self, recording: Recording) -> list[Command]:
        """Tell what has changed, and what was refused and is due again.

        Args:
            recording: State of the recording; no offer is under way.
        """
        state = _SAID.get(recording, RecordState.OFF)
        legs = self._due
        if state is not self._said:
            self._said = state
            self._tries, self._at = {}, {}
            legs = self.aware
        self._due = frozenset()
        return [IndicateRecording(leg, state) for leg in LegName if leg in legs]

    def refused(self, event: IndicationRefused, now: float) -> None:
        """An offer of ours met one of theirs: again in a while."""
        tries = self._tries.get(event.leg, 0) + 1
        self._tries = {**self._tries, event.leg: tries}
        if event.leg in self.aware and tries < _MOST_TRIES:
            least_s, most_s = _WAITS_S[event.leg]
            steps = round((most_s - least_s) / _STEP_S)
            self._at = {**self._at, event.leg: now + least_s + event.draw % (steps + 1) * _STEP_S}

    def expire(self, now: float) -> None:
        """Whose time is over is told as soon as no offer is under way."""
        over = {leg for leg, at in self._at.items() if now >= at}
        self._due |= over
        self._at = {leg: at for leg, at in self._at.items() if leg not in over}

    def close(self) -> None:
        """The call ends: nobody is told anything."""
        self._at, self._due = {}, frozenset()
