"""Which servers of a trunk may be called now, and which are to be asked how they are. Pure.

Time comes in as monotonic seconds, names come in looked up, randomness is passed
in; OPTIONS go out as ``Probe`` values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from recproxy.sip.health import Change, Health, State
from recproxy.sip.hunt import SILENCE_S
from recproxy.sip.targets import Below, Hop, Target, in_order

__all__ = ["Choice", "Located", "Probe", "Router", "Routes", "Told"]

_RETRY_S: Final = 2.0  # between two OPTIONS while it is open whether a server is up
_REST_S: Final = 30.0  # a server that failed and is not asked by OPTIONS comes after others so long
_AVOID_MOST_S: Final = 3600.0  # what a server may ask for with Retry-After

Located = Callable[[Target], Sequence[Hop]]
"""Where a target is at present, in order of preference; empty if its name is not known."""


@dataclass(frozen=True, slots=True)
class Routes:
    """What the router must know of a trunk.

    Attributes:
        name: Of the trunk.
        targets: Its servers.
        keepalive_s: Seconds between two OPTIONS; None for none.
    """

    name: str
    targets: tuple[Target, ...]
    keepalive_s: float | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Send OPTIONS to this server."""

    trunk: str
    hop: Hop


@dataclass(frozen=True, slots=True)
class Told:
    """A server of a trunk went down, or came up again."""

    trunk: str
    hop: Hop
    change: Change


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a call may go.

    Attributes:
        hops: In the order they are tried; empty if every server has asked to be left alone,
            or none is known.
        retry_after_s: When to ask again, if ``hops`` is empty and that is known.
    """

    hops: tuple[Hop, ...]
    retry_after_s: int | None = None


@dataclass(slots=True)
class _Server:
    health: Health = field(default_factory=Health)
    probe_at: float = 0.0
    waiting_until: float | None = None


class Router:
    """The servers of all trunks, and what is thought of each."""

    def __init__(self, trunks: Iterable[Routes], located: Located, below: Below) -> None:
        """Begin with all servers up.

        Args:
            trunks: The trunks.
            located: Tells where a target is.
            below: Randomness.
        """
        self._located = located
        self._below = below
        self._trunks: Mapping[str, Routes] = {}
        self._servers: dict[tuple[str, Hop], _Server] = {}
        self._told: list[Told] = []
        self.replace(trunks)

    def replace(self, trunks: Iterable[Routes]) -> None:
        """Take other trunks; what is known of a server that stays is kept."""
        self._trunks = {trunk.name: trunk for trunk in trunks}
        self._forget()

    def choose(self, trunk: str, now: float) -> Choice:
        """Tell where a call to ``trunk`` may go: servers that are up, else all that may be asked."""
        routes = self._trunks[trunk]
        hops = [hop for target in in_order(routes.targets, self._below) for hop in self._located(target)]
        unique = list(dict.fromkeys(hops))
        allowed = [hop for hop in unique if self._health(trunk, hop).avoided_until <= now]
        if not allowed:
            waits = [self._health(trunk, hop).avoided_until - now for hop in unique]
            return Choice((), math.ceil(min(waits)) if waits else None)
        well = [hop for hop in allowed if self._is_well(trunk, hop, now)]
        return Choice(tuple(well or allowed))

    def look_up(self) -> None:
        """Ask for the place of every server, so that its name is known before a call needs it."""
        for routes in self._trunks.values():
            for target in routes.targets:
                self._located(target)

    def answered(self, trunk: str, hop: Hop) -> None:
        """A server has sent a response to a call."""
        self._tell(trunk, hop, self._health(trunk, hop).answered())

    def missed(self, trunk: str, hop: Hop, now: float) -> None:
        """A call found a server silent or out of reach."""
        server = self._server(trunk, hop)
        if self._keepalive(trunk) is None:
            server.health.rest(now + _REST_S)  # nothing would find out that it came back
            return
        self._tell(trunk, hop, server.health.missed())
        if server.waiting_until is None:
            server.probe_at = min(server.probe_at, now)

    def refused(self, trunk: str, hop: Hop, retry_after_s: int | None, now: float) -> None:
        """A server has answered 503; with Retry-After it is left alone for so long."""
        self.answered(trunk, hop)
        if retry_after_s is not None:
            self._health(trunk, hop).avoid(now + min(retry_after_s, _AVOID_MOST_S))

    def probe_answered(self, trunk: str, hop: Hop, code: int, retry_after_s: int | None, now: float) -> None:
        """OPTIONS was answered, or could not be sent (``code`` 503 of our own making is a miss)."""
        server = self._server(trunk, hop)
        if code == 503:  # noqa: PLR2004 - it drains or is full (RFC 3261 section 11.2)
            self._tell(trunk, hop, server.health.missed())
            if retry_after_s is not None:
                server.health.avoid(now + min(retry_after_s, _AVOID_MOST_S))
        else:
            self._tell(trunk, hop, server.health.answered())
            server.health.avoided_until = 0.0
        server.waiting_until = None
        self._schedule(trunk, server, now)

    def due(self, now: float) -> list[Probe]:
        """Tell which servers to send OPTIONS to now, and count those that did not answer the last."""
        probes = []
        for trunk, hop in self._watched():
            server = self._server(trunk, hop)
            if server.waiting_until is not None:
                if now < server.waiting_until:
                    continue
                server.waiting_until = None
                self._tell(trunk, hop, server.health.missed())
                self._schedule(trunk, server, now)
            if now >= server.probe_at:
                server.waiting_until = now + SILENCE_S
                probes.append(Probe(trunk, hop))
        return probes

    def told(self) -> list[Told]:
        """What changed since the last call of this."""
        told, self._told = self._told, []
        return told

    def state(self, trunk: str, hop: Hop) -> State:
        """What is thought of a server."""
        return self._health(trunk, hop).state

    def _is_well(self, trunk: str, hop: Hop, now: float) -> bool:
        health = self._health(trunk, hop)
        return health.state is not State.DOWN and health.resting_until <= now

    def _watched(self) -> Iterator[tuple[str, Hop]]:
        for name, routes in self._trunks.items():
            if routes.keepalive_s is not None:
                for hop in dict.fromkeys(hop for target in routes.targets for hop in self._located(target)):
                    yield name, hop

    def _keepalive(self, trunk: str) -> float | None:
        routes = self._trunks.get(trunk)
        return routes.keepalive_s if routes is not None else None

    def _schedule(self, trunk: str, server: _Server, now: float) -> None:
        interval = self._keepalive(trunk)
        if interval is not None:
            server.probe_at = now + (min(_RETRY_S, interval) if server.health.unsettled else interval)

    def _tell(self, trunk: str, hop: Hop, change: Change | None) -> None:
        if change is not None:
            self._told.append(Told(trunk, hop, change))

    def _health(self, trunk: str, hop: Hop) -> Health:
        return self._server(trunk, hop).health

    def _server(self, trunk: str, hop: Hop) -> _Server:
        return self._servers.setdefault((trunk, hop), _Server())

    def _forget(self) -> None:
        """Drop servers of trunks and targets that are no more."""
        kept = {(routes.name, target) for routes in self._trunks.values() for target in routes.targets}
        self._servers = {
            (trunk, hop): server
            for (trunk, hop), server in self._servers.items()
            if (trunk, hop.target) in kept
        }
