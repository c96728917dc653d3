from __future__ import annotations

import pytest
import sdp_bodies
from hypothesis import given
from hypothesis import strategies as st

from recproxy.policy import RecordPreference
from recproxy.sip.concerned import further_numbers, is_emergency_callback, record_preference
from recproxy.sip.headers import Message, read_message

FROM = "From: <sip:100@h>;tag=1"


def request(*lines: str) -> Message:
    return read_message("".join(f"{line}\r\n" for line in ("INVITE sip:a@h SIP/2.0", *lines, "")).encode())


@pytest.mark.parametrize(
    ("lines", "numbers"),
    [
        ((), ("100",)),
        (("P-Asserted-Identity: <tel:+31201>", "Privacy: id"), ("100", "+31201")),
        (("P-Asserted-Identity: <sip:+31201@h>, <tel:+31202>",), ("100", "+31201", "+31202")),
        (
            ("Diversion: <sip:+31203@h>;reason=unconditional", "Diversion: <tel:+31204>"),
            ("100", "+31203", "+31204"),
        ),
        (
            ("History-Info: <sip:+31205@h?Reason=SIP%3Bcause%3D302>;index=1, <sip:+31206@h>;index=1.1",),
            ("100", "+31205", "+31206"),
        ),
        (("Referred-By: <sip:+31207@h>",), ("100", "+31207")),
        (("Remote-Party-ID: <sip:100@h>",), ("100",)),
        (('Diversion: "open', "Referred-By: <sip:+31207@h>"), ("100", "+31207")),
        (("Diversion: garbage", "Referred-By: <sip:h>"), ("100",)),
    ],
)
def test_all_who_are_named_are_found(lines: tuple[str, ...], numbers: tuple[str, ...]) -> None:
    assert further_numbers(request(FROM, *lines)) == numbers


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=40), max_size=5)
)
def test_whatever_a_header_says_is_read_or_left(values: list[str]) -> None:
    found = further_numbers(request(FROM, *(f"Diversion: {value}" for value in values)))
    assert found[0] == "100"


def test_no_more_are_looked_at_than_a_call_can_have() -> None:
    lines = [f"Diversion: <tel:+3120{number:04}>" for number in range(200)]
    assert len(further_numbers(request(FROM, *lines))) == 64


@pytest.mark.parametrize(
    ("line", "expected"),
    [("Priority: psap-callback", True), ("Priority: PSAP-Callback", True), ("Priority: emergency", False)],
)
def test_an_emergency_service_that_calls_back(line: str, expected: bool) -> None:
    assert is_emergency_callback(request(FROM, line)) is expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", RecordPreference.NONE),
        ("a=recordpref:nopreference\r\n", RecordPreference.NONE),
        ("a=recordpref:on\r\n", RecordPreference.NONE),
        ("a=recordpref:off\r\n", RecordPreference.OFF),
        ("a=recordpref:pause\r\n", RecordPreference.PAUSE),
        ("a=recordpref:pause\r\na=recordpref:OFF\r\n", RecordPreference.OFF),
        ("a=recordpreference:off\r\n", RecordPreference.NONE),
    ],
)
def test_what_a_telephone_asks_of_a_recorder(more: str, expected: RecordPreference) -> None:
    assert record_preference(sdp_bodies.audio("192.0.2.1", 6000, more=more)) is expected
