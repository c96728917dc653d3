"""Bech32: the vectors of BIP 173, round trips, and every single error found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.age import Bech32Error
from storage.age.bech32 import decode, encode

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
PREFIXES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)


@pytest.mark.parametrize(
    "text",
    [
        "A12UEL5L",
        "a12uel5l",
        "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
        "?1ezyfcl",
    ],
)
def test_valid_string_of_bip_173_without_data(text: str) -> None:
    prefix, data = decode(text)
    assert data == b""
    assert encode(prefix, data) == text


def test_valid_string_of_bip_173_with_data() -> None:
    text = "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"
    assert decode(text) == ("abcdef", bytes.fromhex("00443214c74254b635cf84653a56d7c675be77df"))
    assert encode(*decode(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\x201nwldj5", "printable"),
        ("\x7f1axkwrx", "printable"),
        ("\x801eym55h", "printable"),
        ("pzry9x0s0muk", "is not"),
        ("1pzry9x0s0muk", "is not"),
        ("x1b4n0q5v", "character 3"),
        ("li1dgmt3", "is not"),
        ("de1lg7wt\xff", "printable"),
        ("A1G7SGD8", "checksum"),
        ("10a06t8", "is not"),
        ("1qzzfhee", "is not"),
        ("", "is not"),
        ("A12uEL5L", "mixes both"),
        ("age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwi", "character 62"),
    ],
)
def test_invalid_string_is_refused_for_its_reason_and_not_shown(text: str, reason: str) -> None:
    with pytest.raises(Bech32Error, match=reason) as caught:
        decode(text)
    assert len(text) < 4 or text not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "Age", "a b", "é"])
def test_prefix_that_cannot_be_written_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        encode(prefix, b"")


def test_padding_that_is_not_zero_is_refused() -> None:
    # Two values are one byte and two bits of padding; one or three values leave five bits or more.
    found = [value for value in range(32) if _decodes(_with_checksum("a", [0, value]))]
    assert found == [0, 4, 8, 12, 16, 20, 24, 28]
    for values in ([0], [0, 0, 0], [0, 1]):
        with pytest.raises(Bech32Error, match="padding"):
            decode(_with_checksum("a", values))


@given(PREFIXES, st.binary(max_size=200))
def test_round_trip_in_both_cases(prefix: str, data: bytes) -> None:
    for cased in (prefix.lower(), prefix.upper()):
        assert decode(encode(cased, data)) == (cased, data)


@given(st.binary(min_size=1, max_size=40), st.data())
def test_one_changed_character_is_found(data: bytes, draw: st.DataObject) -> None:
    text = encode("age", data)
    position = draw.draw(st.integers(4, len(text) - 1))
    other = draw.draw(st.sampled_from([character for character in CHARSET if character != text[position]]))
    with pytest.raises(Bech32Error, match="checksum"):
        decode(text[:position] + other + text[position + 1 :])


def _with_checksum(prefix: str, values: list[int]) -> str:
    """Append the checksum of BIP 173 to values that an encoder would not write."""
    generators = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    checksum = 1
    for value in [ord(prefix) >> 5, 0, ord(prefix) & 31, *values, 0, 0, 0, 0, 0, 0]:
        top, checksum = checksum >> 25, (checksum & 0x1FFFFFF) << 5 ^ value
        for bit in range(5):
            checksum ^= generators[bit] * (top >> bit & 1)
    tail = [(checksum ^ 1) >> 5 * (5 - position) & 31 for position in range(6)]
    return prefix + "1" + "".join(CHARSET[value] for value in [*values, *tail])


def _decodes(text: str) -> bool:
    try:
        decode(text)
    except Bech32Error:
        return False
    return True
