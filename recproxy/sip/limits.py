"""How many calls a trunk may have, and how fast it may make them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

__all__ = ["UNLIMITED", "Bucket", "Limits", "Refusal", "TrunkLimits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one trunk.

    Attributes:
        max_calls: At once, from and to it; None for no limit.
        max_rate: New calls a second from it; None for no limit.
        max_burst: That may come at once before ``max_rate`` counts.
    """

    max_calls: int | None = None
    max_rate: float | None = None
    max_burst: int = 10


UNLIMITED: Final = Limits()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is not taken.

    Attributes:
        why: ``calls`` or ``rate``.
        trunk: Whose limit it is.
        retry_after_s: When to ask again.
    """

    why: str
    trunk: str
    retry_after_s: int


@dataclass(slots=True)
class Bucket:
    """Tokens that come at a steady rate and gather up to a limit; each call takes one."""

    rate: float
    burst: int
    tokens: float = field(init=False)
    at: float | None = None

    def __post_init__(self) -> None:
        self.tokens = float(self.burst)

    def take(self, now: float) -> bool:
        """Take a token, if there is one."""
        if self.at is not None:
            self.tokens = min(float(self.burst), self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def wait_s(self) -> int:
        """Whole seconds until there is one again."""
        return max(1, math.ceil((1 - self.tokens) / self.rate))


class TrunkLimits:
    """Counts the calls of every trunk."""

    _CALLS_RETRY_S = 10

    def __init__(self) -> None:
        self._limits: dict[str, Limits] = {}
        self._buckets: dict[str, Bucket] = {}
        self._calls: dict[str, int] = {}
        self.refused: dict[str, int] = {"calls": 0, "rate": 0}

    def replace(self, limits: Iterable[tuple[str, Limits]]) -> None:
        """Take other limits; calls that are up keep counting, buckets whose rate is the same stay as full."""
        self._limits = dict(limits)
        kept = self._buckets
        self._buckets = {}
        for trunk, limit in self._limits.items():
            if limit.max_rate is None:
                continue
            bucket = kept.get(trunk)
            if bucket is None or (bucket.rate, bucket.burst) != (limit.max_rate, limit.max_burst):
                bucket = Bucket(limit.max_rate, limit.max_burst)
            self._buckets[trunk] = bucket

    def admit(self, source: str, onward: str, now: float) -> Refusal | None:
        """Whether a call may begin; it is counted by ``begun`` and ``ended``.

        Args:
            source: Trunk that it comes from; its rate counts.
            onward: Trunk that it goes to.
            now: Monotonic seconds.

        Returns:
            None if it may; otherwise why not.
        """
        for trunk in dict.fromkeys((source, onward)):
            if self.is_full(trunk):
                self.refused["calls"] += 1
                return Refusal("calls", trunk, self._CALLS_RETRY_S)
        bucket = self._buckets.get(source)
        if bucket is not None and not bucket.take(now):
            self.refused["rate"] += 1
            return Refusal("rate", source, bucket.wait_s())
        return None

    def is_full(self, trunk: str) -> bool:
        """Whether it has all the calls that it may have."""
        limit = self._limits.get(trunk)
        return (
            limit is not None and limit.max_calls is not None and self._calls.get(trunk, 0) >= limit.max_calls
        )

    @property
    def full(self) -> frozenset[str]:
        """Trunks that have all the calls that they may have."""
        return frozenset(trunk for trunk in self._limits if self.is_full(trunk))

    def begun(self, source: str, onward: str) -> None:
        """A call has begun."""
        for trunk in dict.fromkeys((source, onward)):
            self._calls[trunk] = self._calls.get(trunk, 0) + 1

    def ended(self, source: str, onward: str) -> None:
        """A call that had begun is over."""
        for trunk in dict.fromkeys((source, onward)):
            left = self._calls[trunk] - 1
            if left:
                self._calls[trunk] = left
            else:
                del self._calls[trunk]
