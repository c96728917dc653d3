"""Emergency numbers: they pass before any rule, unannounced and unrecorded.

Sources: 112 is Directive (EU) 2018/1972 art. 109; the others are the short numbers of
the national numbering plans for police, fire, ambulance, poison and crisis help
(for Switzerland as listed by ch.ch). A number that is listed and is none on this trunk
costs one unrecorded call; a number that is not listed and is one costs more, so in
doubt it is listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

import msgspec

from recproxy.policy.numbers import plain

__all__ = ["Country", "Emergency", "dialled_forms"]


class Country(Enum):
    """Countries whose emergency numbers are known here."""

    AT = "AT"
    BE = "BE"
    CH = "CH"
    DE = "DE"
    FR = "FR"
    GB = "GB"
    NL = "NL"


_EVERYWHERE: Final = frozenset({"112", "911"})  # 3GPP TS 22.101 section 10: known to every handset
_NUMBERS: Final[dict[Country, tuple[str, frozenset[str]]]] = {
    Country.AT: ("43", frozenset({"122", "133", "140", "141", "142", "144", "147"})),
    Country.BE: ("32", frozenset({"100", "101", "102", "103", "105", "106", "107", "110"})),
    Country.CH: ("41", frozenset({"117", "118", "143", "144", "145", "147", "1414", "1415"})),
    Country.DE: ("49", frozenset({"110"})),
    Country.FR: ("33", frozenset({"15", "17", "18", "114", "115", "119", "191", "196", "197"})),
    Country.GB: ("44", frozenset({"999"})),
    Country.NL: ("31", frozenset({"113", "144"})),
}
_PREFIXES: Final = ("", "0", "00", "9")  # what a PBX wants dialled to reach an outside line


class Emergency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts as an emergency number. 112, 911 and ``urn:service:sos`` always do.

    Attributes:
        countries: Whose national numbers count besides.
        also: Further numbers, as dialled.
    """

    countries: tuple[Country, ...] = tuple(Country)
    also: tuple[str, ...] = ()

    def dialled(self) -> frozenset[str]:
        """Every form in which one of the numbers may be dialled."""
        numbers = set(_EVERYWHERE)
        forms: set[str] = set()
        for country in self.countries:
            code, national = _NUMBERS[country]
            numbers |= national
            forms |= dialled_forms(national | _EVERYWHERE, code)
        numbers |= {plain(number) for number in self.also}
        return frozenset(forms | dialled_forms(numbers))


def dialled_forms(numbers: Iterable[str], country_code: str = "") -> set[str]:
    """Each number bare, behind the prefixes of a PBX, and with a plus or a country code."""
    forms: set[str] = set()
    for number in numbers:
        forms |= {prefix + number for prefix in (*_PREFIXES, "+")}
        if country_code:
            forms |= {f"+{country_code}{number}", f"00{country_code}{number}"}
    return forms
