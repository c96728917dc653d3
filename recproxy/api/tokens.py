"""Who may use the API: bearer tokens, of which the machine keeps hashes alone.

A token is 256 random bits, so its plain SHA-256 can be stored: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

__all__ = ["Role", "Token", "digest_of", "match", "mint", "parse_tokens", "token_line"]

SECRET_BYTES: Final = 32
PREFIX: Final = "rpx_"
"""Stands before every token, so that scanners of source code and logs know one."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
_WORDS: Final = 3


class Role(Enum):
    """What somebody does here; ``access.ROLES`` says what each may."""

    ADMIN = "admin"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    PRIVACY = "privacy"


@dataclass(frozen=True, slots=True)
class Token:
    """One line of the tokens file.

    Attributes:
        name: Of the person or program; the one that the policy's roles name.
        role: What it may.
        sha256: Hash of the token, 64 hex digits.
    """

    name: str
    role: Role
    sha256: str = field(repr=False)


def mint(random: bytes) -> str:
    """The token that these random bytes make.

    Args:
        random: ``SECRET_BYTES`` of the operating system's.
    """
    if len(random) != SECRET_BYTES:
        raise ValueError(f"{len(random)} random bytes, not {SECRET_BYTES}")
    return PREFIX + random.hex()


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_line(name: str, role: Role, token: str) -> str:
    """The line that lets a token in.

    Raises:
        ValueError: The name cannot stand in the file.
    """
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is not a name of up to 63 letters, digits, dots, underscores and hyphens")
    return f"{name} {role.value} {digest_of(token)}\n"


def parse_tokens(lines: Iterable[str]) -> tuple[Token, ...]:
    """Read a tokens file; empty lines and what follows a ``#`` are left out.

    Raises:
        ValueError: A line is something else; the message says which and nothing of its hash.
    """
    found: list[Token] = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != _WORDS:
            raise ValueError(f"line {number}: not a name, a role and a hash")
        name, role, sha256 = words
        if not _NAME.match(name):
            raise ValueError(f"line {number}: {name[:63]!r} is not a name")
        if role not in {known.value for known in Role}:
            known = ", ".join(one.value for one in Role)
            raise ValueError(f"line {number}: the role is not one of {known}")
        if not _DIGEST.match(sha256):
            raise ValueError(f"line {number}: the third word is not a SHA-256 in 64 hex digits")
        found.append(Token(name, Role(role), sha256))
    return tuple(found)


def match(tokens: Iterable[Token], presented: str) -> Token | None:
    """Whose token this is; takes as long for a wrong one as for a right one.

    Args:
        tokens: All that are let in.
        presented: By a client.
    """
    digest = digest_of(presented)
    found: Token | None = None
    for token in tokens:
        if hmac.compare_digest(token.sha256, digest):
            found = token
    return found
