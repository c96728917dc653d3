"""When to register with a carrier, and when to try again (RFC 3261 section 10). Pure.

PJSIP renews a registration that stands; what it does not do as we want is here:
growing pauses after failures, and one line in the log for each change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from recproxy.sip.targets import Below, Target

__all__ = ["Credentials", "News", "Registration"]

_FIRST_S: Final = 10.0
_LONGEST_S: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """For a carrier.

    Attributes:
        registrar: Where to register.
        user: User part of the address, and user name of the digest.
        password: Of the digest; never shown.
        expires_s: How long a registration is asked to hold.
    """

    registrar: Target
    user: str
    password: str = field(repr=False)
    expires_s: int = 600


class News(Enum):
    """What the event log says."""

    COMPLETED = "registration.completed"
    FAILED = "registration.failed"
    ENDED = "registration.ended"


@dataclass(slots=True)
class Registration:
    """One trunk's; times are monotonic seconds.

    Attributes:
        standing: Whether the registrar holds it.
        ending: We have asked it not to.
        failures: In a row.
        due_at: When to send REGISTER; None while an answer is awaited or it stands.
    """

    standing: bool = False
    ending: bool = False
    failures: int = 0
    due_at: float | None = 0.0

    def due(self, now: float) -> bool:
        """Whether to send REGISTER now; it then counts as sent."""
        if self.ending or self.due_at is None or now < self.due_at:
            return False
        self.due_at = None
        return True

    def end(self) -> None:
        """Try no more; the registrar is told to forget us."""
        self.ending = True
        self.due_at = None

    def answered(self, code: int, expires_s: int, now: float, below: Below) -> News | None:
        """The registrar has answered, or did not (408, 503 of our own making).

        Returns:
            What is new; None for a registration that was renewed.
        """
        before = self.standing
        if 200 <= code < 300:  # noqa: PLR2004
            self.standing = expires_s > 0 and not self.ending
            self.failures = 0
            if self.standing:
                return None if before else News.COMPLETED
            return News.ENDED
        self.standing = False
        if self.ending:
            return News.FAILED
        pause_s = min(_LONGEST_S, _FIRST_S * 2.0**self.failures)
        self.failures += 1
        # Up to a quarter more, so that a carrier that comes back is not met by all at once.
        self.due_at = now + pause_s * (1 + below(1000) / 4000)
        return News.FAILED
