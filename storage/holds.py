"""Holds: why a recording must outlive its expiry, on whose word, and until when; no I/O.

A legal hold (a dispute, an order, a regulator) needs two people: one asks, another
approves. A request hold freezes what a data subject asked for until it was delivered.
A restriction (GDPR art. 18) keeps a recording and forbids its use. A hold only ever
keeps longer: it gives no right to listen, and it ends on a date.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from storage.errors import HoldError
from storage.tags import RecordingId

LONGEST_HOLD: Final = timedelta(days=366)
_ID: Final = re.compile(r"[0-9a-f]{32}\Z")
_CASE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./_-]{0,63}\Z")
_LONG_NUMBER: Final = re.compile(r"[0-9]{7}")


class HoldKind(Enum):
    """What a hold is for; decides what it stands against."""

    LEGAL = "legal"
    REQUEST = "request"
    RESTRICTION = "restriction"


class HoldReason(Enum):
    """Why; free text stays in the case file that ``case_ref`` names."""

    CLAIM = "claim"
    ORDER = "order"
    REGULATOR = "regulator"
    STATUTE = "statute"
    INVESTIGATION = "investigation"
    SUBJECT_REQUEST = "subject_request"
    ACCURACY = "accuracy"
    UNLAWFUL = "unlawful"
    OBJECTION = "objection"


LEGAL_REASONS: Final = (
    HoldReason.CLAIM,
    HoldReason.ORDER,
    HoldReason.REGULATOR,
    HoldReason.STATUTE,
    HoldReason.INVESTIGATION,
)
"""Of a legal hold; the others come from a data subject's case."""


class HoldState(Enum):
    """Where a hold is in its life; only an active one keeps anything."""

    REQUESTED = "requested"
    ACTIVE = "active"
    RELEASED = "released"
    LAPSED = "lapsed"


BLOCKING: Final = {
    True: frozenset(HoldKind),  # a scheduled shred stops before any hold
    False: frozenset({HoldKind.LEGAL}),  # what the data subject wants, before a legal one only
}
"""Which holds forbid a shred, by whether it is a scheduled one."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold on one or more recordings.

    Attributes:
        id: Random, 32 hex digits.
        kind: What it is for.
        reason: Why.
        case_ref: Of the case file; letters, digits and ``./_-``, no telephone number.
        recordings: What it keeps.
        requested_by: Who asked for it.
        requested_at: When (aware).
        ends: The instant at which it lapses (aware).
        approved_by: Who approved it, empty until then.
        approved_at: When, None until then.
        ended_by: Who released it, empty if nobody did.
        ended_at: When it was released or lapsed, None while it stands.
    """

    id: str
    kind: HoldKind
    reason: HoldReason
    case_ref: str
    recordings: tuple[RecordingId, ...]
    requested_by: str
    requested_at: datetime
    ends: datetime
    approved_by: str = ""
    approved_at: datetime | None = None
    ended_by: str = ""
    ended_at: datetime | None = None

    def __post_init__(self) -> None:
        if not _ID.match(self.id):
            raise HoldError(f"hold id {self.id!r} is not 32 lower-case hex digits")
        if not _CASE.match(self.case_ref) or _LONG_NUMBER.search(self.case_ref):
            raise HoldError(
                "the case reference is not up to 64 letters, digits, spaces and ./_-, "
                "without seven digits in a row: name the case, not a person"
            )
        if not self.recordings:
            raise HoldError("a hold of no recording")
        if self.requested_at.tzinfo is None or self.ends.tzinfo is None:
            raise HoldError("the instants of a hold have no time zone; give them in UTC")
        if not timedelta(0) < self.ends - self.requested_at <= LONGEST_HOLD:
            raise HoldError(
                f"the hold would end on {self.ends:%Y-%m-%d}: choose an end after now and within 12 months; "
                "ask for it again if it is still needed then"
            )

    @property
    def state(self) -> HoldState:
        """Where it is in its life."""
        if self.ended_at is not None:
            return HoldState.RELEASED if self.ended_by else HoldState.LAPSED
        return HoldState.ACTIVE if self.approved_at is not None else HoldState.REQUESTED


def same_person(one: str, other: str) -> bool:
    """Whether two who act are one: an account (``user:``) and a token (``token:``) of the same name."""
    return (one.partition(":")[2] or one) == (other.partition(":")[2] or other)
