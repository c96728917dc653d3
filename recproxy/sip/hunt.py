"""One INVITE and the servers that may take it: the next one if one fails (RFC 3261 section 16.7). Pure.

The caller sees one call. A server that has sent a provisional response other
than 100, or a final one that is not 503, has the call for good or for ill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from recproxy.sip.targets import Hop

__all__ = ["ATTEMPTS", "SILENCE_S", "Failure", "GiveUp", "Hunt", "Phase", "Try"]

SILENCE_S: Final = 4.0  # without any response; Timer B of RFC 3261 would wait 32 s
ATTEMPTS: Final = 5  # a caller waits at most five times that long

_TIMEOUT: Final = 408
_UNAVAILABLE: Final = 503
_UNREACHABLE: Final = frozenset({_TIMEOUT, 502, _UNAVAILABLE})  # what our own stack says of a server


@dataclass(frozen=True, slots=True)
class Try:
    """Send the INVITE to this server."""

    hop: Hop


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No server is left: tell the caller of this failure.

    Attributes:
        attempt: Number of the attempt that failed so, from 0; -1 if there was none.
        code: Of the response to the caller.
    """

    attempt: int
    code: int


Step: TypeAlias = Try | GiveUp


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt ended.

    Attributes:
        code: Status.
        by_peer: The server said so itself; otherwise it was not reached or did not answer.
    """

    code: int
    by_peer: bool


class Phase(Enum):
    """Of a hunt."""

    SEARCHING = "searching"
    SETTLED = "settled"  # one server has the call, or there is none
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Hunt:
    """The search for a server that takes a call.

    Attributes:
        hops: In the order they are tried.
        phase: Whether another server may still be tried.
        deadline: When the present one must have answered, monotonic seconds; None if it
            has, or if nothing is waited for.
        failures: Of the attempts so far.
    """

    hops: Sequence[Hop]
    phase: Phase = Phase.SEARCHING
    deadline: float | None = None
    failures: list[Failure] = field(default_factory=list)

    @property
    def searching(self) -> bool:
        """Whether the present attempt's failure may lead to another one."""
        return self.phase is Phase.SEARCHING

    @property
    def hop(self) -> Hop:
        """The server that is tried now, or was last."""
        return self.hops[min(len(self.failures), len(self.hops) - 1)]

    def start(self, now: float) -> Step:
        """Begin."""
        return self._next(now)

    def provisional(self, code: int) -> None:
        """The server has sent a provisional response: 100 ends the waiting, another one the search."""
        self.deadline = None
        if code > 100 and self.searching:  # noqa: PLR2004
            self.phase = Phase.SETTLED

    def settle(self) -> None:
        """The server has the call."""
        self.deadline = None
        if self.searching:
            self.phase = Phase.SETTLED

    def cancel(self) -> None:
        """The caller has gone: no other server is tried."""
        self.deadline = None
        self.phase = Phase.CANCELLED

    def silent(self, now: float) -> bool:
        """Whether the present server has not answered in time."""
        return self.searching and self.deadline is not None and now >= self.deadline

    def failed(self, failure: Failure, now: float) -> Step | None:
        """The present attempt has ended.

        Args:
            failure: How.
            now: Monotonic seconds.

        Returns:
            The next step; None if this failure is the call's own, to be told as it is.
        """
        self.deadline = None
        if not self.searching:
            return None
        if failure.by_peer and failure.code != _UNAVAILABLE:
            self.phase = Phase.SETTLED
            return None
        if not failure.by_peer and failure.code not in _UNREACHABLE:
            self.phase = Phase.SETTLED
            return None
        self.failures.append(failure)
        return self._next(now)

    def _next(self, now: float) -> Step:
        tried = len(self.failures)
        if tried < min(len(self.hops), ATTEMPTS):
            self.deadline = now + SILENCE_S
            return Try(self.hops[tried])
        self.phase = Phase.SETTLED
        return self._best()

    def _best(self) -> GiveUp:
        """What a server said, before what we found out; among those, silence before no way to it."""
        if not self.failures:
            return GiveUp(-1, _UNAVAILABLE)
        ranked = sorted(
            range(len(self.failures)),
            key=lambda at: (not self.failures[at].by_peer, self.failures[at].code, -at),
        )
        return GiveUp(ranked[0], self.failures[ranked[0]].code)
