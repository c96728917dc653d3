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


class ChoiceMode(Enum):
    """What the outside party may choose."""

    NONE = "none"  # the recording is a legal duty
    OPT_OUT = "opt_out"  # recorded unless refused, which they may do at any time
    OPT_IN = "opt_in"  # recorded only if accepted within the window


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
class ChoicePlan:
    """How the parties say yes or no to a recording.

    Attributes:
        mode: What may be chosen.
        accept: Key sequences of the outside party that say yes (opt-in).
        refuse: Key sequences of the outside party that say no, at any time.
        staff_refuse: The same for staff, when the other says no aloud.
        window_s: How long after the announcement a yes is taken, seconds; silence is no.
    """

    mode: ChoiceMode = ChoiceMode.NONE
    accept: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()
    staff_refuse: tuple[str, ...] = ()
    window_s: float = 10.0


@dataclass(frozen=True, slots=True)
class PausePlan:
    """How staff stop the recording while something is said that must not be kept (payment).

    Attributes:
        keys: Key sequences that pause, and go on.
        longest_s: After which it goes on by itself, seconds.
    """

    keys: tuple[str, ...] = ()
    longest_s: float = 180.0


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
        choice: How the parties say yes or no.
        pause: How staff pause.
        start: Key sequences by which staff ask for announcement and recording; none: at once.
        beep: A tone tells staff whenever recording begins or goes on.
    """

    purpose: str
    legal_basis: LegalBasis
    retention: timedelta
    prompt: str
    language: str
    audience: Audience
    on_failure: OnFailure
    policy_version: str
    choice: ChoicePlan = ChoicePlan()
    pause: PausePlan = PausePlan()
    start: tuple[str, ...] = ()
    beep: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """The call is to be announced and recorded."""

    plan: RecordPlan


@dataclass(frozen=True, slots=True)
class Pass:
    """The call passes, unannounced and unrecorded."""

    why: PassReason


Decision: TypeAlias = Record | Pass
