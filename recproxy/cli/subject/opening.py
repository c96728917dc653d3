"""``recproxy subject open``."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import click

from recproxy.cli.archive import person
from recproxy.cli.display import print_json, tick
from recproxy.cli.options import config_option, json_option
from recproxy.cli.subject.desk import (
    Desk,
    open_desk,
    read_number,
    searched_document,
    tell,
    tell_not_searched,
)
from recproxy.errors import UsageError
from recproxy.subject.cases import Case, CaseState, Outcome, RequestKind, new_id
from recproxy.subject.decisions import outcomes
from recproxy.subject.due import answer_due
from recproxy.subject.finding import by_number
from storage import OsFiles, load_recipients

__all__ = ["opening"]


@click.command("open", short_help="Open a case; finds and freezes the recordings.")
@config_option
@click.option(
    "--kind",
    type=click.Choice([one.value for one in RequestKind]),
    required=True,
    help="What the person asks.",
)
@click.option(
    "--received",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Day on which the request came. Default: today, UTC.",
)
@json_option
def opening(config: Path, kind: str, received: datetime | None, as_json: bool) -> None:
    """Open a case for a person whose telephone number is read from standard input.

    Finds the recordings of that number and keeps them from their expiry until
    the case is closed, three months at most. The number is kept encrypted to
    the recipients, apart from the recordings. First make sure that the person
    is the one whose voice it is: a number is not a person.
    """
    with open_desk(config) as desk:
        came = desk.today if received is None else received.date()
        if came > desk.today:
            raise UsageError(f"--received {came.isoformat()} is in the future")
        number = read_number(desk.policy, "telephone number of the person")
        case = _opened(desk, RequestKind(kind), came, number)
        unindexed, elsewhere = desk.has_unindexed(), desk.not_searched
        if as_json:
            print_json(searched_document(desk, case))
            return
    count = len({one.recording for one in case.found})
    tell(case, f"opened, {count} recordings found", case.found)
    if desk.index is None:
        tick(False, "no number index is configured: find recordings by date, time and line", warn=True)
    elif unindexed:
        tick(False, "some recordings are not found by number: ask for date, time and line", warn=True)
    tell_not_searched(elsewhere)


def _opened(desk: Desk, kind: RequestKind, came: date, number: str) -> Case:
    rows = () if desk.index is None else by_number(desk.archive.catalogue, desk.index, number)
    places = desk.archive.config
    recipients = load_recipients(OsFiles(places.storage.recipients.parent), places.storage.recipients.name)
    case = Case(
        id=new_id(),
        kind=kind,
        state=CaseState.OPEN,
        received=came,
        due=answer_due(came, places.subjects.holidays),
        opened_at=desk.now,
        opened_by=person(),
        found=tuple(one for row in rows for one in outcomes(row, Outcome.FOUND)),
    )
    desk.cases.create(case, number, recipients)
    desk.audit("dsr.opened", case, {"hits": len(rows)}, searched=True)
    return desk.freeze(case, rows) if rows else case
