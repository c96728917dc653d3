"""Who may hear a recording, and for what: the purpose it was made for says so; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from recproxy.policy.file import PolicyFile, RoleName
from recproxy.policy.purpose import Playback, PurposeName

__all__ = [
    "Denial",
    "Denied",
    "heard_this_month",
    "hearing_denied",
    "named_use",
    "playback_denied",
    "purpose_allowing",
    "roles_of",
    "uses_of",
]

_HEARD: Final = frozenset({"derived.opened", "export.created", "playback.opened"})


class Denial(Enum):
    """Why a recording may not be heard."""

    PURPOSE_GONE = "purpose_gone"
    USE = "use"
    ROLE = "role"
    FOUR_EYES = "four_eyes"
    CAP = "cap"


@dataclass(frozen=True, slots=True)
class Denied:
    """One refusal.

    Attributes:
        why: For the audit chain.
        what: For a person.
        mend: What would help.
    """

    why: Denial
    what: str
    mend: str


def named_use(file: PolicyFile, use: str) -> str:
    """The use as the audit chain may hold it: a purpose of the policy, else that it is none."""
    return use if use in file.purposes else "unknown"


def roles_of(file: PolicyFile, user: str) -> frozenset[RoleName]:
    """Roles that a user has."""
    return frozenset(name for name, role in file.roles.items() if user in role.users)


def playback_denied(file: PolicyFile, purpose: str, use: str, user: str) -> Denied | None:
    """Tell whether a user may hear a recording for a use (GDPR art. 5(1)(b) and 32).

    Args:
        file: The policy in force.
        purpose: That the recording was made for.
        use: What it is to be heard for: a purpose, as callers were told.
        user: Name of the person, as in ``roles``.

    Returns:
        None if purpose and role allow it; four eyes and a cap are still to be looked at.
    """
    rules = _rules(file, purpose)
    if rules is None:
        return Denied(
            Denial.PURPOSE_GONE,
            f"the policy has no purpose {purpose} any more, so nobody may use its recordings",
            "put the purpose back until they have expired",
        )
    uses = uses_of(file, purpose)
    if use not in uses:
        return Denied(
            Denial.USE,
            f"a recording for {purpose} may not be used for that: callers were told otherwise",
            f"its uses are {', '.join(uses)}",
        )
    if not roles_of(file, user) & set(rules.roles):
        return Denied(
            Denial.ROLE,
            f"{user} has none of the roles that may hear recordings for {purpose}",
            f"its playback.roles are {', '.join(rules.roles)}; see roles in the policy",
        )
    return None


def purpose_allowing(
    file: PolicyFile, purposes: Sequence[str], use: str, user: str
) -> tuple[str, Denied | None]:
    """Tell by which purpose of a recording a user may hear it for a use; one suffices, and its rules hold.

    Args:
        file: The policy in force.
        purposes: That it is kept for, the leading one first; one or more.
        use: What it is to be heard for.
        user: Name of the person.

    Returns:
        The purpose, and None; if none allows it the one that has such a use, else the leading one,
        and what it says.
    """
    asked = [(purpose, playback_denied(file, purpose, use, user)) for purpose in purposes]
    allowed = next((one for one in asked if one[1] is None), None)
    named = next((one for one in asked if use in uses_of(file, one[0])), asked[0])
    return allowed or named


def uses_of(file: PolicyFile, purpose: str) -> tuple[str, ...]:
    """What recordings for a purpose may be heard for; none if the policy has it no more."""
    rules = _rules(file, purpose)
    return () if rules is None else (rules.uses or (purpose,))


def hearing_denied(
    file: PolicyFile,
    purpose: str,
    recording: str,
    *,
    approved: bool,
    events: Iterable[Mapping[str, object]],
    now: datetime,
) -> Denied | None:
    """Tell whether four eyes or a cap forbid to hear a recording that ``playback_denied`` does not.

    Args:
        file: The policy in force.
        purpose: That the recording was made for.
        recording: Its id.
        approved: Whether another person has approved it.
        events: Of the audit chain; read only if there is a cap.
        now: The current instant (aware).
    """
    rules = file.purposes[PurposeName(purpose)].playback
    if rules.four_eyes and not approved:
        return Denied(
            Denial.FOUR_EYES,
            f"two people must agree before a recording for {purpose} is heard",
            f"ask: recproxy recordings request {recording[:12]} --use PURPOSE; another person approves it",
        )
    if rules.sample_cap is not None:
        heard = heard_this_month(events, purpose, now)
        if recording not in heard and len(heard) >= rules.sample_cap:
            return Denied(
                Denial.CAP,
                f"{len(heard)} recordings for {purpose} were heard this month, and the policy allows no more",
                "wait for the next month, or hear one of those again",
            )
    return None


def heard_this_month(events: Iterable[Mapping[str, object]], purpose: str, now: datetime) -> frozenset[str]:
    """Recordings of a purpose that were heard in this calendar month, UTC.

    Args:
        events: Of the audit chain. What a person got of his own talk does not count.
        purpose: Which.
        now: The current instant (aware).
    """
    month = f"{now.astimezone(UTC):%Y-%m}"
    return frozenset(
        str(line["rec"])
        for line in events
        if line["event"] in _HEARD
        and line.get("purpose") == purpose
        and str(line["ts"]).startswith(month)
        and "dsr" not in line
    )


def _rules(file: PolicyFile, purpose: str) -> Playback | None:
    found = file.purposes.get(PurposeName(purpose))
    return None if found is None else found.playback
