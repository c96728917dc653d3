"""``recproxy subject restrict`` and ``object``: keep, but forbid the use, until it is decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from recproxy.cli.archive import person
from recproxy.cli.display import print_json
from recproxy.cli.options import config_option, json_option
from recproxy.cli.subject.deciding import shred_granted
from recproxy.cli.subject.desk import Desk, document, language_option, open_desk, tell
from recproxy.cli.subject.letterfile import letter_option, write_letter
from recproxy.errors import PartlyDone, RecproxyError
from recproxy.notices import Language
from recproxy.subject.cases import Case, Found, Outcome, RequestKind
from recproxy.subject.decisions import Ruling, rule
from recproxy.subject.letters import outcome_letter
from storage import CatalogueRow, HoldKind, HoldReason, HoldState

__all__ = ["objecting", "restrict"]

_LONGEST: Final = timedelta(days=366)
_DECIDED: Final = frozenset({Outcome.REFUSED_BASIS, Outcome.REFUSED_STATUTE})
_GROUNDS: Final = (HoldReason.ACCURACY, HoldReason.UNLAWFUL, HoldReason.CLAIM)


@click.command("restrict", short_help="Keep, but forbid the use.")
@click.argument("case_id", metavar="CASE")
@config_option
@click.option(
    "--ground",
    type=click.Choice([one.value for one in _GROUNDS]),
    help="Why (GDPR art. 18(1)): contested accuracy, unlawful processing, or a claim of the person.",
)
@click.option("--lift", is_flag=True, help="End the restriction; the person must have been told before.")
@letter_option
@language_option
@json_option
def restrict(
    case_id: str,
    config: Path,
    ground: str | None,
    lift: bool,
    letter: Path | None,
    language: str,
    as_json: bool,
) -> None:
    """Keep the recordings of CASE and forbid their use: no export, no look at the parties."""
    if lift == (ground is not None):
        raise click.UsageError("give either --ground or --lift")
    with open_desk(config) as desk:
        case = desk.cases.find(case_id)
        case.check_open()
        if ground is None:
            case = _lift(desk, case, Outcome.FOUND)
            said = "restriction lifted"
        else:
            case = _restrict(desk, case, [_of_all(row) for row in desk.rows(case)], HoldReason(ground))
            said = "restricted"
        _end(desk, case, said, letter, language, as_json)


@click.command("object", short_help="Restrict at once, then decide.")
@click.argument("case_id", metavar="CASE")
@config_option
@click.option(
    "--decision",
    type=click.Choice(["upheld", "refused"]),
    help="upheld shreds; refused needs compelling grounds, which go into the covering letter. "
    "Without it the recordings are restricted.",
)
@letter_option
@language_option
@json_option
def objecting(
    case_id: str, config: Path, decision: str | None, letter: Path | None, language: str, as_json: bool
) -> None:
    """Take up an objection (GDPR art. 21): restrict the recordings of CASE, then decide on it."""
    failed: list[str] = []
    with open_desk(config) as desk:
        case = desk.cases.find(case_id)
        case.check_open()
        rulings = [_ruling(desk, row) for row in desk.rows(case)]
        case = case.with_outcomes([one for ruling in rulings for one in ruling.kept])
        granted = [ruling for ruling in rulings if ruling.granted]
        match decision:
            case None:
                case = _restrict(desk, case, granted, HoldReason.OBJECTION)
                said = "restricted until it is decided"
            case "upheld":
                done, failed = shred_granted(desk, RequestKind.OBJECT, granted)
                case = case.with_outcomes(done)
                said = f"upheld, {len(done)} shredded"
            case _:
                case = _lift(desk, case, Outcome.REFUSED_GROUND)
                said = "refused"
        if decision is not None:
            desk.audit("objection.decided", case, {"reason": decision})
        _end(desk, case, said, letter, language, as_json)
    if failed:
        raise PartlyDone(f"{len(failed)} recordings could not be shredded: {failed[0]}", hint="run it again")


def _ruling(desk: Desk, row: CatalogueRow) -> Ruling:
    return rule(RequestKind.OBJECT, row, desk.archive.catalogue.holds.select(recording=row.tags.recording))


def _of_all(row: CatalogueRow) -> Ruling:
    """A restriction is for every purpose."""
    return Ruling(row, tuple(term.purpose for term in row.tags.terms), {})


def _restrict(desk: Desk, case: Case, rulings: Sequence[Ruling], reason: HoldReason) -> Case:
    """Forbid the use of recordings, for whatever purpose, since one of theirs is in question."""
    holds = desk.archive.catalogue.holds
    free = [ruling for ruling in rulings if holds.restricted(ruling.row.tags.recording) is None]
    if not free:
        raise RecproxyError(f"case {case.id} has no recording that could be restricted")
    desk.hold(case, [ruling.row for ruling in free], HoldKind.RESTRICTION, reason, _LONGEST)
    desk.audit("restrict.set", case, {"reason": reason.value, "count": len(free)})
    return case.with_outcomes([one for ruling in free for one in ruling.done(Outcome.RESTRICTED)])


def _lift(desk: Desk, case: Case, outcome: Outcome) -> Case:
    """End the restrictions that this case made."""
    register = desk.archive.catalogue.holds
    mine = [
        hold
        for hold in register.select(states=(HoldState.ACTIVE,))
        if hold.kind is HoldKind.RESTRICTION and hold.case_ref == case.reference
    ]
    if not mine:
        raise RecproxyError(f"case {case.id} restricts nothing", hint='see "recproxy hold list"')
    freed = {recording.text for hold in mine for recording in hold.recordings}
    for hold in mine:
        register.release(hold.id, person(), desk.now)
    desk.audit("restrict.lifted", case, {"count": len(freed)})
    return case.with_outcomes(
        [
            Found(recording=one.recording, purpose=one.purpose, outcome=outcome)
            for one in case.found
            if one.recording in freed and one.outcome not in _DECIDED
        ]
    )


def _end(desk: Desk, case: Case, said: str, letter: Path | None, language: str, as_json: bool) -> None:
    desk.cases.save(case)
    if letter is not None:
        write_letter(letter, outcome_letter(desk.reply(case, Language(language))))
    if as_json:
        print_json(document(case, desk.today))
    else:
        tell(case, said, case.found)
