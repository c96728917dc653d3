"""Whether the signalling loop keeps up: a loop that never rests falls behind. Pure.

What waits in a socket's buffer grows old. An INVITE that is taken when its caller
has already sent it again costs as much as a new one and is worth nothing, so more
load then means fewer calls. New calls are therefore refused, which costs little,
until the loop has caught up; those that stand go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["BUSY_S", "Load"]

BUSY_S: Final = 0.3  # an INVITE is sent again after 0.5 s (RFC 3261, Timer A)


@dataclass(slots=True)
class Load:
    """Of the loop; times are monotonic seconds.

    Attributes:
        rested: When there was last nothing to do.
        refusing: Whether new calls are refused.
        times: How often the loop fell behind.
    """

    rested: float
    refusing: bool = False
    times: int = 0

    def turned(self, now: float, *, rested: bool) -> bool:
        """Take note of one turn of the loop.

        Args:
            now: At its end.
            rested: There was nothing left to do.

        Returns:
            Whether ``refusing`` has changed.
        """
        before = self.refusing
        if rested:
            self.rested = now
            self.refusing = False
        elif now - self.rested >= BUSY_S:
            self.refusing = True
        self.times += self.refusing and not before
        return self.refusing is not before
