"""The catalogue: one row for each recording, one tombstone for each that is gone.

SQLAlchemy Core on SQLite (write-ahead journal, every commit synced). A row moves
OPEN → SEALED → SHREDDING → (row removed, tombstone SHREDDED), or OPEN → ABORTED →
SHREDDING, or OPEN → DISCARDING → (row removed, tombstone DISCARDED). The row says
so before anything is destroyed, so that a missing file is never taken for a wish
to erase. A change of state names the states it may start from in its WHERE
clause, so two processes can not both make it. Purpose and expiry are NOT NULL: a
recording without them cannot have a row, and without a row there is no audio (see
``storage.writer``).

Instants are stored in UTC. SQLite is told to overwrite what is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Final, Self

import sqlalchemy as sa

from storage.catalogue.holds import HoldRegister, blocked_by, forget
from storage.catalogue.queries import Queries, named_errors
from storage.catalogue.rows import (
    AudioFacts,
    CatalogueRow,
    State,
    Tombstone,
    encode_facts,
)
from storage.catalogue.schema import (
    METADATA,
    NUMBERS,
    RECORDINGS,
    SCHEMA,
    SCHEMA_VERSION,
    TOMBSTONES,
    sqlite_engine,
)
from storage.errors import (
    CatalogueError,
    FilePresent,
    HeldRecording,
)
from storage.files import Files
from storage.holds import BLOCKING
from storage.tags import NumberTokens, RecordingId, RecordingTags, SealFacts

CATALOGUE_NAME: Final = "catalogue.sqlite"
EXPIRY: Final = "expiry"
"""The cause of a scheduled shred."""


class Catalogue(Queries):
    """The rows and their changes of state; one object per process, safe from several threads.

    Args:
        engine: Where they are; ``Catalogue.open`` makes the usual one.

    Attributes:
        holds: What keeps recordings beyond their expiry.
    """

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine)
        with self._transaction() as connection:
            METADATA.create_all(connection)
            found = connection.execute(sa.select(sa.func.max(SCHEMA.c.version))).scalar()
            if found is None:
                connection.execute(SCHEMA.insert().values(version=SCHEMA_VERSION))
            elif found > SCHEMA_VERSION:
                raise CatalogueError(
                    f"the catalogue has schema {found}, this version knows {SCHEMA_VERSION}: upgrade recproxy"
                )
            elif found < SCHEMA_VERSION:  # what is new are tables, made above
                connection.execute(SCHEMA.update().values(version=SCHEMA_VERSION))
        self.holds = HoldRegister(engine)

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

    def insert_open(
        self,
        tags: RecordingTags,
        parties: bytes,
        audio: AudioFacts,
        body: str,
        index: NumberTokens | None = None,
    ) -> None:
        """Add the row of a new recording; durable on return, before any audio.

        Args:
            tags: Its tags.
            parties: The sealed parties.
            audio: Format of the samples.
            body: Path of the body, without suffix.
            index: Its numbers as keyed hashes; None if it is not indexed.

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
            if index is not None and index.tokens:
                connection.execute(
                    NUMBERS.insert(),
                    [
                        {"token": token, "id": tags.recording.text, "month": index.month}
                        for token in index.tokens
                    ],
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

    def mark_discarding(self, recording: RecordingId, cause: str) -> None:
        """OPEN, ABORTED or DISCARDING → DISCARDING: from here on it can only be erased.

        Raises:
            CatalogueError: It is in another state, or the catalogue cannot be written.
        """
        self._move(
            recording,
            (State.OPEN, State.ABORTED, State.DISCARDING),
            state=State.DISCARDING.value,
            cause=cause,
        )

    def claim_for_shredding(self, recording: RecordingId, cause: str) -> CatalogueRow:
        """SEALED, ABORTED or SHREDDING → SHREDDING, unless it is held.

        From here on it can only be shredded: neither a hold nor a seal undoes it.

        Args:
            recording: Which.
            cause: Why; the first cause stands if it is claimed again. ``EXPIRY`` stops
                before every hold, what the data subject asks for before a legal one.

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
        held = blocked_by(BLOCKING[cause == EXPIRY])
        with self._transaction() as connection:
            changed = connection.execute(
                RECORDINGS.update()
                .where(
                    RECORDINGS.c.id == recording.text,
                    RECORDINGS.c.state.in_((State.SEALED.value, State.ABORTED.value)),
                    sa.not_(held),
                )
                .values(state=State.SHREDDING.value, cause=cause)
            ).rowcount
        row = self.get(recording)
        if row.state is State.SHREDDING:
            return row
        if not changed and row.held and row.state in {State.SEALED, State.ABORTED}:
            raise HeldRecording(f"recording {recording} is held ({row.hold_reference})")
        raise CatalogueError(f"recording {recording} is {row.state.value}: end its call first")

    def bury(self, tombstone: Tombstone) -> bool:
        """Remove a row and leave its tombstone, in one step.

        Args:
            tombstone: SHREDDED needs a row in SHREDDING, DISCARDED one in
                DISCARDING.

        Returns:
            False if the tombstone stands already.

        Raises:
            CatalogueError: The row is in another state, or the catalogue cannot
                be written.
        """
        allowed = State.SHREDDING if tombstone.state is State.SHREDDED else State.DISCARDING
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
                    RECORDINGS.c.state == allowed.value,
                )
            ).rowcount
            if removed != 1:
                raise CatalogueError(
                    f"recording {identity} cannot become {tombstone.state.value}: no row in state "
                    f"{allowed.value}"
                )
            connection.execute(TOMBSTONES.insert().values(**values))
            connection.execute(NUMBERS.delete().where(NUMBERS.c.id == identity))
            forget(connection, identity)
        return True

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

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with named_errors(), self._engine.begin() as connection:
            yield connection
