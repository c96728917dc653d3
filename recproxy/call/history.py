"""What became of a call, for the event log. Pure."""

from __future__ import annotations

from recproxy.call.commands import Note
from recproxy.call.events import CallFacts, LegEnded, LegName
from recproxy.call.states import Notice, Recording


class History:
    """The facts of one call that its first and its last line tell.

    Attributes:
        decision: What the policy said: ``record``, or why it passes.
        purpose: Why it is to be recorded, with commas; empty if it is not.
        invited_at: When the INVITE came, monotonic seconds.
        answered_at: When the callee answered; None if it did not.
        first_end: Who ended it, and how; None while it goes on.
        digits: Keys that were pressed.
    """

    def __init__(self) -> None:
        """Begin with nothing decided."""
        self.decision = "undecided"
        self.purpose = ""
        self.invited_at = 0.0
        self.answered_at: float | None = None
        self.first_end: LegEnded | None = None
        self.digits = 0

    def ends(self, event: LegEnded) -> None:
        """A leg ends; the first that does is why the call does."""
        if self.first_end is None:
            self.first_end = event

    def offered(self, facts: CallFacts) -> Note:
        """The first line: whence it came, and what was decided."""
        return Note(
            "call.offered",
            (
                ("trunk", facts.trunk),
                ("direction", facts.direction.value),
                ("decision", self.decision),
                ("purpose", self.purpose),
            ),
        )

    def ended(self, now: float, notice: Notice, said: str, recording: Recording, name: str) -> Note:
        """The last line.

        Args:
            now: Monotonic seconds.
            notice: State of the announcement.
            said: To being recorded.
            recording: State of the recording.
            name: Id of the recording; empty if there is none.
        """
        end = self.first_end
        talk = now - self.answered_at if self.answered_at is not None else 0.0
        return Note(
            "call.ended",
            (
                ("outcome", self._outcome),
                ("code", end.code if end is not None else 0),
                # Ours alone: a peer's text may name somebody.
                ("reason", end.reason if end is not None and end.by_us else ""),
                ("ended_by", "recproxy" if end is None or end.by_us else end.leg.value),
                ("decision", self.decision),
                ("purpose", self.purpose),
                ("notice", notice.name.lower()),
                ("choice", said),
                ("recording_state", recording.name.lower()),
                ("recording", name),
                ("duration_s", round(now - self.invited_at, 3)),
                ("talk_s", round(talk, 3)),
                ("keys_pressed", self.digits),
            ),
        )

    @property
    def _outcome(self) -> str:
        end = self.first_end
        if self.answered_at is not None:
            return "answered"
        if end is not None and end.leg is LegName.CALLER and not end.by_us:
            return "cancelled"
        return "failed"
