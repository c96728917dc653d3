import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtp._binding import ffi, lib
from rtp.errors import PacketError
from rtp.packet import Extension, PacketKind, RtpPacket, classify, parse, serialise

_WORDS = st.lists(st.binary(min_size=4, max_size=4), max_size=8).map(b"".join)
_PACKETS = st.builds(
    RtpPacket,
    # 64..95 with the marker are RTCP by RFC 5761 section 4 and never used for RTP
    payload_type=st.integers(0, 63) | st.integers(96, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFF_FFFF),
    ssrc=st.integers(0, 0xFFFF_FFFF),
    payload=st.binary(max_size=200),
    marker=st.booleans(),
    csrcs=st.lists(st.integers(0, 0xFFFF_FFFF), max_size=15).map(tuple),
    extension=st.none() | st.builds(Extension, st.integers(0, 0xFFFF), _WORDS),
    padding=st.integers(0, 255),
)


@st.composite
def _nearly_valid(draw: st.DrawFn) -> bytes:
    """A packet with a few bytes changed and its end moved: the parser's corner cases."""
    data = bytearray(serialise(draw(_PACKETS)))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, min(len(data) - 1, 19)))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


@given(_PACKETS)
def test_what_is_written_is_read_back(packet: RtpPacket) -> None:
    assert parse(serialise(packet)) == packet


def test_layout_of_rfc_3550_section_5_1() -> None:
    data = bytes.fromhex("b1e0 1234 01020304 05060708 0a0b0c0d bede0001 11223344 ff ee 000003")
    assert parse(data) == RtpPacket(
        payload_type=0x60,
        sequence=0x1234,
        timestamp=0x01020304,
        ssrc=0x05060708,
        payload=b"\xff\xee",
        marker=True,
        csrcs=(0x0A0B0C0D,),
        extension=Extension(0xBEDE, b"\x11\x22\x33\x44"),
        padding=3,
    )


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("", PacketKind.SHORT),
        ("80", PacketKind.SHORT),
        ("80" + 10 * "00", PacketKind.SHORT),
        ("80" + 11 * "00", PacketKind.RTP),
        ("000100002112a442", PacketKind.OPAQUE),
        ("16feff", PacketKind.OPAQUE),
        ("c0" + 11 * "00", PacketKind.OPAQUE),
        ("80c8000000000000", PacketKind.RTCP),
        ("80c80000000000", PacketKind.SHORT),
        ("81" + 11 * "00" + 3 * "00", PacketKind.CSRC),
        ("81" + 11 * "00" + 4 * "00", PacketKind.RTP),
        ("90" + 11 * "00" + "000000", PacketKind.EXTENSION),
        ("90" + 11 * "00" + "00000000", PacketKind.RTP),
        ("90" + 11 * "00" + "00000001ffffff", PacketKind.EXTENSION),
        ("90" + 11 * "00" + "0000ffff", PacketKind.EXTENSION),
        ("a0" + 11 * "00", PacketKind.PADDING),
        ("a0" + 11 * "00" + "00", PacketKind.PADDING),
        ("a0" + 11 * "00" + "01", PacketKind.RTP),
        ("a0" + 11 * "00" + "02", PacketKind.PADDING),
    ],
)
def test_kinds_at_their_borders(data: str, kind: PacketKind) -> None:
    assert classify(bytes.fromhex(data)) is kind


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80" * 3, "datagram of 3 bytes is not an RTP packet: it is shorter"),
        (b"\x00" * 30, "its version is not 2"),
        (b"\x80\xc8" + bytes(20), "it is RTCP"),
        (b"\xbf" + bytes(20), "contributing sources run past"),
        (b"\xb0" + bytes(11) + b"\x00\x00\x01\x00", "header extension runs past"),
        (b"\xa0" + bytes(12), "padding is empty or longer"),
    ],
)
def test_a_refusal_names_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(PacketError, match=reason):
        parse(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("payload_type", 128),
        ("sequence", 65536),
        ("timestamp", -1),
        ("ssrc", 1 << 32),
        ("csrcs", (0,) * 16),
        ("csrcs", (1 << 32,)),
        ("extension", Extension(0, b"abc")),
        ("extension", Extension(1 << 16, b"")),
        ("padding", 256),
    ],
)
def test_a_field_that_does_not_fit_is_refused(field: str, value: object) -> None:
    fields: dict[str, object] = {"payload_type": 0, "sequence": 0, "timestamp": 0, "ssrc": 0, "payload": b""}
    with pytest.raises(PacketError):
        serialise(RtpPacket(**(fields | {field: value})))  # type: ignore[arg-type]


@given(st.binary(max_size=80) | _nearly_valid() | _PACKETS.map(serialise))
@example(b"")
@example(b"\xbf" + bytes(71))
def test_the_parser_in_c_agrees_with_the_model(data: bytes) -> None:
    native = ffi.new("struct relay_packet *")
    # An exact copy on the heap, so that a sanitizer build sees a read past its end.
    kind = lib.relay_parse(ffi.new("uint8_t[]", data) if data else ffi.NULL, len(data), native)
    assert PacketKind(kind) is classify(data)
    assert native.kind == kind
    if kind != PacketKind.RTP:
        assert bytes(ffi.buffer(native)) == bytes(ffi.sizeof("struct relay_packet") - 4) + bytes(
            (kind, 0, 0, 0)
        )
        return
    packet = parse(data)
    offset, length = native.payload_offset, native.payload_length
    assert data[offset : offset + length] == packet.payload
    assert len(packet.payload) == length
    assert (native.sequence, native.timestamp, native.ssrc) == (
        packet.sequence,
        packet.timestamp,
        packet.ssrc,
    )
    assert (native.payload_type, bool(native.marker)) == (packet.payload_type, packet.marker)
    assert (native.csrc_count, bool(native.extended), native.padding) == (
        len(packet.csrcs),
        packet.extension is not None,
        packet.padding,
    )
