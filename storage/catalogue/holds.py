"""The holds in the catalogue, and the mark they leave on the rows they keep."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Final

import sqlalchemy as sa

from storage.catalogue.engines import lock_rows
from storage.catalogue.queries import named_errors
from storage.catalogue.rows import State
from storage.catalogue.schema import HELD, HOLDS, RECORDINGS
from storage.errors import HoldError
from storage.holds import Hold, HoldKind, HoldReason, HoldState, same_person
from storage.tags import RecordingId

_HOLDABLE: Final = (State.OPEN.value, State.SEALED.value, State.ABORTED.value)
_REFERENCES: Final = 128


class _Lock(Enum):
    """Which of the holds that are read nobody else may change until the transaction ends."""

    NONE = "none"
    ALL = "all"
    THE_FREE = "those that nobody else is changing; the others are left out"


class HoldRegister:
    """Holds, and ``held`` on each row that an active one keeps; both change in one step.

    Args:
        engine: Of the catalogue.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, hold: Hold) -> None:
        """Write down a hold; an approved one keeps its recordings at once.

        Args:
            hold: Requested or active.

        Raises:
            HoldError: It has ended, or one of its recordings is gone or being shredded.
            CatalogueError: The catalogue cannot be written.
        """
        if hold.state not in {HoldState.REQUESTED, HoldState.ACTIVE}:
            raise HoldError(f"hold {hold.id} has ended already")
        wanted = {recording.text for recording in hold.recordings}
        with self._transaction() as connection:
            lock_rows(connection, wanted)
            there = set(
                connection.scalars(
                    sa.select(RECORDINGS.c.id).where(
                        RECORDINGS.c.id.in_(wanted), RECORDINGS.c.state.in_(_HOLDABLE)
                    )
                )
            )
            if there != wanted:
                raise HoldError(
                    f"recording {min(wanted - there)} is gone or being shredded: it cannot be held"
                )
            connection.execute(HOLDS.insert().values(**_columns(hold)))
            connection.execute(HELD.insert(), [{"hold": hold.id, "id": text} for text in sorted(wanted)])
            _mark(connection, wanted)

    def approve(self, hold_id: str, by: str, now: datetime) -> Hold:
        """REQUESTED → ACTIVE, by another person than the one who asked.

        Args:
            hold_id: Which.
            by: Who approves.
            now: The current instant (aware).

        Raises:
            HoldError: The same person, another state, its end has come, or no such hold.
            CatalogueError: The catalogue cannot be written.
        """
        with self._transaction() as connection:
            hold = _one(connection, hold_id)
            if hold.state is not HoldState.REQUESTED:
                raise HoldError(f"hold {hold.id} is {hold.state.value}, not requested")
            if same_person(by, hold.requested_by):
                who = hold.requested_by
                raise HoldError(f"hold {hold.id} was requested by {who}: another person must approve it")
            if hold.ends <= now:
                raise HoldError(f"hold {hold.id} would have ended on {hold.ends:%Y-%m-%d}: request a new one")
            return self._change(connection, replace(hold, approved_by=by, approved_at=now))

    def release(self, hold_id: str, by: str, now: datetime) -> Hold:
        """End a hold before its date; one that was only requested is withdrawn.

        Raises:
            HoldError: It has ended already, or no such hold.
            CatalogueError: The catalogue cannot be written.
        """
        with self._transaction() as connection:
            hold = _one(connection, hold_id)
            if hold.ended_at is not None:
                raise HoldError(f"hold {hold.id} is {hold.state.value} already")
            return self._change(connection, replace(hold, ended_by=by, ended_at=now))

    def lapse(self, now: datetime) -> tuple[Hold, ...]:
        """End every hold whose date has come.

        Args:
            now: A trusted instant (aware).

        Returns:
            Those that ended just now.

        Raises:
            CatalogueError: The catalogue cannot be written.
        """
        with self._transaction() as connection:
            over = _select(connection, HOLDS.c.ended_at.is_(None), HOLDS.c.ends <= now, lock=_Lock.THE_FREE)
            return tuple(self._change(connection, replace(hold, ended_at=now)) for hold in over)

    def find(self, prefix: str) -> Hold:
        """The hold whose id begins with these digits.

        Raises:
            HoldError: None does, or more than one.
        """
        with self._reading() as connection:
            found = _select(connection, HOLDS.c.id.startswith(prefix, autoescape=True)) if prefix else ()
        if len(found) != 1:
            raise HoldError(
                f"{'no hold begins' if not found else 'more than one hold begins'} with {prefix!r}"
            )
        return found[0]

    def select(
        self, *, recording: RecordingId | None = None, states: Collection[HoldState] = ()
    ) -> tuple[Hold, ...]:
        """Holds, oldest request first.

        Args:
            recording: Only those on this recording.
            states: Only those in one of these; empty for all.
        """
        clauses: list[sa.ColumnElement[bool]] = []
        if recording is not None:
            clauses.append(
                HOLDS.c.id.in_(sa.select(HELD.c.hold).where(HELD.c.id == recording.text).scalar_subquery())
            )
        with self._reading() as connection:
            found = _select(connection, *clauses)
        return tuple(hold for hold in found if not states or hold.state in states)

    def restricted(self, recording: RecordingId) -> Hold | None:
        """The restriction that forbids the use of a recording; None if there is none."""
        found = self.select(recording=recording, states=(HoldState.ACTIVE,))
        return next((hold for hold in found if hold.kind is HoldKind.RESTRICTION), None)

    def _change(self, connection: sa.Connection, hold: Hold) -> Hold:
        connection.execute(HOLDS.update().where(HOLDS.c.id == hold.id).values(**_columns(hold)))
        _mark(connection, {recording.text for recording in hold.recordings})
        return hold

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with named_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with (
            named_errors(),
            self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            yield connection


def blocked_by(kinds: Collection[HoldKind]) -> sa.ColumnElement[bool]:
    """The condition that an active hold of one of these kinds stands on a row of RECORDINGS."""
    return sa.exists(
        sa.select(sa.literal(1))
        .select_from(HELD.join(HOLDS, HOLDS.c.id == HELD.c.hold))
        .where(
            HELD.c.id == RECORDINGS.c.id,
            HOLDS.c.kind.in_([kind.value for kind in kinds]),
            HOLDS.c.approved_at.is_not(None),
            HOLDS.c.ended_at.is_(None),
        )
    )


def forget(connection: sa.Connection, recordings: Collection[str]) -> None:
    """Take recordings that are gone out of their holds; what stood is in the audit chain."""
    connection.execute(HELD.delete().where(HELD.c.id.in_(sorted(recordings))))


def _one(connection: sa.Connection, hold_id: str) -> Hold:
    found = _select(connection, HOLDS.c.id == hold_id, lock=_Lock.ALL)
    if not found:
        raise HoldError(f"no hold {hold_id}")
    return found[0]


def _select(
    connection: sa.Connection, *clauses: sa.ColumnElement[bool], lock: _Lock = _Lock.NONE
) -> Sequence[Hold]:
    query = sa.select(HOLDS).where(*clauses).order_by(HOLDS.c.requested_at, HOLDS.c.id)
    if lock is not _Lock.NONE:  # what SQLite leaves out
        query = query.with_for_update(skip_locked=lock is _Lock.THE_FREE)
    found = connection.execute(query).mappings().all()
    kept: dict[str, list[RecordingId]] = {row["id"]: [] for row in found}
    links = sa.select(HELD).where(HELD.c.hold.in_(kept)).order_by(HELD.c.id)
    for link in connection.execute(links).mappings():
        kept[link["hold"]].append(RecordingId(link["id"]))
    return [_decode(row, tuple(kept[row["id"]])) for row in found if kept[row["id"]]]


def _decode(found: sa.RowMapping, recordings: tuple[RecordingId, ...]) -> Hold:
    values = {
        **found,
        "kind": HoldKind(found["kind"]),
        "reason": HoldReason(found["reason"]),
        "recordings": recordings,
    }
    return Hold(**values)


def _columns(hold: Hold) -> dict[str, object]:
    return {
        "id": hold.id,
        "kind": hold.kind.value,
        "reason": hold.reason.value,
        "case_ref": hold.case_ref,
        "requested_by": hold.requested_by,
        "requested_at": hold.requested_at,
        "ends": hold.ends,
        "approved_by": hold.approved_by,
        "approved_at": hold.approved_at,
        "ended_by": hold.ended_by,
        "ended_at": hold.ended_at,
    }


def _mark(connection: sa.Connection, recordings: Collection[str]) -> None:
    """Write on each row whether an active hold keeps it, and the case references of those that do."""
    lock_rows(connection, recordings)
    for text in recordings:
        references = connection.scalars(
            sa.select(HOLDS.c.case_ref)
            .join(HELD, HELD.c.hold == HOLDS.c.id)
            .where(HELD.c.id == text, HOLDS.c.approved_at.is_not(None), HOLDS.c.ended_at.is_(None))
            .order_by(HOLDS.c.requested_at)
        ).all()
        connection.execute(
            RECORDINGS.update()
            .where(RECORDINGS.c.id == text)
            .values(held=bool(references), hold_reference=", ".join(dict.fromkeys(references))[:_REFERENCES])
        )
