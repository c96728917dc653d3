"""``recproxy.yaml`` as frozen values: what each key means, its unit and default.

Long because it is the file's table of keys; what is decided from them is elsewhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Final, NewType, TypeAlias

import msgspec
from msgspec import Meta

from recproxy.config.addresses import PORT, PORT_MAX, IpAddress
from recproxy.config.cdr import CdrConfig, CdrFormat, CdrNumbers
from recproxy.config.header_names import HeaderName
from recproxy.config.http import ApiConfig, ApiListen
from recproxy.config.numbers import NumberParty, NumberRule, NumbersConfig
from recproxy.config.storing import ClockNeed, NodeName, StorageConfig
from recproxy.eventlog import LogConfig, LogFormat
from recproxy.logevents import LogLevel
from recproxy.syslog import SyslogTarget
from storage.tags import Direction

__all__ = [
    "MAX_CALLS",
    "PORT_MAX",
    "PORT_MIN",
    "UDP_PORTS_PER_CALL",
    "VERSION",
    "AnnouncerConfig",
    "ApiConfig",
    "ApiListen",
    "AuditConfig",
    "AuthenticateConfig",
    "CdrConfig",
    "CdrFormat",
    "CdrNumbers",
    "ClockNeed",
    "Config",
    "HeadersConfig",
    "Holidays",
    "IpAddress",
    "Latch",
    "Listen",
    "LogConfig",
    "LogFormat",
    "LogLevel",
    "MediaConfig",
    "MediaIo",
    "Network",
    "NodeName",
    "NumberParty",
    "NumberPrefix",
    "NumberRule",
    "NumbersConfig",
    "PortRange",
    "RegisterConfig",
    "RetentionConfig",
    "SipConfig",
    "SipTarget",
    "StorageConfig",
    "SubjectsConfig",
    "TargetConfig",
    "TlsConfig",
    "Transport",
    "TrunkConfig",
    "TrunkMedia",
    "TrunkName",
]

VERSION: Final = 1
UDP_PORTS_PER_CALL: Final = 4  # RTP and RTCP, on either side
MAX_CALLS: Final = 4_096  # what our build of the SIP stack holds, two legs each
PORT_MIN: Final = 1_024  # of the ports for media: the ones below are others'

TrunkName = NewType("TrunkName", str)
NumberPrefix = NewType("NumberPrefix", str)  # digits, perhaps behind a plus
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Transport(Enum):
    """Of SIP."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class Latch(Enum):
    """From where a stream's packets are taken.

    ``EXACT``: only from the address and port of the SDP. ``ADDRESS``: from the SDP's
    address, the port is that of the first packet. ``ANY``: from whoever sends first,
    for peers behind a NAT that does not mend its SDP.
    """

    EXACT = "exact"
    ADDRESS = "address"
    ANY = "any"


class MediaIo(Enum):
    """How packets are read and sent; ``AUTO`` takes io_uring where the system allows it."""

    AUTO = "auto"
    EPOLL = "epoll"
    IO_URING = "io_uring"


class TrunkMedia(Enum):
    """How recorded calls are offered to a trunk; ``AS_OFFERED``: as the caller's side has it."""

    AS_OFFERED = "as_offered"
    RTP = "rtp"
    SRTP = "srtp"


class PortRange(msgspec.Struct, frozen=True):
    """UDP ports ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def pairs(self) -> int:
        """Number of pairs of an even port and the odd one after it."""
        first_even = self.first + self.first % 2
        return max(0, (self.last - first_even + 1) // 2)

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


class SipTarget(msgspec.Struct, frozen=True):
    """A SIP server.

    Attributes:
        host: Address, IPv6 in brackets, or name.
        port: None for the ports that DNS gives for the name (RFC 3263).
        transport: To reach it by.
    """

    host: str
    port: int | None
    transport: Transport

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"sip:{self.host}{port};transport={self.transport.value}"


class TargetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the servers of a trunk; the URI alone may stand for it.

    Attributes:
        uri: The server.
        priority: The lowest is tried first, as in DNS SRV (RFC 2782).
        weight: Share of the calls among those of one priority.
    """

    uri: SipTarget
    priority: Annotated[int, Meta(ge=0, le=65_535, description="a whole number from 0 to 65535")] = 10
    weight: Annotated[int, Meta(ge=0, le=65_535, description="a whole number from 0 to 65535")] = 1

    def __str__(self) -> str:
        return str(self.uri)


class RegisterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Registration with a carrier (RFC 3261 section 10), and the digest for its challenges.

    Attributes:
        registrar: Who keeps the registration.
        user: User part of the address that is registered, and user name of the digest.
        password_file: Holds the password, alone on its first line; mode 0600.
        expires: How long a registration holds; it is renewed before.
    """

    registrar: SipTarget
    user: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9+_.~-]{1,64}$", description="up to 64 letters, digits and +_.~-")
    ]
    password_file: Path
    expires: timedelta = timedelta(minutes=10)


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS 1.2 and 1.3, of the connections that come in at a socket and of those that leave from it.

    Attributes:
        certificate: PEM file of our certificate and what leads from it to its root.
        key: PEM file of its private key, not encrypted; mode 0600.
        ca: PEM file of the certification authorities that peers are checked against.
        verify: Whether a server that we connect to must have a certificate of one of
            these, made out to the host in the trunk's target.
        verify_client: Whether who connects to us must have one, too (mutual TLS).
    """

    certificate: Path
    key: Path
    ca: Path = Path("/etc/ssl/certs/ca-certificates.crt")
    verify: bool = True
    verify_client: bool = False


class Listen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One socket for SIP.

    Attributes:
        transport: UDP, TCP or TLS.
        address: Numeric address to bind.
        port: Port to bind.
        advertise: Address for Contact and Via instead of the bound one; None for that.
        tls: Certificates; for TLS only, and needed for it.
    """

    transport: Transport
    address: IpAddress
    port: Annotated[int, PORT] = 5060
    advertise: IpAddress | None = None
    tls: TlsConfig | None = None


class SipConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Signalling.

    Attributes:
        listen: Sockets.
        max_connections: TCP and TLS connections that one address may have open to us.
        nameservers: DNS servers for the names of targets; those of the system if empty.
        max_calls: Calls at once; the next one gets 503.
        user_agent: Value of User-Agent and Server.
        drain: Time that calls have to end after SIGTERM, before they are ended.
    """

    listen: tuple[Listen, ...]
    max_connections: Annotated[
        int, Meta(ge=1, le=1000, description="a whole number of connections from 1 to 1000")
    ] = 64
    nameservers: tuple[IpAddress, ...] = ()
    max_calls: Annotated[
        int, Meta(ge=1, le=MAX_CALLS, description=f"a whole number of calls from 1 to {MAX_CALLS}")
    ] = 1000
    user_agent: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9 ./()_-]{0,63}$",
            description="a product name of up to 64 letters, digits, spaces and ./()_-",
        ),
    ] = "recproxy"
    drain: timedelta = timedelta(seconds=30)


class AuthenticateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Digest authentication of INVITEs (RFC 8760).

    Attributes:
        realm: Tells the peer which password is asked for.
        users_file: Lines of ``user:password``; mode 0600.
    """

    realm: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$",
            description="up to 63 letters, digits, spaces and ._-, such as a domain name",
        ),
    ]
    users_file: Path


class HeadersConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which headers of a call go on to a trunk, besides what every call needs.

    Attributes:
        carry: Names in addition to the usual ones; ``*`` at the end stands for any rest.
        hide: Names that do not go on, whatever ``carry`` says.
    """

    carry: tuple[HeaderName, ...] = ()
    hide: tuple[HeaderName, ...] = ()


class TrunkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A peer, or a group of peers that are treated alike.

    Attributes:
        peers: Networks whose SIP is taken as this trunk's; all else is refused.
        targets: Where calls to this trunk go: the servers in the order they are tried.
        keepalive: Time between two OPTIONS to each of them; None for no OPTIONS.
        register: Registration with this trunk's carrier; None for none.
        max_calls: Calls at once, from and to the trunk together; None for no limit of its own.
        max_rate: New calls a second from the trunk; None for no limit.
        max_burst: New calls from the trunk that may come at once before ``max_rate`` counts.
        numbers: How numbers are written on the trunk.
        deny: Beginnings of the numbers that calls from this trunk may not reach.
        trusted: Whether the trunk may know callers who asked for privacy (RFC 3325).
        headers: Which headers go on to the trunk.
        recording_id: Whether messages to the trunk name the call's recording (X-Recording-ID).
        names_purpose: Whether X-Recording-Purpose in its INVITEs names the purpose of a call.
        direction: What calls that come from this trunk are, seen from the organisation.
        forward_to: Name of the trunk that calls from this trunk go on to.
        latch: From where this trunk's media is taken.
        media: Whether recorded calls go to this trunk as SRTP (RFC 3711, keys in the SDP).
        media_advertise: Address that SDP shows to this trunk; None for that of ``media``.
        authenticate: Digest that INVITEs from this trunk must carry; None for none.
        siprec: Whether its peers are recording clients (RFC 7866) whose forks end here, without a target.
        notice_header: Header in which a recording client says what it announced.
    """

    peers: tuple[Network, ...]
    direction: Direction
    targets: tuple[TargetConfig, ...] = ()
    forward_to: str = ""
    keepalive: timedelta | None = None
    register: RegisterConfig | None = None
    max_calls: (
        Annotated[int, Meta(ge=1, le=MAX_CALLS, description=f"a whole number of calls from 1 to {MAX_CALLS}")]
        | None
    ) = None
    max_rate: (
        Annotated[float, Meta(gt=0, le=10_000, description="a number of calls a second up to 10000")] | None
    ) = None
    max_burst: Annotated[
        int, Meta(ge=1, le=10_000, description="a whole number of calls from 1 to 10000")
    ] = 10
    numbers: NumbersConfig = NumbersConfig()
    deny: tuple[NumberPrefix, ...] = ()
    trusted: bool = False
    headers: HeadersConfig = HeadersConfig()
    recording_id: bool = False
    names_purpose: bool = False
    latch: Latch = Latch.ADDRESS
    media: TrunkMedia = TrunkMedia.AS_OFFERED
    media_advertise: IpAddress | None = None
    authenticate: AuthenticateConfig | None = None
    siprec: bool = False
    notice_header: HeaderName = HeaderName("X-Recording-Notice")

    @property
    def ip_version(self) -> int:
        """Of this trunk's media: 6 if all of its peers are IPv6, else 4."""
        return 6 if self.peers and all(network.version == 6 for network in self.peers) else 4  # noqa: PLR2004


class MediaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Relaying of RTP.

    Attributes:
        address: Numeric addresses to bind: one of IPv4, one of IPv6, or both. A call uses
            that of its trunk's IP version, on either side.
        advertise: Addresses for SDP instead of the bound ones; at most one of either version.
        ports: UDP ports; four are needed for each call.
        threads: Relay threads.
        io: How packets are read and sent.
        guard_ms: Milliseconds between the end of the announcement and the first
            recorded packet.
        dscp: Marking of the packets sent (46 is expedited forwarding).
    """

    address: tuple[IpAddress, ...]
    advertise: tuple[IpAddress, ...] = ()
    ports: PortRange = PortRange(20_000, 29_999)
    threads: Annotated[int, Meta(ge=1, le=64, description="a whole number of threads from 1 to 64")] = 1
    io: MediaIo = MediaIo.AUTO
    guard_ms: Annotated[
        int, Meta(ge=0, le=1000, description="a whole number of milliseconds from 0 to 1000")
    ] = 20
    dscp: Annotated[int, Meta(ge=0, le=63, description="a whole number from 0 to 63")] = 46

    def bound(self, ip_version: int) -> IpAddress | None:
        """Address that is bound for this IP version; None if there is none."""
        return _of_version(self.address, ip_version)

    def announced(self, ip_version: int) -> IpAddress | None:
        """Address that goes into SDP for this IP version; None if there is none."""
        return _of_version(self.advertise, ip_version) or self.bound(ip_version)


def _of_version(addresses: tuple[IpAddress, ...], ip_version: int) -> IpAddress | None:
    return next((one for one in addresses if ipaddress.ip_address(one).version == ip_version), None)


class AnnouncerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Announcements.

    Attributes:
        directory: Holds the announcements as audio, spoken or converted at set-up.
    """

    directory: Path


class RetentionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The process that shreds what has expired.

    Attributes:
        interval: Time between two sweeps; at most an hour.
        max_clock_step: The wall clock may depart this far from monotonic time before
            sweeping stands still.
        max_downtime: The wall clock may be this far ahead of the last sweep after a
            reboot before sweeping stands still.
    """

    interval: timedelta = timedelta(minutes=10)
    max_clock_step: timedelta = timedelta(minutes=5)
    max_downtime: timedelta = timedelta(days=31)


class Holidays(Enum):
    """Whose public holidays move a due date; ``NONE``: weekends only, which is never later."""

    NL = "nl"
    NONE = "none"


class SubjectsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests of the people who are recorded.

    Attributes:
        directory: Holds their cases, apart from the recordings; None for no cases.
        holidays: Whose public holidays move the day on which an answer is due.
    """

    directory: Path | None = None
    holidays: Holidays = Holidays.NL


class AuditConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is told of the audit chain elsewhere.

    Attributes:
        syslog: Where the hash of its newest line goes after each sweep; None for nowhere.
    """

    syslog: SyslogTarget | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of ``recproxy.yaml``. Only the composition root takes it whole.

    Attributes:
        version: Of the file's format.
        node: Name of this machine in recordings and the audit log.
        policy: The policy file.
        sip: Signalling.
        trunks: By name.
        media: Relaying of RTP.
        storage: Where recordings live.
        announcer: Announcements.
        retention: The process that shreds.
        subjects: Requests of the people who are recorded.
        audit: What is told of the audit chain elsewhere.
        api: The HTTP API.
        cdr: Call detail records.
        log: The event log.
    """

    version: int = 1
    node: NodeName = NodeName("recproxy")
    policy: Path
    sip: SipConfig
    trunks: Mapping[TrunkName, TrunkConfig]
    media: MediaConfig
    storage: StorageConfig
    announcer: AnnouncerConfig
    retention: RetentionConfig = RetentionConfig()
    subjects: SubjectsConfig = SubjectsConfig()
    audit: AuditConfig = AuditConfig()
    api: ApiConfig = ApiConfig()
    cdr: CdrConfig = CdrConfig()
    log: LogConfig = LogConfig()
