import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import PacketError
from rtp.rtcp import Bye, OtherPacket, ReceiverReport, ReportBlock, SenderReport, parse

_BLOCK = struct.pack("!IB3sIIII", 7, 128, b"\xff\xff\xfe", 70000, 33, 0xAABBCCDD, 65536)
_SENDER = struct.pack("!BBHIQIII", 0x81, 200, 12, 42, 0x83AA7E8000000000, 160, 50, 8000) + _BLOCK
_RECEIVER = struct.pack("!BBHI", 0x81, 201, 7, 43) + _BLOCK
_SDES = struct.pack("!BBHI", 0x81, 202, 2, 42) + b"\x01\x00\x00\x00"
_GOODBYE = struct.pack("!BBHII", 0x82, 203, 5, 42, 44) + b"\x09it is ove" + b"\x00\x00"
_REPORT = ReportBlock(7, 128, -2, 70000, 33, 0xAABBCCDD, 65536)


def test_a_compound_packet() -> None:
    assert parse(_SENDER + _RECEIVER + _SDES + _GOODBYE) == (
        SenderReport(42, 0x83AA7E8000000000, 160, 50, 8000, (_REPORT,)),
        ReceiverReport(43, (_REPORT,)),
        OtherPacket(202, 1, _SDES[4:]),
        Bye((42, 44), "it is ove"),
    )


def test_a_bye_without_reason_and_without_sources() -> None:
    assert parse(struct.pack("!BBHI", 0x81, 203, 1, 42)) == (Bye((42,), ""),)
    assert parse(struct.pack("!BBH", 0x80, 203, 0)) == (Bye((), ""),)


def test_padding_of_the_last_packet_is_taken_off() -> None:
    padded = struct.pack("!BBHI", 0xA0, 201, 2, 43) + b"\x00\x00\x00\x04"
    assert parse(padded) == (ReceiverReport(43, ()),)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes at 0 are no packet"),
        (_SENDER + b"\x80", "1 bytes at 52 are no packet"),
        (b"\x41" + _SENDER[1:], "version 1 at 0"),
        (_SENDER[:-1], "ends at 52, the datagram at 51"),
        (b"\x82" + _SENDER[1:], "sender report at 0 has 48 bytes"),
        (b"\x82" + _RECEIVER[1:], "receiver report at 0 has 28 bytes"),
        (b"\x9f" + _GOODBYE[1:], "BYE at 0 has 20 bytes"),
        (_GOODBYE[:12] + b"\x0c" + _GOODBYE[13:], "reason of the BYE at 0"),
        (struct.pack("!BBHI", 0xA0, 201, 1, 3), "3 octets of padding"),
        (struct.pack("!BBHI", 0xA0, 201, 1, 0), "0 octets of padding"),
        (struct.pack("!BBHI", 0xA0, 201, 1, 8), "8 octets of padding in 4"),
        (struct.pack("!BBH", 0xA0, 201, 0), "0 octets of padding in 0"),
        (struct.pack("!BBHI", 0xA0, 201, 1, 4) + _SDES, "4 octets of padding"),
    ],
)
def test_a_refusal_names_the_place(data: bytes, reason: str) -> None:
    with pytest.raises(PacketError, match=reason):
        parse(data)


@given(st.binary(max_size=120) | st.binary(max_size=60).map(lambda rest: _SENDER + rest))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        packets = parse(data)
    except PacketError:
        return
    assert packets
