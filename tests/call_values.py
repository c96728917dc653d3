"""Values of one ordinary recorded call, for tests of what carries calls out."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from recproxy.call.commands import AuditNote, Note, NoticeFacts, OpenRecording
from recproxy.call.events import CallFacts, Codec, Event, LegName
from recproxy.policy import Audience, OnFailure, RecordPlan
from storage.tags import Direction, LegalBasis

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NUMBER = "+31301234567"
PCMU = Codec(0, "PCMU", 8000)
PCMA = Codec(8, "PCMA", 8000)
OPUS = Codec(111, "OPUS", 48000, 2)
DTMF = Codec(101, "TELEPHONE-EVENT", 8000)
FACTS = CallFacts("carrier", Direction.INBOUND, NUMBER, "100", False, False, "cid-a", NOW)
PLAN = RecordPlan(
    purpose="training",
    legal_basis=LegalBasis.LEGITIMATE_INTEREST,
    retention=timedelta(days=30),
    prompt="training",
    language="nl",
    audience=Audience.BOTH,
    on_failure=OnFailure.CONTINUE,
    policy_version="0" * 64,
)
PATIENCE_S = 20.0  # bound of a wait that fails; no test passes by it
_E = TypeVar("_E", bound=Event)


def notice(completed: datetime = NOW) -> NoticeFacts:
    """Proof of an announcement that ended at a moment."""
    return NoticeFacts(
        prompt="training",
        sha256="ab" * 32,
        language="nl",
        heard_by=(LegName.CALLER, LegName.CALLEE),
        started=completed - timedelta(seconds=3),
        completed=completed,
    )


def open_recording(
    *codecs: Codec, completed: datetime = NOW, retention: timedelta = timedelta(days=30)
) -> OpenRecording:
    """The command as the machine gives it; PCMU and keys if no codec is named."""
    return OpenRecording(
        facts=FACTS,
        callee_call_id="cid-b",
        purpose="training",
        legal_basis=LegalBasis.LEGITIMATE_INTEREST,
        retention=retention,
        policy_version="cd" * 32,
        notice=notice(completed),
        stream=0,
        codecs=codecs or (PCMU, DTMF),
    )


class ManualClock:
    """Time that passes when a test says so; all its readings agree."""

    def __init__(self, start_ns: int = 1_000_000_000_000) -> None:
        self.now_ns = start_ns
        self._start_ns = start_ns

    def monotonic_ns(self) -> int:
        """Nanoseconds."""
        return self.now_ns

    def monotonic(self) -> float:
        """Seconds."""
        return self.now_ns / 1e9

    def utcnow(self) -> datetime:
        """``NOW`` at the start."""
        return NOW + timedelta(microseconds=(self.now_ns - self._start_ns) // 1000)

    def pass_ms(self, milliseconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(milliseconds * 1e6)


class Journal:
    """Everything that was posted, noted and audited, in order; any thread may write."""

    def __init__(self) -> None:
        self._said = threading.Condition()
        self.events: list[tuple[str, Event]] = []
        self.notes: list[tuple[str, Note]] = []
        self.audits: list[tuple[str, AuditNote]] = []

    def post(self, call: str, event: Event) -> None:
        """Take an event."""
        with self._said:
            self.events.append((call, event))
            self._said.notify_all()

    def note(self, call: str, note: Note) -> None:
        """Take a line of the event log."""
        with self._said:
            self.notes.append((call, note))
            self._said.notify_all()

    def audit(self, call: str, note: AuditNote) -> None:
        """Take an event of the audit chain."""
        with self._said:
            self.audits.append((call, note))
            self._said.notify_all()

    def of(self, kind: type[_E], call: str = "") -> list[_E]:
        """Events of one kind, of one call or of all."""
        return [event for owner, event in self.events if isinstance(event, kind) and call in {"", owner}]

    def wait(self, kind: type[_E], call: str) -> _E:
        """The first event of one kind of a call, as soon as it comes."""
        with self._said:
            if not self._said.wait_for(lambda: self.of(kind, call), PATIENCE_S):
                raise AssertionError(f"no {kind.__name__} of {call}; there are {self.events}, {self.notes}")
            return self.of(kind, call)[0]

    def noted(self, event: str) -> list[dict[str, str | int | float | bool]]:
        """Fields of each line of one name."""
        return [dict(note.fields) for _, note in self.notes if note.event == event]
