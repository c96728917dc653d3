"""Looking things up in the catalogue; nothing here changes it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from storage.catalogue.engines import fault_of, is_shared, one_instant
from storage.catalogue.rows import CatalogueRow, State, Tombstone, decode_row, decode_tombstone
from storage.catalogue.schema import FINDABLE, FURTHER, NUMBERS, RECORDINGS, TOMBSTONES, Instant
from storage.errors import AmbiguousId, CatalogueBusy, CatalogueError, ForeignRecording, RecordingNotFound
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


def due_query(until: datetime, limit: int, which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Rows that retention may have to shred, those already claimed first, then by expiry.

    Args:
        until: Expiry at or before this instant.
        limit: At most so many.
        which: A further condition on RECORDINGS.
    """
    further = FURTHER.c.id == RECORDINGS.c.id
    claimed = sa.or_(
        RECORDINGS.c.state == State.SHREDDING.value,
        sa.and_(_ENDED, sa.exists().where(further, FURTHER.c.cause != "")),
    )
    expired = sa.or_(RECORDINGS.c.expiry <= until, sa.exists().where(further, FURTHER.c.expiry <= until))
    return (
        sa.select(RECORDINGS)
        .where(which, sa.or_(claimed, sa.and_(_ENDED, expired, RECORDINGS.c.held.is_(sa.false()))))
        .order_by(sa.case((claimed, 0), else_=1), RECORDINGS.c.expiry, RECORDINGS.c.id)
        .limit(limit)
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


#: What is searched for further recordings of a call, each way.
_LONGEST_CALL: Final = timedelta(days=2)


class Queries:
    """Rows and tombstones, read only; safe from several threads.

    Args:
        engine: Where they are.
        nodes: Names of the nodes whose recordings are ours, where several share a catalogue:
            their headers are in our key store. None if all are ours.
    """

    def __init__(self, engine: sa.Engine, nodes: Collection[str] | None = None) -> None:
        self._engine = engine
        self._nodes = None if nodes is None else frozenset(nodes)

    @property
    def shared(self) -> bool:
        """Whether other nodes may use this catalogue."""
        return is_shared(self._engine)

    @property
    def fault(self) -> str | None:
        """Why the server cannot be asked now; None if it can, or if the catalogue is a file. Asks nobody."""
        return fault_of(self._engine)

    def owns(self, row: CatalogueRow) -> bool:
        """Whether the headers, the log and the audit chain of a recording are ours."""
        return self._nodes is None or row.tags.node in self._nodes

    def check_own(self, row: CatalogueRow) -> None:
        """Refuse what only the node that has a recording's headers can do.

        Raises:
            ForeignRecording: They are another node's.
        """
        if not self.owns(row):
            raise ForeignRecording(
                f"recording {row.tags.recording} is kept by node {row.tags.node}, "
                "which has its key: do it there"
            )

    @property
    def _own(self) -> sa.ColumnElement[bool]:
        return sa.true() if self._nodes is None else RECORDINGS.c.node.in_(sorted(self._nodes))

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
            before = newest.get(stone.recording)
            if stone.recording not in rows and (before is None or before.derived or not stone.derived):
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
        own: bool = False,
    ) -> tuple[CatalogueRow, ...]:
        """Rows, newest start first.

        Args:
            purpose: Only of this purpose.
            states: Only in one of these; empty for all.
            since: Only started at or after this instant.
            until: Only started before this instant.
            limit: At most so many.
            own: Only those of this node, if several share the catalogue.

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
        if own:
            query = query.where(self._own)
        return self._rows(query.limit(limit))

    def of_call(self, row: CatalogueRow) -> tuple[CatalogueRow, ...]:
        """The recordings of one call, this one among them, in their order."""
        started = row.tags.started
        query = (
            sa.select(RECORDINGS)
            .where(
                RECORDINGS.c.started > started - _LONGEST_CALL,
                RECORDINGS.c.started < started + _LONGEST_CALL,
                RECORDINGS.c.call == row.tags.call,
            )
            .order_by(RECORDINGS.c.started, RECORDINGS.c.id)
        )
        return self._rows(query)

    def expiring(self, until: datetime, limit: int) -> tuple[CatalogueRow, ...]:
        """Rows that retention may have to shred, those already claimed first.

        Args:
            until: Expiry at or before this instant.
            limit: At most so many.

        Returns:
            Rows in SHREDDING or with a purpose that is ending, then SEALED and ABORTED ones
            by expiry, of which a purpose at least has expired; never held, never another node's.
        """
        return self._rows(due_query(until, limit, self._own))

    def several(self, recordings: Sequence[RecordingId]) -> tuple[CatalogueRow, ...]:
        """Rows of recordings, in the order given; without those that have none (any more)."""
        wanted = RECORDINGS.c.id.in_([recording.text for recording in recordings])
        found = {row.tags.recording: row for row in self._rows(sa.select(RECORDINGS).where(wanted))}
        return tuple(found[recording] for recording in recordings if recording in found)

    def expiring_between(self, begin: datetime, end: datetime | None) -> Mapping[str, int]:
        """Number of recordings by purpose whose expiry for it is after ``begin`` and not after ``end``.

        Args:
            begin: An instant (aware).
            end: A later one; None for all that come after.

        Returns:
            Counts by purpose; a recording of several purposes counts for each.
        """
        terms = _terms().subquery()
        query = (
            sa.select(terms.c.purpose, sa.func.count())
            .where(terms.c.expiry > begin)
            .group_by(terms.c.purpose)
            .order_by(terms.c.purpose)
        )
        if end is not None:
            query = query.where(terms.c.expiry <= end)
        with self._reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def overdue(self, instant: datetime, *, elsewhere: bool = False) -> Overdue:
        """What should have been shredded at an instant, for one of its purposes at least, and is not held.

        Args:
            instant: An instant (aware).
            elsewhere: What other nodes should have shredded, not this one.
        """
        ended = (State.SEALED.value, State.ABORTED.value, State.SHREDDING.value)
        whose = sa.not_(self._own) if elsewhere else self._own
        terms = _terms(RECORDINGS.c.state.in_(ended), RECORDINGS.c.held.is_(sa.false()), whose).subquery()
        query = sa.select(
            sa.func.count(terms.c.id.distinct()), sa.func.min(terms.c.expiry, type_=Instant)
        ).where(terms.c.expiry <= instant)
        with self._reading() as connection:
            count, oldest = connection.execute(query).one()
        return Overdue(count, oldest)

    def held(self) -> int:
        """Number of recordings that a hold keeps."""
        return self._count(
            sa.select(sa.func.count()).select_from(RECORDINGS).where(RECORDINGS.c.held.is_(sa.true()))
        )

    def held_past(self, instant: datetime) -> int:
        """Number of recordings of this node whose expiry has passed but that a hold keeps."""
        return self._count(
            sa.select(sa.func.count())
            .select_from(RECORDINGS)
            .where(RECORDINGS.c.held.is_(sa.true()), RECORDINGS.c.expiry <= instant, self._own)
        )

    def count(self, state: State, *, own: bool = False) -> int:
        """Number of rows or tombstones in a state; of all nodes, or only of this one."""
        table = TOMBSTONES if state in _GONE else RECORDINGS
        query = sa.select(sa.func.count()).select_from(table).where(table.c.state == state.value)
        if own and self._nodes is not None:
            query = query.where(table.c.node.in_(sorted(self._nodes)))
        return self._count(query)

    def elsewhere(self) -> Mapping[str, int]:
        """How many recordings other nodes have, by node: no number is found among them here."""
        query = (
            sa.select(RECORDINGS.c.node, sa.func.count())
            .where(sa.not_(self._own), sa.or_(_ENDED, RECORDINGS.c.state == State.OPEN.value))
            .group_by(RECORDINGS.c.node)
            .order_by(RECORDINGS.c.node)
        )
        with self._reading() as connection:
            return {str(node): int(count) for node, count in connection.execute(query)}

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

    def findable_for(self, recording: RecordingId) -> frozenset[str] | None:
        """Purposes for which a number finds a recording; None for all that it has."""
        query = sa.select(FINDABLE.c.purpose).where(FINDABLE.c.id == recording.text)
        with self._reading() as connection:
            return frozenset(connection.scalars(query)) or None

    def indexed(self) -> frozenset[RecordingId]:
        """Recordings that a number can find."""
        with self._reading() as connection:
            return frozenset(RecordingId(text) for text in connection.scalars(sa.select(NUMBERS.c.id)))

    def indexed_months(self) -> frozenset[str]:
        """Months, ``YYYY-MM``, of which a recording of this node is still indexed."""
        months = sa.select(NUMBERS.c.month).distinct()
        if self._nodes is not None:
            months = months.where(sa.exists().where(RECORDINGS.c.id == NUMBERS.c.id, self._own))
        with self._reading() as connection:
            return frozenset(connection.scalars(months))

    def latest_start(self) -> datetime | None:
        """Start of the newest recording of this node that has a row; None if there is no row."""
        with self._reading() as connection:
            found: datetime | None = connection.execute(
                sa.select(sa.func.max(RECORDINGS.c.started, type_=Instant)).where(self._own)
            ).scalar()
        return found

    def tombstones(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        own: bool = False,
    ) -> tuple[Tombstone, ...]:
        """Tombstones, newest first.

        Args:
            since: Only gone at or after this instant.
            until: Only gone before this instant.
            limit: At most so many.
            own: Only those of this node, if several share the catalogue.

        Returns:
            The tombstones.
        """
        query = sa.select(TOMBSTONES).order_by(TOMBSTONES.c.gone_at.desc(), TOMBSTONES.c.id)
        if since is not None:
            query = query.where(TOMBSTONES.c.gone_at >= since)
        if until is not None:
            query = query.where(TOMBSTONES.c.gone_at < until)
        if own and self._nodes is not None:
            query = query.where(TOMBSTONES.c.node.in_(sorted(self._nodes)))
        return self._tombstones(query.limit(limit))

    def tombstone(self, recording: RecordingId) -> Tombstone | None:
        """What remains of one recording that is gone: its newest tombstone; None if it has none."""
        found = [stone for stone in self.tombstones_of(recording) if not stone.derived]
        return found[-1] if found else None

    def tombstones_of(self, recording: RecordingId) -> tuple[Tombstone, ...]:
        """What remains of each purpose and derived file of one recording that has ended, the oldest first."""
        return self._tombstones(
            sa.select(TOMBSTONES)
            .where(TOMBSTONES.c.id == recording.text)
            .order_by(TOMBSTONES.c.gone_at, TOMBSTONES.c.purpose)
        )

    def _rows(self, query: sa.Select[Any]) -> tuple[CatalogueRow, ...]:
        ids = query.with_only_columns(RECORDINGS.c.id)  # a subquery would copy each column, each time
        others = sa.select(FURTHER).where(FURTHER.c.id.in_(ids)).order_by(FURTHER.c.expiry, FURTHER.c.purpose)
        with self._reading() as connection, one_instant(connection):
            rows = connection.execute(query).mappings().all()
            further: dict[str, list[sa.RowMapping]] = {}
            for other in connection.execute(others).mappings():
                further.setdefault(other["id"], []).append(other)
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


def _terms(*of: sa.ColumnElement[bool]) -> sa.CompoundSelect[Any]:
    """Id, purpose and expiry of every purpose that has not ended, of rows of RECORDINGS such as these."""
    leading = sa.select(RECORDINGS.c.id, RECORDINGS.c.purpose, RECORDINGS.c.expiry).where(*of)
    further = (
        sa.select(FURTHER.c.id, FURTHER.c.purpose, FURTHER.c.expiry)
        .join(RECORDINGS, RECORDINGS.c.id == FURTHER.c.id)
        .where(FURTHER.c.cause == "", *of)
    )
    return sa.union_all(leading, further)


@contextmanager
def named_errors() -> Iterator[None]:
    """Turn what the database says into errors of the catalogue."""
    try:
        yield
    except OperationalError as err:
        raise CatalogueBusy(f"the catalogue cannot be used now: {err.orig}") from err
    except SQLAlchemyError as err:
        raise CatalogueError(f"the catalogue refused: {getattr(err, 'orig', None) or err}") from err
