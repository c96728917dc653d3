"""How rows of recordings end: claimed for shredding, then buried; several in one step, each by its rules."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa

from storage.catalogue.derived import bury_stones, forget_derived
from storage.catalogue.engines import lock_rows
from storage.catalogue.finding import forget_numbers
from storage.catalogue.holds import blocked_by
from storage.catalogue.holds import forget as forget_holds
from storage.catalogue.rows import CatalogueRow, State, Tombstone
from storage.catalogue.schema import FURTHER, RECORDINGS, TOMBSTONES, WRAPS
from storage.catalogue.terms import forget_promotion
from storage.catalogue.tickets import forget_tickets
from storage.errors import CatalogueError, HeldRecording
from storage.holds import HoldKind

__all__ = ["bury_all", "claim_all", "why_unclaimed"]


def claim_all(
    connection: sa.Connection,
    recordings: Collection[str],
    cause: str,
    holds: Collection[HoldKind],
    due: datetime | None,
) -> None:
    """SEALED or ABORTED → SHREDDING, for those that may; the others stay as they are.

    Args:
        connection: In a transaction.
        recordings: Ids.
        cause: Why.
        holds: Kinds of holds that forbid it.
        due: Only what has expired for every purpose at this instant (aware); None for all.
    """
    lock_rows(connection, recordings)
    connection.execute(
        RECORDINGS.update()
        .where(
            RECORDINGS.c.id.in_(sorted(recordings)),
            RECORDINGS.c.state.in_((State.SEALED.value, State.ABORTED.value)),
            sa.not_(blocked_by(holds)),
            sa.true() if due is None else _all_expired(due),
        )
        .values(state=State.SHREDDING.value, cause=cause)
    )


def why_unclaimed(row: CatalogueRow, due: datetime | None) -> CatalogueError:
    """Why a row was not claimed: it is held, not due, or its call goes on."""
    recording = row.tags.recording
    if row.held and row.state in {State.SEALED, State.ABORTED}:
        return HeldRecording(f"recording {recording} is held ({row.hold_reference})")
    if due is not None and row.tags.kept_until > due:
        return CatalogueError(f"recording {recording} is kept until {row.tags.kept_until}: it is not due")
    return CatalogueError(f"recording {recording} is {row.state.value}: end its call first")


def bury_all(connection: sa.Connection, graves: Sequence[Sequence[Tombstone]]) -> bool:
    """Remove the rows of recordings and all that hangs on them, and leave their tombstones; all or none.

    Args:
        connection: In a transaction.
        graves: The tombstones of each recording, that of a purpose first: SHREDDED needs a row in
            SHREDDING, DISCARDED one in DISCARDING. All end in the same way.

    Returns:
        False if it is one that has no row, and tombstones stand already.

    Raises:
        CatalogueError: A row is in another state.
    """
    ended = graves[0][0].state
    allowed = State.SHREDDING if ended is State.SHREDDED else State.DISCARDING
    ids = sorted(stones[0].recording.text for stones in graves)
    lock_rows(connection, ids)
    removed = connection.execute(
        RECORDINGS.delete().where(RECORDINGS.c.id.in_(ids), RECORDINGS.c.state == allowed.value)
    ).rowcount
    if removed != len(ids):
        there = connection.execute(sa.select(RECORDINGS.c.id).where(RECORDINGS.c.id.in_(ids))).first()
        known = connection.execute(sa.select(TOMBSTONES.c.id).where(TOMBSTONES.c.id.in_(ids))).first()
        if len(ids) == 1 and there is None and known is not None:
            return False
        raise CatalogueError(
            f"recording {', '.join(ids)} cannot become {ended.value}: no row in state {allowed.value}"
        )
    bury_stones(connection, [stone for stones in graves for stone in stones])
    connection.execute(FURTHER.delete().where(FURTHER.c.id.in_(ids)))
    connection.execute(WRAPS.delete().where(WRAPS.c.id.in_(ids)))
    for forget in (forget_numbers, forget_holds, forget_derived, forget_promotion, forget_tickets):
        forget(connection, ids)
    return True


def _all_expired(instant: datetime) -> sa.ColumnElement[bool]:
    """The condition that every purpose of a row of RECORDINGS has expired, or is ending already."""
    later = sa.exists().where(
        FURTHER.c.id == RECORDINGS.c.id, FURTHER.c.cause == "", FURTHER.c.expiry > instant
    )
    return sa.and_(RECORDINGS.c.expiry <= instant, sa.not_(later))
