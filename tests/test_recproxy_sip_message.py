from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recproxy.errors import SipError
from recproxy.sip.message import (
    Header,
    Message,
    RequestLine,
    StatusLine,
    read_message,
    sdp_body,
    whole_number,
)
from recproxy.sip.uri import Uri

INVITE = (
    b"INVITE sip:+31305550104@192.0.2.1;user=phone SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 203.0.113.7:5060;branch=z9hG4bK1\r\n"
    b"v: SIP/2.0/UDP 203.0.113.8:5060;branch=z9hG4bK2\r\n"
    b'f: "Alice" <sip:alice@example.org>;tag=1\r\n'
    b"TO:<sip:+31305550104@192.0.2.1>\r\n"
    b"Subject : two\r\n"
    b"  lines\r\n"
    b"\tand one\r\n"
    b"Contact: <sip:a@h>, <sip:b@h>\r\n"
    b"m: <sip:c@h>\r\n"
    b"c: application/sdp\r\n"
    b"l: 5\r\n"
    b"\r\n"
    b"v=0\r\nrest"
)
SDP = b"v=0\r\no=- 1 1 IN IP4 203.0.113.7\r\ns=-\r\n"


def message(*headers: str, body: bytes = b"", start: str = "INVITE sip:a@h SIP/2.0") -> bytes:
    return "".join(f"{line}\r\n" for line in (start, *headers, "")).encode() + body


def test_a_request_is_read() -> None:
    read = read_message(INVITE)
    assert read.start == RequestLine("INVITE", "sip:+31305550104@192.0.2.1;user=phone")
    assert read.body == b"v=0\r\n"
    assert read.first("from") == '"Alice" <sip:alice@example.org>;tag=1'
    assert read.first("Subject") == "two lines and one"
    assert read.values("Via") == (
        "SIP/2.0/UDP 203.0.113.7:5060;branch=z9hG4bK1",
        "SIP/2.0/UDP 203.0.113.8:5060;branch=z9hG4bK2",
    )
    assert read.values("contact") == ("<sip:a@h>", "<sip:b@h>", "<sip:c@h>")
    assert read.address("From").uri == Uri("sip", "alice", "example.org")
    assert read.headers[1] == Header("Via", "SIP/2.0/UDP 203.0.113.8:5060;branch=z9hG4bK2")


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("SIP/2.0 200 OK", StatusLine(200, "OK")),
        ("SIP/2.0 486 Busy Here \u00e9", StatusLine(486, "Busy Here \u00e9")),
        ("SIP/2.0 180", StatusLine(180, "")),
        ("sip/2.0 603 ", StatusLine(603, "")),
    ],
)
def test_a_response_is_read(line: str, start: StatusLine) -> None:
    assert read_message(message(start=line)).start == start


def test_line_feeds_alone_and_a_keep_alive_before_the_message_are_taken() -> None:
    read = read_message(b"\r\n\r\nOPTIONS sip:h SIP/2.0\nVia: x\n\nbody")
    assert (read.first("Via"), read.body) == ("x", b"body")


@pytest.mark.parametrize(
    ("raw", "code", "text"),
    [
        (b"", 400, "message: no empty line after the headers"),
        (b"\r\n\r\n", 400, "message: no empty line after the headers"),
        (b"INVITE sip:h SIP/2.0\r\nVia: x\r\n", 400, "message: no empty line after the headers"),
        (
            message(start="INVITE sip:h"),
            400,
            "start line: neither a request nor a response of SIP/2.0: INVITE sip:h",
        ),
        (
            message(start="INVITE sip:h SIP/3.0"),
            400,
            "start line: neither a request nor a response of SIP/2.0: INVITE sip:h SIP/3.0",
        ),
        (
            message(start="SIP/2.0 700 Odd"),
            400,
            "start line: neither a request nor a response of SIP/2.0: SIP/2.0 700 Odd",
        ),
        (message("no header"), 400, "message: a line that is no header: no header"),
        (message("Bad Name: x"), 400, "message: a line that is no header: Bad Name: x"),
        (message("Odd: a\x00b"), 400, "header Odd: a control character: a\\x00b"),
        (message("Odd: a\rb"), 400, "header Odd: a control character: a\\rb"),
        (message("Odd: \x1b[31m"), 400, "header Odd: a control character: \\x1b[31m"),
        (message("Content-Length: x"), 400, "header Content-Length: not a whole number: x"),
        (message("Content-Length: -1"), 400, "header Content-Length: not a whole number: -1"),
        (
            message("Content-Length: 9" + "9" * 5000),
            400,
            f"header Content-Length: not a whole number: {'9' * 40}…",
        ),
        (
            message("Content-Length: 5", body=b"1234"),
            400,
            "header Content-Length: 5, but only 4 bytes of body came",
        ),
        (b"x" * 65536, 513, "message: 65536 bytes, more than 65535"),
        (message(*["X: y"] * 257), 513, "message: more than 256 headers"),
        (message("X: " + "y" * 8192), 513, "message: a header longer than 8192 bytes"),
        (message("X: " + "y" * 8000, " " + "z" * 8000), 513, "message: a header longer than 8192 bytes"),
    ],
)
def test_malformed_messages_are_named(raw: bytes, code: int, text: str) -> None:
    with pytest.raises(SipError) as caught:
        read_message(raw)
    assert (str(caught.value), caught.value.code) == (text, code)


def test_a_folded_line_before_any_header_is_no_header() -> None:
    with pytest.raises(SipError):
        read_message(b"INVITE sip:h SIP/2.0\r\n folded\r\n\r\n")


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ((), "header From: missing"),
        (("From: <sip:a@h",), "header From: address: text beside the angle brackets: <sip:a@h"),
        (("From: <h323:a@h>",), "header From: URI: no scheme: h323:a@h"),
    ],
)
def test_an_address_that_must_be_there_is_named(headers: tuple[str, ...], text: str) -> None:
    with pytest.raises(SipError) as caught:
        read_message(message(*headers)).address("From")
    assert str(caught.value) == text
    assert caught.value.code == 400


def test_whole_numbers() -> None:
    assert whole_number("Max-Forwards", " 70 ") == 70
    for text in ("", "7a", "\u0667", "12345678901"):
        with pytest.raises(SipError):
            whole_number("Max-Forwards", text)


# Finding SDP.


def with_body(kind: str, body: bytes, *more: str) -> Message:
    return read_message(message(f"Content-Type: {kind}", *more, body=body))


def multipart(*parts: bytes, boundary: bytes = b"b1", close: bool = True) -> bytes:
    text = b"".join(b"\r\n--" + boundary + b"\r\n" + part for part in parts)
    return b"preamble" + text + (b"\r\n--" + boundary + b"--\r\nepilogue" if close else b"")


@pytest.mark.parametrize("kind", ["application/sdp", "Application/SDP ; charset=utf-8"])
def test_sdp_is_the_body(kind: str) -> None:
    assert sdp_body(with_body(kind, SDP)) == SDP


@pytest.mark.parametrize(
    "kind", ["multipart/mixed;boundary=b1", 'multipart/related; type="x"; Boundary = "b1"']
)
@pytest.mark.parametrize("close", [True, False])
def test_sdp_is_a_part(kind: str, close: bool) -> None:
    body = multipart(
        b"\r\nuntyped",
        b"Content-Type: application/isup\r\n\r\n\x00\x01--b1\x02",
        b"content-type: application/sdp\r\nContent-Disposition: session\r\n\r\n" + SDP,
        b"Content-Type: application/sdp\r\n\r\nsecond",
        close=close,
    )
    assert sdp_body(with_body(kind, body)) == SDP


def test_sdp_is_found_in_a_multipart_inside_a_multipart_but_no_deeper() -> None:
    sdp_part = b"Content-Type: application/sdp\r\n\r\n" + SDP
    inner = b"Content-Type: multipart/alternative;boundary=b2\r\n\r\n" + multipart(sdp_part, boundary=b"b2")
    assert sdp_body(with_body("multipart/mixed;boundary=b1", multipart(inner))) == SDP
    deeper = b"Content-Type: multipart/mixed;boundary=b3\r\n\r\n" + multipart(inner, boundary=b"b3")
    assert sdp_body(with_body("multipart/mixed;boundary=b1", multipart(deeper))) is None


def test_no_sdp() -> None:
    assert sdp_body(read_message(message(body=SDP))) is None
    assert sdp_body(read_message(message("Content-Type: application/sdp"))) is None
    assert sdp_body(with_body("text/plain", SDP)) is None
    assert sdp_body(with_body("multipart/mixed;boundary=b1", multipart(b"\r\nx", b"X: y\r\n\r\nz"))) is None


@pytest.mark.parametrize(
    ("kind", "body", "more", "code", "text"),
    [
        (
            "application/sdp",
            b"x",
            ("Content-Encoding: gzip",),
            415,
            "header Content-Encoding: not identity: gzip",
        ),
        (
            "multipart/mixed",
            b"x",
            (),
            400,
            "header Content-Type: a multipart without a boundary: multipart/mixed",
        ),
        ("multipart/mixed;boundary=b1", b"x", (), 400, "multipart body: its boundary does not occur"),
        (
            "multipart/mixed;boundary=b1",
            multipart(*[b"\r\n"] * 17),
            (),
            513,
            "multipart body: more than 16 parts",
        ),
        (
            "multipart/mixed;boundary=b1",
            multipart(b"X: y"),
            (),
            400,
            "message: no empty line after the headers",
        ),
    ],
)
def test_bodies_that_cannot_be_read_are_named(
    kind: str, body: bytes, more: tuple[str, ...], code: int, text: str
) -> None:
    with pytest.raises(SipError) as caught:
        sdp_body(with_body(kind, body, *more))
    assert (str(caught.value), caught.value.code) == (text, code)


def test_an_identity_encoding_is_none() -> None:
    assert sdp_body(with_body("application/sdp", SDP, "e: Identity")) == SDP


# Properties.

name = st.from_regex(r"X-[A-Za-z0-9-]{1,10}", fullmatch=True)
value = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30)


@given(st.lists(st.tuples(name, value), max_size=10), st.binary(max_size=50))
def test_what_was_written_is_read(headers: list[tuple[str, str]], body: bytes) -> None:
    raw = message(
        *(f"{key}: {text}" for key, text in headers), f"Content-Length: {len(body)}", body=body + b"next"
    )
    read = read_message(raw)
    assert [(header.name, header.value) for header in read.headers[:-1]] == [
        (key, text.strip()) for key, text in headers
    ]
    assert read.body == body


@given(st.data())
def test_reading_noise_raises_nothing_but_sip_errors(data: st.DataObject) -> None:
    raw = bytearray(
        data.draw(
            st.sampled_from(
                [INVITE, b"", message("Content-Type: multipart/mixed;boundary=b1", body=multipart(SDP, SDP))]
            )
        )
    )
    for _ in range(data.draw(st.integers(0, 8))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.one_of(
                st.binary(max_size=4), st.sampled_from([b"\r\n", b"\r\n\r\n", b":", b"--b1", b'"', b" "])
            )
        )
    _check(bytes(raw))


def _check(raw: bytes) -> None:
    try:
        read = read_message(raw)
        body = sdp_body(read)
    except SipError:
        return
    assert body is None or body in raw
    assert not any(char in header.value for header in read.headers for char in "\r\n\0")
