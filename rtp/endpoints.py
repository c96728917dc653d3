"""Where media comes from and goes to: the values that the relay and the port pool share."""

import enum
from dataclasses import dataclass

__all__ = ["Latch", "PortPair", "Remote", "Side"]


class Side(enum.IntEnum):
    """One of the two parties; also the channel of the recording (0 = left)."""

    CALLER = 0
    CALLEE = 1

    @property
    def other(self) -> "Side":
        """The party at the far end."""
        return Side(1 - self)


class Latch(enum.IntEnum):
    """How strictly the source of a packet is held to what the SDP said."""

    EXACT = 0
    """Address and port must be those of the SDP."""
    ADDRESS = 1
    """The address must be that of the SDP; the port is taken from the first packet and then
    fixed, unless the exact port of the SDP appears, which wins for good. Media is always sent
    to the port of the SDP."""
    ANY = 2
    """For a party behind NAT: the first source is taken once, then fixed; media is sent to it."""


@dataclass(frozen=True, slots=True)
class PortPair:
    """Two neighbouring UDP ports of this machine: RTP on the even one, RTCP on the next."""

    address: str
    rtp_port: int

    @property
    def rtcp_port(self) -> int:
        """The port beside it (RFC 3550 section 11)."""
        return self.rtp_port + 1


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a party said it receives media.

    Attributes:
        address: Numeric IPv4 or IPv6 address; never a host name.
        rtp_port: 1..65535.
        rtcp_port: 1..65535, or None when the party takes no RTCP of its own port (rtcp-mux).
    """

    address: str
    rtp_port: int
    rtcp_port: int | None
