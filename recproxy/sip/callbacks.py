"""Who has just called an emergency service, so that its call back is known: for minutes, in memory alone.

Not every service marks its call back (RFC 7090); what all have in common is that it comes soon, to
the number that called. That number is kept as a keyed hash, under a key that nobody else has and
that ends with the process: a restart forgets it all. Pure.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from typing import Final

from recproxy.call.events import CallFacts
from storage.tags import Direction

__all__ = ["CallBacks"]

_MOST: Final = 4_096  # callers that are remembered; the oldest make room


class CallBacks:
    """Numbers that called an emergency service within the window of the policy."""

    def __init__(
        self,
        key: bytes,
        window_s: Callable[[], float | None],
        canonical: Callable[[str], str],
    ) -> None:
        """Begin with nobody.

        Args:
            key: Random bytes for the hashes, of this process alone.
            window_s: How long a call back is expected, seconds; None for not at all.
            canonical: Makes a number comparable.
        """
        self._key = key
        self._window_s = window_s
        self._canonical = canonical
        self._called: dict[bytes, float] = {}

    def noted(self, facts: CallFacts, now: float) -> None:
        """A call came: remember who calls an emergency service from inside."""
        if facts.sos and facts.direction is Direction.OUTBOUND:
            self.called((facts.caller, *facts.identities), now)

    def called(self, numbers: Iterable[str], now: float) -> None:
        """An emergency service was called from a telephone with these numbers.

        Args:
            numbers: As they are told of the caller; empty ones are nobody's.
            now: Monotonic seconds.
        """
        if self._window_s() is None:
            return
        for number in numbers:
            if number:
                token = self._token(number)
                self._called.pop(token, None)
                self._called[token] = now
        self._forget(now)

    def is_back(self, number: str, now: float) -> bool:
        """Whether a call to ``number`` comes within the window."""
        self._forget(now)
        return bool(number) and bool(self._called) and self._token(number) in self._called

    def _forget(self, now: float) -> None:
        """Forget whose window is over; the order is that of their calls."""
        window_s = self._window_s()
        for token, at in list(self._called.items()):
            if window_s is not None and now - at < window_s and len(self._called) <= _MOST:
                return
            del self._called[token]

    def _token(self, number: str) -> bytes:
        return hmac.digest(self._key, self._canonical(number).encode(), "sha256")
