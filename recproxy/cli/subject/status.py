"""``recproxy subject status``, ``statistics``, ``extend`` and ``close``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from pathlib import Path

import click
from msgspec.structs import replace

from recproxy.cli.archive import person
from recproxy.cli.display import print_json, table, tick
from recproxy.cli.options import config_option, json_option
from recproxy.cli.subject.desk import document, open_desk
from recproxy.errors import RecproxyError
from recproxy.subject.cases import Answer, Case, CaseState, Extension
from recproxy.subject.due import answer_due, days_left, extended_due
from recproxy.subject.statistics import MonthlyFigures, monthly
from storage import HoldState

__all__ = ["close", "extend", "statistics", "status"]


@click.command("status", short_help="List cases and the days that are left.")
@config_option
@click.option("--all", "everything", is_flag=True, help="Also those that are closed.")
@json_option
def status(config: Path, everything: bool, as_json: bool) -> None:
    """List the cases, the first due first; those overdue or due within 14 days are marked."""
    with open_desk(config) as desk:
        cases = [case for case in desk.cases.all() if everything or case.state is CaseState.OPEN]
        today = desk.today
    if as_json:
        print_json([document(case, today) for case in cases])
        return
    table(
        ("case", "asks for", "state", "received", "due", "days left", "recordings", ""),
        (
            (
                case.id,
                case.kind.value,
                case.state.value,
                case.received.isoformat(),
                case.due.isoformat(),
                str(days_left(case.due, today)) if case.state is CaseState.OPEN else "",
                str(len(case.found)),
                _mark(case, today),
            )
            for case in cases
        ),
        right=("days left", "recordings"),
    )


@click.command("statistics", short_help="Count requests by month: how fast, how often refused.")
@config_option
@json_option
def statistics(config: Path, as_json: bool) -> None:
    """Count the cases by month of receipt and kind; names nobody."""
    with open_desk(config) as desk:
        found = monthly(desk.cases.all())
    if as_json:
        print_json([{**asdict(one), "kind": one.kind.value} for one in found])
        return
    counts = ("received", "open", "delivered", "refused", "dropped", "extended", "late", "median days")
    table(("month", "asks for", *counts), map(_counts, found), right=counts)


@click.command("extend", short_help="Take two further months, once, for a reason.")
@click.argument("case_id", metavar="CASE")
@config_option
@click.option(
    "--reason",
    type=click.Choice([one.value for one in Extension]),
    required=True,
    help="Why it is necessary (GDPR art. 12(3)).",
)
def extend(case_id: str, config: Path, reason: str) -> None:
    """Take two further months for CASE; tell the person and why before the first month is over."""
    with open_desk(config) as desk:
        case = desk.cases.find(case_id)
        case.check_open()
        holidays = desk.archive.config.subjects.holidays
        if case.extended is not None:
            raise RecproxyError(f"case {case.id} was extended already; it can be once")
        if desk.today > answer_due(case.received, holidays):
            raise RecproxyError(
                f"case {case.id} was due {case.due.isoformat()}: it can no longer be extended"
            )
        case = replace(case, extended=Extension(reason), due=extended_due(case.received, holidays))
        desk.cases.save(case)
        desk.audit("dsr.extended", case, {"reason": reason})
    tick(True, f"case {case.id}: due {case.due.isoformat()}; tell the person, and why")


@click.command("close", short_help="End a case; what it froze goes its way.")
@click.argument("case_id", metavar="CASE")
@config_option
@click.option(
    "--outcome",
    type=click.Choice([one.value for one in Answer]),
    required=True,
    help="How it ended; dropped: the person took it back.",
)
def close(case_id: str, config: Path, outcome: str) -> None:
    """End CASE: its freeze ends, a restriction stays, the number is destroyed."""
    with open_desk(config) as desk:
        case = desk.cases.find(case_id)
        case.check_open()
        register = desk.archive.catalogue.holds
        standing = {hold.id for hold in register.select(states=(HoldState.ACTIVE,))}
        for hold in case.holds:
            if hold in standing:
                register.release(hold, person(), desk.now)
        answer = Answer(outcome)
        case = replace(case, state=CaseState.CLOSED, closed_at=desk.now, answer=answer)
        desk.cases.save(case)
        desk.cases.forget_number(case)
        audit_event = {
            Answer.DELIVERED: "dsr.delivered",
            Answer.REFUSED: "dsr.refused",
            Answer.DROPPED: "dsr.closed",
        }[answer]
        desk.audit(audit_event, case)
    tick(True, f"case {case.id}: closed, {outcome}")


def _mark(case: Case, today: date) -> str:
    """What deserves a look: the reminder that is due, and an answer that waits."""
    marks = []
    left = days_left(case.due, today)
    if case.state is CaseState.OPEN:
        if left < 0:
            marks.append("OVERDUE")
        else:
            marks += [f"due within {days} days" for days in (1, 7, 14) if left <= days][:1]
    if case.bundle is not None and case.bundle.until.date() > today:
        marks.append(f"bundle until {case.bundle.until:%Y-%m-%d}")
    return ", ".join(marks)


def _counts(found: MonthlyFigures) -> tuple[str, ...]:
    counts = (found.received, found.open, found.delivered, found.refused, found.dropped)
    days = "" if found.median_days is None else f"{found.median_days:g}"
    return (
        found.month,
        found.kind.value,
        *map(str, counts),
        str(found.extended),
        str(found.late),
        days,
    )
