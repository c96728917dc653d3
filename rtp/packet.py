"""RTP packets (RFC 3550 section 5.1): read and written, one at a time.

The relay reads packets in C (packet.c); this is the model it is held to by a test, and what tests
and tools use. It tells RTP from what else shares the port as RFC 7983 and RFC 5761 say.
"""

import enum
import struct
from dataclasses import dataclass

from rtp.errors import PacketError

__all__ = ["HEADER_BYTES", "Extension", "PacketKind", "RtpPacket", "classify", "parse", "serialise"]

HEADER_BYTES = 12
"""The fixed header, without CSRCs and extension."""

_VERSION = 2
_RTCP_HEADER_BYTES = 8
_RTCP_TYPES = range(192, 224)
_WORD = 4
_FIXED = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
_MAX_CSRCS = 15
_MAX_PAYLOAD_TYPE = 127
_MAX_PADDING = 255
_MAX_EXTENSION_WORDS = 0xFFFF


class PacketKind(enum.IntEnum):
    """What a datagram on an RTP port is; the numbers are those of relay_api.h.

    From SHORT on it claims to be RTP or RTCP but contradicts its own length.
    """

    RTP = 0
    RTCP = 1
    OPAQUE = 2
    SHORT = 3
    CSRC = 4
    EXTENSION = 5
    PADDING = 6


_REASONS = {
    PacketKind.RTCP: "it is RTCP",
    PacketKind.OPAQUE: "its version is not 2",
    PacketKind.SHORT: "it is shorter than its fixed header",
    PacketKind.CSRC: "its contributing sources run past its end",
    PacketKind.EXTENSION: "its header extension runs past its end",
    PacketKind.PADDING: "its padding is empty or longer than what is left",
}


@dataclass(frozen=True, slots=True)
class Extension:
    """A header extension (RFC 3550 section 5.3.1).

    Attributes:
        profile: The 16 bits that the profile defines.
        data: Whole 32-bit words; may be empty.
    """

    profile: int
    data: bytes


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One packet.

    Attributes:
        payload_type: 0..127.
        sequence: 16 bits, wraps.
        timestamp: 32 bits, wraps, in units of the clock rate.
        ssrc: Synchronization source.
        payload: Without padding; may be empty.
        marker: First packet of a talk spurt, for audio (RFC 3551 section 4.1).
        csrcs: Contributing sources, at most 15.
        extension: None if there is none.
        padding: Octets of padding, the count octet included; 0 = no padding.
    """

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension: Extension | None = None
    padding: int = 0


def classify(data: bytes) -> PacketKind:
    """Tell what a datagram is, from its first bytes and its length.

    Args:
        data: The whole datagram.

    Returns:
        Its kind.
    """
    kind, _ = _measure(data)
    return kind


def parse(data: bytes) -> RtpPacket:
    """Read a packet.

    Args:
        data: The whole datagram.

    Returns:
        Its fields.

    Raises:
        PacketError: It is not RTP, or contradicts its own length (peer's fault).
    """
    kind, offset = _measure(data)
    if kind is not PacketKind.RTP:
        raise PacketError(f"datagram of {len(data)} bytes is not an RTP packet: {_REASONS[kind]}")
    first, second, sequence, timestamp, ssrc = _FIXED.unpack_from(data)
    csrc_count = first & 0x0F
    extension = None
    if first & 0x10:
        at = HEADER_BYTES + _WORD * csrc_count
        profile, words = _EXTENSION.unpack_from(data, at)
        extension = Extension(profile, data[at + _WORD : at + _WORD + _WORD * words])
    padding = data[-1] if first & 0x20 else 0
    return RtpPacket(
        payload_type=second & 0x7F,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=data[offset : len(data) - padding],
        marker=bool(second & 0x80),
        csrcs=struct.unpack_from(f"!{csrc_count}I", data, HEADER_BYTES),
        extension=extension,
        padding=padding,
    )


def serialise(packet: RtpPacket) -> bytes:
    """Write a packet; the inverse of `parse`.

    Padding octets are zero but for the count.

    Args:
        packet: Its fields.

    Returns:
        The datagram.

    Raises:
        PacketError: A field does not fit into its bits.
    """
    if len(packet.csrcs) > _MAX_CSRCS:
        raise PacketError(f"csrcs: {len(packet.csrcs)}, at most {_MAX_CSRCS} fit")
    if not 0 <= packet.payload_type <= _MAX_PAYLOAD_TYPE:
        raise PacketError(f"payload_type: {packet.payload_type}, must be 0 to 127")
    if not 0 <= packet.padding <= _MAX_PADDING:
        raise PacketError(f"padding: {packet.padding}, must be 0 to 255")
    extension = b""
    if packet.extension is not None:
        words, rest = divmod(len(packet.extension.data), _WORD)
        if rest or words > _MAX_EXTENSION_WORDS:
            raise PacketError(f"extension: {len(packet.extension.data)} bytes are not whole 32-bit words")
        extension = _packed(_EXTENSION, packet.extension.profile, words) + packet.extension.data
    first = (
        _VERSION << 6
        | (0x20 if packet.padding else 0)
        | (0x10 if packet.extension is not None else 0)
        | len(packet.csrcs)
    )
    second = (0x80 if packet.marker else 0) | packet.payload_type
    return b"".join(
        (
            _packed(_FIXED, first, second, packet.sequence, packet.timestamp, packet.ssrc),
            _packed(struct.Struct(f"!{len(packet.csrcs)}I"), *packet.csrcs),
            extension,
            packet.payload,
            bytes(packet.padding - 1) + bytes((packet.padding,)) if packet.padding else b"",
        )
    )


def _packed(form: struct.Struct, *fields: int) -> bytes:
    try:
        return form.pack(*fields)
    except struct.error as err:
        raise PacketError(f"an RTP header field does not fit into its bits: {err}") from err


def _measure(data: bytes) -> tuple[PacketKind, int]:
    """Tell the kind, and where the payload starts if it is RTP."""
    if not data:
        return PacketKind.SHORT, 0
    if data[0] >> 6 != _VERSION:
        return PacketKind.OPAQUE, 0
    if len(data) > 1 and data[1] in _RTCP_TYPES:
        return (PacketKind.RTCP if len(data) >= _RTCP_HEADER_BYTES else PacketKind.SHORT), 0
    if len(data) < HEADER_BYTES:
        return PacketKind.SHORT, 0
    end = HEADER_BYTES + _WORD * (data[0] & 0x0F)
    if end > len(data):
        return PacketKind.CSRC, 0
    if data[0] & 0x10:
        if end + _WORD > len(data):
            return PacketKind.EXTENSION, 0
        end += _WORD + _WORD * int.from_bytes(data[end + 2 : end + _WORD], "big")
        if end > len(data):
            return PacketKind.EXTENSION, 0
    if data[0] & 0x20 and not 0 < data[-1] <= len(data) - end:
        return PacketKind.PADDING, 0
    return PacketKind.RTP, end
