"""Whether the signalling loop keeps up: a loop that never rests falls behind. Pure.

What waits in a socket's buffer grows old. An INVITE that is taken when its caller
has already sent it again costs as much as a new one and is worth nothing, so more
load then means fewer calls. New calls are therefore refused, which costs little,
until the loop has caught up; those that stand go on.

One turn that takes long is no overload: the recorder held the interpreter, or the
host stood still. What came meanwhile is taken, if the turns after it catch up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["BUSY_S", "Load"]

BUSY_S: Final = 0.3  # an INVITE is sent again after 0.5 s (RFC 3261, Timer A)
_LONG_TURNS: Final = 3  # so many in a row are overload, however long each of them took


@dataclass(slots=True)
class Load:
    """Of the loop; times are monotonic seconds.

    Attributes:
        busy_s: So long without rest is too long.
        busy_for_s: How long it has not rested by now; each turn counts for a third of ``busy_s`` at most.
        busy_at: End of the last turn after which something was left to do; None if
            nothing was left after the last one. A pause of the whole machine is no load.
        refusing: Whether new calls are refused.
        times: How often the loop fell behind.
    """

    busy_s: float = BUSY_S
    busy_for_s: float = 0.0
    busy_at: float | None = None
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
            self.busy_at, self.busy_for_s, self.refusing = None, 0.0, False
            return before
        if self.busy_at is not None:
            self.busy_for_s += min(now - self.busy_at, self.busy_s / _LONG_TURNS)
        self.busy_at = now
        self.refusing = before or self.busy_for_s >= self.busy_s
        self.times += self.refusing and not before
        return self.refusing is not before
