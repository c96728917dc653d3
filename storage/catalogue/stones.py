"""Tombstones with time: their backup horizon, their completion, and their own end in totals by month."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from storage.catalogue.queries import named_errors
from storage.catalogue.rows import State, Tombstone, decode_tombstone
from storage.catalogue.schema import TOMBSTONES, TOTALS
from storage.tags import RecordingId

__all__ = ["Horizon", "MonthTotal", "StoneRegister"]

_COMPLETED: Final = {State.SHREDDED: State.SHRED_COMPLETE}
"""What a state becomes when no backup has the key any more; a discarded one keeps its own."""
_GONE: Final = (State.SHREDDED, State.DISCARDED)


@dataclass(frozen=True, slots=True)
class Horizon:
    """When the backups of the key of one tombstone are gone.

    Attributes:
        recording: Whose tombstone.
        purpose: For which purpose.
        key_group: Group of the key.
        out_of_backups: The instant.
    """

    recording: RecordingId
    purpose: str
    key_group: str
    out_of_backups: datetime


@dataclass(frozen=True, slots=True)
class MonthTotal:
    """What remains of tombstones that are gone themselves.

    Attributes:
        month: In which the keys were destroyed, ``YYYY-MM``, UTC.
        purpose: Purpose id.
        cause: ``expiry``, ``erase`` …
        count: How many tombstones.
    """

    month: str
    purpose: str
    cause: str
    count: int


class StoneRegister:
    """Changes of tombstones; each names what it may start from, so two processes do it once.

    Args:
        engine: Of the catalogue.
        nodes: Names of the nodes whose tombstones are ours, as for ``Queries``; None if all are.
    """

    def __init__(self, engine: sa.Engine, nodes: Collection[str] | None = None) -> None:
        self._engine = engine
        self._own = sa.true() if nodes is None else TOMBSTONES.c.node.in_(sorted(nodes))

    def incomplete(self, now: datetime) -> tuple[Tombstone, ...]:
        """Tombstones of which it is not known when their backups are gone, or was to be by now; oldest first.

        Args:
            now: The current instant (aware).
        """
        due = sa.or_(TOMBSTONES.c.out_of_backups.is_(None), TOMBSTONES.c.out_of_backups <= now)
        return self._stones(TOMBSTONES.c.complete_at.is_(None), due)

    def gone_by(self, purpose: str, until: datetime, limit: int) -> tuple[Tombstone, ...]:
        """Complete tombstones of a purpose, the oldest first.

        Args:
            purpose: Which.
            until: Whose key was destroyed at or before this instant.
            limit: At most so many.
        """
        return self._stones(
            TOMBSTONES.c.purpose == purpose,
            TOMBSTONES.c.gone_at <= until,
            TOMBSTONES.c.complete_at.is_not(None),
            limit=limit,
        )

    def purposes(self, until: datetime) -> tuple[str, ...]:
        """Purposes of which a tombstone is of this instant (aware) or older, sorted."""
        query = sa.select(TOMBSTONES.c.purpose).where(self._own, TOMBSTONES.c.gone_at <= until).distinct()
        with self._transaction() as connection:
            return tuple(sorted(connection.scalars(query)))

    def note_horizons(self, horizons: Sequence[Horizon]) -> None:
        """Write down when the backups of keys are gone.

        Args:
            horizons: None to write is allowed; of complete tombstones nothing changes.

        Raises:
            CatalogueError: The catalogue cannot be written; nothing was changed.
        """
        with self._transaction() as connection:
            for one in horizons:
                connection.execute(
                    TOMBSTONES.update()
                    .where(*_is(one.recording, one.purpose), TOMBSTONES.c.complete_at.is_(None))
                    .values(key_group=one.key_group, out_of_backups=one.out_of_backups)
                )

    def complete(self, stones: Sequence[Tombstone], now: datetime) -> None:
        """Say of tombstones that no backup has their key any more; SHREDDED → SHRED_COMPLETE.

        Args:
            stones: Which; those that are complete already stay as they are.
            now: The current instant (aware), by a clock that is trusted.

        Raises:
            CatalogueError: The catalogue cannot be written; nothing was changed.
        """
        with self._transaction() as connection:
            for stone in stones:
                connection.execute(
                    TOMBSTONES.update()
                    .where(
                        *_is(stone.recording, stone.purpose),
                        TOMBSTONES.c.complete_at.is_(None),
                        TOMBSTONES.c.out_of_backups <= now,
                    )
                    .values(state=_COMPLETED.get(stone.state, stone.state).value, complete_at=now)
                )

    def complete_epoch(self, key_group: str, epoch: str, now: datetime) -> int:
        """Say of all tombstones of an epoch that no backup brings their key back: its own key is destroyed.

        Args:
            key_group: Of which group.
            epoch: Which epoch.
            now: The current instant (aware).

        Returns:
            How many were not complete before.

        Raises:
            CatalogueError: The catalogue cannot be written; nothing was changed.
        """
        changed = 0
        with self._transaction() as connection:
            for state, after in ((state, _COMPLETED.get(state, state)) for state in _GONE):
                changed += connection.execute(
                    TOMBSTONES.update()
                    .where(
                        TOMBSTONES.c.state == state.value,
                        TOMBSTONES.c.key_group == key_group,
                        TOMBSTONES.c.key_id.startswith(f"{epoch}:"),
                        TOMBSTONES.c.complete_at.is_(None),
                    )
                    .values(state=after.value, out_of_backups=now, complete_at=now)
                ).rowcount
        return changed

    def purge(self, stones: Sequence[Tombstone]) -> int:
        """Remove tombstones and add each that was there to the total of its month, in one step.

        Args:
            stones: Which; one that is gone already does not count twice.

        Returns:
            How many were there.

        Raises:
            CatalogueError: The catalogue cannot be written; nothing was changed.
        """
        found: dict[tuple[str, str, str], int] = {}
        with self._transaction() as connection:
            for stone in stones:
                removed = connection.execute(
                    TOMBSTONES.delete().where(*_is(stone.recording, stone.purpose))
                ).rowcount
                if removed:
                    key = (month_of_end(stone), stone.purpose, stone.cause)
                    found[key] = found.get(key, 0) + 1
            _add(connection, found)
        return sum(found.values())

    def totals(self) -> tuple[MonthTotal, ...]:
        """What remains of tombstones that are gone, by month, purpose and cause."""
        with self._transaction() as connection:
            query = sa.select(TOTALS).order_by(TOTALS.c.month, TOTALS.c.purpose, TOTALS.c.cause)
            return tuple(MonthTotal(**row) for row in connection.execute(query).mappings())

    def _stones(self, *conditions: sa.ColumnElement[bool], limit: int | None = None) -> tuple[Tombstone, ...]:
        query = (
            sa.select(TOMBSTONES)
            .where(self._own, *conditions)
            .order_by(TOMBSTONES.c.gone_at, TOMBSTONES.c.id, TOMBSTONES.c.purpose)
            .limit(limit)
        )
        with self._transaction() as connection:
            return tuple(decode_tombstone(found) for found in connection.execute(query).mappings())

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with named_errors(), self._engine.begin() as connection:
            yield connection


def month_of_end(stone: Tombstone) -> str:
    """The month in which the key was destroyed, ``YYYY-MM``, UTC."""
    return f"{stone.gone_at.astimezone(UTC):%Y-%m}"


def _is(recording: RecordingId, purpose: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return (TOMBSTONES.c.id == recording.text, TOMBSTONES.c.purpose == purpose)


def _add(connection: sa.Connection, found: Mapping[tuple[str, str, str], int]) -> None:
    for (month, purpose, cause), count in found.items():
        here = (TOTALS.c.month == month, TOTALS.c.purpose == purpose, TOTALS.c.cause == cause)
        changed = connection.execute(
            TOTALS.update().where(*here).values(count=TOTALS.c["count"] + count)
        ).rowcount
        if not changed:
            connection.execute(TOTALS.insert().values(month=month, purpose=purpose, cause=cause, count=count))
