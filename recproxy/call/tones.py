"""The short tone, or the few words, that a party hears in a call, and no other party. Pure."""

from __future__ import annotations

from typing import Final

from recproxy.call.agreement import Agreement
from recproxy.call.commands import AuditNote, Command, PlayTone, purpose_fields
from recproxy.call.keypad import Party
from recproxy.call.legs import Legs
from recproxy.policy import Phrase, RecordPlan, StaffNotice

#: Between two tones of ``beep_repeat``, in seconds: what the warning tone of telephone recorders
#: traditionally keeps (47 CFR 64.501 in its former text: "approximately every 15 seconds").
REPEATED_EVERY_S: Final = 15.0


class Tones:
    """Tones of one call; what they cover is no part of the recording."""

    def __init__(self, legs: Legs, agreement: Agreement) -> None:
        """Prepare for a call.

        Args:
            legs: Who sits where.
            agreement: What a tone is played in.
        """
        self._legs = legs
        self._agreement = agreement

    def to(self, party: Party, words: Phrase | None = None) -> list[Command]:
        """The tone, or ``words``, to ``party``; nothing if the call is not up, or somebody holds."""
        agreement = self._agreement
        if agreement.speech is None or not self._legs.is_up or agreement.on_hold:
            return []
        leg = self._legs.leg(party)
        return [PlayTone(leg, agreement.recorded_port(), agreement.speech, agreement.ptime_ms(), words)]

    def tell_staff(self, plan: RecordPlan, *, joined: bool = False) -> list[Command]:
        """Staff hear that what follows is recorded (informed on the spot, each time).

        Args:
            plan: How they are told.
            joined: Somebody of them has not heard the announcement.
        """
        method = plan.staff_notice
        if joined and method is StaffNotice.ANNOUNCEMENT:
            method = StaffNotice.BEEP
        heard: list[Command] = []
        match method:
            case StaffNotice.BEEP | StaffNotice.BEEP_REPEAT:
                heard = self.to(Party.STAFF)
            case StaffNotice.WHISPER:
                heard = self.to(Party.STAFF, plan.whisper)
            case StaffNotice.ANNOUNCEMENT:
                pass  # they heard it
        told = (*purpose_fields(plan), ("method", method.value))
        return [*heard, AuditNote("staff.notified", told)] if heard else []
