"""The catalogue: one row for each recording, one tombstone for each that is gone.

SQLAlchemy Core on SQLite (write-ahead journal, every commit synced), or on a PostgreSQL
server that several nodes share; each row then has the name of the node that has its
headers, and only that node erases it. A row moves
OPEN → SEALED → SHREDDING → (row removed, tombstone SHREDDED, later
SHRED_COMPLETE), or OPEN → ABORTED →
SHREDDING, or OPEN → DISCARDING → (row removed, tombstone DISCARDED). The row says
so before anything is destroyed, so that a missing file is never taken for a wish
to erase. A change of state names the states it may start from in its WHERE
clause, so two processes can not both make it. Purpose and expiry are NOT NULL: a
recording without them cannot have a row, and without a row there is no audio (see
``storage.writer``).

Instants are stored in UTC. SQLite is told to overwrite what is deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Final, Self

import sqlalchemy as sa

from storage.catalogue.adoption import AdoptionRegister
from storage.catalogue.derived import DerivedRegister
from storage.catalogue.ends import bury_all, claim_all, why_unclaimed
from storage.catalogue.engines import ANSWER_SECONDS, is_shared, lock_rows, lock_schema, open_engine
from storage.catalogue.finding import end_finding, note_numbers
from storage.catalogue.holds import HoldRegister, blocked_by
from storage.catalogue.leases import LeaseRegister
from storage.catalogue.membership import join
from storage.catalogue.migration import (
    add_missing_columns,
    headers_of_earlier_form,
    key_tombstones_by_purpose,
    name_headers_by_purpose,
)
from storage.catalogue.moves import SEAL, SEALED_FROM, refusal, seal_values
from storage.catalogue.queries import Queries, named_errors
from storage.catalogue.rows import (
    CatalogueRow,
    OpenRow,
    SealedRow,
    State,
    Tombstone,
    notice_values,
    open_values,
    stone_values,
    term_values,
    wrap_values,
)
from storage.catalogue.schema import (
    FURTHER,
    METADATA,
    RECORDINGS,
    SCHEMA,
    SCHEMA_VERSION,
    TOMBSTONES,
    WRAPS,
)
from storage.catalogue.stones import StoneRegister
from storage.catalogue.terms import TermRegister, count_from_ends
from storage.catalogue.tickets import TicketRegister
from storage.catalogue.wraps import WrapRegister
from storage.errors import (
    CatalogueError,
    FilePresent,
    HeldRecording,
    RecordingNotFound,
)
from storage.files import Files
from storage.holds import BLOCKING
from storage.tags import PurposeTerm, RecordingId

CATALOGUE_NAME: Final = "catalogue.sqlite"
EXPIRY: Final = "expiry"
"""The cause of a scheduled shred."""
_LIVING: Final = (State.OPEN, State.SEALED, State.ABORTED)


class Catalogue(Queries):
    """The rows and their changes of state; one object per process, safe from several threads.

    Args:
        engine: Where they are; ``Catalogue.open`` makes the usual one.
        nodes: Names of the nodes whose recordings are ours; None if all are.

    Attributes:
        adoption: Enters recordings that it has lost.
        derived: What was made from recordings and is kept with them.
        holds: What keeps recordings beyond their expiry.
        leases: Which worker of retention sees to what.
        terms: Moves the expiry of recordings that exist.
        tickets: Who may hear what needs the word of two.
        stones: What becomes of tombstones with time.
        wraps: To which key pair headers are wrapped.
    """

    def __init__(self, engine: sa.Engine, nodes: Collection[str] | None = None) -> None:
        super().__init__(engine, nodes)
        with self._transaction() as connection:
            lock_schema(connection)
            key_tombstones_by_purpose(connection)
            add_missing_columns(connection)
            METADATA.create_all(connection)
            found = connection.execute(sa.select(sa.func.max(SCHEMA.c.version))).scalar()
            if found is None:
                connection.execute(SCHEMA.insert().values(version=SCHEMA_VERSION))
            elif found > SCHEMA_VERSION:
                raise CatalogueError(
                    f"the catalogue has schema {found}, this version knows {SCHEMA_VERSION}: upgrade recproxy"
                )
            elif found < SCHEMA_VERSION:  # what is new was made above
                connection.execute(SCHEMA.update().values(version=SCHEMA_VERSION))
        self.adoption = AdoptionRegister(engine)
        self.derived = DerivedRegister(engine, self._own)
        self.holds = HoldRegister(engine)
        self.leases = LeaseRegister(engine, self._own)
        self.terms = TermRegister(engine, self._own)
        self.tickets = TicketRegister(engine)
        self.stones = StoneRegister(engine, nodes)
        self.wraps = WrapRegister(engine)

    @classmethod
    def open(
        cls,
        files: Files,
        url: str,
        *,
        password: str = "",
        nodes: Sequence[str] | None = None,
        answer_s: float = ANSWER_SECONDS,
    ) -> Self:
        """Open or create the catalogue of a data directory.

        Args:
            files: The data directory; gives a SQLite file its mode 0600, which SQLite
                copies to its journal.
            url: SQLAlchemy URL: of that file (``sqlite_url``), or of a PostgreSQL server.
            password: Of the role at that server, if it asks for one.
            nodes: Name of this node, then of those whose data directory was moved into this
                one, if others share the catalogue; None if all recordings are ours.
            answer_s: How long an answer of the server may take, in seconds.

        Returns:
            The catalogue.

        Raises:
            CatalogueError: It cannot be opened or is of a newer version, or the name of the
                node is another data directory's.
            FileFault: The file cannot be created.
        """
        engine = open_engine(url, password, answer_s)
        try:
            return cls._opened(files, engine, nodes)
        except BaseException:
            engine.dispose()
            raise

    @classmethod
    def _opened(cls, files: Files, engine: sa.Engine, nodes: Sequence[str] | None) -> Self:
        if not is_shared(engine) and files.size(CATALOGUE_NAME) is None:
            with suppress(FilePresent):  # another process was faster
                files.create(CATALOGUE_NAME).close()
            files.sync_directory(".")
        catalogue = cls(engine, nodes)
        if nodes is not None:
            with catalogue._transaction() as connection:
                lock_schema(connection)
                join(connection, files, nodes)
        old = headers_of_earlier_form(files)
        if old:
            known = {row.tags.recording: row.tags.purpose for row in catalogue.select()}
            name_headers_by_purpose(files, {each: known[each] for each in old if each in known})
        return catalogue

    def close(self) -> None:
        """Release all connections."""
        self._engine.dispose()

    def insert_open(self, rows: Sequence[OpenRow]) -> None:
        """Add the rows of new recordings, all or none; durable on return, before any audio.

        Args:
            rows: One or more.

        Raises:
            CatalogueError: An id exists, or the catalogue cannot be written; no row was added.
        """
        with self._transaction() as connection:
            connection.execute(RECORDINGS.insert(), [open_values(row) for row in rows])
            wraps = [values for row in rows for values in wrap_values(row)]
            if wraps:
                connection.execute(WRAPS.insert(), wraps)
            further = [term_values(row.tags.recording, term) for row in rows for term in row.tags.further]
            if further:
                connection.execute(FURTHER.insert(), further)
            note_numbers(connection, rows)

    def mark_sealed(self, rows: Sequence[SealedRow]) -> None:
        """OPEN or ABORTED → SEALED, all or none; may be repeated, if nobody knows whether it was done.

        Args:
            rows: One or more, each recording once.

        Raises:
            CatalogueError: One is in another state, or the catalogue cannot be written;
                no row was changed.
        """
        ends = {row.recording.text: row.counted_from for row in rows if row.counted_from is not None}
        with self._transaction() as connection:
            count_from_ends(connection, ends)
            if connection.execute(SEAL, [seal_values(row) for row in rows]).rowcount != len(rows):
                raise refusal(connection, [row.recording for row in rows], SEALED_FROM)

    def mark_aborted(self, recording: RecordingId, reason: str, counted_from: datetime | None = None) -> None:
        """OPEN → ABORTED; the expiry stands, but for terms that count from the end.

        Args:
            recording: Which.
            reason: Why, no personal data.
            counted_from: From when those count, the end of what there is; None if none does.

        Raises:
            CatalogueError: It is in another state, or the catalogue cannot be written; an expiry
                that was moved later stays so.
        """
        if counted_from is not None:
            with self._transaction() as connection:
                count_from_ends(connection, {recording.text: counted_from})
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

    def claim_for_shredding(
        self, recording: RecordingId, cause: str, due: datetime | None = None
    ) -> CatalogueRow:
        """SEALED, ABORTED or SHREDDING → SHREDDING, unless it is held.

        From here on it can only be shredded: neither a hold nor a seal undoes it.

        Args:
            recording: Which.
            cause: Why; the first cause stands if it is claimed again. ``EXPIRY`` stops
                before every hold, what the data subject asks for before a legal one.
            due: Only if every purpose of it has expired at this instant (aware).

        Returns:
            The row as claimed.

        Raises:
            HeldRecording: A hold stands.
            RecordingNotFound: There is no such row (any more).
            ForeignRecording: Another node has its headers.
            CatalogueError: It is still open or not due, or the catalogue cannot be written.
        """
        claimed = self.claim_several([recording], cause, due)[recording]
        if isinstance(claimed, CatalogueError):
            raise claimed
        return claimed

    def claim_several(
        self, recordings: Sequence[RecordingId], cause: str, due: datetime | None = None
    ) -> Mapping[RecordingId, CatalogueRow | CatalogueError]:
        """Claim recordings for shredding in one step, each as ``claim_for_shredding`` does.

        Returns:
            For each its row as claimed, or what ``claim_for_shredding`` would raise.

        Raises:
            CatalogueError: The catalogue cannot be used; none was claimed.
        """
        rows = {row.tags.recording: row for row in self.several(recordings)}
        wanted = [one for one, row in rows.items() if row.state is not State.SHREDDING and self.owns(row)]
        if wanted:
            with self._transaction() as connection:
                claim_all(connection, [one.text for one in wanted], cause, BLOCKING[cause == EXPIRY], due)
            for one in wanted:
                del rows[one]
            rows |= {row.tags.recording: row for row in self.several(wanted)}
        return {one: self._claimed(one, rows.get(one), due) for one in recordings}

    def _claimed(
        self, recording: RecordingId, row: CatalogueRow | None, due: datetime | None
    ) -> CatalogueRow | CatalogueError:
        if row is None:
            return RecordingNotFound(f"no recording {recording} in the catalogue")
        try:
            self.check_own(row)
        except CatalogueError as err:
            return err
        return row if row.state is State.SHREDDING else why_unclaimed(row, due)

    def claim_purpose(
        self, recording: RecordingId, purpose: str, cause: str, due: datetime | None = None
    ) -> CatalogueRow:
        """End one purpose of a recording that lives on for another; its key can only be destroyed now.

        Args:
            recording: Which; OPEN, SEALED or ABORTED.
            purpose: Which purpose; the leading one gives its place to the longest of the others.
            cause: As for ``claim_for_shredding``; the first one stands.
            due: Only if it has expired at this instant (aware).

        Returns:
            The row as claimed: the purpose is in ``ending``.

        Raises:
            HeldRecording: A hold stands.
            RecordingNotFound: There is no such row (any more).
            ForeignRecording: Another node has its headers.
            CatalogueError: It has no such purpose, no other, or it is not due; or the catalogue
                cannot be written.
        """
        row = self.get(recording)
        self.check_own(row)
        while purpose not in {ending.term.purpose for ending in row.ending}:
            term = next((term for term in row.tags.terms if term.purpose == purpose), None)
            if term is None or not row.tags.further:
                raise CatalogueError(f"recording {recording} does not serve {purpose} beside another purpose")
            if due is not None and term.expiry > due:
                raise CatalogueError(f"recording {recording} serves {purpose} until {term.expiry}: not due")
            self._end_purpose(row, term, cause)
            row = self.get(recording)
        return row

    def _end_purpose(self, row: CatalogueRow, term: PurposeTerm, cause: str) -> None:
        """Mark one purpose as ending, if the row is still as it was read."""
        tags = row.tags
        left = tags.without(term.purpose)
        identity = tags.recording.text
        with self._transaction() as connection:
            lock_rows(connection, [identity])
            changed = connection.execute(
                RECORDINGS.update()
                .where(
                    RECORDINGS.c.id == identity,
                    RECORDINGS.c.state.in_([state.value for state in _LIVING]),
                    RECORDINGS.c.purpose == tags.purpose,
                    RECORDINGS.c.expiry == tags.expiry,
                    sa.not_(blocked_by(BLOCKING[cause == EXPIRY])),
                )
                .values(
                    purpose=left.purpose,
                    legal_basis=left.legal_basis.value,
                    expiry=left.expiry,
                    from_end=left.from_end,
                    **notice_values(left.notice),
                )
            ).rowcount
            if changed:
                connection.execute(FURTHER.delete().where(FURTHER.c.id == identity, FURTHER.c.cause == ""))
                others = [term_values(tags.recording, other) for other in left.further]
                connection.execute(FURTHER.insert(), [*others, term_values(tags.recording, term, cause)])
                end_finding(connection, identity, term.purpose)
        if not changed:
            fresh = self.get(tags.recording)
            if fresh.state not in _LIVING:
                raise CatalogueError(f"recording {identity} is {fresh.state.value}")
            if fresh.held:
                raise HeldRecording(f"recording {identity} is held ({fresh.hold_reference})")

    def bury_purpose(self, tombstone: Tombstone) -> None:
        """Forget a purpose that has ended and leave its tombstone, in one step; may be repeated.

        Args:
            tombstone: Of a purpose that ``claim_purpose`` ended.

        Raises:
            CatalogueError: The catalogue cannot be written.
        """
        identity, purpose = tombstone.recording.text, tombstone.purpose
        with self._transaction() as connection:
            lock_rows(connection, [identity])
            removed = connection.execute(
                FURTHER.delete().where(
                    FURTHER.c.id == identity, FURTHER.c.purpose == purpose, FURTHER.c.cause != ""
                )
            ).rowcount
            if removed:
                connection.execute(TOMBSTONES.insert().values(**stone_values(tombstone)))
                connection.execute(WRAPS.delete().where(WRAPS.c.id == identity, WRAPS.c.purpose == purpose))

    def bury(self, tombstones: Sequence[Tombstone]) -> bool:
        """Remove a row and leave a tombstone for each of its purposes and derived files, in one step.

        Args:
            tombstones: One or more, of one recording, that of a purpose first: SHREDDED needs a
                row in SHREDDING, DISCARDED one in DISCARDING.

        Returns:
            False if there is no row, and tombstones stand already.

        Raises:
            CatalogueError: The row is in another state, or the catalogue cannot
                be written.
        """
        with self._transaction() as connection:
            return bury_all(connection, [tombstones])

    def bury_several(self, graves: Sequence[Sequence[Tombstone]]) -> None:
        """Bury recordings in one step, each as ``bury`` does.

        Args:
            graves: The tombstones of each.

        Raises:
            CatalogueError: One of the rows is in another state, or the catalogue cannot be
                written; none was buried.
        """
        with self._transaction() as connection:
            bury_all(connection, graves)

    def checkpoint(self) -> None:
        """Move SQLite's journal into the database and empty it, so that deleted content is gone.

        On PostgreSQL deleted rows go when the server vacuums; its own log and copies keep them longer.

        Raises:
            CatalogueError: The catalogue cannot be written.
        """
        if not self.shared:
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
                raise refusal(connection, [recording], states)

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with named_errors(), self._engine.begin() as connection:
            yield connection
