"""Where media comes from and goes to, and under which key: values that the relay and others share."""

import enum
from dataclasses import dataclass, field

from rtp.errors import RelayError

__all__ = ["Latch", "PortPair", "Remote", "Side", "SrtpKey", "SrtpSuite"]


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


class SrtpSuite(enum.IntEnum):
    """A crypto suite, by the number that the engine knows it by."""

    AES_CM_128_HMAC_SHA1_80 = 0
    """RFC 4568 section 6.2."""
    AES_CM_128_HMAC_SHA1_32 = 1
    """RFC 4568 section 6.2; SRTCP keeps the tag of 80 bits."""
    AEAD_AES_128_GCM = 2
    """RFC 7714 section 14.2."""
    AEAD_AES_256_GCM = 3
    """RFC 7714 section 14.2."""

    @property
    def key_bytes(self) -> int:
        """Length of the master key with its salt."""
        return _KEY_BYTES[self]


_KEY_BYTES = {
    SrtpSuite.AES_CM_128_HMAC_SHA1_80: 30,
    SrtpSuite.AES_CM_128_HMAC_SHA1_32: 30,
    SrtpSuite.AEAD_AES_128_GCM: 28,
    SrtpSuite.AEAD_AES_256_GCM: 44,
}


@dataclass(frozen=True, slots=True)
class SrtpKey:
    """Master key and salt of one direction (RFC 3711 section 3.2.1).

    Attributes:
        suite: What it is for.
        key: Master key, then salt; its length is `suite.key_bytes`. Never shown.
    """

    suite: SrtpSuite
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != self.suite.key_bytes:
            raise RelayError(
                f"SRTP key for {self.suite.name}: {len(self.key)} bytes, must be {self.suite.key_bytes}: "
                "the master key and its salt, decoded from base64"
            )
