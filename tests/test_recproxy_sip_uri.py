from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recproxy.errors import SipError
from recproxy.sip.uri import Address, Uri, escaped, quoted, split_list

INJECTION = ["\r\n", "\r", "\n", "\0", '"', "<", ">", " ", "\t", "\x7f", "\u2028"]


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:alice@example.org", Uri("sip", "alice", "example.org")),
        ("SIPS:alice@EXAMPLE.org:5061", Uri("sips", "alice", "example.org", 5061)),
        ("sip:192.0.2.1", Uri("sip", "", "192.0.2.1")),
        ("sip:+3130;phone-context=x@h", Uri("sip", "+3130;phone-context=x", "h")),
        ("sip:a@[2001:db8::1]:5060", Uri("sip", "a", "[2001:db8::1]", 5060)),
        ("sip:alice:pw@h", Uri("sip", "alice", "h")),
        ("sip:a@h;transport=tcp;lr", Uri("sip", "a", "h", None, (("transport", "tcp"), ("lr", None)))),
        ("sip:a@h?Reason=SIP%3Bcause%3D302", Uri("sip", "a", "h", headers="Reason=SIP%3Bcause%3D302")),
        ("sip:*31#0612345678@h", Uri("sip", "*31%230612345678", "h")),
        ("sip:jos\u00e9@h", Uri("sip", "jos%C3%A9", "h")),
        ("tel:+31-30-5550104", Uri("tel", "+31-30-5550104")),
        ("tel:112;phone-context=+31", Uri("tel", "112", parameters=(("phone-context", "+31"),))),
        ("urn:service:sos.police", Uri("urn", "service:sos.police")),
    ],
)
def test_uris_are_read(text: str, uri: Uri) -> None:
    assert Uri.parse(text) == uri
    assert Uri.parse(uri.with_headers()) == uri


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("alice", 400, "URI: no scheme: alice"),
        ("", 400, "URI: no scheme"),
        ("h323:alice@h", 400, "URI: no scheme: h323:alice@h"),
        ("http://h/", 416, "URI: scheme is not sip, sips, tel or urn"),
        ("sip:a b@h", 400, "URI: not the user part of a sip URI: a b"),
        ("sip:a%0d%0aVia@h", 400, "URI: not the user part of a sip URI: a%0d%0aVia"),
        ("sip:a%@h", 400, "URI: not the user part of a sip URI: a%"),
        ('sip:a"b@h', 400, 'URI: not the user part of a sip URI: a"b'),
        ("sip:a@", 400, "URI: malformed host"),
        ("sip:a@h_", 400, "URI: malformed host: h_"),
        ("sip:a@-h", 400, "URI: malformed host: -h"),
        ("sip:a@h:0", 400, "URI: port is not a number from 1 to 65535: 0"),
        ("sip:a@h:65536", 400, "URI: port is not a number from 1 to 65535: 65536"),
        ("sip:a@h:x", 400, "URI: malformed host or port: h:x"),
        ("sip:a@[2001:db8::g]", 400, "URI: malformed IPv6 address: [2001:db8::g]"),
        ("sip:a@[fe80::1%251]", 400, "URI: malformed host: [fe80::1%251]"),
        ("sip:a@h;x=<y>", 400, "URI: malformed parameter: x"),
        ("sip:a@h;a b", 400, "URI: malformed parameter: a b"),
        ("sip:a@h?x=<y>", 400, "URI: malformed headers part: x=<y>"),
        ("tel:alice", 400, "URI: not the user part of a tel URI: alice"),
        ("urn:x", 400, "URI: not the user part of a urn URI: x"),
        ("sip:" + "a" * 2048 + "@h", 400, f"URI: longer than 2048 characters: sip:{'a' * 36}…"),
    ],
)
def test_malformed_uris_are_named(text: str, code: int, message: str) -> None:
    with pytest.raises(SipError) as caught:
        Uri.parse(text)
    assert (str(caught.value), caught.value.code) == (message, code)


@pytest.mark.parametrize("bad", INJECTION)
def test_no_uri_can_be_made_that_breaks_out(bad: str) -> None:
    makes: tuple[Callable[[], Uri], ...] = (
        lambda: Uri("sip", f"a{bad}b", "h"),
        lambda: Uri("sip", "a", f"h{bad}b"),
        lambda: Uri("sip", "a", "h", None, ((f"x{bad}", None),)),
        lambda: Uri("sip", "a", "h", None, (("x", f"y{bad}z"),)),
        lambda: Uri("sip", "a", "h", headers=f"x{bad}"),
        lambda: Uri("tel", f"1{bad}"),
        lambda: Uri("urn", f"service:sos{bad}"),
    )
    for make in makes:
        with pytest.raises(SipError):
            make()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("sip:+31305550104@h", "+31305550104"),
        ("sip:+31305550104;npdi@h", "+31305550104"),
        ("sip:*31%230612345678@h", "*31#0612345678"),
        ("tel:+31-30-5550104", "+31-30-5550104"),
        ("sip:h", ""),
    ],
)
def test_the_number_of_a_uri(text: str, number: str) -> None:
    assert Uri.parse(text).number == number


@pytest.mark.parametrize(
    ("dialled", "target", "asked"),
    [
        ("sip:100@us;transport=tls?Route=%3Csip:evil%3E", "sip:pbx:5080", "sip:100@pbx:5080"),
        ("sip:100@us;user=phone;maddr=192.0.2.9", "sip:pbx", "sip:100@pbx;user=phone"),
        ("sip:100@us", "sip:pbx;transport=tcp", "sip:100@pbx;transport=tcp"),
        ("tel:+3130;phone-context=+31", "sip:pbx", "sip:+3130;phone-context=+31@pbx;user=phone"),
        ("urn:service:sos", "sip:pbx", "urn:service:sos"),
        ("sip:us", "sip:pbx", "sip:pbx"),
    ],
)
def test_only_the_user_goes_on_to_the_target(dialled: str, target: str, asked: str) -> None:
    assert str(Uri.parse(dialled).towards(Uri.parse(target))) == asked


def test_headers_of_a_uri_are_not_in_its_text() -> None:
    uri = Uri.parse("sip:a@h?Route=%3Csip:x%3E")
    assert str(uri) == "sip:a@h"
    assert uri.with_headers() == "sip:a@h?Route=%3Csip:x%3E"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("<sip:a@h>", Address("", Uri("sip", "a", "h"))),
        ("sip:a@h;tag=1", Address("", Uri("sip", "a", "h"), (("tag", "1"),))),
        (
            "Alice B <sip:a@h;lr>;tag=1",
            Address("Alice B", Uri("sip", "a", "h", None, (("lr", None),)), (("tag", "1"),)),
        ),
        ('"A \\"B\\" <x>, \\\\" <sip:a@h>', Address('A "B" <x>, \\', Uri("sip", "a", "h"))),
        ('""<sip:a@h>', Address("", Uri("sip", "a", "h"))),
        (
            '<sip:a@h>;reason="no; \\"answer\\""',
            Address("", Uri("sip", "a", "h"), (("reason", '"no; \\"answer\\""'),)),
        ),
        ("<sip:a@h> ;tag=1 ; x", Address("", Uri("sip", "a", "h"), (("tag", "1"), ("x", None)))),
    ],
)
def test_addresses_are_read(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"Alice <sip:a@h>', 'header: a quote is not closed: "Alice <sip:a@h>'),
        ('"Alice" x <sip:a@h>', 'address: display name without its closing quote: "Alice" x'),
        ("<sip:a@h", "address: text beside the angle brackets: <sip:a@h"),
        ("<sip:a@h>tag=1", "address: text beside the angle brackets: <sip:a@h>tag=1"),
        ("<sip:a@h>;tag=<1>", "address: malformed parameter: tag"),
        ('<sip:a@h>;x="a"b"c"', "address: malformed parameter: x"),
        ("Ali\x07ce <sip:a@h>", "address: control character in a display name: Ali\\x07ce"),
        (
            "<sip:a@h>" + " " * 10 + ";x" * 2048,
            f"address: longer than 2048 characters: <sip:a@h>          {';x' * 10};…",
        ),
    ],
)
def test_malformed_addresses_are_named(text: str, message: str) -> None:
    with pytest.raises(SipError) as caught:
        Address.parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("bad", ["\r\n", "\0", "\x7f", "\u2028"])
def test_no_address_can_be_made_that_breaks_out(bad: str) -> None:
    uri = Uri("sip", "a", "h")
    makes: tuple[Callable[[], Address], ...] = (
        lambda: Address(f"A{bad}", uri),
        lambda: Address("", uri, ((f"x{bad}", None),)),
        lambda: Address("", uri, (("x", f"y{bad}"),)),
        lambda: Address("", uri, (("x", f'"y{bad}"'),)),
    )
    for make in makes:
        with pytest.raises(SipError):
            make()


@pytest.mark.parametrize("value", ['"', '"a"b"', '"a\\"', 'a"b'])
def test_a_parameter_is_a_token_or_one_whole_quoted_string(value: str) -> None:
    with pytest.raises(SipError):
        Address("", Uri("sip", "a", "h"), (("x", value),))


def test_parameters_are_found_in_any_case() -> None:
    address = Address.parse("<sip:a@h;Transport=TCP;lr>;Tag=1;x")
    assert (address.parameter("tag"), address.parameter("X"), address.parameter("y")) == ("1", "", None)
    uri = address.uri
    assert (uri.parameter("transport"), uri.parameter("LR"), uri.parameter("y")) == ("TCP", "", None)


def test_lists_are_split_outside_quotes_and_brackets() -> None:
    value = '"A, B" <sip:a@h?x=1,2>;q=1, sip:c@h ,,<sip:d@h>'
    assert split_list(value) == ('"A, B" <sip:a@h?x=1,2>;q=1', "sip:c@h", "<sip:d@h>")


def test_lists_are_bounded() -> None:
    assert len(split_list(",".join("a" * 64))) == 64
    with pytest.raises(SipError, match=r"^header: more than 64 values in one header$"):
        split_list(",".join("a" * 65))


@given(st.text())
def test_a_quoted_string_cannot_be_left(text: str) -> None:
    inner = quoted(text)[1:-1]
    assert not any(ord(char) < 0x20 or ord(char) == 0x7F for char in inner)
    bare = inner.replace("\\\\", "").replace('\\"', "")
    assert '"' not in bare
    assert not bare.endswith("\\")


@given(st.text(max_size=40))
def test_reading_noise_raises_nothing_but_sip_errors(text: str) -> None:
    for noise in (
        text,
        f"sip:{text}",
        f"sip:a@h{text}",
        f"tel:{text}",
        f"<sip:{text}>;{text}",
        f'"{text}" <sip:a@h>',
    ):
        _check(noise)


def _check(text: str) -> None:
    """An address that is read is written without controls, and reads the same again."""
    try:
        address = Address.parse(text)
    except SipError:
        return
    written = address.with_headers()
    assert Address.parse(written) == address
    assert not any(ord(char) < 0x20 or ord(char) == 0x7F for char in written)
    assert len(split_list(written)) == 1


@given(
    st.text(max_size=20),
    st.text(st.characters(exclude_characters="@:;?"), max_size=10),
)
def test_a_display_name_survives(display: str, user: str) -> None:
    try:
        address = Address(display, Uri("sip", escaped(user), "h"))
    except SipError:
        return
    again = Address.parse(str(address))
    assert (again.display, again.uri) == (display, address.uri)
