"""One call detail record: what it says, as a line of JSON and as a line of CSV (RFC 4180). Pure.

It says who talked to whom only as the event log does, masked, or encrypted to the recipients; and
which dialogs of the telephone systems it was by the SHA-256 of their Call-IDs alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from enum import Enum
from typing import Final

import msgspec

from recproxy.jsonform import instant

__all__ = ["COLUMNS", "CallDetail", "RecordingResult", "call_id_hash", "csv_head"]

VERSION: Final = 1
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet computes
_QUOTE: Final = "'"


class RecordingResult(Enum):
    """What became of the recording of a call."""

    OK = "ok"  # closed, and whole
    DEGRADED = "degraded"  # closed; over 1 % of its packets are missing, or we dropped one
    FAILED = "failed"  # should have been made and was not, or not to the end; the call went on
    BLOCKED = "blocked"  # could not be made, and therefore the call was refused or ended
    NONE = "none"  # none was meant, nobody answered, or a party said no


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDetail:
    """One call, from its INVITE to the end of both dialogs. Instants are aware, UTC, to the millisecond.

    Attributes:
        call_ref: Our random reference of the call, as in the event log.
        node: Name of the machine.
        started: When the INVITE came.
        answered: When the callee answered; None if nobody did.
        ended: When both dialogs were gone.
        duration_s: From the INVITE to the end.
        talk_s: From the answer to the end; 0 without an answer.
        direction: Seen from the organisation: ``inbound`` or ``outbound``.
        trunk_in: Trunk that it came from.
        trunk_out: Trunk that it went on to.
        caller: Number, masked; ``anonymous`` if it was withheld. Empty for an exempt call.
        callee: Number, masked. Empty for an exempt call.
        numbers_age: Both numbers in full, as an age file in base64; empty if the configuration
            masks them.
        caller_call_id_sha256: Of the Call-ID of the caller's dialog, hex.
        callee_call_id_sha256: Of the callee's, hex; empty if nobody answered.
        outcome: ``answered``, ``cancelled`` or ``failed``.
        code: SIP status that it ended with; 200 for a BYE.
        reason: Reason phrase, or the text of a Reason header; numbers in it are masked.
        ended_by: ``caller``, ``callee``, ``recproxy``, or ``src``: a recording client (RFC 7866).
        decision: Of the policy: ``record``, or why not.
        purpose: Of its recording; empty if none was meant.
        notice: State of the announcement at the end.
        choice: What was said to being recorded.
        recording: Id of the recording; of several in sequence theirs with commas, in order. Empty if there
            was none.
        recording_result: What became of it.
        codec: Agreed for audio; empty without an answer.
        caller_received: RTP packets of the caller.
        caller_lost: Of these, packets that never came, as the recording counts them; None without one.
        caller_late: Packets that came too late to be placed.
        caller_jitter_ms: Interarrival jitter (RFC 3550).
        callee_received: As ``caller_received``.
        callee_lost: As ``caller_lost``.
        callee_late: As ``caller_late``.
        callee_jitter_ms: As ``caller_jitter_ms``.
        dropped: Packets that we ourselves lost between relay and recorder; None without a recording.
        diverted: Whether a refusal of what a statute orders sent it on to another number: ``answered``
            if that took it, ``failed`` if not; empty if it was not sent on.
    """

    call_ref: str
    node: str
    started: datetime
    answered: datetime | None = None
    ended: datetime
    duration_s: float = 0.0
    talk_s: float = 0.0
    direction: str
    trunk_in: str
    trunk_out: str
    caller: str = ""
    callee: str = ""
    numbers_age: str = ""
    caller_call_id_sha256: str = ""
    callee_call_id_sha256: str = ""
    outcome: str
    code: int
    reason: str = ""
    ended_by: str
    decision: str
    purpose: str = ""
    notice: str = ""
    choice: str = ""
    recording: str = ""
    recording_result: RecordingResult
    codec: str = ""
    caller_received: int = 0
    caller_lost: int | None = None
    caller_late: int | None = None
    caller_jitter_ms: float | None = None
    callee_received: int = 0
    callee_lost: int | None = None
    callee_late: int | None = None
    callee_jitter_ms: float | None = None
    dropped: int | None = None
    diverted: str = ""

    @property
    def day(self) -> date:
        """On which it ended (UTC): the day of its file."""
        return self.ended.astimezone(UTC).date()

    def json_line(self) -> bytes:
        """One JSON object and a line feed; UTF-8, every column, in order."""
        entry: dict[str, str | int | float | None] = {"v": VERSION}
        for name in COLUMNS:
            value = getattr(self, name)
            entry[name] = _plain(value)
        return json.dumps(entry, ensure_ascii=False).encode() + b"\n"

    def csv_line(self) -> bytes:
        """One line of CSV (RFC 4180), UTF-8; nothing stands as nothing, and no cell is a formula."""
        return _csv_line([_cell(_plain(getattr(self, name))) for name in COLUMNS])

    @classmethod
    def of_json(cls, line: bytes) -> CallDetail:
        """Read a line of JSON; what a later version has added is left out.

        Raises:
            ValueError: It is no record.
        """
        try:
            return msgspec.json.decode(line, type=cls)
        except msgspec.DecodeError as err:  # ValidationError is one of them
            raise ValueError(str(err)) from err

    @classmethod
    def of_csv(cls, head: list[str], cells: list[str]) -> CallDetail:
        """Read a line of CSV under its head.

        Raises:
            ValueError: It is no record.
        """
        given = {name: _bare(cell) for name, cell in zip(head, cells, strict=False) if cell}
        try:
            return msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as err:
            raise ValueError(str(err)) from err


COLUMNS: Final = tuple(field.name for field in fields(CallDetail))
"""Names of all fields, in the order of the columns; new ones come at the end."""


def csv_head() -> bytes:
    """The first line of a file of CSV."""
    return _csv_line(list(COLUMNS))


def call_id_hash(call_id: str) -> str:
    """SHA-256 of a Call-ID, hex: who has the Call-ID finds the record, nobody finds the Call-ID."""
    return hashlib.sha256(call_id.encode()).hexdigest() if call_id else ""


def _plain(value: str | float | datetime | RecordingResult | None) -> str | int | float | None:
    match value:
        case datetime():
            return instant(value)
        case RecordingResult():
            return value.value
        case _:
            return value


def _cell(value: str | float | None) -> str:
    text = "" if value is None else str(value)
    # A telephone number may begin with a plus; whatever else a formula begins with, may not.
    formula = text.startswith(_FORMULA) and not (text[0] == "+" and text[1:2].isdigit())
    return _QUOTE + text if formula or text.startswith(_QUOTE) else text


def _bare(cell: str) -> str:
    return cell[1:] if cell.startswith(_QUOTE) else cell


def _csv_line(cells: list[str]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue().encode()
