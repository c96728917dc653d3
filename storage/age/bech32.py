"""Bech32 (BIP 173), without its limit on length, as age uses it.

Constants and checksum are those of BIP 173, sections "Bech32" and "Checksum".
age drops the limit of 90 characters (c2sp.org/age, "Conventions").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from storage.age.errors import Bech32Error

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE_OF: Final = {character: value for value, character in enumerate(_CHARSET)}
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_CHARACTERS: Final = 6
_SEPARATOR: Final = "1"
_FIRST_PRINTABLE: Final = 0x21
_LAST_PRINTABLE: Final = 0x7E


def encode(prefix: str, data: bytes) -> str:
    """Encode bytes under a human-readable prefix.

    Args:
        prefix: Human-readable part, printable ASCII in one case; its case is the
            case of the result.
        data: Bytes to encode, any number.

    Returns:
        The Bech32 string, upper case if the prefix is.

    Raises:
        ValueError: The prefix is empty, of mixed case or not printable ASCII.
    """
    lowered = prefix.lower()
    if not prefix or prefix not in (lowered, prefix.upper()) or not _is_printable(prefix):
        raise ValueError(f"Bech32 prefix {prefix!r} must be printable ASCII in one case")
    values = _regroup(data, 8, 5)
    spare_bits = len(data) * 8 % 5
    if spare_bits:
        values.append((data[-1] << (5 - spare_bits)) & 0x1F)
    remainder = _polymod([*_expand(lowered), *values, *([0] * _CHECKSUM_CHARACTERS)]) ^ 1
    values.extend((remainder >> 5 * (5 - position)) & 0x1F for position in range(_CHECKSUM_CHARACTERS))
    text = lowered + _SEPARATOR + "".join(_CHARSET[value] for value in values)
    return text if prefix == lowered else text.upper()


def decode(text: str) -> tuple[str, bytes]:
    """Decode a Bech32 string.

    The messages never show the string: it may be a secret key.

    Args:
        text: The whole string, in one case.

    Returns:
        The human-readable prefix in the case of `text`, and the bytes.

    Raises:
        Bech32Error: Mixed case, a character outside the alphabet, a wrong
            checksum, or padding that is not zero.
    """
    lowered = text.lower()
    if text not in (lowered, text.upper()):
        raise Bech32Error("a Bech32 string is all upper or all lower case; this one mixes both")
    if not _is_printable(text):
        raise Bech32Error(
            "a Bech32 string holds printable ASCII only; this one has a space or another character"
        )
    end_of_prefix = lowered.rfind(_SEPARATOR)
    if end_of_prefix < 1 or end_of_prefix + 1 + _CHECKSUM_CHARACTERS > len(lowered):
        raise Bech32Error(
            f'a Bech32 string is a prefix, "1", and data; this one of {len(text)} characters is not'
        )
    values: list[int] = []
    for position, character in enumerate(lowered[end_of_prefix + 1 :], start=end_of_prefix + 2):
        value = _VALUE_OF.get(character)
        if value is None:
            raise Bech32Error(
                f"character {position} is not in the Bech32 alphabet; was the key copied in full?"
            )
        values.append(value)
    if _polymod([*_expand(lowered[:end_of_prefix]), *values]) != 1:
        raise Bech32Error("the Bech32 checksum is wrong; was the key copied in full and unchanged?")
    values = values[:-_CHECKSUM_CHARACTERS]
    spare_bits = len(values) * 5 % 8
    if spare_bits >= 5 or (spare_bits and values[-1] & ((1 << spare_bits) - 1)):  # noqa: PLR2004 - 5 bits a character
        raise Bech32Error("the Bech32 data ends in padding that is not zero or too long")
    return text[:end_of_prefix], bytes(_regroup(values, 5, 8))


def _is_printable(text: str) -> bool:
    return all(_FIRST_PRINTABLE <= ord(character) <= _LAST_PRINTABLE for character in text)


def _regroup(values: Iterable[int], width_in: int, width_out: int) -> list[int]:
    """Cut a string of bits into groups of another width; bits left over are dropped."""
    accumulator = bits = 0
    groups: list[int] = []
    for value in values:
        accumulator = (accumulator << width_in) | value
        bits += width_in
        while bits >= width_out:
            bits -= width_out
            groups.append(accumulator >> bits)
            accumulator &= (1 << bits) - 1
    return groups


def _expand(prefix: str) -> list[int]:
    return [*(ord(character) >> 5 for character in prefix), 0, *(ord(character) & 31 for character in prefix)]


def _polymod(values: Iterable[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                checksum ^= generator
    return checksum
