"""Monthly figures of requests: how many, how fast, how often refused; pure, names nobody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from recproxy.subject.cases import Answer, Case, CaseState, RequestKind

__all__ = ["MonthlyFigures", "monthly"]


@dataclass(frozen=True, slots=True)
class MonthlyFigures:
    """Requests of one kind that were received in one month.

    Attributes:
        month: Of receipt, ``YYYY-MM``.
        kind: What was asked.
        received: How many.
        open: How many have no answer yet.
        delivered: How many were granted or answered.
        refused: How many were refused.
        dropped: How many were taken back.
        extended: How many took two further months.
        late: How many were answered after their due day.
        median_days: Half of those that ended took at most so many days; None if none ended.
    """

    month: str
    kind: RequestKind
    received: int
    open: int
    delivered: int
    refused: int
    dropped: int
    extended: int
    late: int
    median_days: float | None


def monthly(cases: Iterable[Case]) -> tuple[MonthlyFigures, ...]:
    """Count cases by month of receipt and kind, in that order."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((f"{case.received:%Y-%m}", case.kind.value), []).append(case)
    return tuple(_figures(month, RequestKind(kind), groups[month, kind]) for month, kind in sorted(groups))


def _figures(month: str, kind: RequestKind, cases: Sequence[Case]) -> MonthlyFigures:
    ended = [(case, case.closed_at.date()) for case in cases if case.closed_at is not None]
    answers = [case.answer for case in cases]
    return MonthlyFigures(
        month=month,
        kind=kind,
        received=len(cases),
        open=sum(case.state is CaseState.OPEN for case in cases),
        delivered=answers.count(Answer.DELIVERED),
        refused=answers.count(Answer.REFUSED),
        dropped=answers.count(Answer.DROPPED),
        extended=sum(case.extended is not None for case in cases),
        late=sum(day > case.due for case, day in ended),
        median_days=median((day - case.received).days for case, day in ended) if ended else None,
    )
