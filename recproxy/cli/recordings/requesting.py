"""``recproxy recordings request``, ``approve`` and ``requests``: two people before a recording is heard."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

import click

from recproxy.cli.archive import Archive, actor, open_archive, person, user
from recproxy.cli.display import instant, print_json, table, tick
from recproxy.cli.options import config_option, json_option, why_option
from recproxy.cli.policy.reading import surroundings
from recproxy.cli.recordings.permitting import use_option
from recproxy.documents import of_ticket, ticket_evidence
from recproxy.errors import RecproxyError
from recproxy.policy import load_policy
from recproxy.policy.playback import purpose_allowing
from storage import CatalogueRow, Ticket, Tombstone
from storage.catalogue.tickets import ASKED_FOR

__all__ = ["approve", "listing", "request"]

_SHORT = 8


@click.command("request", short_help="Ask to hear a recording, where two must agree.")
@click.argument("recording")
@config_option
@use_option(required=True)
@why_option
@json_option
def request(recording: str, config: Path, use: str, why: str, as_json: bool) -> None:
    """Ask to hear RECORDING (an id, or its first digits); another person must approve it.

    The request waits for a week; once approved, it holds for a day.
    """
    now = datetime.now(UTC)
    with open_archive(config) as archive:
        row = _row(archive, recording)
        purpose = _check(archive, row, use)
        ticket = Ticket(
            id=secrets.token_hex(16),
            recording=row.tags.recording,
            use=use,
            requested_by=person(),
            requested_at=now,
            ends=now + ASKED_FOR,
        )
        archive.catalogue.tickets.add(ticket)
        _audit(archive, "playback.requested", ticket, purpose, why)
    said = f"another person must run: recproxy recordings approve {ticket.id[:_SHORT]}"
    _tell(ticket, said, as_json)


@click.command("approve", short_help="Approve that another person hears a recording.")
@click.argument("request_id", metavar="REQUEST")
@config_option
@why_option
@json_option
def approve(request_id: str, config: Path, why: str, as_json: bool) -> None:
    """Approve REQUEST, which another person made; both must have a role that may hear the recording."""
    with open_archive(config) as archive:
        register = archive.catalogue.tickets
        asked = register.find(request_id.strip().lower())
        row = _row(archive, asked.recording.text)
        purpose = _check(archive, row, asked.use)
        ticket = register.approve(asked.id, person(), datetime.now(UTC))
        _audit(archive, "playback.approved", ticket, purpose, why)
    _tell(ticket, f"{ticket.requested_by} may hear it until {instant(ticket.ends)}", as_json)


@click.command("requests", short_help="List who asked to hear what.")
@config_option
@json_option
def listing(config: Path, as_json: bool) -> None:
    """List requests to hear a recording, the oldest first."""
    with open_archive(config) as archive:
        found = archive.catalogue.tickets.select()
    if as_json:
        print_json([of_ticket(one) for one in found])
        return
    table(
        ("request", "recording", "use", "requested by", "approved by", "until"),
        (
            (
                one.id[:_SHORT],
                one.recording.text[:12],
                one.use,
                one.requested_by,
                one.approved_by,
                instant(one.ends),
            )
            for one in found
        ),
    )


def _row(archive: Archive, text: str) -> CatalogueRow:
    found = archive.find(text)
    if isinstance(found, Tombstone):
        raise RecproxyError(f"recording {found.recording} is {found.state.value}: nothing can be heard")
    return found


def _check(archive: Archive, row: CatalogueRow, use: str) -> str:
    """The purpose of the recording that allows it."""
    settings = archive.config
    file = load_policy(settings.policy, surroundings(tuple(settings.trunks))).file
    purposes = [term.purpose for term in row.tags.live(datetime.now(UTC))]
    purpose, denied = purpose_allowing(file, purposes, use, user())
    if denied is not None:
        raise RecproxyError(denied.what, hint=denied.mend)
    return purpose


def _audit(archive: Archive, event: str, ticket: Ticket, purpose: str, why: str) -> None:
    with archive.audit(actor()) as audit:
        audit.append(event, ticket_evidence(ticket, purpose, why))


def _tell(ticket: Ticket, said: str, as_json: bool) -> None:
    if as_json:
        print_json(of_ticket(ticket))
    else:
        tick(True, f"request {ticket.id[:_SHORT]} for recording {ticket.recording.text[:12]}: {said}")
