"""Tickets: one person asks to hear a recording, another one approves it (four eyes)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from storage.catalogue.queries import named_errors
from storage.catalogue.schema import TICKETS
from storage.errors import TicketError
from storage.holds import same_person
from storage.tags import RecordingId

__all__ = ["APPROVED_FOR", "ASKED_FOR", "Ticket", "TicketRegister", "forget_tickets"]

ASKED_FOR: Final = timedelta(days=7)
"""How long a request waits for its approval."""
APPROVED_FOR: Final = timedelta(days=1)
"""How long an approved one holds."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave of one person to hear one recording.

    Attributes:
        id: Random, 32 hex digits.
        recording: Which.
        use: What for.
        requested_by: Who asked, and may hear it.
        requested_at: When (aware).
        ends: From then on it is worth nothing.
        approved_by: Who approved it, empty until then.
        approved_at: When, None until then.
    """

    id: str
    recording: RecordingId
    use: str
    requested_by: str
    requested_at: datetime
    ends: datetime
    approved_by: str = ""
    approved_at: datetime | None = None

    def allows(self, person: str, use: str, now: datetime) -> bool:
        """Whether this person may hear it for this use now."""
        return (
            self.approved_at is not None
            and self.requested_by == person
            and self.use == use
            and self.approved_at <= now < self.ends
        )


class TicketRegister:
    """The tickets of the catalogue.

    Args:
        engine: Of the catalogue.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, ticket: Ticket) -> None:
        """Write down a request.

        Raises:
            CatalogueError: The catalogue cannot be written.
        """
        with self._transaction() as connection:
            connection.execute(TICKETS.insert().values(**_columns(ticket)))

    def approve(self, ticket_id: str, by: str, now: datetime) -> Ticket:
        """Approve a request, as another person than the one who asked; it holds for a day.

        Args:
            ticket_id: Its id.
            by: Who approves.
            now: The current instant (aware).

        Raises:
            TicketError: The same person, approved already, too late, or no such request.
            CatalogueError: The catalogue cannot be written.
        """
        with self._transaction() as connection:
            ticket = _one(connection, ticket_id)
            if ticket.approved_at is not None:
                raise TicketError(f"request {ticket.id[:8]} was approved by {ticket.approved_by} already")
            if same_person(by, ticket.requested_by):
                who = ticket.requested_by
                raise TicketError(f"request {ticket.id[:8]} is of {who}: another person must approve it")
            if now >= ticket.ends:
                raise TicketError(f"request {ticket.id[:8]} ended on {ticket.ends:%Y-%m-%d}: ask again")
            approved = replace(ticket, approved_by=by, approved_at=now, ends=now + APPROVED_FOR)
            connection.execute(TICKETS.update().where(TICKETS.c.id == ticket.id).values(**_columns(approved)))
            return approved

    def find(self, prefix: str) -> Ticket:
        """The ticket whose id begins with these digits.

        Raises:
            TicketError: None does, or more than one does.
        """
        with self._transaction() as connection:
            return _one(connection, prefix)

    def select(self, recording: RecordingId | None = None) -> tuple[Ticket, ...]:
        """Tickets, the oldest first.

        Args:
            recording: Only of this one.
        """
        query = sa.select(TICKETS).order_by(TICKETS.c.requested_at, TICKETS.c.id)
        if recording is not None:
            query = query.where(TICKETS.c.recording == recording.text)
        with self._transaction() as connection:
            return _decoded(connection.execute(query).mappings().all())

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with named_errors(), self._engine.begin() as connection:
            yield connection


def forget_tickets(connection: sa.Connection, recordings: Collection[str]) -> None:
    """Drop the tickets of recordings that are gone; what was done with them is in the audit chain."""
    connection.execute(TICKETS.delete().where(TICKETS.c.recording.in_(sorted(recordings))))


def _one(connection: sa.Connection, prefix: str) -> Ticket:
    query = (
        sa.select(TICKETS).where(TICKETS.c.id.startswith(prefix, autoescape=True)).limit(2).with_for_update()
    )
    found = _decoded(connection.execute(query).mappings().all()) if prefix else ()
    if len(found) != 1:
        many = "more than one request begins" if found else "no request begins"
        raise TicketError(f"{many} with {prefix!r}")
    return found[0]


def _decoded(rows: Sequence[sa.RowMapping]) -> tuple[Ticket, ...]:
    return tuple(Ticket(**{**row, "recording": RecordingId(row["recording"])}) for row in rows)


def _columns(ticket: Ticket) -> dict[str, object]:
    return {
        "id": ticket.id,
        "recording": ticket.recording.text,
        "use": ticket.use,
        "requested_by": ticket.requested_by,
        "requested_at": ticket.requested_at,
        "ends": ticket.ends,
        "approved_by": ticket.approved_by,
        "approved_at": ticket.approved_at,
    }
