from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recproxy.call.commands import SdpToSend
from recproxy.call.events import Codec, LocalMedia, MediaDirection, Sdp
from recproxy.errors import SdpError
from recproxy.sip import sdp, sdp_lines

OFFER = (
    b"v=0\r\n"
    b"o=alice 2890844526 2890844527 IN IP4 203.0.113.7\r\n"
    b"s=-\r\n"
    b"c=IN IP4 203.0.113.7\r\n"
    b"b=AS:80\r\n"
    b"t=0 0\r\n"
    b"a=x-session:kept\r\n"
    b"a=ice-lite\r\n"
    b"m=audio 49170 RTP/AVP 111 0 8 97 101\r\n"
    b"i=speech\r\n"
    b"a=rtpmap:111 opus/48000/2\r\n"
    b"a=fmtp:111 minptime=10;useinbandfec=1\r\n"
    b"a=rtcp-fb:111 transport-cc\r\n"
    b"a=rtpmap:97 AMR-WB/16000\r\n"
    b"a=fmtp:97 mode-set=0\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\n"
    b"a=fmtp:101 0-16\r\n"
    b"a=rtcp:49171 IN IP4 203.0.113.7\r\n"
    b"a=candidate:1 1 UDP 2130706431 203.0.113.7 49170 typ host\r\n"
    b"a=ice-ufrag:8hhY\r\n"
    b"a=ptime:20\r\n"
    b"a=sendrecv\r\n"
    b"m=video 49172 RTP/AVPF 96\r\n"
    b"c=IN IP6 2001:db8::7\r\n"
    b"a=rtpmap:96 H264/90000\r\n"
    b"a=inactive\r\n"
)
LOCAL = (LocalMedia("192.0.2.1", 20000), LocalMedia("192.0.2.1", 20004))


def body(*media: str, head: str = "c=IN IP4 203.0.113.7") -> bytes:
    lines = ["v=0", "o=- 1 1 IN IP4 203.0.113.7", "s=-", *([head] if head else []), "t=0 0", *media]
    return "".join(f"{line}\r\n" for line in lines).encode()


def rewritten(
    text: bytes,
    local: tuple[LocalMedia | None, ...] = (LocalMedia("192.0.2.1", 20000),),
    keep: tuple[frozenset[int] | None, ...] | None = None,
) -> bytes:
    return sdp.rewrite(SdpToSend(text, local, keep if keep is not None else (None,) * len(local)))


# Reading.


def test_the_facts_of_an_offer_are_read() -> None:
    audio, video = sdp.parse(OFFER).streams
    assert (audio.kind, audio.protocol, audio.address, audio.port) == (
        "audio",
        "RTP/AVP",
        "203.0.113.7",
        49170,
    )
    assert audio.rtcp_port == 49171
    assert audio.direction is MediaDirection.SENDRECV
    assert audio.ptime_ms == 20
    assert audio.codecs == (
        Codec(111, "OPUS", 48000, 2, "minptime=10;useinbandfec=1"),
        Codec(0, "PCMU", 8000),
        Codec(8, "PCMA", 8000),
        Codec(97, "AMR-WB", 16000, 1, "mode-set=0"),
        Codec(101, "TELEPHONE-EVENT", 8000, 1, "0-16"),
    )
    assert (video.kind, video.address, video.rtcp_port, video.ptime_ms) == (
        "video",
        "2001:db8::7",
        None,
        None,
    )
    assert video.direction is MediaDirection.INACTIVE
    assert video.codecs == (Codec(96, "H264", 90000),)


def test_the_body_is_kept_as_it_came() -> None:
    assert sdp.parse(OFFER).body == OFFER


@pytest.mark.parametrize(
    ("payload_type", "name", "clock_hz", "channels"),
    [
        (0, "PCMU", 8000, 1),
        (3, "GSM", 8000, 1),
        (8, "PCMA", 8000, 1),
        (9, "G722", 8000, 1),
        (10, "L16", 44100, 2),
        (13, "CN", 8000, 1),
        (18, "G729", 8000, 1),
        (34, "H263", 90000, 1),
        (1, "", 0, 1),
        (96, "", 0, 1),
    ],
)
def test_payload_types_without_rtpmap_mean_what_rfc_3551_says(
    payload_type: int, name: str, clock_hz: int, channels: int
) -> None:
    (stream,) = sdp.parse(body(f"m=audio 4000 RTP/AVP {payload_type}")).streams
    assert stream.codecs == (Codec(payload_type, name, clock_hz, channels),)


def test_an_rtpmap_overrides_a_static_payload_type() -> None:
    (stream,) = sdp.parse(body("m=audio 4000 RTP/AVP 0", "a=rtpmap:0 G726-32/8000")).streams
    assert stream.codecs == (Codec(0, "G726-32", 8000),)


@pytest.mark.parametrize(
    ("attribute", "direction", "held"),
    [
        ("a=sendrecv", MediaDirection.SENDRECV, False),
        ("a=sendonly", MediaDirection.SENDONLY, True),
        ("a=recvonly", MediaDirection.RECVONLY, True),
        ("a=inactive", MediaDirection.INACTIVE, True),
    ],
)
def test_direction_is_read_at_either_level(attribute: str, direction: MediaDirection, held: bool) -> None:
    at_media = sdp.parse(body("m=audio 4000 RTP/AVP 0", attribute)).streams[0]
    at_session = sdp.parse(body(attribute, "m=audio 4000 RTP/AVP 0")).streams[0]
    assert (at_media.direction, at_session.direction) == (direction, direction)
    assert (at_media.held, at_session.held) == (held, held)


def test_direction_of_the_media_level_wins() -> None:
    (stream,) = sdp.parse(body("a=sendonly", "m=audio 4000 RTP/AVP 0", "a=sendrecv")).streams
    assert stream.direction is MediaDirection.SENDRECV


@pytest.mark.parametrize(
    ("attributes", "port"),
    [
        ((), None),
        (("a=rtcp:53020",), 53020),
        (("a=rtcp:53020 IN IP4 203.0.113.7",), 53020),
        (("a=rtcp-mux",), 4000),
        (("a=rtcp:53020", "a=rtcp-mux"), 53020),
        (("a=rtcp:0",), None),
    ],
)
def test_where_rtcp_goes(attributes: tuple[str, ...], port: int | None) -> None:
    (stream,) = sdp.parse(body("m=audio 4000 RTP/AVP 0", *attributes)).streams
    assert stream.rtcp_port == port


@pytest.mark.parametrize(
    ("text", "ptime_ms"), [("20", 20), ("20.5", 20), ("0", None), ("many", None), ("99999", None), ("", None)]
)
def test_an_unreadable_ptime_is_none(text: str, ptime_ms: int | None) -> None:
    (stream,) = sdp.parse(body("m=audio 4000 RTP/AVP 0", f"a=ptime:{text}")).streams
    assert stream.ptime_ms == ptime_ms


def test_t38_has_no_codecs() -> None:
    (stream,) = sdp.parse(body("m=image 4000 udptl t38", "a=T38FaxVersion:0")).streams
    assert (stream.kind, stream.protocol, stream.codecs) == ("image", "udptl", ())


def test_liberties_that_endpoints_take() -> None:
    loose = (
        b"v=0\no=John Doe 1 1 IN IP4 203.0.113.7\nc=IN IP4 203.0.113.7\n"
        b"m=audio 4000 RTP/AVP 0 \na=sendonly\n\n"
    )
    (stream,) = sdp.parse(loose).streams
    assert (stream.port, stream.direction) == (4000, MediaDirection.SENDONLY)


def test_a_disabled_section_needs_neither_address_nor_formats() -> None:
    (stream,) = sdp.parse(body("m=video 0 RTP/AVP", head="")).streams
    assert (stream.port, stream.address, stream.codecs) == (0, "0.0.0.0", ())  # noqa: S104


def test_an_old_style_hold_is_held() -> None:
    (stream,) = sdp.parse(body("m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0")).streams
    assert stream.held


def test_an_address_that_no_section_inherits_does_not_matter() -> None:
    (stream,) = sdp.parse(
        body("m=audio 4000 RTP/AVP 0", "c=IN IP4 203.0.113.9", head="c=IN IP4 pc.example.org")
    ).streams
    assert stream.address == "203.0.113.9"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "SDP line 1: not v=0"),
        (b"hello", "SDP line 1: not a line of SDP: hello"),
        (b"v=1\r\n", "SDP line 1: not v=0: v=1"),
        (b"v=0\r\ns=-\r\n", "SDP: no o= line before the first m= section"),
        (
            b"v=0\r\no=- 1 1 IN IP4\r\n",
            "SDP line 2: not a user name, id, version, net type, address type and address: o=- 1 1 IN IP4",
        ),
        (body("v=0"), "SDP line 6: a second v= line: v=0"),
        (body("c=IN IP4 203.0.113.8"), "SDP line 6: a second c= line: c=IN IP4 203.0.113.8"),
        (body("x=1"), "SDP line 6: not a line of SDP: x=1"),
        (body("M=audio 1 RTP/AVP 0"), "SDP line 6: not a line of SDP: M=audio 1 RTP/AVP 0"),
        (body("m=audio"), "SDP line 6: not a media type, port, protocol and formats: m=audio"),
        (
            body("m=audio x RTP/AVP 0"),
            "SDP line 6: not a media type, port, protocol and formats: m=audio x RTP/AVP 0",
        ),
        (body("m=audio 65536 RTP/AVP 0"), "SDP line 6: port is not a number from 0 to 65535: m=65536"),
        (body("m=audio 4000/2 RTP/AVP 0"), "SDP line 6: a range of ports, which cannot be relayed: m=4000/2"),
        (body("m=audio 4000 RTP/AVP"), "SDP line 6: no formats: m=audio 4000 RTP/AVP"),
        (body("m=audio 4000 RTP/AVP 128"), "SDP line 6: payload type is not a number from 0 to 127: m=128"),
        (body("m=audio 4000 RTP/AVP PCMU"), "SDP line 6: payload type is not a number from 0 to 127: m=PCMU"),
        (
            body("m=audio 4000 RTP/AVP 0", "o=- 1 1 IN IP4 203.0.113.8"),
            "SDP line 7: o= inside an m= section: o=- 1 1 IN IP4 203.0.113.8",
        ),
        (
            body("m=audio 4000 RTP/AVP 0", "a=rtpmap:0"),
            "SDP line 7: not a payload type, encoding name and clock rate: a=rtpmap:0",
        ),
        (
            body("m=audio 4000 RTP/AVP 0", "a=rtpmap:0 PCMU/0"),
            "SDP line 7: not a payload type, encoding name and clock rate: a=rtpmap:0 PCMU/0",
        ),
        (
            body("m=audio 4000 RTP/AVP 0", "a=rtcp:x"),
            "SDP line 7: not a port, or a port and an address: a=rtcp:x",
        ),
        (
            body("m=audio 4000 RTP/AVP 0", "a=rtcp"),
            "SDP line 7: not a port, or a port and an address: a=rtcp",
        ),
        (
            body("m=audio 4000 RTP/AVP 0", head=""),
            "SDP line 5: no c= line for this m= section: m=audio 4000 RTP/AVP 0",
        ),
        (
            body("m=audio 4000 RTP/AVP 0", "c=IN IP4 203.0.113.8", "c=IN IP4 203.0.113.9"),
            "SDP line 8: a second c= line in one m= section: c=IN IP4 203.0.113.9",
        ),
        (
            b"v=0\r\no=- 1\0 1 IN IP4 a\r\n",
            "SDP line 2: a NUL or a lone carriage return: o=- 1\\x00 1 IN IP4 a",
        ),
        (b"v=0\ro=- 1 1 IN IP4 a\r\n", "SDP line 1: a NUL or a lone carriage return: v=0"),
        (body("m=\xc3\xa9 4000 RTP/AVP 0"), "SDP line 6: not ASCII: m=\\xc3\\x83\\xc2\\xa9"),
        (b"a" * 16_385, "SDP: 16385 bytes, more than 16384"),
        (b"v=0\r\na=" + b"x" * 4095, "SDP line 2: 4097 bytes, more than 4096"),
        (b"v=0\n" + b"a=x\n" * 1024, "SDP: 1025 lines, more than 1024"),
        (
            body(*["m=audio 4000 RTP/AVP 0"] * 17),
            "SDP line 22: more than 16 m= sections: m=audio 4000 RTP/AVP 0",
        ),
    ],
)
def test_garbage_is_named(text: bytes, message: str) -> None:
    with pytest.raises(SdpError) as caught:
        sdp.parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "connection",
    [
        "IN IP4 pc.example.org",
        "IN IP4 2001:db8::1",
        "IN IP6 192.0.2.1",
        "IN IP4 224.2.1.1/127",
        "IN IP4 224.2.1.1",
        "IN IP6 ff15::101",
        "IN IP6 fe80::1%eth0",
        "IN IP4 192.0.2.256",
        "IN IP4 192.0.2.01",
        "TN E164 1",
        "IN IP9 192.0.2.1",
        "IN IP4",
        "IN IP4 192.0.2.1 x",
    ],
)
def test_only_numeric_unicast_addresses_can_be_relayed(connection: str) -> None:
    with pytest.raises(
        SdpError, match=r"^SDP line 4: not IN IP4 or IN IP6 and a numeric unicast address: c="
    ):
        sdp.parse(body("m=audio 4000 RTP/AVP 0", head=f"c={connection}"))


def test_what_an_error_says_without_the_value_is_fit_for_a_log() -> None:
    line = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
    with pytest.raises(SdpError) as caught:
        sdp.parse(body(line).replace(b"a=crypto", b"A=crypto"))
    assert "crypto" not in f"{caught.value.where}: {caught.value.what}"
    assert len(caught.value.value) <= 45


# Rewriting.


def test_addresses_and_ports_become_ours_and_nothing_else_changes() -> None:
    assert rewritten(OFFER, LOCAL) == (
        b"v=0\r\n"
        b"o=alice 2890844526 2890844527 IN IP4 192.0.2.1\r\n"
        b"s=-\r\n"
        b"c=IN IP4 192.0.2.1\r\n"
        b"b=AS:80\r\n"
        b"t=0 0\r\n"
        b"a=x-session:kept\r\n"
        b"m=audio 20000 RTP/AVP 111 0 8 97 101\r\n"
        b"i=speech\r\n"
        b"a=rtpmap:111 opus/48000/2\r\n"
        b"a=fmtp:111 minptime=10;useinbandfec=1\r\n"
        b"a=rtcp-fb:111 transport-cc\r\n"
        b"a=rtpmap:97 AMR-WB/16000\r\n"
        b"a=fmtp:97 mode-set=0\r\n"
        b"a=rtpmap:101 telephone-event/8000\r\n"
        b"a=fmtp:101 0-16\r\n"
        b"a=rtcp:20001 IN IP4 192.0.2.1\r\n"
        b"a=ptime:20\r\n"
        b"a=sendrecv\r\n"
        b"m=video 20004 RTP/AVPF 96\r\n"
        b"c=IN IP4 192.0.2.1\r\n"
        b"a=rtpmap:96 H264/90000\r\n"
        b"a=inactive\r\n"
    )


def test_payload_types_are_taken_out_with_their_attributes() -> None:
    sent = rewritten(OFFER, LOCAL, (frozenset({0, 8, 101}), None))
    assert b"m=audio 20000 RTP/AVP 0 8 101\r\n" in sent
    for gone in (b":111", b":97", b"transport-cc"):
        assert gone not in sent
    assert b"a=fmtp:101 0-16\r\n" in sent


def test_a_wildcard_of_feedback_stays() -> None:
    text = body("m=audio 4000 RTP/AVPF 0 96", "a=rtcp-fb:* nack", "a=rtcp-fb:96 nack")
    sent = rewritten(text, keep=(frozenset({0}),))
    assert b"a=rtcp-fb:* nack\r\n" in sent
    assert b"a=rtcp-fb:96" not in sent


def test_a_section_without_a_local_address_is_disabled() -> None:
    sent = rewritten(OFFER, (LOCAL[0], None))
    assert b"m=video 0 RTP/AVPF 96\r\nc=IN IP4 192.0.2.1\r\n" in sent


def test_a_section_that_loses_every_payload_type_is_disabled_and_keeps_its_formats() -> None:
    sent = rewritten(OFFER, LOCAL, (frozenset({3}), None))
    assert b"m=audio 0 RTP/AVP 111 0 8 97 101\r\n" in sent


def test_a_section_that_the_peer_disabled_stays_disabled() -> None:
    sent = rewritten(body("m=video 0 RTP/AVP 96", "a=rtcp:9 IN IP4 203.0.113.7"))
    assert b"m=video 0 RTP/AVP 96\r\n" in sent
    assert b"203.0.113.7" not in sent


def test_an_old_style_hold_stays_one() -> None:
    sent = rewritten(body("m=audio 4000 RTP/AVP 0", head="c=IN IP4 0.0.0.0"))
    assert b"c=IN IP4 0.0.0.0\r\n" in sent
    assert sdp.parse(sent).streams[0].held


def test_ipv6_is_announced_as_such() -> None:
    sent = rewritten(body("m=audio 4000 RTP/AVP 0"), (LocalMedia("2001:db8::1", 20000),))
    assert b"o=- 1 1 IN IP6 2001:db8::1\r\n" in sent
    assert b"c=IN IP6 2001:db8::1\r\n" in sent


def test_a_section_on_another_relay_address_gets_its_own_connection_line() -> None:
    text = body("m=audio 4000 RTP/AVP 0", "a=sendrecv", "m=video 4002 RTP/AVP 96", "a=sendrecv")
    sent = rewritten(text, (LocalMedia("192.0.2.1", 20000), LocalMedia("192.0.2.2", 20004)))
    assert b"m=video 20004 RTP/AVP 96\r\nc=IN IP4 192.0.2.2\r\na=sendrecv\r\n" in sent
    first, second = sdp.parse(sent).streams
    assert (first.address, second.address) == ("192.0.2.1", "192.0.2.2")


def test_rtcp_on_the_port_of_rtp_stays_there() -> None:
    sent = rewritten(body("m=audio 4000 RTP/AVP 0", "a=rtcp:4000", "a=rtcp-mux"))
    assert b"a=rtcp:20000\r\na=rtcp-mux\r\n" in sent


@pytest.mark.parametrize(
    "attribute",
    [
        "a=candidate:1 1 UDP 1 203.0.113.7 4000 typ host",
        "a=remote-candidates:1 203.0.113.7 4000",
        "a=end-of-candidates",
        "a=ice-ufrag:x",
        "a=ICE-pwd:x",
        "a=altc:1 IP4 203.0.113.7 4000",
        "a=ccap:1 IN IP4 203.0.113.7 4000",
        "a=source-filter: incl IN IP4 * 203.0.113.7",
    ],
)
def test_what_would_lead_media_past_the_relay_is_taken_out(attribute: str) -> None:
    at_media = body("m=audio 4000 RTP/AVP 0", attribute, "a=x")
    at_session = body(attribute, "m=audio 4000 RTP/AVP 0", "a=x")
    plain = rewritten(body("m=audio 4000 RTP/AVP 0", "a=x"))
    assert rewritten(at_media) == plain
    assert rewritten(at_session) == plain


def test_a_missing_last_line_end_is_added() -> None:
    assert rewritten(body("m=audio 4000 RTP/AVP 0", "a=x").removesuffix(b"\r\n")).endswith(b"\r\na=x\r\n")


def test_a_connection_line_put_after_a_last_line_without_end_stands_alone() -> None:
    text = body("m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 96").removesuffix(b"\r\n")
    sent = rewritten(text, (LocalMedia("192.0.2.1", 20000), LocalMedia("192.0.2.2", 20004)))
    assert sent.endswith(b"m=video 20004 RTP/AVP 96\r\nc=IN IP4 192.0.2.2\r\n")


def test_a_body_without_sections_gets_no_address_of_the_peer() -> None:
    assert b"203.0.113.7" not in rewritten(body(), ())


@pytest.mark.parametrize(
    ("local", "keep", "message"),
    [
        ((), (), "SDP to send: 1 m= sections, but 0 local addresses and 0 lists of payload types"),
        (
            (LOCAL[0],),
            (None, None),
            "SDP to send: 1 m= sections, but 1 local addresses and 2 lists of payload types",
        ),
        ((LocalMedia("relay", 20000),), (None,), "SDP to send: our own address is not numeric: 'relay'"),
    ],
)
def test_faults_of_ours_are_named(
    local: tuple[LocalMedia | None, ...], keep: tuple[frozenset[int] | None, ...], message: str
) -> None:
    with pytest.raises(SdpError) as caught:
        rewritten(body("m=audio 4000 RTP/AVP 0"), local, keep)
    assert str(caught.value) == message


# Properties.

UNSPECIFIED = {"0.0.0.0", "::"}  # noqa: S104
FOREIGN = (b"203.0.113.", b"2001:db8:f")
CHANGED = re.compile(rb"(?:o=|c=|m=|a=rtcp:|a=candidate|a=ice-|a=remote-candidates)")
foreign_net = st.one_of(
    st.integers(1, 254).map(lambda last: f"IN IP4 203.0.113.{last}"),
    st.integers(1, 0xFFFF).map(lambda last: f"IN IP6 2001:db8:f::{last:x}"),
)
word = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
unknown_line = st.one_of(
    st.builds("a=x-{}:{}".format, word.filter(lambda text: ":" not in text), word),
    st.builds("b=X-{}:{}".format, word, st.integers(0, 9999)),
    st.sampled_from(
        [
            "a=rtcp-mux",
            "a=sendonly",
            "a=inactive",
            "a=ptime:30",
            "k=prompt",
            "a=mid:0",
            "a=crypto:1 X inline:y",
        ]
    ),
)


@st.composite
def known_line(draw: st.DrawFn) -> str:
    net = draw(foreign_net)
    address = net.split()[-1]
    port = draw(st.integers(1, 65535))
    return draw(
        st.sampled_from(
            [
                f"a=rtcp:{port} {net}",
                f"a=rtcp:{port}",
                f"a=candidate:1 1 UDP 1 {address} {port} typ host",
                f"a=remote-candidates:1 {address} {port}",
                "a=ice-ufrag:abcd",
            ]
        )
    )


@dataclass(frozen=True)
class Generated:
    body: bytes
    sections: int


@st.composite
def bodies(draw: st.DrawFn) -> Generated:
    ending = draw(st.sampled_from(["\r\n", "\n"]))
    shared = draw(st.booleans())
    lines = ["v=0", f"o=- 1 1 {draw(foreign_net)}", "s=-"]
    if shared:
        lines.append(f"c={draw(foreign_net)}")
    lines += ["t=0 0", *draw(st.lists(unknown_line, max_size=3))]
    count = draw(st.integers(0, 4))
    for _ in range(count):
        formats = draw(st.lists(st.integers(0, 127), min_size=1, max_size=8, unique=True))
        port = draw(st.sampled_from([0, 9, 4000, 65535]))
        protocol = draw(st.sampled_from(["RTP/AVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "udptl"]))
        lines.append(f"m=audio {port} {protocol} {' '.join(map(str, formats))}")
        if not shared or draw(st.booleans()):
            lines.append(f"c={draw(foreign_net)}")
        for payload_type in formats:
            if draw(st.booleans()):
                lines.append(f"a=rtpmap:{payload_type} X{payload_type}/8000")
                lines.append(f"a=fmtp:{payload_type} q={payload_type}")
        lines += draw(st.permutations(draw(st.lists(st.one_of(unknown_line, known_line()), max_size=6))))
    return Generated("".join(line + ending for line in lines).encode(), count)


@st.composite
def plans(
    draw: st.DrawFn, count: int
) -> tuple[tuple[LocalMedia | None, ...], tuple[frozenset[int] | None, ...]]:
    media = st.builds(
        LocalMedia,
        st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8:a::1"]),
        st.integers(10000, 32000).map(lambda half: half * 2),
    )
    local = draw(st.lists(st.none() | media, min_size=count, max_size=count))
    keep = draw(st.lists(st.none() | st.frozensets(st.integers(0, 127)), min_size=count, max_size=count))
    return tuple(local), tuple(keep)


@given(st.data())
def test_after_rewriting_every_address_is_ours(data: st.DataObject) -> None:
    made = data.draw(bodies())
    local, keep = data.draw(plans(made.sections))
    before = sdp.parse(made.body)
    sent = rewritten(made.body, local, keep)
    after = sdp.parse(sent)
    assert not any(address in sent for address in FOREIGN)
    for was, now, ours, kept in zip(before.streams, after.streams, local, keep, strict=True):
        types = [codec.payload_type for codec in was.codecs]
        left = [number for number in types if kept is None or number in kept]
        if was.protocol == "udptl":
            assert (now.port > 0) <= (ours is not None and was.port > 0)
        elif ours is None or was.port == 0 or not left:
            assert now.port == 0
            assert [codec.payload_type for codec in now.codecs] == types
        else:
            assert (now.address, now.port) == (ours.address, ours.rtp_port)
            assert [codec.payload_type for codec in now.codecs] == left
            assert now.rtcp_port in {None, ours.rtp_port, ours.rtp_port + 1}
        assert (was.kind, was.protocol, was.direction, was.ptime_ms) == (
            now.kind,
            now.protocol,
            now.direction,
            now.ptime_ms,
        )


@given(st.data())
def test_rewriting_keeps_what_it_does_not_know(data: st.DataObject) -> None:
    made = data.draw(bodies())
    local, _ = data.draw(plans(made.sections))
    sent = rewritten(made.body, local)

    def others(text: bytes) -> list[bytes]:
        return [line for line in text.splitlines(keepends=True) if not CHANGED.match(line)]

    assert others(sent) == others(made.body)


@given(bodies())
def test_what_is_cut_can_be_put_together_again(made: Generated) -> None:
    cut = sdp_lines.cut_body(made.body)
    lines = [*cut.head, *(line for section in cut.sections for line in section.lines)]
    assert b"".join(line.raw for line in lines) + cut.trailer == made.body


@given(st.binary(max_size=400))
def test_reading_noise_raises_nothing_but_sdp_errors(noise: bytes) -> None:
    for text in (noise, b"v=0\r\n" + noise, body() + noise, body("m=audio 4000 RTP/AVP 0 96") + noise):
        _read_or_refuse(text)


@given(st.data())
def test_a_damaged_body_is_refused_or_can_be_sent_on(data: st.DataObject) -> None:
    made = bytearray(data.draw(bodies()).body)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(made)))
        made[at : at + data.draw(st.integers(0, 4))] = data.draw(
            st.sampled_from(
                [
                    b"",
                    b" ",
                    b"=",
                    b"\r",
                    b"\n",
                    b"\0",
                    b":",
                    b"/",
                    b"9" * 12,
                    b"m=",
                    b"c=",
                    b"\xff",
                    b"a=rtcp:",
                ]
            )
        )
    read = _read_or_refuse(bytes(made))
    if read is None:
        return
    local = tuple(LocalMedia("192.0.2.1", 20000 + 4 * at) for at in range(len(read.streams)))
    after = sdp.parse(rewritten(read.body, local))
    assert len(after.streams) == len(read.streams)
    for was, now, ours in zip(read.streams, after.streams, local, strict=True):
        unspecified = was.address in UNSPECIFIED
        assert now.port == (ours.rtp_port if was.port else 0)
        assert not was.port or now.address == (was.address if unspecified else ours.address)


def _read_or_refuse(text: bytes) -> Sdp | None:
    refusal = ""
    read = None
    try:
        read = sdp.parse(text)
    except SdpError as err:
        refusal = str(err)
    assert read is not None or (refusal and refusal.isprintable())
    return read
