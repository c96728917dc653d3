from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recproxy.config.header_names import header_name
from recproxy.errors import SipError
from recproxy.sip.carrying import HeaderRules, carried, origin
from recproxy.sip.message import Message, read_message
from recproxy.sip.session_id import made_session_id, session_uuid
from recproxy.sip.trunks import Trunk
from storage.tags import Direction

FROM = 'From: "Eve" <sip:+31201234567@example.org>;tag=1'
WITHHELD = 'From: "Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'
PAI = "P-Asserted-Identity: <sip:+31201234567@example.org>"
TRUSTED, FOREIGN = HeaderRules(trusted=True), HeaderRules()
ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>'


def request(*lines: str, start: str = "INVITE sip:a@h SIP/2.0") -> Message:
    return read_message("".join(f"{line}\r\n" for line in (start, *lines, "")).encode())


def test_what_is_carried_and_what_is_not() -> None:
    passed = carried(
        request(
            "Via: SIP/2.0/UDP h;branch=z9hG4bK1",
            "Route: <sip:proxy;lr>",
            "Record-Route: <sip:proxy;lr>",
            FROM,
            "To: <sip:a@h>",
            "Call-ID: 1@h",
            "CSeq: 1 INVITE",
            "Contact: <sip:a@h>",
            "Max-Forwards: 70",
            'Authorization: Digest username="a"',
            'Proxy-Authorization: Digest username="a"',
            "Proxy-Require: x",
            "Require: 100rel",
            "Supported: timer",
            "Replaces: 1",
            "User-Agent: pbx",
            "Content-Type: application/sdp",
            "x-Tenant: seven",
            "s: About it",
            'p-asserted-identity: "B \\"x\\"" <sip:b@h:5070;transport=tcp>',
            "Privacy: id;critical",
            "Diversion: <tel:+3130>;reason=no-answer;counter=1, <sip:c@h>",
            "History-Info: <sip:d@h?Reason=SIP%3Bcause%3D302>;index=1.1",
            "User-to-User: 00c81030;encoding=hex",
            "Alert-Info: <http://h/ring.wav>",
            "Priority: emergency",
            "X-Recproxy-Body: recproxy-0000000000000001",
            "Reason: SIP;cause=302",
        ),
        TRUSTED,
    )
    assert passed.headers == (
        ("x-Tenant", "seven"),
        ("Subject", "About it"),
        ("P-Asserted-Identity", '"B \\"x\\"" <sip:b@h:5070;transport=tcp>'),
        ("Privacy", "critical;id"),
        ("Diversion", "<tel:+3130>;reason=no-answer;counter=1"),
        ("Diversion", "<sip:c@h>"),
        ("History-Info", "<sip:d@h?Reason=SIP%3Bcause%3D302>;index=1.1"),
        ("User-to-User", "00c81030;encoding=hex"),
        ("Alert-Info", "<http://h/ring.wav>"),
        ("Priority", "emergency"),
    )
    assert passed.refused == ()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("P-Asserted-Identity: <sip:a b@h>", "P-Asserted-Identity"),
        ("Diversion: <sip:a%0d%0a@h>", "Diversion"),
        ('History-Info: "<sip:a@h>', "History-Info"),
        ("X-Odd: \udcff", "X-Odd"),
        ("Geolocation: <cid:location@h>", "Geolocation"),
        ("Subject:", "Subject"),
    ],
)
def test_malformed_headers_are_left_out_and_named(line: str, name: str) -> None:
    raw = f"INVITE sip:a@h SIP/2.0\r\n{line}\r\nX-Fine: yes\r\n\r\n".encode("utf-8", "surrogateescape")
    passed = carried(read_message(raw), TRUSTED)
    assert passed.headers == (("X-Fine", "yes"),)
    assert passed.refused == (name,)


def test_what_is_carried_is_bounded() -> None:
    many = carried(request(*[f"X-{at}: y" for at in range(70)]), TRUSTED)
    assert (len(many.headers), len(many.refused)) == (64, 6)
    long = carried(request(*[f"X-{at}: {'y' * 1000}" for at in range(5)]), TRUSTED)
    assert (len(long.headers), len(long.refused)) == (4, 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "P-Asserted-Identity",
                    "Diversion",
                    "History-Info",
                    "X-A",
                    "Subject",
                    "Alert-Info",
                    "Privacy",
                    "Q",
                ]
            ),
            st.text(max_size=30),
        ),
        max_size=6,
    )
)
def test_nothing_carried_can_end_its_header(lines: list[tuple[str, str]]) -> None:
    _check_carried("".join(f"{name}: {value}\r\n" for name, value in lines))


def _check_carried(lines: str) -> None:
    try:
        message = read_message(f"INVITE sip:a@h SIP/2.0\r\n{FROM}\r\n{lines}\r\n".encode("utf-8", "replace"))
    except SipError:
        return
    for rules in (TRUSTED, FOREIGN, HeaderRules(carry=("*",))):
        for name, value in carried(message, rules).headers:
            assert not any(ord(char) < 0x20 and char != "\t" for char in name + value)
            again = read_message(f"INVITE sip:a@h SIP/2.0\r\n{name}: {value}\r\n\r\n".encode())
            assert [(header.name, header.value) for header in again.headers] == [(name, value)]


# Privacy.


@pytest.mark.parametrize("wish", ["id", "user", "header", "header;user", "id;critical", "ID", "user, id"])
def test_an_untrusted_trunk_does_not_learn_who_asked_for_privacy(wish: str) -> None:
    invite = request(FROM, PAI, "Remote-Party-ID: <sip:+31201234567@h>", f"Privacy: {wish}", "X-Tenant: 7")
    assert carried(invite, FOREIGN).headers == (("X-Tenant", "7"),)
    assert str(origin(invite, FOREIGN)) == ANONYMOUS
    asserted = ("P-Asserted-Identity", "<sip:+31201234567@example.org>")
    for told in (carried(invite, TRUSTED), carried(invite, FOREIGN, emergency=True)):
        assert asserted in told.headers
        assert "Privacy" in [name for name, _ in told.headers]
    for shown in (origin(invite, TRUSTED), origin(invite, FOREIGN, emergency=True)):
        assert str(shown) == '"Eve" <sip:+31201234567@example.org>'


def test_without_a_wish_and_with_none_everybody_is_told() -> None:
    for lines in ((FROM, PAI), (WITHHELD, PAI, "Privacy: none")):
        invite = request(*lines)
        assert ("P-Asserted-Identity", "<sip:+31201234567@example.org>") in carried(invite, FOREIGN).headers
    assert ("Privacy", "none") in carried(request(FROM, "Privacy: none"), FOREIGN).headers


def test_a_withheld_from_hides_the_asserted_identity_too() -> None:
    assert carried(request(WITHHELD, PAI), FOREIGN).headers == ()
    assert len(carried(request(WITHHELD, PAI), TRUSTED).headers) == 1
    answer = request("From: <sip:anonymous@anonymous.invalid>", PAI, start="SIP/2.0 200 OK")
    assert len(carried(answer, FOREIGN).headers) == 1, "the callee's own identity, in its answer"


def test_a_privacy_header_that_does_not_parse_hides_everything() -> None:
    invite = request(FROM, PAI, 'Privacy: "id')
    assert carried(invite, FOREIGN).headers == ()
    assert str(origin(invite, FOREIGN)) == ANONYMOUS


@pytest.mark.parametrize(
    ("wish", "left"),
    [
        ("history;token", "token"),
        ("session", None),
        ("critical;id", None),
        ("novel;critical", "critical;novel"),
    ],
)
def test_what_was_done_is_taken_out_of_privacy(wish: str, left: str | None) -> None:
    told = dict(carried(request(FROM, f"Privacy: {wish}"), FOREIGN).headers)
    assert told.get("Privacy") == left


def test_user_privacy_takes_the_callers_own_words() -> None:
    lines = (
        "Subject: me",
        "Organization: us",
        "Call-Info: <http://me>",
        "In-Reply-To: 1",
        "Priority: normal",
    )
    assert carried(request(FROM, *lines, "Privacy: user"), FOREIGN).headers == (("Priority", "normal"),)
    assert len(carried(request(FROM, *lines, "Privacy: id"), FOREIGN).headers) == 5


def test_who_was_called_before_is_hidden_entry_by_entry() -> None:
    lines = (
        "History-Info: <sip:a@h?Privacy=history>;index=1, <sip:b@h>;index=1.1;mp=1",
        "Diversion: <sip:a@h>;privacy=full;reason=no-answer, <sip:b@h>;privacy=off",
    )
    assert carried(request(FROM, *lines), FOREIGN).headers == (
        ("History-Info", "<sip:anonymous@anonymous.invalid>;index=1"),
        ("History-Info", "<sip:b@h>;index=1.1;mp=1"),
        ("Diversion", "<sip:b@h>;privacy=off"),
    )
    assert carried(request(FROM, *lines, "Privacy: history"), FOREIGN).headers == (
        ("History-Info", "<sip:anonymous@anonymous.invalid>;index=1"),
        ("History-Info", "<sip:anonymous@anonymous.invalid>;index=1.1;mp=1"),
    )
    assert len(carried(request(FROM, *lines, "Privacy: history"), TRUSTED).headers) == 5


# The trunk's own lists.


def test_lists_of_a_trunk() -> None:
    invite = request(FROM, "P-Acme-Queue: 4", "X-Internal-Host: a", "X-Tenant: 7", "Subject: s", "Other: o")
    rules = HeaderRules(carry=("P-Acme-*", "Subject"), hide=("x-internal-*", "SUBJECT"))
    assert carried(invite, rules).headers == (("P-Acme-Queue", "4"), ("X-Tenant", "7"))
    assert carried(invite, HeaderRules(hide=("*",))).headers == ()


@pytest.mark.parametrize("name", ["Via", "route", "CONTACT", "X-Recproxy-Body", "Replaces", "Content-Type"])
def test_headers_of_our_own_are_never_carried(name: str) -> None:
    with pytest.raises(ValueError, match="writes for itself"):
        header_name(name)
    invite = request(FROM, f"{name}: x")
    for rules in (HeaderRules(carry=(name,)), HeaderRules(carry=("*",))):
        assert name.lower() not in [told.lower() for told, _ in carried(invite, rules).headers]


@pytest.mark.parametrize("name", ["", "X A", "X:", "a\r\nb", "1x", "*x", "x" * 60])
def test_what_is_no_header_name(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name"):
        header_name(name)


# Session-ID and numbers that are denied.


@pytest.mark.parametrize(
    ("value", "uuid"),
    [
        ("AB30317F1A784DC48FF824D0D3715D86;remote=" + "0" * 32, "ab30317f1a784dc48ff824d0d3715d86"),
        ("ab30317f1a784dc48ff824d0d3715d86", "ab30317f1a784dc48ff824d0d3715d86"),
        ("0" * 32, None),
        ("ab30317f", None),
        ("ab30317f1a784dc48ff824d0d3715d86xyz", None),
        ("", None),
    ],
)
def test_session_ids_are_read(value: str, uuid: str | None) -> None:
    assert session_uuid(request(f"Session-ID: {value}")) == uuid


def test_a_made_session_id_is_a_uuid_that_no_other_call_has() -> None:
    made = made_session_id("a1", "1@h")
    assert made == made_session_id("a1", "1@h")
    assert len({made, made_session_id("a2", "1@h"), made_session_id("a1", "2@h")}) == 3
    uuid = session_uuid(request(f"Session-ID: {made}"))
    assert uuid is not None
    assert (uuid[12], uuid[16]) == ("5", "a")


@pytest.mark.parametrize(
    ("number", "denied"),
    [
        ("+8821234", True), ("008821234", True), ("+88-21234", True), ("0900123", True), ("090", False),
        ("+31900123", False), ("112", False), ("alice", False), ("", False),
    ],
)  # fmt: skip
def test_numbers_that_a_trunk_may_not_reach(number: str, denied: bool) -> None:
    trunk = Trunk("pbx", (), (), Direction.OUTBOUND, "carrier", deny=("0900", "+882"))
    assert trunk.denies(number) is denied
