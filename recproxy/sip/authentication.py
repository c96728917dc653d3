"""Which trunks must authenticate, who did not, and for how long he is locked out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from recproxy.errors import SipError
from recproxy.sip.digest import Verdict, Verifier
from recproxy.sip.message import Message
from recproxy.sip.uri import Uri

__all__ = ["Authentication", "ChallengedError", "DigestUsers", "users_of"]

_REFRESH_S: Final = 10.0  # a challenge is given to everybody for so long
_FAILURES: Final = 10  # wrong passwords of one source within _WINDOW_S
_WINDOW_S: Final = 60.0
_LOCKED_S: Final = 300.0
_MOST_SOURCES: Final = 4_096
_REQUIRED: Final = 407
_FORBIDDEN: Final = 403


@dataclass(frozen=True, slots=True)
class DigestUsers:
    """Who may call from a trunk.

    Attributes:
        realm: Tells the peer which password is asked for.
        users: Passwords by user name.
    """

    realm: str
    users: Mapping[str, str] = field(repr=False)


class ChallengedError(SipError):
    """The request has no credentials, or not the right ones.

    Attributes:
        challenges: Values of Proxy-Authenticate.
    """

    def __init__(self, challenges: tuple[str, ...]) -> None:
        super().__init__("INVITE", "needs authentication", code=_REQUIRED)
        self.challenges = challenges


@dataclass(slots=True)
class _Source:
    """Wrong passwords of one address."""

    since: float
    failures: int = 0
    locked_until: float = 0.0


class Authentication:
    """The digests of all trunks that have one."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._verifiers: dict[str, Verifier] = {}
        self._given: dict[str, DigestUsers] = {}
        self._sources: dict[str, _Source] = {}
        self._refreshed: float | None = None
        self._locked: tuple[str, ...] = ()

    def replace(self, trunks: Mapping[str, DigestUsers]) -> None:
        """Ask these trunks for passwords from now on; nonces of one that stays stay good."""
        self._verifiers = {
            name: self._verifiers[name]
            if self._given.get(name) == users
            else Verifier(users.realm, users.users, self._random_bytes(32))
            for name, users in trunks.items()
        }
        self._given = dict(trunks)
        self._refreshed = None

    def fresh(self, now: float) -> tuple[tuple[str, str], ...] | None:
        """Challenges of each trunk, in order, when it is time for new ones."""
        if self._refreshed is not None and now - self._refreshed < _REFRESH_S:
            return None
        self._refreshed = now
        return tuple(verifier.challenges(now) for verifier in self._verifiers.values())

    def locked(self, now: float) -> tuple[str, ...] | None:
        """Addresses that are locked out, if they are not those of the last time."""
        locked = tuple(host for host, source in self._sources.items() if source.locked_until > now)
        if locked == self._locked:
            return None
        self._locked = locked
        return locked

    def check(self, trunk: str, host: str, invite: Message, asked: Uri, now: float) -> None:
        """Let an INVITE pass, or not.

        Args:
            trunk: That it came from.
            host: Address that it came from.
            invite: The message.
            asked: Its Request-URI.
            now: Monotonic seconds.

        Raises:
            ChallengedError: It has no credentials, or wrong ones.
            SipError: 403: its source has sent too many wrong ones.
        """
        verifier = self._verifiers.get(trunk)
        if verifier is None:
            return
        source = self._sources.get(host)
        if source is not None and source.locked_until > now:
            raise SipError("source address", "is locked out for a while", code=_FORBIDDEN)
        values = [one.value for one in invite.headers if one.name.lower() == "proxy-authorization"]
        verdict = verifier.verify("INVITE", lambda uri: _same_user(uri, asked), values, now)
        if verdict is Verdict.ACCEPTED:
            self._sources.pop(host, None)
            return
        if verdict is Verdict.WRONG:
            self._failed(host, now)
        raise ChallengedError(verifier.challenges(now, stale=verdict is Verdict.STALE))

    def _failed(self, host: str, now: float) -> None:
        if host not in self._sources and len(self._sources) >= _MOST_SOURCES:
            self._sources = {
                name: source
                for name, source in self._sources.items()
                if source.locked_until > now or now - source.since < _WINDOW_S
            }
        source = self._sources.get(host)
        if source is None or now - source.since >= _WINDOW_S:
            source = self._sources[host] = _Source(now)
        source.failures += 1
        if source.failures >= _FAILURES:
            source.locked_until = now + _LOCKED_S


def _same_user(text: str, asked: Uri) -> bool:
    """Whether the ``uri`` of credentials asks for whom the request asks for.

    Hosts and parameters are often written otherwise there; a number is what a thief of
    credentials would change.
    """
    try:
        return Uri.parse(text).number == asked.number
    except SipError:
        return False


def users_of(lines: Iterable[str]) -> dict[str, str]:
    """Read lines of ``user:password``; empty ones and those that begin with ``#`` do not count.

    Raises:
        ValueError: A line has no colon or no user, or names one a second time; says which.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if not text.strip() or text.startswith("#"):
            continue
        user, colon, password = text.partition(":")
        if not colon or not user or not password:
            raise ValueError(f"line {number} is not user:password")
        if user in users:
            raise ValueError(f"line {number} names a user a second time")
        users[user] = password
    return users
