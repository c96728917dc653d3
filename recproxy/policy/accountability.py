"""What the controller must be able to show of a purpose (GDPR art. 5(2)), as frozen values."""

from __future__ import annotations

import datetime as dt
from enum import Enum
from typing import Annotated

import msgspec
from msgspec import Meta

from storage.tags import LegalBasis

__all__ = ["Balancing", "Basis", "Dpia", "Outcome", "Sha256", "Staff", "Text", "WorksCouncil"]

Text = Annotated[str, Meta(min_length=1, max_length=2_000, description="a text of up to 2000 characters")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="64 hex digits, as sha256sum gives them")]


class Outcome(Enum):
    """Of balancing the interests."""

    PROCEED = "proceed"
    STOP = "stop"


class Basis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Grounds under GDPR art. 6(1).

    Attributes:
        caller: For the outside party.
        staff: For those who work here.
    """

    caller: LegalBasis
    staff: LegalBasis


class Balancing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The balancing of interests under GDPR art. 6(1)(f).

    Attributes:
        ref: Its name in your register.
        file: The sheet itself; its hash is compared.
        sha256: Hash of the sheet.
        date: When it was made.
        review_by: Until when it must have been looked at again.
        interest: Yours.
        necessity: Why nothing milder serves it.
        alternatives: What else was tried or thought of.
        impact: On those recorded.
        safeguards: What limits it.
        outcome: Whether to record.
        approved_by: Who said so.
    """

    ref: Text
    file: str = ""
    sha256: Sha256
    date: dt.date
    review_by: dt.date
    interest: Text
    necessity: Text
    alternatives: tuple[Text, ...]
    impact: Text
    safeguards: tuple[Text, ...]
    outcome: Outcome
    approved_by: Text


class Dpia(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The assessment under GDPR art. 35, or why there is none.

    Attributes:
        ref: Its name in your register.
        date: When it was made.
        not_required: Why none is required.
    """

    ref: str = ""
    date: dt.date | None = None
    not_required: str = ""


class WorksCouncil(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The works council's consent, or why there is none.

    Attributes:
        ref: Of its decision.
        date: Of its decision.
        none: Why there is none.
    """

    ref: str = ""
    date: dt.date | None = None
    none: str = ""


class Staff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What concerns those who work here.

    Attributes:
        works_council: Its consent.
        notice_ref: Of the notice that they got.
        assessment_use: Whether recordings serve to assess them.
    """

    works_council: WorksCouncil | None = None
    notice_ref: str = ""
    assessment_use: bool = False
