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
        busy_s: So long without rest is too long.
        busy_since: End of the first turn after which something was left to do; None if
            nothing was left after the last one. A pause of the whole machine is no load.
        refusing: Whether new calls are refused.
        times: How often the loop fell behind.
    """

    busy_s: float = BUSY_S
    busy_since: float | None = None
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
            self.busy_since = None
            self.refusing = False
        elif self.busy_since is None:
            self.busy_since = now
        elif now - self.busy_since >= self.busy_s:
            self.refusing = True
        self.times += self.refusing and not before
        return self.refusing is not before
