"""Looking things up in the catalogue; nothing here changes it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from storage.catalogue.rows import CatalogueRow, State, Tombstone, decode_row, decode_tombstone
from storage.catalogue.schema import FURTHER, NUMBERS, RECORDINGS, TOMBSTONES, Instant
from storage.errors import AmbiguousId, CatalogueBusy, CatalogueError, RecordingNotFound
from storage.tags import RecordingId

_GONE: Final = frozenset({State.SHREDDED, State.SHRED_COMPLETE, State.DISCARDED})
_ENDED: Final = RECORDINGS.c.state.in_([State.SEALED.value, State.ABORTED.value])


def serves(purpose: str) -> sa.ColumnElement[bool]:
    """The condition that a row of RECORDINGS serves a purpose, be it the leading one or not."""
    return sa.or_(
        RECORDINGS.c.purpose == purpose,
        sa.exists().where(
            FURTHER.c.id == RECORDINGS.c.id, FURTHER.c.purpose == purpose, FURTHER.c.cause == ""
        ),
    )


@dataclass(frozen=True, slots=True)
class Overdue:
    """Recordings that should be gone.

    Attributes:
        recordings: How many.
        oldest: Expiry of the one that is overdue for the longest; None if there is none.
    """

    recordings: int
    oldest: datetime | None


class Queries:
    """Rows and tombstones, read only; safe from several threads.

    Args:
        engine: Where they are.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def get(self, recording: RecordingId) -> CatalogueRow:
        """The row of one recording.

        Raises:
            RecordingNotFound: There is none; there may be a tombstone.
        """
        rows = self._rows(sa.select(RECORDINGS).where(RECORDINGS.c.id == recording.text))
        if not rows:
            raise RecordingNotFound(f"no recording {recording} in the catalogue")
        return rows[0]

    def find(self, prefix: str) -> CatalogueRow | Tombstone:
        """The recording, or what remains of it, whose id begins with these digits.

        Args:
            prefix: One or more of the 32 hex digits.

        Returns:
            The row, or the tombstone.

        Raises:
            RecordingNotFound: None begins so.
            AmbiguousId: More than one does.
        """
        if not prefix or set(prefix) - set("0123456789abcdef"):
            raise RecordingNotFound(f"{prefix!r} is not the start of a recording id (lower-case hex digits)")
        found: list[CatalogueRow | Tombstone] = []
        found += self._rows(
            sa.select(RECORDINGS).where(RECORDINGS.c.id.startswith(prefix)).order_by("id").limit(2)
        )
        rows = {row.tags.recording for row in found if isinstance(row, CatalogueRow)}
        newest: dict[RecordingId, Tombstone] = {}
        for stone in self._tombstones(
            sa.select(TOMBSTONES).where(TOMBSTONES.c.id.startswith(prefix)).order_by("gone_at", "purpose")
        ):
            if stone.recording not in rows:
                newest[stone.recording] = stone
        found += newest.values()
        if not found:
            raise RecordingNotFound(f"no recording begins with {prefix}")
        if len(found) > 1:
            raise AmbiguousId(f"more than one recording begins with {prefix}: give more digits")
        return found[0]

    def select(
        self,
        *,
        purpose: str | None = None,
        states: Sequence[State] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> tuple[CatalogueRow, ...]:
        """Rows, newest start first.

        Args:
            purpose: Only of this purpose.
            states: Only in one of these; empty for all.
            since: Only started at or after this instant.
            until: Only started before this instant.
            limit: At most so many.

        Returns:
            The rows.
        """
        query = sa.select(RECORDINGS).order_by(RECORDINGS.c.started.desc(), RECORDINGS.c.id)
        if purpose is not None:
            query = query.where(serves(purpose))
        if states:
            query = query.where(RECORDINGS.c.state.in_([state.value for state in states]))
        if since is not None:
            query = query.where(RECORDINGS.c.started >= since)
        if until is not None:
            query = query.where(RECORDINGS.c.started < until)
        return self._rows(query.limit(limit))

    def expiring(self, until: datetime, limit: int) -> tuple[CatalogueRow, ...]:
        """Rows that retention may have to shred, those already claimed first.

        Args:
            until: Expiry at or before this instant.
            limit: At most so many.

        Returns:
            Rows in SHREDDING or with a purpose that is ending, then SEALED and ABORTED ones
            by expiry, of which a purpose at least has expired; never held.
        """
        further = FURTHER.c.id == RECORDINGS.c.id
        claimed = sa.or_(
            RECORDINGS.c.state == State.SHREDDING.value,
            sa.and_(_ENDED, sa.exists().where(further, FURTHER.c.cause != "")),
        )
        expired = sa.or_(RECORDINGS.c.expiry <= until, sa.exists().where(further, FURTHER.c.expiry <= until))
        query = (
            sa.select(RECORDINGS)
            .where(
                sa.or_(
                    claimed,
                    sa.and_(_ENDED, expired, RECORDINGS.c.held.is_(sa.false())),
                )
            )
            .order_by(sa.case((claimed, 0), else_=1), RECORDINGS.c.expiry, RECORDINGS.c.id)
            .limit(limit)
        )
        return self._rows(query)

    def expiring_between(self, begin: datetime, end: datetime | None) -> Mapping[str, int]:
        """Number of recordings by purpose whose expiry is after ``begin`` and not after ``end``.

        Args:
            begin: An instant (aware).
            end: A later one; None for all that come after.
        """
        query = (
            sa.select(RECORDINGS.c.purpose, sa.func.count())
            .where(RECORDINGS.c.expiry > begin)
            .group_by(RECORDINGS.c.purpose)
            .order_by(RECORDINGS.c.purpose)
        )
        if end is not None:
            query = query.where(RECORDINGS.c.expiry <= end)
        with self._reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def overdue(self, instant: datetime) -> Overdue:
        """What should have been shredded at an instant, and is not held."""
        query = sa.select(sa.func.count(), sa.func.min(RECORDINGS.c.expiry, type_=Instant)).where(
            RECORDINGS.c.state.in_([State.SEALED.value, State.ABORTED.value, State.SHREDDING.value]),
            RECORDINGS.c.expiry <= instant,
            RECORDINGS.c.held.is_(sa.false()),
        )
        with self._reading() as connection:
            count, oldest = connection.execute(query).one()
        return Overdue(count, oldest)

    def held(self) -> int:
        """Number of recordings that a hold keeps."""
        return self._count(
            sa.select(sa.func.count()).select_from(RECORDINGS).where(RECORDINGS.c.held.is_(sa.true()))
        )

    def held_past(self, instant: datetime) -> int:
        """Number of recordings whose expiry has passed but that a hold keeps."""
        return self._count(
            sa.select(sa.func.count())
            .select_from(RECORDINGS)
            .where(RECORDINGS.c.held.is_(sa.true()), RECORDINGS.c.expiry <= instant)
        )

    def count(self, state: State) -> int:
        """Number of rows or tombstones in a state."""
        table = TOMBSTONES if state in _GONE else RECORDINGS
        return self._count(sa.select(sa.func.count()).select_from(table).where(table.c.state == state.value))

    def ids(self) -> frozenset[RecordingId]:
        """Ids of all rows; tombstones do not count."""
        with self._reading() as connection:
            return frozenset(RecordingId(text) for text in connection.scalars(sa.select(RECORDINGS.c.id)))

    def with_tokens(self, tokens: Collection[str]) -> tuple[CatalogueRow, ...]:
        """Rows that carry one of these keyed hashes of a number, newest start first."""
        found = sa.select(NUMBERS.c.id).where(NUMBERS.c.token.in_(tokens)).scalar_subquery()
        return self._rows(
            sa.select(RECORDINGS)
            .where(RECORDINGS.c.id.in_(found))
            .order_by(RECORDINGS.c.started.desc(), RECORDINGS.c.id)
        )

    def indexed(self) -> frozenset[RecordingId]:
        """Recordings that a number can find."""
        with self._reading() as connection:
            return frozenset(RecordingId(text) for text in connection.scalars(sa.select(NUMBERS.c.id)))

    def indexed_months(self) -> frozenset[str]:
        """Months, ``YYYY-MM``, of which a recording is still indexed."""
        with self._reading() as connection:
            return frozenset(connection.scalars(sa.select(NUMBERS.c.month).distinct()))

    def latest_start(self) -> datetime | None:
        """Start of the newest recording that has a row; None if there is no row."""
        with self._reading() as connection:
            found: datetime | None = connection.execute(
                sa.select(sa.func.max(RECORDINGS.c.started, type_=Instant))
            ).scalar()
        return found

    def tombstones(
        self, *, since: datetime | None = None, until: datetime | None = None, limit: int | None = None
    ) -> tuple[Tombstone, ...]:
        """Tombstones, newest first.

        Args:
            since: Only gone at or after this instant.
            until: Only gone before this instant.
            limit: At most so many.

        Returns:
            The tombstones.
        """
        query = sa.select(TOMBSTONES).order_by(TOMBSTONES.c.gone_at.desc(), TOMBSTONES.c.id)
        if since is not None:
            query = query.where(TOMBSTONES.c.gone_at >= since)
        if until is not None:
            query = query.where(TOMBSTONES.c.gone_at < until)
        return self._tombstones(query.limit(limit))

    def tombstone(self, recording: RecordingId) -> Tombstone | None:
        """What remains of one recording that is gone: its newest tombstone; None if it has none."""
        found = self.tombstones_of(recording)
        return found[-1] if found else None

    def tombstones_of(self, recording: RecordingId) -> tuple[Tombstone, ...]:
        """What remains of each purpose of one recording that has ended, the oldest first."""
        return self._tombstones(
            sa.select(TOMBSTONES)
            .where(TOMBSTONES.c.id == recording.text)
            .order_by(TOMBSTONES.c.gone_at, TOMBSTONES.c.purpose)
        )

    def _rows(self, query: sa.Select[Any]) -> tuple[CatalogueRow, ...]:
        ids = sa.select(query.subquery().c.id)
        others = sa.select(FURTHER).where(FURTHER.c.id.in_(ids)).order_by(FURTHER.c.expiry, FURTHER.c.purpose)
        with self._reading() as connection:
            connection.exec_driver_sql("BEGIN")  # both from one instant
            try:
                rows = connection.execute(query).mappings().all()
                further: dict[str, list[sa.RowMapping]] = {}
                for other in connection.execute(others).mappings():
                    further.setdefault(other["id"], []).append(other)
            finally:
                connection.exec_driver_sql("COMMIT")
        return tuple(decode_row(found, further.get(found["id"], ())) for found in rows)

    def _tombstones(self, query: sa.Select[Any]) -> tuple[Tombstone, ...]:
        with self._reading() as connection:
            return tuple(decode_tombstone(found) for found in connection.execute(query).mappings())

    def _count(self, query: sa.Select[int]) -> int:
        with self._reading() as connection:
            return connection.execute(query).scalar_one()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with (
            named_errors(),
            self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            yield connection


@contextmanager
def named_errors() -> Iterator[None]:
    """Turn what the database says into errors of the catalogue."""
    try:
        yield
    except OperationalError as err:
        raise CatalogueBusy(f"the catalogue cannot be used now: {err.orig}") from err
    except SQLAlchemyError as err:
        raise CatalogueError(f"the catalogue refused: {getattr(err, 'orig', None) or err}") from err
