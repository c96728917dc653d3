"""The calls that go on now, as the API shows them: made of what the call machine notes.

Numbers are masked as they come in: the whole ones are nowhere here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from threading import Condition
from typing import Final

from recproxy.call.commands import Note
from recproxy.call.events import Event, ForkInvited, InviteReceived
from recproxy.masking import mask_number

__all__ = ["LiveCall", "LiveCalls", "LiveRecording"]


class LiveRecording(Enum):
    """Whether a call is recorded at this moment."""

    OFF = "off"
    ON = "on"
    PAUSED = "paused"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class LiveCall:
    """One call.

    Attributes:
        ref: The daemon's random reference of it.
        started: When its INVITE came.
        trunk: Where it came from.
        direction: Seen from the organisation.
        caller: Number, masked.
        callee: Number, masked.
        decision: Of the policy: ``record``, or why not.
        purpose: Of its recording, with commas if there are several; empty if it is not recorded.
        answered: When the callee answered; None until then.
        recording: Id of its recording; empty if there is none.
        recording_state: Whether it is recorded at this moment.
    """

    ref: str
    started: datetime
    trunk: str
    direction: str
    caller: str
    callee: str
    decision: str = ""
    purpose: str = ""
    answered: datetime | None = None
    recording: str = ""
    recording_state: LiveRecording = LiveRecording.OFF


_STATES: Final = {
    "recording.opened": LiveRecording.ON,
    "recording.paused": LiveRecording.PAUSED,
    "recording.resumed": LiveRecording.ON,
    "recording.sealed": LiveRecording.ENDED,
    "recording.discarded": LiveRecording.ENDED,
    "recording.failed": LiveRecording.ENDED,
}


class LiveCalls:
    """Safe from any thread.

    Args:
        now: Wall clock: aware, UTC.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._calls: dict[str, LiveCall] = {}
        self._changed = Condition()

    def posted(self, call: str, event: Event) -> None:
        """An event was handed to the driver; only the first of a call matters."""
        if isinstance(event, InviteReceived | ForkInvited):
            facts = event.facts
            found = LiveCall(
                call,
                facts.received,
                facts.trunk,
                facts.direction.value,
                "" if facts.anonymous else mask_number(facts.caller),
                mask_number(facts.callee),
            )
            with self._changed:
                self._calls[call] = found

    def noted(self, call: str, note: Note) -> None:
        """A call did something."""
        with self._changed:
            found = self._calls.get(call)
            if found is None:
                return
            if note.event == "call.ended":
                del self._calls[call]
            else:
                self._calls[call] = self._after(found, note)
            self._changed.notify_all()

    def all(self) -> tuple[LiveCall, ...]:
        """Oldest first."""
        with self._changed:
            return tuple(self._calls.values())

    def get(self, call: str) -> LiveCall | None:
        """One of them; None if it has ended."""
        with self._changed:
            return self._calls.get(call)

    def wait(self, call: str, wanted: LiveRecording, seconds: float) -> LiveCall | None:
        """Wait until a call's recording is in a state, or its time is over.

        Returns:
            The call as it is then; None if it has ended.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: (found := self._calls.get(call)) is None or found.recording_state is wanted, seconds
            )
            return self._calls.get(call)

    def wait_named(self, call: str, seconds: float) -> LiveCall | None:
        """Wait until it is known what a call is for, or the time is over; None if it has ended."""
        with self._changed:
            self._changed.wait_for(
                lambda: (found := self._calls.get(call)) is None or bool(found.purpose), seconds
            )
            return self._calls.get(call)

    def _after(self, call: LiveCall, note: Note) -> LiveCall:
        fields = dict(note.fields)
        match note.event:
            case "call.offered":
                return replace(
                    call,
                    decision=str(fields["decision"]),
                    purpose=str(fields["purpose"]),
                    direction=str(fields["direction"]),
                )
            case "topic.named":
                return replace(call, decision="record", purpose=str(fields["purpose"]))
            case "call.answered":
                return replace(call, answered=self._now())
            case "recording.opened" if call.recording_state is LiveRecording.PAUSED:
                return replace(call, recording=str(fields["recording"]))  # paused before it was open
            case "recording.opened":
                return replace(call, recording=str(fields["recording"]), recording_state=LiveRecording.ON)
            case event if event in _STATES:
                return replace(call, recording_state=_STATES[event])
            case _:
                return call
