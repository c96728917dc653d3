"""Digest authentication of requests that come in (RFC 7616, RFC 8760). Pure.

Nonces are made without being kept: a time and a MAC over it. What must be kept
is which nonce counts were used, for as long as a nonce lives.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["Algorithm", "Credentials", "Verdict", "Verifier", "digest"]

_STAMP_BYTES: Final = 8
_MAC_BYTES: Final = 16
_NONCE_LIFE_S: Final = 300.0
_MOST_COUNTS: Final = 65_536  # clients within the life of a nonce
_MOST_CHARACTERS: Final = 2_048  # of one header
_FIELD: Final = re.compile(r'\s*([A-Za-z0-9*-]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|\Z)')
_COUNT: Final = re.compile(r"[0-9a-fA-F]{8}\Z")


class Algorithm(Enum):
    """A hash; the value is its name in headers, the order is ours of preference."""

    SHA256 = "SHA-256"
    MD5 = "MD5"

    def hash(self, text: str) -> str:
        """Hexadecimal hash of a text."""
        data = text.encode("utf-8", "surrogateescape")
        if self is Algorithm.SHA256:
            return hashlib.sha256(data).hexdigest()
        return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Verdict(Enum):
    """What became of credentials."""

    ACCEPTED = "accepted"
    ABSENT = "absent"  # there are none for this realm, or for no nonce of ours
    STALE = "stale"  # right, but for a nonce that is too old
    WRONG = "wrong"  # unknown user, wrong password, used before, or for another request


@dataclass(frozen=True, slots=True)
class Credentials:
    """A Proxy-Authorization header of the scheme Digest.

    Attributes:
        username: Unquoted.
        realm: Unquoted.
        nonce: As we gave it.
        uri: Request-URI as the client had it.
        response: Hexadecimal.
        algorithm: Hash.
        cnonce: The client's own nonce.
        count: Nonce count, eight hexadecimal digits.
    """

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: Algorithm
    cnonce: str
    count: str

    @classmethod
    def parse(cls, value: str) -> Credentials | None:
        """Read a header value; None if it is malformed, or of a kind that was not asked for.

        Asked for are ``qop=auth`` and the algorithms of ``Algorithm``; without the first
        nothing hinders that a response is used again.
        """
        scheme, _, rest = value.strip().partition(" ")
        if scheme.lower() != "digest" or len(value) > _MOST_CHARACTERS:
            return None
        found = _fields(rest)
        if found is None or found.get("qop") != "auth" or not _COUNT.match(found.get("nc", "")):
            return None
        try:
            algorithm = Algorithm(found.get("algorithm", "MD5").upper())
            return cls(
                found["username"],
                found["realm"],
                found["nonce"],
                found["uri"],
                found["response"].lower(),
                algorithm,
                found["cnonce"],
                found["nc"],
            )
        except (KeyError, ValueError):
            return None


def _fields(text: str) -> dict[str, str] | None:
    """Parameters of a header by lower-case name; None if there is one twice, or anything else."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _FIELD.match(text, at)
        if match is None or match[1].lower() in found:
            return None
        value = match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
        found[match[1].lower()] = value
        at = match.end()
    return found


def digest(given: Credentials, method: str, password: str) -> str:
    """The response that a client with this password gives (RFC 7616 section 3.4.1, qop ``auth``)."""
    secret = given.algorithm.hash(f"{given.username}:{given.realm}:{password}")
    request = given.algorithm.hash(f"{method}:{given.uri}")
    return given.algorithm.hash(f"{secret}:{given.nonce}:{given.count}:{given.cnonce}:auth:{request}")


class Verifier:
    """Challenges and credentials of one realm."""

    def __init__(self, realm: str, users: Mapping[str, str], key: bytes) -> None:
        """Prepare.

        Args:
            realm: Without quotes and control characters.
            users: Passwords by user name.
            key: Random; makes nonces ours.
        """
        self._realm = realm
        self._users = dict(users)
        self._key = key
        self._counts: dict[tuple[str, str, str], tuple[float, int]] = {}

    def challenges(self, now: float, *, stale: bool = False) -> tuple[str, str]:
        """Values of two Proxy-Authenticate headers, the stronger algorithm first (RFC 8760).

        Args:
            now: Seconds of any clock that does not go back.
            stale: The password was right, only the nonce was old.
        """
        nonce = self._nonce(now)
        tail = ", stale=true" if stale else ""
        first, second = (
            f'Digest realm="{self._realm}", nonce="{nonce}", algorithm={one.value}, qop="auth"{tail}'
            for one in Algorithm
        )
        return first, second

    def verify(
        self, method: str, is_asked: Callable[[str], bool], values: Iterable[str], now: float
    ) -> Verdict:
        """Judge the credentials of a request.

        Unknown users and wrong passwords take the same steps and give the same verdict.

        Args:
            method: Of the request.
            is_asked: Tells whether a ``uri`` of the credentials is that of the request.
            values: Of its Proxy-Authorization headers.
            now: As for ``challenges``.
        """
        ours = [one for one in map(Credentials.parse, values) if one is not None and one.realm == self._realm]
        if not ours:
            return Verdict.ABSENT
        given = ours[0]
        known = given.username in self._users
        expected = digest(given, method, self._users.get(given.username, ""))
        right = hmac.compare_digest(expected.encode(), given.response.encode("utf-8", "surrogateescape"))
        age = self._age(given.nonce, now)
        if age is None:
            return Verdict.ABSENT  # whoever forges a source cannot have a nonce of ours
        if not (right and known) or not is_asked(given.uri):
            return Verdict.WRONG
        if age > _NONCE_LIFE_S:
            return Verdict.STALE
        return self._count(given, now)

    # -------------------------------------------------------------- ground

    def _nonce(self, now: float) -> str:
        stamp = int(now * 1000).to_bytes(_STAMP_BYTES, "big")
        return base64.b64encode(stamp + self._mac(stamp)).decode()

    def _mac(self, stamp: bytes) -> bytes:
        return hmac.digest(self._key, stamp + self._realm.encode(), "sha256")[:_MAC_BYTES]

    def _age(self, nonce: str, now: float) -> float | None:
        """Seconds since we made a nonce; None if we did not."""
        try:
            raw = base64.b64decode(nonce.encode("ascii"), validate=True)
        except ValueError:
            return None
        stamp, mac = raw[:_STAMP_BYTES], raw[_STAMP_BYTES:]
        if not hmac.compare_digest(mac, self._mac(stamp)):
            return None
        return now - int.from_bytes(stamp, "big") / 1000

    def _count(self, given: Credentials, now: float) -> Verdict:
        """Take each nonce count of a client once, and only upwards."""
        client = (given.nonce, given.username, given.cnonce)
        count = int(given.count, 16)
        _, last = self._counts.get(client, (now, 0))
        if count <= last:
            return Verdict.WRONG
        if client not in self._counts and len(self._counts) >= _MOST_COUNTS:
            oldest = now - _NONCE_LIFE_S
            self._counts = {one: used for one, used in self._counts.items() if used[0] > oldest}
            if len(self._counts) >= _MOST_COUNTS:
                return Verdict.STALE  # it may try again; nothing that was used is forgotten
        self._counts[client] = (now, count)
        return Verdict.ACCEPTED
