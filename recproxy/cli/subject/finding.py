"""``recproxy subject find``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from recproxy.cli.archive import load_identity_files
from recproxy.cli.display import print_json, tick
from recproxy.cli.options import config_option, identity_option, json_option
from recproxy.cli.subject.desk import open_desk, searched_document, tell, tell_not_searched
from recproxy.config import parse_duration
from recproxy.subject.cases import Outcome
from recproxy.subject.decisions import outcomes
from recproxy.subject.finding import Lookup, by_number, by_time, without_parties

__all__ = ["finding"]


def _duration(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    try:
        return parse_duration(value)
    except ValueError as err:
        raise click.BadParameter(f"{value!r} {err}", ctx, param) from err


def _instant(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError as err:
        raise click.BadParameter(f"{value!r} is not a time such as 2026-11-24T14:30Z", ctx, param) from err
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


@click.command("find", short_help="Look again, or by date, time and line.")
@click.argument("case_id", metavar="CASE")
@config_option
@identity_option(required=True)
@click.option(
    "--at", metavar="TIME", callback=_instant, help="About when the call began, ISO 8601; UTC without a zone."
)
@click.option(
    "--within",
    metavar="DURATION",
    default="PT30M",
    show_default=True,
    callback=_duration,
    help="How far.",
)
@click.option("--line", default="", metavar="NUMBER", help="Own line that was called, or that called.")
@json_option
def finding(
    case_id: str,
    config: Path,
    identities: tuple[Path, ...],
    at: datetime | None,
    within: timedelta,
    line: str,
    as_json: bool,
) -> None:
    """Look again for the recordings of CASE, and freeze those that are new.

    With --at also among the recordings that no number finds: who took part in
    those of that time is opened with the identity, compared, and forgotten.

    Where nodes share a catalogue, each finds numbers in its own recordings
    alone: those that were not searched are named.
    """
    with open_desk(config) as desk:
        case = desk.cases.find(case_id)
        case.check_open()
        keys = load_identity_files(identities)
        number = desk.cases.number(case, keys)
        catalogue = desk.archive.catalogue
        rows = [] if desk.index is None else list(by_number(catalogue, desk.index, number))
        nameless = 0
        if at is not None:
            numbering = desk.policy.numbering
            lookup = Lookup(at, within, numbering.canonical(line) if line else "")
            nameless = without_parties(catalogue, lookup)
            rows += by_time(catalogue, desk.archive.reader, keys, numbering, number, lookup)
        known = {one.recording for one in case.found}
        new = [row for row in rows if row.tags.recording.text not in known]
        found = [one for row in new for one in outcomes(row, Outcome.FOUND)]
        case = case.with_outcomes(found)
        desk.cases.save(case)
        desk.audit(
            "dsr.searched",
            case,
            {"hits": len(new), "kind": "number" if at is None else "number_and_time"},
            searched=True,
        )
        if new:
            case = desk.freeze(case, new)
        elsewhere = desk.not_searched
        if as_json:
            print_json(searched_document(desk, case))
            return
    tell(case, f"{len(new)} new", found)
    tell_not_searched(elsewhere)
    if nameless:
        said = f"{nameless} recordings of that time do not say who called whom: the catalogue was lost once"
        tick(False, f"{said}. Listen to them, or tell the person", warn=True)
