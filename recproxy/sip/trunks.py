"""Which trunk a message came from, and where its calls go. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from recproxy.sip.authentication import DigestUsers
from recproxy.sip.carrying import EVERYTHING_USUAL, HeaderRules
from recproxy.sip.limits import UNLIMITED, Limits
from recproxy.sip.numbering import NumberRule
from recproxy.sip.registration import Credentials
from recproxy.sip.router import Routes
from recproxy.sip.targets import Hop, Target
from recproxy.sip.uri import Uri
from storage.tags import Direction

__all__ = ["Trunk", "TrunkTable", "request_uri", "source_host"]

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_SOS_NUMBER = "112"
_MOST_HOSTS: Final = 1024  # addresses whose trunk is remembered


@dataclass(frozen=True, slots=True)
class Trunk:
    """One neighbour: a PBX, a carrier.

    Attributes:
        name: As in the configuration.
        peers: Addresses and networks that its requests come from, CIDR.
        targets: Servers that calls to this trunk go to.
        direction: Of the calls that come from it, seen from the organisation.
        forward_to: Name of the trunk that its calls go to.
        keepalive_s: Seconds between two OPTIONS to each server; None for none.
        limits: How many calls it may have, and how fast it may make them.
        received: How numbers of calls from it become those that the policy compares.
        sent: How those become the numbers of calls to it.
        users: Who may call from it, with a password; None for anybody at ``peers``.
        deny: Beginnings of the numbers that its calls may not reach.
        headers: Which headers go on to it.
        names_purpose: Whether its INVITEs may name the purpose of a call.
        credentials: For its registrar, and for its challenges of INVITEs; None for none.
        siprec: Its calls are forks of a recording client (RFC 7866): they end here.
        notice_header: Header in which such a client says what it announced.
        tells_recording: Whether it is told the id of a call's recording.
    """

    name: str
    peers: tuple[str, ...]
    targets: tuple[Target, ...]
    direction: Direction
    forward_to: str
    keepalive_s: float | None = None
    limits: Limits = UNLIMITED
    received: tuple[NumberRule, ...] = ()
    sent: tuple[NumberRule, ...] = ()
    users: DigestUsers | None = None
    deny: tuple[str, ...] = ()
    headers: HeaderRules = EVERYTHING_USUAL
    credentials: Credentials | None = None
    tells_recording: bool = False
    siprec: bool = False
    notice_header: str = ""
    names_purpose: bool = False

    def denies(self, number: str) -> bool:
        """Whether calls from here may not reach ``number``; a plus is 00, and separators do not count."""
        dialled = _digits(number)
        return any(dialled.startswith(_digits(prefix)) for prefix in self.deny)

    def holds(self, host: str) -> bool:
        """Whether its requests come from ``host``; a name is nobody's."""
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return any(address in ipaddress.ip_network(peer) for peer in self.peers)


class TrunkTable:
    """The trunks, by source address and by name; they never change."""

    def __init__(self, trunks: Iterable[Trunk]) -> None:
        """Index the trunks.

        Args:
            trunks: Their networks must not overlap; the narrowest one wins if they do.

        Raises:
            ValueError: A peer is not an address or network.
        """
        self._by_name: Mapping[str, Trunk] = {trunk.name: trunk for trunk in trunks}
        networks: list[tuple[_Network, Trunk]] = [
            (ipaddress.ip_network(peer), trunk) for trunk in self._by_name.values() for peer in trunk.peers
        ]
        self._networks = sorted(networks, key=lambda pair: pair[0].prefixlen, reverse=True)
        self._by_host: dict[str, Trunk | None] = {}

    @property
    def peers(self) -> tuple[str, ...]:
        """Every network that requests may come from."""
        return tuple(str(network) for network, _ in self._networks)

    @property
    def fork_clients(self) -> tuple[str, ...]:
        """Every network of a recording client."""
        return tuple(str(network) for network, trunk in self._networks if trunk.siprec)

    def source(self, host: str) -> Trunk | None:
        """The trunk that ``host``, a numeric address, belongs to; a name is nobody's."""
        if host in self._by_host:
            return self._by_host[host]
        trunk = self._look_up(host)
        if len(self._by_host) < _MOST_HOSTS:
            self._by_host[host] = trunk
        return trunk

    def _look_up(self, host: str) -> Trunk | None:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        for network, trunk in self._networks:
            if address.version == network.version and address in network:
                return trunk
        return None

    def networks(self, names: Collection[str]) -> tuple[str, ...]:
        """Every network that requests of these trunks may come from."""
        return tuple(str(network) for network, trunk in self._networks if trunk.name in names)

    @property
    def users(self) -> dict[str, DigestUsers]:
        """Who may call from the trunks that want passwords, by the trunk's name."""
        return {name: trunk.users for name, trunk in self._by_name.items() if trunk.users is not None}

    def named(self, name: str) -> Trunk | None:
        """The trunk of this name."""
        return self._by_name.get(name)

    @property
    def credentials(self) -> dict[str, Credentials]:
        """Of the trunks that have some."""
        return {t.name: t.credentials for t in self._by_name.values() if t.credentials is not None}

    @property
    def limits(self) -> tuple[tuple[str, Limits], ...]:
        """Name and limits of each trunk."""
        return tuple((trunk.name, trunk.limits) for trunk in self._by_name.values())

    @property
    def routes(self) -> tuple[Routes, ...]:
        """What the router must know of each trunk."""
        return tuple(Routes(t.name, t.targets, t.keepalive_s) for t in self._by_name.values())


def request_uri(asked: Uri, hop: Hop) -> Uri:
    """Request-URI of a call to a server for what the caller asked for.

    An emergency service URN (RFC 5031) becomes the number 112: trunks route
    numbers, and the call must not be lost on its way. A server that is named is
    asked by its name (RFC 3263 section 4), whatever address it has.
    """
    host, port = (hop.target.host, hop.target.port) if hop.target.is_name else (hop.host, hop.port)
    target = Uri("sip", "", host, port, (("transport", hop.transport),))
    if asked.scheme == "urn":
        return Uri("sip", _SOS_NUMBER, host, port, target.parameters)
    return asked.towards(target)


def _digits(number: str) -> str:
    written = number.strip()
    digits = "".join(char for char in written if char in "0123456789*#")
    return f"00{digits}" if written.startswith("+") else digits


def source_host(address: str) -> str:
    """Host part of PJSIP's ``192.0.2.1:5060`` or ``[2001:db8::1]:5060``."""
    host, _, _ = address.rpartition(":")
    return host.strip("[]").partition("%")[0]
