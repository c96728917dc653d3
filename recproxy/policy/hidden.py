"""What a policy knows by keyed hash alone: confidential numbers, and the draw of a sample."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Final

__all__ = ["ConfidentialNumbers", "EveryCall", "Sampler", "number_token", "parse_key", "parse_tokens"]

_TOKEN: Final = re.compile(r"[0-9a-f]{64}\Z")
_KEY: Final = re.compile(r"[0-9a-f]{64,128}\Z")
_DRAW_BITS: Final = 64
_DRAWS: Final = float(1 << _DRAW_BITS)


def parse_key(text: str) -> bytes:
    """Read a key file: 64 to 128 hex digits.

    Raises:
        ValueError: It is something else; the message holds nothing of it.
    """
    bare = text.strip()
    if not _KEY.match(bare) or len(bare) % 2:
        raise ValueError("is not 64 to 128 hex digits; make one with: openssl rand -hex 32")
    return bytes.fromhex(bare)


def parse_tokens(text: str) -> frozenset[bytes]:
    """Read a list of keyed hashes, one a line; what follows a ``#`` is a comment.

    Raises:
        ValueError: A line is something else; the message says which.
    """
    found = set()
    for number, line in enumerate(text.splitlines(), start=1):
        token = line.partition("#")[0].strip()
        if not token:
            continue
        if not _TOKEN.match(token):
            raise ValueError(
                f"line {number} is not a keyed hash of 64 hex digits; "
                "make it with: recproxy policy confidential"
            )
        found.add(bytes.fromhex(token))
    return frozenset(found)


def number_token(key: bytes, number: str) -> str:
    """Keyed hash of a number in its canonical form, 64 hex digits."""
    return hmac.new(key, b"recproxy confidential number\0" + number.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class ConfidentialNumbers:
    """Numbers that are never recorded and stand nowhere in clear.

    Attributes:
        key: Of the hashes.
        tokens: The hashes.
    """

    key: bytes = field(default=b"", repr=False)
    tokens: frozenset[bytes] = frozenset()

    def among(self, numbers: Iterable[str]) -> bool:
        """Whether one of these canonical numbers is confidential."""
        if not self.tokens:
            return False
        return any(
            bytes.fromhex(number_token(self.key, number)) in self.tokens for number in numbers if number
        )


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws calls so that nobody can steer the draw, and an auditor with the key can repeat it.

    Attributes:
        key: Of all days; each day has one of its own, made from it.
    """

    key: bytes = field(default=b"", repr=False)

    def draws(self, purpose: str, call: str, day: date, rate: float) -> bool:
        """Whether a call is in the sample of a purpose.

        Args:
            purpose: Its id: the samples of two purposes do not depend on each other.
            call: Name of the call.
            day: Whose key decides.
            rate: Share of calls, 0 to 1.
        """
        daily = hmac.digest(self.key, f"recproxy sample {day.isoformat()}".encode(), "sha256")
        drawn = hmac.digest(daily, f"{purpose}\0{call}".encode(), "sha256")
        return int.from_bytes(drawn[: _DRAW_BITS // 8]) < rate * _DRAWS


@dataclass(frozen=True, slots=True)
class EveryCall(Sampler):
    """Draws every call: to explain what happens to those that are drawn."""

    def draws(self, purpose: str, call: str, day: date, rate: float) -> bool:  # noqa: ARG002
        """Whether a call is in the sample: always."""
        return True
