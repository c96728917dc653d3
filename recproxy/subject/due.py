"""When an answer is due: one month, counted as Regulation (EEC, Euratom) 1182/71 counts it.

The day of the request is not counted (art. 3(1)); a period of months ends with the
day of the same number, or the last of the month if there is none (art. 3(2)(c)); if
that is a Saturday, a Sunday or a public holiday, with the next working day (art.
3(4)). GDPR art. 12(3) gives one month, and two further ones where that is necessary.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

from recproxy.config import Holidays

__all__ = ["answer_due", "days_left", "dutch_holidays", "easter", "extended_due"]

_MONTHS_IN_YEAR: Final = 12
_SATURDAY: Final = 5
_FIRST: Final = 1
_EXTENDED: Final = 3


def answer_due(received: date, holidays: Holidays) -> date:
    """Last day for the answer to a request.

    Args:
        received: Day on which it was received.
        holidays: Whose holidays count.
    """
    return _working_day(_months_later(received, _FIRST), holidays)


def extended_due(received: date, holidays: Holidays) -> date:
    """Last day after an extension: two further months, of which the person was told within the first."""
    return _working_day(_months_later(received, _EXTENDED), holidays)


def days_left(due: date, today: date) -> int:
    """Whole days until the end of the due day; negative once it is over."""
    return (due - today).days


def dutch_holidays(year: int) -> frozenset[date]:
    """Public holidays of the Netherlands (Algemene termijnenwet art. 3, Good Friday included)."""
    sunday = easter(year)
    king = date(year, 4, 27)
    if king.weekday() == calendar.SUNDAY:
        king -= timedelta(days=1)
    moving = (-2, 1, 39, 50)  # Good Friday, Easter Monday, Ascension Day, Pentecost Monday
    fixed = (date(year, 1, 1), king, date(year, 5, 5), date(year, 12, 25), date(year, 12, 26))
    return frozenset((*fixed, *(sunday + timedelta(days=days) for days in moving)))


def easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (the anonymous computus)."""
    golden = year % 19
    century, rest = divmod(year, 100)
    leap, left = divmod(century, 4)
    correction = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - leap - correction + 15) % 30
    quarter, odd = divmod(rest, 4)
    weekday = (32 + 2 * left + 2 * quarter - epact - odd) % 7
    late = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)


_HOLIDAYS: Final[dict[Holidays, Callable[[int], frozenset[date]]]] = {
    Holidays.NL: dutch_holidays,
    Holidays.NONE: lambda _year: frozenset(),
}


def _months_later(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, _MONTHS_IN_YEAR)
    last = calendar.monthrange(day.year + years, month + 1)[1]
    return date(day.year + years, month + 1, min(day.day, last))


def _working_day(day: date, holidays: Holidays) -> date:
    while day.weekday() >= _SATURDAY or day in _HOLIDAYS[holidays](day.year):
        day += timedelta(days=1)
    return day
