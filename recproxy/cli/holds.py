"""``recproxy hold``: what must be kept beyond its expiry, on the word of two people."""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final

import click

from recproxy.cli.archive import Archive, actor, open_archive, person
from recproxy.cli.display import print_json, table, tick
from recproxy.cli.options import config_option, json_option
from recproxy.documents import hold_evidence, of_hold
from recproxy.errors import RecproxyError
from storage import LEGAL_REASONS, CatalogueRow, Hold, HoldKind, HoldReason, HoldState, Tombstone

__all__ = ["hold"]

_STANDING: Final = (HoldState.REQUESTED, HoldState.ACTIVE)
_SHORT: Final = 8


@click.group("hold", no_args_is_help=False)
def hold() -> None:
    """Keep recordings beyond their expiry, as two people want it."""


@hold.command("request")
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...")
@config_option
@click.option(
    "--reason",
    type=click.Choice([one.value for one in LEGAL_REASONS]),
    required=True,
    help="What makes it necessary.",
)
@click.option(
    "--case", "case_ref", required=True, metavar="REF", help="Reference of the case file; no name, no number."
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    metavar="YYYY-MM-DD",
    help="Last day, UTC, within 12 months.",
)
@json_option
def request(
    recordings: tuple[str, ...], config: Path, reason: str, case_ref: str, until: datetime, as_json: bool
) -> None:
    """Ask that RECORDING (an id, or its first digits) is kept until a day.

    It keeps nothing until another person has approved it.
    """
    now = datetime.now(UTC)
    with open_archive(config) as archive:
        asked = Hold(
            id=secrets.token_hex(16),
            kind=HoldKind.LEGAL,
            reason=HoldReason(reason),
            case_ref=case_ref,
            recordings=tuple(_recording(archive, text).tags.recording for text in dict.fromkeys(recordings)),
            requested_by=person(),
            requested_at=now,
            ends=_end_of(until.date()),
        )
        archive.catalogue.holds.add(asked)
        _audit(archive, "hold.requested", asked)
    _tell(
        asked,
        f"requested; it keeps nothing until another person has run: hold approve {asked.id[:_SHORT]}",
        as_json,
    )


@hold.command("approve")
@click.argument("hold_id", metavar="HOLD")
@config_option
@json_option
def approve(hold_id: str, config: Path, as_json: bool) -> None:
    """Approve HOLD, which another person requested; it keeps its recordings from now on."""
    with open_archive(config) as archive:
        register = archive.catalogue.holds
        approved = register.approve(register.find(hold_id.lower()).id, person(), datetime.now(UTC))
        _audit(archive, "hold.approved", approved)
    _tell(approved, f"keeps {len(approved.recordings)} until {approved.ends:%Y-%m-%d}", as_json)


@hold.command("release")
@click.argument("hold_id", metavar="HOLD")
@config_option
@json_option
def release(hold_id: str, config: Path, as_json: bool) -> None:
    """End HOLD now; recordings past their expiry are shredded by the next sweep."""
    with open_archive(config) as archive:
        register = archive.catalogue.holds
        found = register.find(hold_id.lower())
        if found.kind is not HoldKind.LEGAL:
            raise RecproxyError(
                f"hold {found.id[:_SHORT]} is a {found.kind.value} hold, made by a data subject's case",
                hint='see "recproxy subject status"',
            )
        ended = register.release(found.id, person(), datetime.now(UTC))
        _audit(archive, "hold.lifted", ended)
    _tell(ended, "released", as_json)


@hold.command("list")
@config_option
@click.option("--all", "everything", is_flag=True, help="Also those that have ended.")
@json_option
def listing(config: Path, everything: bool, as_json: bool) -> None:
    """List holds, oldest first; one whose day has come lapses at the next sweep."""
    with open_archive(config) as archive:
        found = archive.catalogue.holds.select(states=() if everything else _STANDING)
    if as_json:
        print_json([of_hold(one) for one in found])
        return
    table(
        ("hold", "state", "kind", "reason", "case", "recordings", "until", "requested by", "approved by"),
        (
            (
                one.id[:_SHORT],
                one.state.value,
                one.kind.value,
                one.reason.value,
                one.case_ref,
                str(len(one.recordings)),
                f"{one.ends:%Y-%m-%d}",
                one.requested_by,
                one.approved_by,
            )
            for one in found
        ),
        right=("recordings",),
    )


def _recording(archive: Archive, text: str) -> CatalogueRow:
    found = archive.find(text)
    if isinstance(found, Tombstone):
        raise RecproxyError(f"recording {found.recording} is {found.state.value}: it cannot be held any more")
    return found


def _end_of(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(0), UTC)


def _audit(archive: Archive, event: str, what: Hold) -> None:
    with archive.audit(actor()) as audit:
        for fields in hold_evidence(what):
            audit.append(event, fields)


def _tell(what: Hold, said: str, as_json: bool) -> None:
    if as_json:
        print_json(of_hold(what))
    else:
        tick(True, f"hold {what.id[:_SHORT]} ({what.case_ref}): {said}")
