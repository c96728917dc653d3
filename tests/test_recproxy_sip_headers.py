from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recproxy.errors import SipError
from recproxy.sip import headers
from recproxy.sip.headers import Identity, Message, Presentation, Reason, read_message
from recproxy.sip.uri import Uri

GIVEN, ANONYMOUS, UNKNOWN = Presentation.GIVEN, Presentation.ANONYMOUS, Presentation.UNKNOWN
FROM = "From: <sip:+31201234567@example.org>;tag=1"
HIDDEN = 'From: "Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'


def request(*lines: str, start: str = "INVITE sip:a@h SIP/2.0") -> Message:
    return read_message("".join(f"{line}\r\n" for line in (start, *lines, "")).encode())


@pytest.mark.parametrize(
    ("lines", "caller", "presentation"),
    [
        ((FROM,), "+31201234567", GIVEN),
        (("From: Bob <sip:bob@h>",), "bob", GIVEN),
        (("From: <tel:+31201234567>",), "+31201234567", GIVEN),
        ((FROM, "P-Asserted-Identity: <sip:+31301111111@h>"), "+31301111111", GIVEN),
        ((FROM, 'P-Asserted-Identity: "A, B" <sip:x@h>, <tel:+31302222222>'), "x", GIVEN),
        ((FROM, "P-Asserted-Identity: <sip:anonymous@h>, <tel:+31302222222>"), "+31302222222", GIVEN),
        ((FROM, "P-Asserted-Identity: <sip:unknown@h>"), "+31201234567", GIVEN),
        ((FROM, "P-Asserted-Identity: garbage"), "+31201234567", GIVEN),
        ((FROM, 'P-Asserted-Identity: "open'), "+31201234567", GIVEN),
        ((FROM, "Privacy: none"), "+31201234567", GIVEN),
        ((FROM, "Privacy: history"), "+31201234567", GIVEN),
        ((FROM, "Privacy: id"), "", ANONYMOUS),
        ((FROM, "Privacy: ID;critical"), "", ANONYMOUS),
        ((FROM, "Privacy: header; user"), "", ANONYMOUS),
        ((FROM, "Privacy: session", "Privacy: user"), "", ANONYMOUS),
        ((FROM, "P-Asserted-Identity: <tel:+31302222222>", "Privacy: id"), "", ANONYMOUS),
        ((HIDDEN,), "", ANONYMOUS),
        ((HIDDEN, "P-Asserted-Identity: <tel:+31302222222>"), "", ANONYMOUS),
        ((HIDDEN, "P-Asserted-Identity: <tel:+31302222222>", "Privacy: none"), "+31302222222", GIVEN),
        ((HIDDEN, "Privacy: none"), "", ANONYMOUS),
        (("From: <sip:Anonymous@example.org>",), "", ANONYMOUS),
        (("From: <sip:c8oqz84zk7z@privacy.anonymous.invalid>",), "", ANONYMOUS),
        (("From: <sip:unknown@h>",), "", UNKNOWN),
        (("From: <sip:Unavailable@h>",), "", UNKNOWN),
        (("From: <sip:h>",), "", UNKNOWN),
        (("From: <sip:h>", "P-Asserted-Identity: <tel:+31302222222>"), "+31302222222", GIVEN),
    ],
)
def test_who_calls(lines: tuple[str, ...], caller: str, presentation: Presentation) -> None:
    found = headers.identity(request(*lines))
    assert found == Identity(caller, presentation)
    assert found.anonymous == (presentation is ANONYMOUS)


@pytest.mark.parametrize("lines", [(), ("From: <sip:a b@h>",), (FROM, 'Privacy: "id')])
def test_without_a_readable_from_or_privacy_nobody_calls(lines: tuple[str, ...]) -> None:
    with pytest.raises(SipError):
        headers.identity(request(*lines))


@pytest.mark.parametrize(
    ("uri", "sos"),
    [
        ("urn:service:sos", True),
        ("urn:service:SOS.fire", True),
        ("urn:service:sosx", False),
        ("urn:service:counseling", False),
        ("sip:sos@h", False),
        ("tel:112", False),
    ],
)
def test_emergency_service_urns(uri: str, sos: bool) -> None:
    assert headers.is_emergency_service(Uri.parse(uri)) == sos


def test_the_request_uri() -> None:
    assert headers.request_uri(request(start="INVITE sip:100@h SIP/2.0")) == Uri("sip", "100", "h")
    with pytest.raises(SipError, match="a response has no Request-URI"):
        headers.request_uri(request(start="SIP/2.0 200 OK"))
    with pytest.raises(SipError) as caught:
        headers.request_uri(request(start="INVITE mailto:a@h SIP/2.0"))
    assert caught.value.code == 416


@pytest.mark.parametrize(
    ("lines", "wanted", "reason"),
    [
        ((), "SIP", None),
        (('Reason: SIP;cause=600;text="Busy Everywhere"',), "SIP", Reason("SIP", 600, "Busy Everywhere")),
        (
            ('Reason: Q.850 ;cause=16 ;text="Normal, \\"clear\\""', "Reason: SIP;cause=487"),
            "SIP",
            Reason("SIP", 487, ""),
        ),
        (
            ('Reason: SIP;cause=487, q.850;cause=16;text="Normal, \\"clear\\""',),
            "Q.850",
            Reason("q.850", 16, 'Normal, "clear"'),
        ),
        (("Reason: Q.850;cause=16",), "SIP", Reason("Q.850", 16, "")),
        (("Reason: preemption",), "SIP", Reason("preemption", None, "")),
        (("Reason: SIP;cause=x;text=a",), "SIP", Reason("SIP", None, "a")),
        (("Reason: ;;",), "SIP", None),
        (("Reason: <x>",), "SIP", None),
        (('Reason: SIP;text="open',), "SIP", None),
    ],
)
def test_reasons_are_read(lines: tuple[str, ...], wanted: str, reason: Reason | None) -> None:
    assert headers.reason(request(*lines), wanted) == reason


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason("SIP", 487, ""), "SIP;cause=487"),
        (Reason("Q.850", None, 'a "b" \\'), 'Q.850;text="a \\"b\\" \\\\"'),
        (Reason("SIP\r\nVia: x", 1, "a\r\nVia: x"), 'SIP;cause=1;text="a  Via: x"'),
    ],
)
def test_reasons_are_written(reason: Reason, text: str) -> None:
    assert str(reason) == text


@given(st.text(max_size=30), st.integers(0, 999))
def test_a_reason_survives(text: str, cause: int) -> None:
    written = str(Reason("SIP", cause, text))
    (read,) = [headers.reason(request(f"Reason: {written}"))]
    assert read is not None
    assert read.cause == cause
    assert str(read) == written


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ((), None),
        (("Retry-After: 120",), 120),
        (("Retry-After: 18000;duration=3600",), 18000),
        (("Retry-After: 120 (I'm in a meeting)",), 120),
        (("Retry-After: soon",), None),
        (("Retry-After: 9999999999",), 2**32 - 1),
    ],
)
def test_retry_after(lines: tuple[str, ...], seconds: int | None) -> None:
    assert headers.retry_after(request(*lines)) == seconds


def test_max_forwards() -> None:
    assert headers.max_forwards(request()) is None
    assert headers.max_forwards(request("Max-Forwards: 0")) == 0
    assert headers.max_forwards(request("Max-Forwards: 255")) == 255
    for text in ("256", "-1", "x", ""):
        with pytest.raises(SipError):
            headers.max_forwards(request(f"Max-Forwards: {text}"))
