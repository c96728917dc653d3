"""Who may hear a recording, and for what: the purpose it was made for says so; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from recproxy.policy.file import PolicyFile, RoleName
from recproxy.policy.purpose import Playback, PurposeName

__all__ = ["Denial", "Denied", "heard_this_month", "playback_denied", "roles_of"]

_HEARD: Final = frozenset({"export.created", "playback.opened"})


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
    uses = rules.uses or (PurposeName(purpose),)
    if use not in uses:
        return Denied(
            Denial.USE,
            f"a recording for {purpose} may not be used for {use!r}: callers were told otherwise",
            f"its uses are {', '.join(uses)}",
        )
    if not roles_of(file, user) & set(rules.roles):
        return Denied(
            Denial.ROLE,
            f"{user} has none of the roles that may hear recordings for {purpose}",
            f"its playback.roles are {', '.join(rules.roles)}; see roles in the policy",
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
