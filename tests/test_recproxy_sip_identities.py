"""Who a request inside a call says that it comes from; who has called an emergency service; a=record."""

from __future__ import annotations

import pytest

from recproxy.sip import headers, passing
from recproxy.sip.callbacks import CallBacks
from recproxy.sip.concerned import named_purpose
from recproxy.sip.identities import _is_same, told_number
from recproxy.sip.message import Message
from recproxy.sip.record_aware import Indication, is_record_aware


def message(*lines: str, method: str = "UPDATE") -> Message:
    text = (
        f"{method} sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\r\nFrom: <sip:+31301@b>;tag=1\r\n"
        f"To: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 2 {method}\r\n"
        + "".join(f"{line}\r\n" for line in lines)
        + "Content-Length: 0\r\n\r\n"
    )
    return headers.read_message(text.encode())


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ((), None),
        (("P-Asserted-Identity: <sip:+31201234567@b>",), "+31201234567"),
        (('P-Asserted-Identity: "A" <tel:+31201234567>, <sip:x@b>',), "+31201234567"),
        (("Remote-Party-ID: <sip:201@b>;party=called",), "201"),
        (("P-Asserted-Identity: <sip:anonymous@anonymous.invalid>",), ""),
        (("P-Asserted-Identity: <<<", "Remote-Party-ID: <sip:202@b>"), "202"),
    ],
)
def test_the_number_that_a_request_tells(lines: tuple[str, ...], number: str | None) -> None:
    assert told_number(message(*lines)) == number


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("+31201234567", "0201234567", True),
        ("0031201234567", "+31201234567", True),
        ("201", "1201", False),
        ("201", "201", True),
        ("", "+31201234567", False),
        ("+31201234567", "+31201234568", False),
        ("alice", "malice", False),
    ],
)
def test_two_forms_of_one_number_are_one_party(one: str, other: str, same: bool) -> None:
    assert _is_same(one, other) is same
    assert _is_same(other, one) is same


@pytest.mark.parametrize(
    ("method", "line", "number"),
    [
        ("REFER", "Refer-To: <sip:+31205550199@b?Replaces=x>", "+31205550199"),
        ("REFER", "Refer-To: <<<", None),
        ("INFO", "Refer-To: <sip:+31205550199@b>", None),
    ],
)
def test_whom_a_refer_asks_to_call(method: str, line: str, number: str | None) -> None:
    assert passing.referred_number(message(line, method=method)) == number


@pytest.mark.parametrize(
    ("value", "purpose"), [("orders", "orders"), (" orders ", "orders"), ("No/Name", ""), ("", "")]
)
def test_a_purpose_that_the_pbx_names(value: str, purpose: str) -> None:
    invite = message(f"X-Recording-Purpose: {value}", method="INVITE")
    assert named_purpose(invite, heeded=True) == purpose
    assert named_purpose(invite, heeded=False) == ""


class Window:
    """The window of a policy, which a reload may change."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds

    def __call__(self) -> float | None:
        return self.seconds


def test_who_called_an_emergency_service_is_known_for_the_window_and_no_longer() -> None:
    window = Window(60.0)
    calls = CallBacks(b"k" * 32, window, lambda number: number.replace(" ", ""))
    calls.called(("+31 301", "", "100"), 10.0)
    assert calls.is_back("+31301", 69.0)
    assert calls.is_back("100", 69.0)
    assert not calls.is_back("+31302", 69.0)
    assert not calls.is_back("", 69.0)
    assert not calls.is_back("+31301", 70.0)
    calls.called(("100",), 80.0)
    calls.called(("100",), 100.0)
    assert calls.is_back("100", 150.0), "the later call counts"
    window.seconds = None
    assert not calls.is_back("100", 151.0)
    assert "301" not in repr(vars(calls))


def test_nobody_is_remembered_without_a_window_or_beyond_a_bound() -> None:
    none = CallBacks(b"k", Window(None), str)
    none.called(("100",), 1.0)
    assert not vars(none)["_called"]
    many = CallBacks(b"k", Window(3600.0), str)
    for number in range(5_000):
        many.called((str(number),), 1.0)
    assert len(vars(many)["_called"]) == 4_096
    assert many.is_back("4999", 2.0)
    assert not many.is_back("0", 2.0)


BODY = (
    b"v=0\r\no=peer 7 41 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0\r\na=sendrecv\r\nm=video 0 RTP/AVP 31\r\n"
)


def test_a_telephone_that_is_not_aware_gets_its_body_as_it_is() -> None:
    told = Indication()
    assert told.dressed(BODY) == BODY
    assert told.offer("on") is None
    assert told.dressed(None) is None
    assert told.dressed(b"") == b""


def test_one_that_is_aware_is_told_in_the_audio_section_with_a_newer_version() -> None:
    told = Indication()
    told.dressed(BODY)  # the offer that it got before it said that it is
    told.aware = True
    first = dressed(told, BODY)
    assert first == BODY.replace(b" 41 ", b" 42 ").replace(
        b"a=sendrecv\r\n", b"a=sendrecv\r\na=record:off\r\n"
    )
    offer = told.offer("on")
    assert offer == BODY
    assert told.offer("on") is None
    second = dressed(told, offer)
    assert b" 43 " in second
    assert b"a=sendrecv\r\na=record:on\r\nm=video" in second
    newer = dressed(
        told, BODY.replace(b" 41 ", b" 90 ").replace(b"a=sendrecv", b"a=record:off\r\na=sendrecv")
    )
    assert b" 90 " in newer
    assert newer.count(b"a=record:") == 1


def dressed(told: Indication, body: bytes | None) -> bytes:
    made = told.dressed(body)
    assert made is not None
    return made


def test_who_is_aware() -> None:
    assert is_record_aware(message("Supported: timer, record-aware", method="INVITE"))
    assert not is_record_aware(message("Supported: timer", method="INVITE"))
    assert not is_record_aware(None)
