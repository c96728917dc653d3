"""RTCP (RFC 3550 section 6): sender report, receiver report and BYE are read, the rest is named."""

import struct
from dataclasses import dataclass

from rtp.errors import PacketError

__all__ = ["Bye", "OtherPacket", "ReceiverReport", "ReportBlock", "RtcpPacket", "SenderReport", "parse"]

_VERSION = 2
_WORD = 4
_HEADER = struct.Struct("!BBH")
_SENDER = struct.Struct("!IQIII")
_BLOCK = struct.Struct("!IB3sIIII")


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says of one source (section 6.4.1).

    Attributes:
        ssrc: The source it is about.
        fraction_lost: Since the last report, in 1/256.
        lost_packets: Since the start, signed 24 bits.
        highest_sequence: Extended, 32 bits.
        jitter: Interarrival jitter in timestamp units.
        last_report: Middle 32 bits of the NTP time of the last sender report; 0 = none.
        delay: Since that report came, in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    lost_packets: int
    highest_sequence: int
    jitter: int
    last_report: int
    delay: int


@dataclass(frozen=True, slots=True)
class SenderReport:
    """Section 6.4.1.

    Attributes:
        ssrc: The sender.
        ntp_time: 64 bits, 1/2**32 s since 1900.
        rtp_timestamp: The same instant on the clock of the stream.
        packets: Sent since the start.
        octets: Of payload, sent since the start.
        reports: What it says as a receiver.
    """

    ssrc: int
    ntp_time: int
    rtp_timestamp: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...]


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """Section 6.4.2; the same without the sender's part."""

    ssrc: int
    reports: tuple[ReportBlock, ...]


@dataclass(frozen=True, slots=True)
class Bye:
    """Section 6.6.

    Attributes:
        ssrcs: Who leaves.
        reason: Text as sent, decoded leniently; empty if none was given.
    """

    ssrcs: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class OtherPacket:
    """A packet of a type that is not read (SDES, APP, feedback ...).

    Attributes:
        packet_type: 192..223.
        count: The five bits beside the padding bit.
        body: After the first word, without padding.
    """

    packet_type: int
    count: int
    body: bytes


RtcpPacket = SenderReport | ReceiverReport | Bye | OtherPacket


def parse(data: bytes) -> tuple[RtcpPacket, ...]:
    """Read a compound packet.

    Reduced-size packets (RFC 5506) are taken too: any type may come first.

    Args:
        data: The whole datagram.

    Returns:
        Its packets in order, at least one.

    Raises:
        PacketError: A length or a version is wrong (peer's fault).
    """
    packets: list[RtcpPacket] = []
    offset = 0
    while offset < len(data) or not packets:
        if len(data) - offset < _WORD:
            raise PacketError(f"RTCP: {len(data) - offset} bytes at {offset} are no packet")
        first, packet_type, words = _HEADER.unpack_from(data, offset)
        if first >> 6 != _VERSION:
            raise PacketError(f"RTCP: version {first >> 6} at {offset}, must be 2")
        end = offset + _WORD + _WORD * words
        if end > len(data):
            raise PacketError(f"RTCP: packet at {offset} ends at {end}, the datagram at {len(data)}")
        body = data[offset + _WORD : end]
        if first & 0x20:
            body = _without_padding(body, offset, is_last=end == len(data))
        packets.append(_read(packet_type, first & 0x1F, body, offset))
        offset = end
    return tuple(packets)


def _without_padding(body: bytes, offset: int, *, is_last: bool) -> bytes:
    padding = body[-1] if body else 0
    if not is_last or padding == 0 or padding % _WORD or padding > len(body):
        raise PacketError(f"RTCP: packet at {offset} has {padding} octets of padding in {len(body)}")
    return body[:-padding]


def _read(packet_type: int, count: int, body: bytes, offset: int) -> RtcpPacket:
    match packet_type:
        case 200:
            _require(body, _SENDER.size + count * _BLOCK.size, "sender report", offset)
            ssrc, ntp_time, timestamp, packets, octets = _SENDER.unpack_from(body)
            return SenderReport(
                ssrc, ntp_time, timestamp, packets, octets, _blocks(body, _SENDER.size, count)
            )
        case 201:
            _require(body, _WORD + count * _BLOCK.size, "receiver report", offset)
            return ReceiverReport(int.from_bytes(body[:_WORD], "big"), _blocks(body, _WORD, count))
        case 203:
            _require(body, _WORD * count, "BYE", offset)
            return Bye(struct.unpack_from(f"!{count}I", body), _reason(body[_WORD * count :], offset))
        case _:
            return OtherPacket(packet_type, count, body)


def _require(body: bytes, size: int, name: str, offset: int) -> None:
    if len(body) < size:
        raise PacketError(f"RTCP: {name} at {offset} has {len(body)} bytes after its header, needs {size}")


def _blocks(body: bytes, start: int, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for k in range(count):
        ssrc, fraction, lost, highest, jitter, last, delay = _BLOCK.unpack_from(body, start + k * _BLOCK.size)
        lost_packets = int.from_bytes(lost, "big", signed=True)
        blocks.append(ReportBlock(ssrc, fraction, lost_packets, highest, jitter, last, delay))
    return tuple(blocks)


def _reason(rest: bytes, offset: int) -> str:
    if not rest:
        return ""
    _require(rest, 1 + rest[0], "reason of the BYE", offset)
    return rest[1 : 1 + rest[0]].decode("utf-8", errors="replace")
