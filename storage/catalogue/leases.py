"""Leases: which worker sees to a recording that is due, and until when nobody else does.

Whoever takes rows passes by those that another one is taking just now (FOR UPDATE SKIP
LOCKED) or has on lease. A worker that died leaves leases that end by themselves. A lease
only keeps workers out of each other's way; that a recording is shredded once is for its
state to see to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from storage.catalogue.queries import due_query, named_errors
from storage.catalogue.schema import RECORDINGS
from storage.tags import RecordingId

__all__ = ["LEASE", "Lease", "LeaseRegister"]

LEASE: Final = timedelta(minutes=10)
"""How long a worker has for what it took; the usual time between two sweeps."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Of one worker.

    Attributes:
        holder: Its random id, up to 32 characters.
        taken: The current instant, trusted (aware).
        ends: From when on others may take what it did not finish.
    """

    holder: str
    taken: datetime
    ends: datetime


class LeaseRegister:
    """The leases of the catalogue.

    Args:
        engine: Of the catalogue.
        own: The condition on RECORDINGS for those that this node may shred.
    """

    def __init__(self, engine: sa.Engine, own: sa.ColumnElement[bool]) -> None:
        self._engine = engine
        self._own = own

    def take(self, until: datetime, limit: int, lease: Lease) -> tuple[RecordingId, ...]:
        """Take recordings that retention may have to shred and that nobody else has.

        Args:
            until: Expiry at or before this instant, as for ``Queries.expiring``.
            limit: At most so many.
            lease: Whose they are from now on.

        Returns:
            Their ids, those already claimed first, then by expiry.

        Raises:
            CatalogueError: The catalogue cannot be written; nothing was taken.
        """
        free = sa.or_(
            RECORDINGS.c.leased_until.is_(None),
            RECORDINGS.c.leased_until <= lease.taken,
            RECORDINGS.c.leased_by == lease.holder,
        )
        wanted = (
            due_query(until, limit, sa.and_(self._own, free))
            .with_only_columns(RECORDINGS.c.id)
            .with_for_update(skip_locked=True, of=RECORDINGS)
        )
        with self._transaction() as connection:
            taken = connection.scalars(wanted).all()
            if taken:
                connection.execute(
                    RECORDINGS.update()
                    .where(RECORDINGS.c.id.in_(taken))
                    .values(leased_by=lease.holder, leased_until=lease.ends)
                )
        return tuple(RecordingId(text) for text in taken)

    def release(self, holder: str) -> None:
        """Give back what a worker took and did not finish.

        Raises:
            CatalogueError: The catalogue cannot be written; the leases end by themselves.
        """
        with self._transaction() as connection:
            connection.execute(
                RECORDINGS.update()
                .where(RECORDINGS.c.leased_by == holder)
                .values(leased_by="", leased_until=None)
            )

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with named_errors(), self._engine.begin() as connection:
            yield connection
