"""Emergency numbers and help lines: they pass before any rule, unannounced and unrecorded.

Sources: 112 is Directive (EU) 2018/1972 art. 109; the 116 numbers are Commission Decision
2007/116/EC and its successors; the others are the short numbers of the national numbering
plans for police, fire, ambulance, poison and crisis help (for Switzerland as listed by
ch.ch). A number that is listed and is none on this trunk costs one unrecorded call; a
number that is not listed and is one costs more, so in doubt it is listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import Enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from recproxy.policy.numbers import plain

__all__ = [
    "COUNTRY_CODES",
    "Country",
    "DialledNumber",
    "Emergency",
    "HelpLineList",
    "HelpLines",
    "dialled_forms",
]


class Country(Enum):
    """Countries whose numbers or rules are known here; ``EU`` is what all of the Union share."""

    EU = "EU"
    AT = "AT"
    BE = "BE"
    CH = "CH"
    DE = "DE"
    DK = "DK"
    FR = "FR"
    GB = "GB"
    NL = "NL"


class HelpLineList(Enum):
    """Lists of help lines; ``EU116`` is what all of the Union share."""

    EU116 = "EU116"
    NL = "NL"


COUNTRY_CODES: Final[dict[Country, str]] = {
    Country.AT: "43",
    Country.BE: "32",
    Country.CH: "41",
    Country.DE: "49",
    Country.DK: "45",
    Country.FR: "33",
    Country.GB: "44",
    Country.NL: "31",
}
_EVERYWHERE: Final = frozenset({"112", "911"})  # 3GPP TS 22.101 section 10: known to every handset
_NUMBERS: Final[dict[Country, frozenset[str]]] = {
    Country.EU: frozenset(),
    Country.AT: frozenset({"122", "133", "140", "141", "142", "144", "147"}),
    Country.BE: frozenset({"100", "101", "102", "103", "105", "106", "107", "110"}),
    Country.CH: frozenset({"117", "118", "143", "144", "145", "147", "1414", "1415"}),
    Country.DE: frozenset({"110"}),
    Country.DK: frozenset({"114", "1813"}),
    Country.FR: frozenset({"15", "17", "18", "114", "115", "119", "191", "196", "197"}),
    Country.GB: frozenset({"999"}),
    Country.NL: frozenset({"113", "144"}),
}
_HELP_116: Final = frozenset({"116000", "116006", "116111", "116117", "116123"})
_HELP_NL: Final = frozenset({"08000113", "08000432", "08002000", "08007000"})
_PREFIXES: Final = ("", "0", "00", "9")  # what a PBX wants dialled to reach an outside line
DialledNumber = Annotated[str, Meta(pattern=r"^\+?[0-9]{2,20}$", description="a number of 2 to 20 digits")]


class Emergency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts as an emergency number. 112, 911 and ``urn:service:sos`` always do.

    Attributes:
        builtin: Whose national numbers count besides.
        also: Further numbers, as dialled.
        callback_window: Calls in to a number that has just called an emergency service pass too.
    """

    builtin: tuple[Country, ...] = tuple(Country)
    also: tuple[DialledNumber, ...] = ()
    callback_window: timedelta | None = None

    def dialled(self) -> frozenset[str]:
        """Every form in which one of the numbers may be dialled."""
        numbers = set(_EVERYWHERE)
        forms: set[str] = set()
        for country in self.builtin:
            national = _NUMBERS[country]
            numbers |= national
            forms |= dialled_forms(national | _EVERYWHERE, COUNTRY_CODES.get(country, ""))
        numbers |= {plain(number) for number in self.also}
        return frozenset(forms | dialled_forms(numbers))


class HelpLines(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lines whose callers must not be known to anyone.

    Attributes:
        builtin: Lists that count.
        also: Further numbers, as dialled.
    """

    builtin: tuple[HelpLineList, ...] = tuple(HelpLineList)
    also: tuple[DialledNumber, ...] = ()

    def dialled(self) -> frozenset[str]:
        """Every form in which one of the numbers may be dialled."""
        forms = dialled_forms(plain(number) for number in self.also)
        if HelpLineList.EU116 in self.builtin:
            for code in COUNTRY_CODES.values():
                forms |= dialled_forms(_HELP_116, code)
        if HelpLineList.NL in self.builtin:
            code = COUNTRY_CODES[Country.NL]
            forms |= dialled_forms(_HELP_NL)
            forms |= dialled_forms((number.removeprefix("0") for number in _HELP_NL), code)
        return frozenset(forms)


def dialled_forms(numbers: Iterable[str], country_code: str = "") -> set[str]:
    """Each number bare, behind the prefixes of a PBX, and with a plus or a country code."""
    forms: set[str] = set()
    for number in numbers:
        forms |= {prefix + number for prefix in (*_PREFIXES, "+")}
        if country_code:
            forms |= {f"+{country_code}{number}", f"00{country_code}{number}"}
    return forms
