"""Requests from addresses of no trunk: told, but not one by one. Pure.

Each is refused before a call exists, so nothing else is said of it. A trunk whose
addresses are wrong has to be seen at once; a scan of the internet must not fill the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Strangers"]

_EVERY_S: Final = 60.0


@dataclass(slots=True)
class Strangers:
    """What was told of them; times are monotonic seconds.

    Attributes:
        told: Requests that were told of.
        quiet_until: Nothing is told before.
    """

    told: int = 0
    quiet_until: float = 0.0

    def fresh(self, refused: int, now: float) -> int:
        """Tell how many requests to speak of now.

        Args:
            refused: All that were refused so far.
            now: The instant.

        Returns:
            Those since the last time, at most once a minute; else 0.
        """
        new = refused - self.told
        if new <= 0 or now < self.quiet_until:
            return 0
        self.told, self.quiet_until = refused, now + _EVERY_S
        return new
