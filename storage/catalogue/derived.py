"""What was made from recordings and is kept with them: a row each, with purpose and expiry, before its file.

A derived file moves OPEN → SEALED → SHREDDING → (row removed, tombstone SHREDDED). It
serves one purpose of its recording, expires no later than that, and ends with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import sqlalchemy as sa

from storage.catalogue.engines import lock_rows
from storage.catalogue.holds import blocked_by
from storage.catalogue.queries import named_errors
from storage.catalogue.rows import State, Tombstone, Wrap, stone_values
from storage.catalogue.schema import DERIVED, FURTHER, RECORDINGS, TOMBSTONES, WRAPS
from storage.catalogue.terms import TermChange
from storage.errors import DerivedRefused, HeldRecording
from storage.holds import HoldKind
from storage.tags import RecordingId

__all__ = [
    "DerivedFile",
    "DerivedKind",
    "DerivedRegister",
    "bury_stones",
    "forget_derived",
    "served_purpose",
]


class DerivedKind(Enum):
    """What was made; a recording has one of each kind at most."""

    TRANSCRIPT = "transcript"


@dataclass(frozen=True, slots=True)
class DerivedFile:
    """One derived file.

    Attributes:
        recording: Of which recording.
        kind: What it is.
        purpose: For which purpose of the recording.
        state: OPEN while it is written, SEALED, or SHREDDING.
        expiry: When it must be gone at the latest (aware).
        added: When it was made (aware).
        language: Of its words, such as ``nl``.
        form: Media type of its plaintext.
        origin: Who or what made it, as the person who added it said; names no party.
        body: Path of its body in the data directory, without suffix.
        size_bytes: Length of the body, 0 before it is sealed.
        sha256: Hash of the body (ciphertext), empty before.
        cause: Why it is being shredded, empty if it is not.
    """

    recording: RecordingId
    kind: DerivedKind
    purpose: str
    state: State
    expiry: datetime
    added: datetime
    language: str
    form: str
    origin: str
    body: str
    size_bytes: int = 0
    sha256: str = ""
    cause: str = ""

    @property
    def slot(self) -> str:
        """What its header, its wrap and its tombstone are called where a purpose would stand."""
        return f"{self.purpose}.{self.kind.value}"


def served_purpose(slot: str) -> str:
    """The purpose that a header, wrap or tombstone belongs to, be it of a recording or derived from it."""
    return slot.partition(".")[0]


class DerivedRegister:
    """The derived files in the catalogue.

    Args:
        engine: Of the catalogue.
        own: The condition on RECORDINGS for those of this node.
    """

    def __init__(self, engine: sa.Engine, own: sa.ColumnElement[bool]) -> None:
        self._engine = engine
        self._own = own

    def of(self, recording: RecordingId) -> tuple[DerivedFile, ...]:
        """The derived files of a recording, in any state."""
        return self._select(DERIVED.c.id == recording.text)

    def of_several(self, recordings: Collection[RecordingId]) -> Mapping[str, tuple[DerivedFile, ...]]:
        """The derived files of recordings, in any state, by id; without those that have none."""
        found: dict[str, tuple[DerivedFile, ...]] = {}
        for file in self._select(DERIVED.c.id.in_([recording.text for recording in recordings])):
            found[file.recording.text] = (*found.get(file.recording.text, ()), file)
        return found

    def sealed(self, recording: RecordingId, kind: DerivedKind) -> DerivedFile | None:
        """The derived file of a kind that can be read; None if there is none."""
        found = (one for one in self.of(recording) if one.kind is kind and one.state is State.SEALED)
        return next(found, None)

    def all(self) -> tuple[DerivedFile, ...]:
        """Every derived file, the first to expire first."""
        return self._select(sa.true())

    def due(self, now: datetime, limit: int) -> tuple[DerivedFile, ...]:
        """Derived files of this node that are expired and not held, and what a crash left.

        Args:
            now: The current instant (aware).
            limit: At most so many.

        Returns:
            Those in OPEN or SHREDDING first: whoever writes or shreds one holds the lock of
            shredding, so for who has that lock they are left over.
        """
        expired = sa.and_(
            DERIVED.c.expiry <= now,
            sa.exists().where(RECORDINGS.c.id == DERIVED.c.id, RECORDINGS.c.held.is_(sa.false()), self._own),
        )
        left = sa.and_(
            DERIVED.c.state != State.SEALED.value,
            sa.exists().where(RECORDINGS.c.id == DERIVED.c.id, self._own),
        )
        return self._select(sa.or_(left, expired), limit=limit)

    def longer_than(self, purpose: str, keep: timedelta) -> tuple[TermChange, ...]:
        """Derived files of this node that are kept longer than a term, counted from the recording's start.

        Args:
            purpose: Of which purpose.
            keep: The term.

        Returns:
            Each with the expiry that it would have; nothing is changed.
        """
        query = (
            sa.select(DERIVED, RECORDINGS.c.started)
            .select_from(DERIVED.join(RECORDINGS, RECORDINGS.c.id == DERIVED.c.id))
            .where(DERIVED.c.purpose == purpose, DERIVED.c.state == State.SEALED.value, self._own)
            .order_by(DERIVED.c.expiry, DERIVED.c.id)
        )
        with self._reading() as connection:
            found = connection.execute(query).all()
        changes = (
            TermChange(
                RecordingId(row.id),
                f"{row.purpose}.{row.kind}",
                row.expiry,
                max(row.started + keep, row.added + timedelta(seconds=1)),
            )
            for row in found
        )
        return tuple(change for change in changes if change.after < change.before)

    def shorten(self, changes: Sequence[TermChange]) -> None:
        """Let derived files expire sooner; one that was changed meanwhile is left as it is.

        Raises:
            CatalogueError: The catalogue cannot be written; nothing was changed.
        """
        with self._transaction() as connection:
            for change in changes:
                connection.execute(
                    DERIVED.update()
                    .where(
                        DERIVED.c.id == change.recording.text,
                        DERIVED.c.kind == change.purpose.rpartition(".")[2],
                        DERIVED.c.expiry == change.before,
                    )
                    .values(expiry=change.after)
                )

    def add(self, file: DerivedFile, wrap: Wrap) -> None:
        """Enter a derived file in OPEN; durable on return, before any of it is on the disk.

        Args:
            file: What is to be written.
            wrap: To whom its header is wrapped; for its ``slot``.

        Raises:
            DerivedRefused: The recording is not sealed, does not serve the purpose or not so long, or has
                one of this kind.
                CatalogueError: The catalogue cannot be written.
        """
        identity = file.recording.text
        with self._transaction() as connection:
            lock_rows(connection, [identity])
            until = connection.scalar(_term(file))
            if until is None:
                raise DerivedRefused(
                    f"recording {identity} is not sealed, or serves {file.purpose} no more: "
                    "nothing can be kept with it"
                )
            if file.expiry > until:
                raise DerivedRefused(
                    f"recording {identity} is kept until {until}: nothing of it is kept longer"
                )
            there = sa.select(DERIVED.c.id).where(*_is(file))
            if connection.execute(there).first() is not None:
                raise DerivedRefused(
                    f"recording {identity} has a {file.kind.value} already: remove that first"
                )
            connection.execute(DERIVED.insert().values(**derived_values(file)))
            connection.execute(WRAPS.insert().values(id=identity, **asdict(wrap)))

    def seal(self, file: DerivedFile, size_bytes: int, sha256: str) -> None:
        """OPEN → SEALED.

        Raises:
            DerivedRefused: It is in another state.
            CatalogueError: The catalogue cannot be written.
        """
        with self._transaction() as connection:
            changed = connection.execute(
                DERIVED.update()
                .where(*_is(file), DERIVED.c.state == State.OPEN.value)
                .values(state=State.SEALED.value, size_bytes=size_bytes, sha256=sha256)
            ).rowcount
            if changed != 1:
                raise DerivedRefused(
                    f"the {file.kind.value} of recording {file.recording} is not open any more"
                )

    def claim(self, file: DerivedFile, cause: str, holds: Collection[HoldKind] = ()) -> DerivedFile | None:
        """OPEN, SEALED or SHREDDING → SHREDDING, unless a hold keeps it; it can only be shredded then.

        Args:
            file: Which.
            cause: Why; the first one stands.
            holds: Kinds of holds that forbid it.

        Returns:
            As claimed; None if there is none any more.

        Raises:
            HeldRecording: Such a hold stands on its recording.
            CatalogueError: The catalogue cannot be written.
        """
        identity = file.recording.text
        with self._transaction() as connection:
            lock_rows(connection, [identity])
            held = sa.exists().where(RECORDINGS.c.id == identity, blocked_by(holds))
            connection.execute(
                DERIVED.update()
                .where(
                    *_is(file),
                    sa.or_(
                        DERIVED.c.state == State.OPEN.value,  # never whole: nothing that a hold could keep
                        sa.and_(DERIVED.c.state == State.SEALED.value, sa.not_(held)),
                    ),
                )
                .values(state=State.SHREDDING.value, cause=cause)
            )
        found = self._select(*_is(file))
        if found and found[0].state is not State.SHREDDING:
            raise HeldRecording(f"recording {identity} is held: what was made from it is kept too")
        return found[0] if found else None

    def bury(self, stone: Tombstone, file: DerivedFile) -> None:
        """Remove the row of a derived file and leave its tombstone, in one step; may be repeated.

        Raises:
            CatalogueError: The catalogue cannot be written.
        """
        with self._transaction() as connection:
            lock_rows(connection, [file.recording.text])
            removed = connection.execute(
                DERIVED.delete().where(*_is(file), DERIVED.c.state == State.SHREDDING.value)
            ).rowcount
            if removed:
                bury_stones(connection, [stone])
                connection.execute(
                    WRAPS.delete().where(WRAPS.c.id == file.recording.text, WRAPS.c.purpose == file.slot)
                )

    def _select(
        self, *conditions: sa.ColumnElement[bool], limit: int | None = None
    ) -> tuple[DerivedFile, ...]:
        left = sa.case((DERIVED.c.state == State.SEALED.value, 1), else_=0)
        query = (
            sa.select(DERIVED).where(*conditions).order_by(left, DERIVED.c.expiry, DERIVED.c.id).limit(limit)
        )
        with self._reading() as connection:
            return tuple(_decode(found) for found in connection.execute(query).mappings())

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        alone = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with named_errors(), alone as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with named_errors(), self._engine.begin() as connection:
            yield connection


def forget_derived(connection: sa.Connection, recordings: Collection[str]) -> None:
    """Drop the derived files of recordings that are gone, whose files are gone too."""
    connection.execute(DERIVED.delete().where(DERIVED.c.id.in_(sorted(recordings))))


def _term(file: DerivedFile) -> sa.Select[Any]:
    """Until when a sealed recording serves the purpose of a derived file."""
    expiry = sa.func.coalesce(FURTHER.c.expiry, RECORDINGS.c.expiry, type_=RECORDINGS.c.expiry.type)
    further = sa.and_(
        FURTHER.c.id == RECORDINGS.c.id, FURTHER.c.purpose == file.purpose, FURTHER.c.cause == ""
    )
    return (
        sa.select(expiry)
        .select_from(RECORDINGS.outerjoin(FURTHER, further))
        .where(
            RECORDINGS.c.id == file.recording.text,
            RECORDINGS.c.state == State.SEALED.value,
            sa.or_(RECORDINGS.c.purpose == file.purpose, FURTHER.c.purpose == file.purpose),
        )
    )


def bury_stones(connection: sa.Connection, stones: Sequence[Tombstone]) -> None:
    """Enter tombstones; of an earlier derived file of its kind and purpose the later one takes the place."""
    for stone in stones:
        if stone.derived:
            connection.execute(
                TOMBSTONES.delete().where(
                    TOMBSTONES.c.id == stone.recording.text, TOMBSTONES.c.purpose == stone.purpose
                )
            )
    connection.execute(TOMBSTONES.insert(), [stone_values(stone) for stone in stones])


def _is(file: DerivedFile) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return (DERIVED.c.id == file.recording.text, DERIVED.c.kind == file.kind.value)


def derived_values(file: DerivedFile) -> dict[str, object]:
    values: dict[str, object] = asdict(file)
    del values["recording"]
    return {**values, "id": file.recording.text, "kind": file.kind.value, "state": file.state.value}


def _decode(found: sa.RowMapping) -> DerivedFile:
    values = dict(found)
    return DerivedFile(
        recording=RecordingId(values.pop("id")),
        kind=DerivedKind(values.pop("kind")),
        state=State(values.pop("state")),
        **values,
    )
