"""Terms of recordings that exist: shortened with the policy, or made longer once by a tag."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from storage.catalogue.engines import lock_rows
from storage.catalogue.queries import named_errors
from storage.catalogue.rows import State
from storage.catalogue.schema import DERIVED, FURTHER, PROMOTIONS, RECORDINGS
from storage.errors import TermError
from storage.tags import RecordingId

__all__ = ["Term", "TermChange", "TermRegister", "count_from_ends", "forget_promotion"]

_BASE: Final = (RECORDINGS.c.started, RECORDINGS.c.counted_from)
_KEPT: Final = (State.OPEN.value, State.SEALED.value, State.ABORTED.value)


@dataclass(frozen=True, slots=True)
class Term:
    """How long the recordings of a purpose are kept.

    Attributes:
        keep: Without a tag.
        promoted: By tag.
        from_end: It counts from the end of a recording whose parties were told so, else from its start.
    """

    keep: timedelta
    promoted: Mapping[str, timedelta]
    from_end: bool = False

    def of(self, tag: str) -> timedelta:
        """The term of a recording with this tag; a tag that is known no more gives none."""
        return self.promoted.get(tag, self.keep)


@dataclass(frozen=True, slots=True)
class TermChange:
    """One recording whose expiry moves.

    Attributes:
        recording: Which.
        purpose: Of which purpose.
        before: Its expiry so far.
        after: Its expiry from now on.
    """

    recording: RecordingId
    purpose: str
    before: datetime
    after: datetime


class TermRegister:
    """Expiries in the catalogue, and the tags that made them longer.

    Args:
        engine: Of the catalogue.
        own: The condition on RECORDINGS for those of this node; the others are for their node to move.
    """

    def __init__(self, engine: sa.Engine, own: sa.ColumnElement[bool]) -> None:
        self._engine = engine
        self._own = own

    def longer_than(self, purpose: str, term: Term) -> tuple[TermChange, ...]:
        """Recordings of this node that are kept longer than this term, and until when it would keep them.

        Args:
            purpose: Of which purpose.
            term: How long they may be kept.

        Returns:
            The first to expire first. Nothing is changed.
        """
        leading = (
            sa.select(RECORDINGS.c.id, *_BASE, RECORDINGS.c.from_end, RECORDINGS.c.expiry, PROMOTIONS.c.tag)
            .select_from(
                RECORDINGS.outerjoin(
                    PROMOTIONS,
                    (PROMOTIONS.c.id == RECORDINGS.c.id) & (PROMOTIONS.c.purpose == RECORDINGS.c.purpose),
                )
            )
            .where(RECORDINGS.c.purpose == purpose, RECORDINGS.c.state.in_(_KEPT), self._own)
        )
        further = (
            sa.select(FURTHER.c.id, *_BASE, FURTHER.c.from_end, FURTHER.c.expiry, PROMOTIONS.c.tag)
            .select_from(
                FURTHER.join(RECORDINGS, RECORDINGS.c.id == FURTHER.c.id).outerjoin(
                    PROMOTIONS,
                    (PROMOTIONS.c.id == FURTHER.c.id) & (PROMOTIONS.c.purpose == FURTHER.c.purpose),
                )
            )
            .where(
                FURTHER.c.purpose == purpose, FURTHER.c.cause == "", RECORDINGS.c.state.in_(_KEPT), self._own
            )
        )
        with self._transaction() as connection:
            found = connection.execute(sa.union_all(leading, further)).all()
        changes = (
            TermChange(RecordingId(row.id), purpose, row.expiry, _counted(row, term) + term.of(row.tag or ""))
            for row in found
        )
        shorter = (change for change in changes if change.after < change.before)
        return tuple(sorted(shorter, key=lambda change: (change.before, change.recording.text)))

    def shorten(self, changes: Sequence[TermChange]) -> None:
        """Let recordings expire sooner; one that was changed or claimed meanwhile is left as it is.

        Raises:
            CatalogueError: The catalogue cannot be written; nothing was changed.
        """
        with self._transaction() as connection:
            lock_rows(connection, [change.recording.text for change in changes])
            for change in changes:
                if change.after >= change.before:
                    raise TermError(f"recording {change.recording} would be kept longer by a shorter term")
                _move(connection, change)

    def promote(self, change: TermChange, tag: str) -> None:
        """Keep a recording longer, because of a tag; once.

        Args:
            change: Its expiry before and after.
            tag: Why.

        Raises:
            TermError: It has a tag already, or it is not as ``change`` says any more.
            CatalogueError: The catalogue cannot be written.
        """
        with self._transaction() as connection:
            lock_rows(connection, [change.recording.text])
            had = connection.scalar(
                sa.select(PROMOTIONS.c.tag).where(
                    PROMOTIONS.c.id == change.recording.text, PROMOTIONS.c.purpose == change.purpose
                )
            )
            if had is not None:
                raise TermError(f"recording {change.recording} has the tag {had} already")
            if not _move(connection, change):
                raise TermError(f"recording {change.recording} is being shredded, or was changed meanwhile")
            connection.execute(
                PROMOTIONS.insert().values(id=change.recording.text, purpose=change.purpose, tag=tag)
            )

    def tag(self, recording: RecordingId) -> str:
        """The tag that made a recording's term longer; empty if it has none."""
        with self._transaction() as connection:
            return (
                connection.scalar(
                    sa.select(PROMOTIONS.c.tag).where(PROMOTIONS.c.id == recording.text).limit(1)
                )
                or ""
            )

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with named_errors(), self._engine.begin() as connection:
            yield connection


def count_from_ends(connection: sa.Connection, ends: Mapping[str, datetime]) -> None:
    """Let terms that count from the end expire later: by what their recordings lasted, never sooner.

    Args:
        connection: In the transaction that ends them.
        ends: The end of each, by its id; one that was counted before counts on from there.
    """
    if not ends:
        return
    lock_rows(connection, list(ends))
    rows = connection.execute(
        sa.select(RECORDINGS.c.id, *_BASE, RECORDINGS.c.from_end, RECORDINGS.c.expiry).where(
            RECORDINGS.c.id.in_(ends)
        )
    ).all()
    for row in rows:
        lasted = ends[row.id] - (row.counted_from or row.started)
        if lasted <= timedelta(0):
            continue
        moved = {"expiry": row.expiry + lasted} if row.from_end else {}
        connection.execute(
            RECORDINGS.update().where(RECORDINGS.c.id == row.id).values(counted_from=ends[row.id], **moved)
        )
        further = sa.select(FURTHER.c.purpose, FURTHER.c.expiry).where(
            FURTHER.c.id == row.id, FURTHER.c.from_end.is_(sa.true()), FURTHER.c.cause == ""
        )
        for other in connection.execute(further).all():
            connection.execute(
                FURTHER.update()
                .where(FURTHER.c.id == row.id, FURTHER.c.purpose == other.purpose)
                .values(expiry=other.expiry + lasted)
            )


def forget_promotion(connection: sa.Connection, recordings: Collection[str]) -> None:
    """Drop the tags of recordings that are gone; what was done is in the audit chain."""
    connection.execute(PROMOTIONS.delete().where(PROMOTIONS.c.id.in_(sorted(recordings))))


def _counted(row: sa.Row[Any], term: Term) -> datetime:
    """The instant that a term counts from: the end only if both the recording's and this one do."""
    found = row.counted_from if row.from_end and term.from_end else None
    started: datetime = row.started
    return found or started


def _move(connection: sa.Connection, change: TermChange) -> bool:
    """Give one purpose of a recording, the leading or a further one, its new expiry if it has the old one."""
    identity = change.recording.text
    leading = RECORDINGS.update().where(
        RECORDINGS.c.id == identity,
        RECORDINGS.c.purpose == change.purpose,
        RECORDINGS.c.state.in_(_KEPT),
        RECORDINGS.c.expiry == change.before,
    )
    kept = sa.exists().where(RECORDINGS.c.id == identity, RECORDINGS.c.state.in_(_KEPT))
    further = FURTHER.update().where(
        FURTHER.c.id == identity,
        FURTHER.c.purpose == change.purpose,
        FURTHER.c.cause == "",
        FURTHER.c.expiry == change.before,
        kept,
    )
    moved = [connection.execute(one.values(expiry=change.after)).rowcount for one in (leading, further)]
    if sum(moved) == 1:
        connection.execute(
            DERIVED.update()
            .where(
                DERIVED.c.id == identity,
                DERIVED.c.purpose == change.purpose,
                DERIVED.c.expiry > change.after,
                DERIVED.c.added < change.after,
            )
            .values(expiry=change.after)
        )
    return sum(moved) == 1
