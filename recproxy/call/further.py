"""Purposes that staff begin and end by a key, beside others of the call. Pure.

Nothing is retroactive (law.md C-16): what staff ask for is announced first, to all who must hear it and with
the gate shut, while what is recorded already is paused; then that is closed, and another recording goes on
for all. What cannot be announced, or is ended, is asked for again or not at all, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Collection

from recproxy.call.choice import CallChoice
from recproxy.call.commands import AuditNote, Command
from recproxy.call.notice import CallNotice
from recproxy.call.recording import CallRecording
from recproxy.call.states import Notice, PauseCause, Recording
from recproxy.policy import PurposePlan

_IDLE = frozenset({Notice.WAITING, Notice.COMPLETED})
_ENDED = "purpose_ended"


class FurtherPurposes:
    """What staff may ask for in a call, and what they asked for."""

    def __init__(self, notice: CallNotice, choice: CallChoice, recording: CallRecording) -> None:
        """Begin with nothing asked for.

        Args:
            notice: Tells the parties.
            choice: Knows what waits to be asked for.
            recording: What is made.
        """
        self._notice = notice
        self._choice = choice
        self._recording = recording

    def begin(self, purposes: Collection[str], now: float) -> list[Command]:
        """Staff ask for these; nothing if another announcement or a yes is waited for."""
        recording = self._recording
        if (
            self._notice.state not in _IDLE
            or self._choice.until is not None
            or recording.state is Recording.OPENING
            or PauseCause.PARTY in recording.causes
        ):
            return []
        woken = self._choice.wake(purposes)
        if not woken:
            return []
        paused = recording.pause(PauseCause.NOTICE) if recording.is_live else []
        asked = AuditNote("rec.asked", (("purpose", ",".join(woken)),))
        gate, play = self._notice.ask(woken, now)
        return [*paused, gate, asked, play]

    def leave_off(self, why: str, now: float) -> list[Command]:
        """What is being announced will not be heard to its end: go on with what was recorded before."""
        notice = self._notice
        further = notice.further
        told = notice.leave_off(why)
        self._choice.lull(further)
        if not self._choice.left:
            told = [*told, *notice.set_aside()]
        return [*told, *notice.let_speak(), *self._recording.resume_if(PauseCause.NOTICE, now)]

    def end(self, purposes: Collection[str], now: float) -> list[Command]:
        """Staff end these; what was recorded stays, and the rest goes on."""
        notice, choice, recording = self._notice, self._choice, self._recording
        ended = {one.purpose for one in choice.left if one.start and one.purpose in purposes}
        if not ended or notice.repeated:
            return []
        if notice.further:
            return self.leave_off("ended by staff", now) if ended & set(notice.further) else []
        if notice.is_pending and _names(choice.left) - ended:
            return []
        choice.lull(ended)
        stopped = [] if choice.left else [*notice.set_aside(), *notice.let_speak()]
        audit = AuditNote("rec.purpose_stopped", (("purpose", ",".join(sorted(ended))),))
        return [audit, *stopped, *recording.end(ended, _ENDED, more=True)]

    @property
    def are_unserved(self) -> bool:
        """Whether what is recorded does not serve just what was announced and not refused."""
        return self._recording.is_live and self._recording.serves != _names(self._choice.left)


def _names(plans: Collection[PurposePlan]) -> frozenset[str]:
    return frozenset(one.purpose for one in plans)
