"""``recproxy subject erase`` and ``withdraw``: shred, or say which law keeps it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from recproxy.cli.archive import actor
from recproxy.cli.display import print_json
from recproxy.cli.options import config_option, json_option
from recproxy.cli.subject.desk import Desk, document, language_option, open_desk, tell
from recproxy.cli.subject.letterfile import letter_option, write_letter
from recproxy.errors import PartlyDone, UsageError
from recproxy.notices import Language
from recproxy.subject.cases import Case, Found, Outcome, RequestKind
from recproxy.subject.decisions import CAUSES, Ruling, rule
from recproxy.subject.letters import outcome_letter
from storage import CatalogueRow, Shredder, StorageError

__all__ = ["erase", "shred_granted", "withdraw"]

_yes = click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can be asked.")
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done; shred nothing.")


@click.command("erase", short_help="Shred, or say which law keeps it.")
@click.argument("case_id", metavar="CASE")
@config_option
@_dry_run
@_yes
@letter_option
@language_option
@json_option
def erase(
    case_id: str, config: Path, dry_run: bool, yes: bool, letter: Path | None, language: str, as_json: bool
) -> None:
    """Shred the recordings of CASE (GDPR art. 17).

    What a statute or a legal hold keeps stays, and is named with its reason.
    """
    _carry_out(RequestKind.ERASE, case_id, config, dry_run, yes, letter, language, as_json)


@click.command("withdraw", short_help="Shred what rests on consent.")
@click.argument("case_id", metavar="CASE")
@config_option
@_dry_run
@_yes
@letter_option
@language_option
@json_option
def withdraw(
    case_id: str, config: Path, dry_run: bool, yes: bool, letter: Path | None, language: str, as_json: bool
) -> None:
    """Shred the recordings of CASE that rest on consent, which is withdrawn (GDPR art. 7(3))."""
    _carry_out(RequestKind.WITHDRAW, case_id, config, dry_run, yes, letter, language, as_json)


def _carry_out(
    kind: RequestKind,
    case_id: str,
    config: Path,
    dry_run: bool,
    yes: bool,
    letter: Path | None,
    language: str,
    as_json: bool,
) -> None:
    with open_desk(config) as desk:
        case = desk.cases.find(case_id)
        case.check_open()
        rulings = [_ruling(desk, kind, row) for row in desk.rows(case)]
        refused = [one for ruling in rulings for one in ruling.kept]
        granted = [ruling for ruling in rulings if ruling.granted]
        if dry_run:
            would = [*refused, *(one for ruling in granted for one in _shredded(ruling))]
            _report(case.with_outcomes(would), would, desk, "nothing was shredded; this would be", as_json)
            return
        if granted:
            _confirm(len(granted), yes=yes)
        done, failed = shred_granted(desk, kind, granted)
        case = case.with_outcomes([*refused, *done])
        desk.cases.save(case)
        audit_event = "consent.withdrawn" if kind is RequestKind.WITHDRAW else "dsr.decided"
        desk.audit(audit_event, case, {"shredded": len(done), "refused": len(refused), "failed": len(failed)})
        if letter is not None:
            write_letter(letter, outcome_letter(desk.reply(case, Language(language))))
        _report(case, [*refused, *done], desk, f"{len(done)} shredded, {len(refused)} refused", as_json)
    if failed:
        raise PartlyDone(f"{len(failed)} recordings could not be shredded: {failed[0]}", hint="run it again")


def shred_granted(desk: Desk, kind: RequestKind, rulings: Sequence[Ruling]) -> tuple[list[Found], list[str]]:
    """Shred recordings because a person wants it, or end the purposes for which that is granted.

    Returns:
        What is gone, and why the rest is not.
    """
    archive = desk.archive
    done: list[Found] = []
    failed: list[str] = []
    with archive.audit(actor()) as chain:
        shredder = Shredder(archive.files, archive.catalogue, chain, archive.objects)
        for ruling in rulings:
            try:
                _shred(shredder, ruling, CAUSES[kind], desk.now)
            except StorageError as err:
                failed.append(str(err))
            else:
                done += _shredded(ruling)
    if done:
        archive.catalogue.checkpoint()
    return done, failed


def _shred(shredder: Shredder, ruling: Ruling, cause: str, now: datetime) -> None:
    recording = ruling.row.tags.recording
    if ruling.whole:
        shredder.shred(recording, cause, now)
        return
    for purpose in ruling.granted:
        shredder.shred_purpose(recording, purpose, cause, now)


def _shredded(ruling: Ruling) -> tuple[Found, ...]:
    return ruling.done(Outcome.SHREDDED if ruling.whole else Outcome.ENDED)


def _ruling(desk: Desk, kind: RequestKind, row: CatalogueRow) -> Ruling:
    return rule(kind, row, desk.archive.catalogue.holds.select(recording=row.tags.recording))


def _confirm(count: int, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("shredding cannot be undone, and nobody can be asked here", hint="give --yes")
    click.confirm(f"Shred {count} recordings? It cannot be undone", abort=True, err=True)


def _report(case: Case, outcomes: Sequence[Found], desk: Desk, said: str, as_json: bool) -> None:
    if as_json:
        print_json(document(case, desk.today))
    else:
        tell(case, said, outcomes)
