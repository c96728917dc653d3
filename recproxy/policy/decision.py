"""What is asked of a policy, and what it can answer: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TypeAlias

from storage.tags import Direction, LegalBasis


class Audience(Enum):
    """Who must hear the announcement to its end before anything is recorded."""

    BOTH = "both"
    OUTSIDE = "outside"  # the party outside the organisation: caller inbound, callee outbound


class OnFailure(Enum):
    """What becomes of a call that should be recorded and cannot be."""

    CONTINUE = "continue"  # it goes on, unrecorded
    REFUSE = "refuse"  # it is refused or ended


class PassReason(Enum):
    """Why a call passes unrecorded."""

    EMERGENCY = "emergency"
    NO_RULE = "no_rule"  # no rule matches
    RULE = "rule"  # a rule says ``purpose: none``


@dataclass(frozen=True, slots=True)
class CallQuestion:
    """The facts of a call that a policy may decide on.

    Attributes:
        trunk: Name of the trunk the INVITE came from.
        direction: Seen from the organisation.
        caller: Number or user part of the caller's identity; empty if withheld or unknown.
        callee: User part of the Request-URI.
        anonymous: The caller withholds the number.
        sos: Request-URI is an emergency service URN (RFC 5031).
    """

    trunk: str
    direction: Direction
    caller: str
    callee: str
    anonymous: bool
    sos: bool


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """How a call is to be recorded.

    Attributes:
        purpose: Purpose id.
        legal_basis: Ground under GDPR art. 6(1).
        retention: Time to keep, from the start of the recording.
        prompt: Name of the announcement.
        language: BCP 47 tag of its text.
        audience: Who must hear it.
        on_failure: What happens if it cannot be played or the recorder fails.
        policy_version: SHA-256 of the policy file, 64 hex digits.
    """

    purpose: str
    legal_basis: LegalBasis
    retention: timedelta
    prompt: str
    language: str
    audience: Audience
    on_failure: OnFailure
    policy_version: str


@dataclass(frozen=True, slots=True)
class Record:
    """The call is to be announced and recorded."""

    plan: RecordPlan


@dataclass(frozen=True, slots=True)
class Pass:
    """The call passes, unannounced and unrecorded."""

    why: PassReason


Decision: TypeAlias = Record | Pass
