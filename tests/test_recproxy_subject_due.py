"""Due dates: one month as Regulation 1182/71 counts it."""

from __future__ import annotations

import contextlib
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recproxy.config import Holidays
from recproxy.subject.due import answer_due, days_left, dutch_holidays, easter, extended_due

DAYS = st.dates(date(2020, 1, 1), date(2090, 12, 31))


@pytest.mark.parametrize(
    ("received", "due"),
    [
        ("2026-11-24", "2026-12-24"),
        ("2026-01-31", "2026-03-02"),  # 28 February is a Saturday
        ("2027-01-31", "2027-03-01"),  # 28 February is a Sunday
        ("2028-01-31", "2028-02-29"),
        ("2026-11-25", "2026-12-28"),  # Christmas Day is a Friday, 26 December a Saturday
        ("2026-03-03", "2026-04-07"),  # Good Friday, then Easter
        ("2026-03-27", "2026-04-28"),  # the King's birthday
        ("2026-04-14", "2026-05-15"),  # Ascension Day
        ("2026-12-01", "2027-01-04"),  # New Year's Day, then a weekend
    ],
)
def test_an_answer_is_due_in_a_month_on_a_working_day(received: str, due: str) -> None:
    assert answer_due(date.fromisoformat(received), Holidays.NL) == date.fromisoformat(due)


def later(day: date, months: int) -> date:
    """The same day some months later, tried from that day down."""
    total = day.year * 12 + day.month - 1 + months
    for number in range(day.day, 27, -1):
        with contextlib.suppress(ValueError):
            return date(total // 12, total % 12 + 1, number)
    return date(total // 12, total % 12 + 1, day.day)


@given(DAYS)
def test_it_is_never_early_never_on_a_free_day_and_never_far_off(received: date) -> None:
    for found, months in ((answer_due, 1), (extended_due, 3)):
        plain = later(received, months)
        due, weekends = found(received, Holidays.NL), found(received, Holidays.NONE)
        assert plain <= weekends <= due <= plain + timedelta(days=6)
        assert due.weekday() < 5
        assert due not in dutch_holidays(due.year)


@pytest.mark.parametrize(
    "sunday",
    ["1981-04-19", "2000-04-23", "2008-03-23", "2011-04-24", "2026-04-05", "2038-04-25", "2100-03-28"],
)
def test_easter_is_that_of_the_church(sunday: str) -> None:
    assert easter(int(sunday[:4])) == date.fromisoformat(sunday)


def test_the_king_does_not_celebrate_on_a_sunday() -> None:
    assert date(2025, 4, 26) in dutch_holidays(2025)
    assert date(2025, 4, 27) not in dutch_holidays(2025)
    assert date(2026, 4, 27) in dutch_holidays(2026)


def test_days_left() -> None:
    assert days_left(date(2026, 12, 24), date(2026, 12, 24)) == 0
    assert days_left(date(2026, 12, 24), date(2026, 12, 25)) == -1
