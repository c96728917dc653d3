"""The last words to a party who refuses a recording that a statute orders. Pure."""

from __future__ import annotations

from recproxy.call.agreement import Agreement
from recproxy.call.commands import Command, PlayPrompt, SetGate, StopPrompt
from recproxy.call.keypad import Party
from recproxy.call.legs import Legs
from recproxy.policy import DeclinePlan


class Parting:
    """Why the call ends, said before it does.

    Attributes:
        until: When words that report no end are taken for said, monotonic seconds; None if none are.
    """

    def __init__(self, legs: Legs, agreement: Agreement, longest_s: float) -> None:
        """Begin with nothing to say.

        Args:
            legs: Who sits where.
            agreement: What it is said in.
            longest_s: From asking for the words to their end.
        """
        self._legs = legs
        self._agreement = agreement
        self._longest_s = longest_s
        self.until: float | None = None

    def say(self, decline: DeclinePlan, now: float) -> list[Command]:
        """Say it to the party outside, and to nobody else; empty if it cannot be heard now."""
        agreement = self._agreement
        if agreement.speech is None or not self._legs.is_up or agreement.on_hold:
            return []
        self.until = now + self._longest_s
        play = PlayPrompt(
            prompt=decline.words.prompt,
            language=decline.words.language,
            legs=(self._legs.leg(Party.OUTSIDE),),
            stream=agreement.recorded_port(),
            codec=agreement.speech,
            ptime_ms=agreement.ptime_ms(),
        )
        return [SetGate(opened=False), play]

    def close(self) -> list[Command]:
        """The call ends first."""
        stopped: list[Command] = [StopPrompt()] if self.until is not None else []
        self.until = None
        return stopped
