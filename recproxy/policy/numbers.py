"""Telephone numbers: as dialled, as compared, and patterns of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

__all__ = ["NumberPattern", "Numbering", "parse_pattern", "plain"]

_SEPARATORS: Final = re.compile(r"[ ()./\u00a0-]")  # RFC 3966 section 5.1.1, and what people write
_DIGITS: Final = re.compile(r"\+?[0-9*#]+\Z")
_PREFIX: Final = re.compile(r"(\+?[0-9]{0,20})\*\Z")
_RANGE: Final = re.compile(r"(\+?[0-9]{1,20})-(\+?[0-9]{1,20})\Z")
_LAST_DIGIT: Final = re.compile(r"(\+?[0-9]{1,19})\[([0-9])-([0-9])\]\Z")
_EXACT: Final = re.compile(r"\+?[A-Za-z0-9_.#*-]{1,64}\Z")


class Numbering(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How numbers are dialled on the trunks, so that they compare as E.164.

    Attributes:
        country_code: Digits after the plus; empty if national numbers stay as they are.
        national_prefix: Dialled before a national number.
        international_prefix: Dialled in place of the plus.
    """

    country_code: Annotated[
        str, Meta(pattern=r"^([1-9][0-9]{0,2})?$", description='a country code such as "31"')
    ] = ""
    national_prefix: Annotated[
        str, Meta(pattern=r"^[0-9]{0,3}$", description='up to three digits such as "0"')
    ] = "0"
    international_prefix: Annotated[
        str, Meta(pattern=r"^[0-9]{1,5}$", description='one to five digits such as "00"')
    ] = "00"

    def canonical(self, number: str) -> str:
        """The number as E.164 with a plus where its form says so, else without separators."""
        dialled = plain(number)
        if dialled.startswith("+") or not dialled.isdecimal():
            return dialled
        if dialled.startswith(self.international_prefix):
            rest = dialled.removeprefix(self.international_prefix)
            return f"+{rest}" if rest else dialled
        if self.country_code and self.national_prefix and dialled.startswith(self.national_prefix):
            rest = dialled.removeprefix(self.national_prefix)
            return f"+{self.country_code}{rest}" if rest else dialled
        return dialled


@dataclass(frozen=True, slots=True)
class NumberPattern:
    """One number, a prefix, or a range of numbers of one length.

    Attributes:
        first: The number, the prefix, or the first number of the range.
        last: The last number of a range, else empty.
        is_prefix: Whether ``first`` is a prefix.
    """

    first: str
    last: str = ""
    is_prefix: bool = False

    def canonical(self, numbering: Numbering) -> NumberPattern:
        """The pattern with its numbers as E.164."""
        last = numbering.canonical(self.last) if self.last else ""
        return NumberPattern(numbering.canonical(self.first), last, self.is_prefix)

    @property
    def count(self) -> int:
        """How many numbers are meant; 0 for a prefix, which nobody can count."""
        if self.is_prefix:
            return 0
        return int(self.last.removeprefix("+")) - int(self.first.removeprefix("+")) + 1 if self.last else 1

    def overlaps(self, other: NumberPattern) -> bool:
        """Whether one number could be meant by both."""
        if self.is_prefix and other.is_prefix:
            return self.first.startswith(other.first) or other.first.startswith(self.first)
        if other.is_prefix:
            return other.overlaps(self)
        last = other.last or other.first
        if self.is_prefix:
            width = len(self.first)
            return other.first[:width] <= self.first <= last[:width] and len(last) >= width
        mine = self.last or self.first
        return len(mine) == len(last) and self.first <= last and other.first <= mine

    def matches(self, number: str) -> bool:
        """Whether a canonical number is meant; an empty one is meant by no pattern."""
        if not number:
            return False
        if self.is_prefix:
            return number.startswith(self.first)
        if self.last:
            return (
                len(number) == len(self.first) and self.first <= number <= self.last and _same(self, number)
            )
        return number == self.first


def parse_pattern(text: str) -> NumberPattern:
    """Read a pattern of numbers, or a user name.

    ``+31305550100``, ``+3130*``, ``+31305550100-+31305550199``, ``+3130555010[0-4]``.

    Raises:
        ValueError: It is none of these.
    """
    found = _RANGE.match(text)
    if found:
        first, last = found[1], found[2]
        if len(first) != len(last) or first.startswith("+") != last.startswith("+") or first > last:
            raise ValueError("is not a range from a lower to a higher number of the same length")
        return NumberPattern(first, last)
    found = _LAST_DIGIT.match(text)
    if found and found[2] <= found[3]:
        return NumberPattern(found[1] + found[2], found[1] + found[3])
    found = _PREFIX.match(text)
    if found:
        return NumberPattern(found[1], is_prefix=True)
    if _EXACT.match(text):
        return NumberPattern(text)
    raise ValueError("is not a number, a prefix such as +3130*, or a range such as +31305550100-+31305550199")


def plain(number: str) -> str:
    """A number without separators; a user name as it is."""
    bare = _SEPARATORS.sub("", number)
    return bare if _DIGITS.match(bare) else number.strip()


def _same(pattern: NumberPattern, number: str) -> bool:
    return number.startswith("+") == pattern.first.startswith("+") and number.removeprefix("+").isdecimal()
