"""The catalogue: one row for each recording, one tombstone for each that is gone.

SQLAlchemy Core on SQLite (write-ahead journal, every commit synced). A row moves
OPEN → SEALED → SHREDDING → (row removed, tombstone left), or OPEN → ABORTED →
SHREDDING, or OPEN → DISCARDED (row removed, tombstone left). A change of state
names the states it may start from in its WHERE clause, so two processes can not
both make it. Purpose and expiry are NOT NULL: a recording without them cannot
have a row, and without a row there is no audio (see ``storage.writer``).

Instants are stored in UTC. SQLite is told to overwrite what is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from storage.catalogue.rows import (
    AudioFacts,
    CatalogueRow,
    State,
    Tombstone,
    decode_row,
    decode_tombstone,
    encode_facts,
)
from storage.catalogue.schema import (
    METADATA,
    RECORDINGS,
    SCHEMA,
    SCHEMA_VERSION,
    TOMBSTONES,
    Instant,
    sqlite_engine,
)
from storage.errors import (
    AmbiguousId,
    CatalogueBusy,
    CatalogueError,
    FilePresent,
    HeldRecording,
    RecordingNotFound,
)
from storage.files import Files
from storage.tags import RecordingId, RecordingTags, SealFacts

CATALOGUE_NAME: Final = "catalogue.sqlite"


class Catalogue:
    """The rows; one object per process, safe from several threads.

    Args:
        engine: Where they are; ``Catalogue.open`` makes the usual one.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        with self._transaction() as connection:
            METADATA.create_all(connection)
            found = connection.execute(sa.select(sa.func.max(SCHEMA.c.version))).scalar()
            if found is None:
                connection.execute(SCHEMA.insert().values(version=SCHEMA_VERSION))
            elif found > SCHEMA_VERSION:
                raise CatalogueError(
                    f"the catalogue has schema {found}, this version knows {SCHEMA_VERSION}: upgrade recproxy"
                )

    @classmethod
    def open(cls, files: Files, url: str) -> Self:
        """Open or create the catalogue in a data directory.

        Args:
            files: The data directory; gives the file its mode 0600, which SQLite
                copies to its journal.
            url: SQLAlchemy URL of the same file (``sqlite_url``).

        Returns:
            The catalogue.

        Raises:
            CatalogueError: It cannot be opened or is of a newer version.
            FileFault: The file cannot be created.
        """
        if files.size(CATALOGUE_NAME) is None:
            with suppress(FilePresent):  # another process was faster
                files.create(CATALOGUE_NAME).close()
            files.sync_directory(".")
        return cls(sqlite_engine(url))

    def close(self) -> None:
        """Release all connections."""
        self._engine.dispose()

    def insert_open(self, tags: RecordingTags, parties: bytes, audio: AudioFacts, body: str) -> None:
        """Add the row of a new recording; durable on return, before any audio.

        Args:
            tags: Its tags.
            parties: The sealed parties.
            audio: Format of the samples.
            body: Path of the body, without suffix.

        Raises:
            CatalogueError: The id exists, or the catalogue cannot be written.
        """
        notice = tags.notice
        with self._transaction() as connection:
            connection.execute(
                RECORDINGS.insert().values(
                    id=tags.recording.text,
                    state=State.OPEN.value,
                    purpose=tags.purpose,
                    expiry=tags.expiry,
                    started=tags.started,
                    legal_basis=tags.legal_basis.value,
                    policy_version=tags.policy_version,
                    call=tags.call,
                    node=tags.node,
                    direction=tags.direction.value,
                    trunk=tags.trunk,
                    notice_prompt=notice.prompt,
                    notice_sha256=notice.sha256,
                    notice_language=notice.language,
                    notice_heard_by=",".join(notice.heard_by),
                    notice_started=notice.started,
                    notice_completed=notice.completed,
                    encoding=audio.encoding,
                    rate_hz=audio.rate_hz,
                    channels=audio.channels,
                    body=body,
                    parties=parties,
                )
            )

    def mark_sealed(self, recording: RecordingId, facts: SealFacts, size_bytes: int, sha256: str) -> None:
        """OPEN or ABORTED → SEALED.

        Raises:
            CatalogueError: It is in another state, or the catalogue cannot be written.
        """
        self._move(
            recording,
            (State.OPEN, State.ABORTED),
            state=State.SEALED.value,
            facts=encode_facts(facts),
            size_bytes=size_bytes,
            sha256=sha256,
            reason=facts.reason,
        )

    def mark_aborted(self, recording: RecordingId, reason: str) -> None:
        """OPEN → ABORTED; the expiry stands.

        Raises:
            CatalogueError: It is in another state, or the catalogue cannot be written.
        """
        self._move(recording, (State.OPEN,), state=State.ABORTED.value, reason=reason)

    def claim_for_shredding(self, recording: RecordingId, cause: str) -> CatalogueRow:
        """SEALED, ABORTED or SHREDDING → SHREDDING, unless it is held.

        From here on it can only be shredded: neither a hold nor a seal undoes it.

        Args:
            recording: Which.
            cause: Why; the first cause stands if it is claimed again.

        Returns:
            The row as claimed.

        Raises:
            HeldRecording: A hold stands.
            RecordingNotFound: There is no such row (any more).
            CatalogueError: It is still open, or the catalogue cannot be written.
        """
        row = self.get(recording)
        if row.state is State.SHREDDING:
            return row
        if row.held:
            raise HeldRecording(f"recording {recording} is held ({row.hold_reference or 'no reference'})")
        allowed = (State.SEALED.value, State.ABORTED.value)
        with self._transaction() as connection:
            changed = connection.execute(
                RECORDINGS.update()
                .where(
                    RECORDINGS.c.id == recording.text,
                    RECORDINGS.c.state.in_(allowed),
                    RECORDINGS.c.held.is_(sa.false()),
                )
                .values(state=State.SHREDDING.value, cause=cause)
            ).rowcount
        row = self.get(recording)
        if row.state is State.SHREDDING:
            return row
        if not changed and row.held:
            raise HeldRecording(f"recording {recording} is held ({row.hold_reference or 'no reference'})")
        raise CatalogueError(f"recording {recording} is {row.state.value}: end its call first")

    def bury(self, tombstone: Tombstone) -> bool:
        """Remove a row and leave its tombstone, in one step.

        Args:
            tombstone: SHREDDED needs a row in SHREDDING, DISCARDED one in OPEN
                or ABORTED.

        Returns:
            False if the tombstone stands already.

        Raises:
            CatalogueError: The row is in another state, or the catalogue cannot
                be written.
        """
        allowed = (State.SHREDDING,) if tombstone.state is State.SHREDDED else (State.OPEN, State.ABORTED)
        values = asdict(tombstone)
        values["id"] = tombstone.recording.text
        values["state"] = tombstone.state.value
        del values["recording"]
        identity = tombstone.recording.text
        with self._transaction() as connection:
            known = connection.execute(sa.select(TOMBSTONES.c.id).where(TOMBSTONES.c.id == identity))
            if known.first() is not None:
                return False
            removed = connection.execute(
                RECORDINGS.delete().where(
                    RECORDINGS.c.id == identity,
                    RECORDINGS.c.state.in_([state.value for state in allowed]),
                )
            ).rowcount
            if removed != 1:
                raise CatalogueError(
                    f"recording {identity} cannot become {tombstone.state.value}: no row in state "
                    f"{' or '.join(state.value for state in allowed)}"
                )
            connection.execute(TOMBSTONES.insert().values(**values))
        return True

    def set_hold(self, recording: RecordingId, *, held: bool, reference: str) -> None:
        """Forbid or allow shredding.

        Args:
            recording: Which; a recording that is being shredded cannot be held.
            held: True to hold.
            reference: Case reference, at most 128 characters.

        Raises:
            RecordingNotFound: There is no such row.
            CatalogueError: It is being shredded, or the catalogue cannot be written.
        """
        self._move(
            recording,
            (State.OPEN, State.SEALED, State.ABORTED),
            held=held,
            hold_reference=reference if held else "",
        )

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
        found += self._tombstones(
            sa.select(TOMBSTONES).where(TOMBSTONES.c.id.startswith(prefix)).order_by("id").limit(2)
        )
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
            query = query.where(RECORDINGS.c.purpose == purpose)
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
            Rows in SHREDDING, then SEALED and ABORTED ones by expiry; never held.
        """
        claimed = RECORDINGS.c.state == State.SHREDDING.value
        ended = RECORDINGS.c.state.in_([State.SEALED.value, State.ABORTED.value])
        query = (
            sa.select(RECORDINGS)
            .where(
                sa.or_(
                    claimed,
                    sa.and_(ended, RECORDINGS.c.expiry <= until, RECORDINGS.c.held.is_(sa.false())),
                )
            )
            .order_by(sa.case((claimed, 0), else_=1), RECORDINGS.c.expiry, RECORDINGS.c.id)
            .limit(limit)
        )
        return self._rows(query)

    def held_past(self, instant: datetime) -> int:
        """Number of recordings whose expiry has passed but that a hold keeps."""
        return self._count(
            sa.select(sa.func.count())
            .select_from(RECORDINGS)
            .where(RECORDINGS.c.held.is_(sa.true()), RECORDINGS.c.expiry <= instant)
        )

    def count(self, state: State) -> int:
        """Number of rows or tombstones in a state."""
        table = TOMBSTONES if state in {State.SHREDDED, State.DISCARDED} else RECORDINGS
        return self._count(sa.select(sa.func.count()).select_from(table).where(table.c.state == state.value))

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
        """What remains of one recording; None if it has no tombstone."""
        found = self._tombstones(sa.select(TOMBSTONES).where(TOMBSTONES.c.id == recording.text))
        return found[0] if found else None

    def checkpoint(self) -> None:
        """Move the journal into the database and empty it, so that deleted content is gone.

        Raises:
            CatalogueError: The catalogue cannot be written.
        """
        if self._engine.dialect.name == "sqlite":
            with self._reading() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _move(self, recording: RecordingId, states: Sequence[State], **values: object) -> None:
        with self._transaction() as connection:
            changed = connection.execute(
                RECORDINGS.update()
                .where(
                    RECORDINGS.c.id == recording.text,
                    RECORDINGS.c.state.in_([state.value for state in states]),
                )
                .values(**values)
            ).rowcount
        if changed != 1:
            row = self.get(recording)
            raise CatalogueError(
                f"recording {recording} is {row.state.value}, not "
                f"{' or '.join(state.value for state in states)}"
            )

    def _rows(self, query: sa.Select[Any]) -> tuple[CatalogueRow, ...]:
        with self._reading() as connection:
            return tuple(decode_row(found) for found in connection.execute(query).mappings())

    def _tombstones(self, query: sa.Select[Any]) -> tuple[Tombstone, ...]:
        with self._reading() as connection:
            return tuple(decode_tombstone(found) for found in connection.execute(query).mappings())

    def _count(self, query: sa.Select[int]) -> int:
        with self._reading() as connection:
            return connection.execute(query).scalar_one()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with _named_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with (
            _named_errors(),
            self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            yield connection


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except OperationalError as err:
        raise CatalogueBusy(f"the catalogue cannot be used now: {err.orig}") from err
    except SQLAlchemyError as err:
        raise CatalogueError(f"the catalogue refused: {getattr(err, 'orig', None) or err}") from err
