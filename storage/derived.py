"""What was made from a recording and is kept with it, such as a transcript.

A derived file is an age file of its own: a header in the key store under the name
``keys/<id>.<purpose>.<kind>``, a body beside that of the recording, and a row with purpose
and expiry that is there first. It serves one purpose of its recording and never outlives
it: whatever ends that purpose ends the derived file before it.

Order of adding: row OPEN → header → body, synced, under its final name → audit
``derived.added`` → row SEALED. Order of ending: row SHREDDING → header destroyed → body
unlinked → looked for again → audit ``derived.shredded`` → tombstone in place of the row.
Whoever does either holds the lock of shredding; so a row in OPEN or SHREDDING that is found
with the lock was left by a crash, and is ended.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from storage.age import (
    CHUNK_BYTES,
    FILE_KEY_BYTES,
    PAYLOAD_NONCE_BYTES,
    Random,
    Recipient,
    payload_key,
    seal_header,
)
from storage.audit import AuditEntry, AuditLog
from storage.bodies import Bodies
from storage.catalogue import (
    EXPIRY,
    Catalogue,
    CatalogueRow,
    DerivedFile,
    DerivedKind,
    State,
    Tombstone,
    Wrap,
    key_facts,
)
from storage.errors import DerivedRefused, FileFault, HeldRecording, ShredError, StorageError
from storage.files import Files
from storage.holds import BLOCKING, HoldKind
from storage.keys import KeyStore
from storage.objects import Objects
from storage.openbody import BodyFacts
from storage.places import SHRED_LOCK
from storage.tags import RecordingId

__all__ = ["DerivedSource", "DerivedStore", "DerivedSwept", "End", "derived_stone"]

NOT_FINISHED: Final = "not_finished"
"""The cause of the end of what was never whole."""


@dataclass(frozen=True, slots=True)
class DerivedSource:
    """What is to be kept with a recording.

    Attributes:
        recording: With which one; sealed.
        kind: What it is.
        purpose: For which of its purposes.
        expiry: When it must be gone (aware); not later than the recording's for that purpose.
        language: Of its words.
        form: Media type of the content.
        origin: Who or what made it; names no party.
        recipients: Who can open it: those of the recording's own key for that purpose.
        epoch: Key group and epoch of theirs; the latter empty for the long-lived ones.
    """

    recording: RecordingId
    kind: DerivedKind
    purpose: str
    expiry: datetime
    language: str
    form: str
    origin: str
    recipients: Sequence[Recipient]
    epoch: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class DerivedSwept:
    """What one sweep ended.

    Attributes:
        ended: What remains of each.
        failed: Those that could not be ended, with the reason; still due.
    """

    ended: tuple[Tombstone, ...]
    failed: tuple[tuple[RecordingId, str], ...]


class DerivedStore:
    """Adds and ends derived files.

    Args:
        files: The data directory.
        catalogue: Its catalogue.
        audit: Its audit chain.
        objects: Where bodies may be instead; None if they are all in the data directory.
        random: Source of randomness.
    """

    def __init__(
        self,
        files: Files,
        catalogue: Catalogue,
        audit: AuditLog,
        objects: Objects | None = None,
        random: Random = secrets.token_bytes,
    ) -> None:
        self._files = files
        self._catalogue = catalogue
        self._audit = audit
        self._random = random
        self._keys = KeyStore(files)
        self._bodies = Bodies(files, objects)

    def add(self, source: DerivedSource, content: bytes, now: datetime) -> DerivedFile:
        """Keep something with a recording; it is durable, or nothing of it is left.

        Args:
            source: What it is.
            content: Its plaintext.
            now: The current instant (aware).

        Returns:
            The file as sealed.

        Raises:
            RecordingNotFound: There is no such recording (any more).
            ForeignRecording: Another node has its headers.
            DerivedRefused: It has one of that kind, is not sealed, or does not serve the purpose so long.
            StorageError: Something cannot be written; what there is of it is ended by the next sweep
                at the latest.
        """
        with self._files.lock(SHRED_LOCK):
            row = self._catalogue.get(source.recording)
            self._catalogue.check_own(row)
            for left in self._catalogue.derived.of(source.recording):
                if left.state is not State.SEALED:
                    self.erase(left, row, NOT_FINISHED, now)
            file_key = self._random(FILE_KEY_BYTES)
            header = seal_header(file_key, source.recipients, self._random)
            file = DerivedFile(
                recording=source.recording,
                kind=source.kind,
                purpose=source.purpose,
                state=State.OPEN,
                expiry=source.expiry,
                added=now,
                language=source.language,
                form=source.form,
                origin=source.origin,
                body=f"{row.body}.{source.kind.value}",
            )
            wrap = Wrap(file.slot, hashlib.sha256(header).hexdigest(), *source.epoch)
            self._catalogue.derived.add(file, wrap)
            try:
                return self._write(file, header, file_key, content)
            except StorageError as err:
                try:
                    self.erase(file, row, NOT_FINISHED, now)
                except StorageError as second:
                    err.add_note(f"what there is of it is left to the next sweep: {second}")
                raise

    def remove(self, recording: RecordingId, kind: DerivedKind, cause: str, now: datetime) -> Tombstone:
        """End a derived file before its time.

        Args:
            recording: Of which recording.
            kind: What.
            cause: Why, for chain and tombstone.
            now: The current instant (aware).

        Raises:
            DerivedRefused: There is none.
            HeldRecording: A legal hold keeps the recording and what was made from it.
            StorageError: Repeat.
        """
        with self._files.lock(SHRED_LOCK):
            row = self._catalogue.get(recording)
            self._catalogue.check_own(row)
            for file in self._catalogue.derived.of(recording):
                if file.kind is kind:
                    stone = self.erase(file, row, cause, now, holds=BLOCKING[False])
                    if stone is not None:
                        return stone
        raise DerivedRefused(f"recording {recording} has no {kind.value}")

    def sweep(self, now: datetime, run: str, limit: int = 1000) -> DerivedSwept:
        """End what is expired and not held, and what a crash left.

        Args:
            now: The current instant (aware), by a clock that is trusted.
            run: Id of the retention run.
            limit: At most so many.

        Raises:
            StorageError: The catalogue cannot be used.
        """
        ended: list[Tombstone] = []
        failed: list[tuple[RecordingId, str]] = []
        if not self._catalogue.derived.due(now, 1):
            return DerivedSwept((), ())
        with self._files.lock(SHRED_LOCK):
            for file in self._catalogue.derived.due(now, limit):
                cause = EXPIRY if file.state is State.SEALED else NOT_FINISHED
                try:
                    row = self._catalogue.get(file.recording)
                    stone = self.erase(file, row, cause, now, run=run, holds=BLOCKING[True])
                except HeldRecording:
                    continue  # held since it was listed
                except StorageError as err:
                    failed.append((file.recording, str(err)))
                else:
                    ended += [] if stone is None else [stone]
        return DerivedSwept(tuple(ended), tuple(failed))

    def erase(
        self,
        file: DerivedFile,
        row: CatalogueRow,
        cause: str,
        now: datetime,
        *,
        run: str = "",
        holds: Collection[HoldKind] = (),
    ) -> Tombstone | None:
        """Destroy the key of a derived file, remove its body, leave a tombstone; for who has the lock.

        Args:
            file: Which.
            row: Of its recording.
            cause: Why; the first one stands.
            now: The current instant (aware).
            run: Id of the retention run, empty if it is none.
            holds: Kinds of holds that forbid it; none if its purpose has ended.

        Returns:
            What remains of it; None if there was none any more.

        Raises:
            HeldRecording: Such a hold stands; nothing was touched.
            StorageError: Repeat.
        """
        claimed = self._catalogue.derived.claim(file, cause, holds)
        if claimed is None:
            return None
        slots = (claimed.slot,)
        try:
            key_found = self._keys.destroy(claimed.recording, slots)
            self._bodies.unlink(claimed.body)
            gone = not self._keys.exists(claimed.recording, slots) and not self._bodies.find(claimed.body)
        except FileFault as err:
            raise ShredError(f"{_named(claimed)} is not fully shredded, repeat: {err}") from err
        if not gone:
            raise ShredError(f"{_named(claimed)}: key or body is still there after it was removed")
        facts = {**_fields(claimed), "reason": claimed.cause, "run": run}
        entry = self._audit.append(
            "derived.shredded", {**facts, "outcome": "shredded", "key_found": key_found}
        )
        wraps = self._catalogue.wraps.of(claimed.recording)
        stone = derived_stone(claimed, row, wraps.get(claimed.slot), End(claimed.cause, now, run, entry))
        self._catalogue.derived.bury(stone, claimed)
        self._audit.append("tombstone.written", {**facts, "outcome": "shredded"}, durable=False)
        return stone

    def _write(self, file: DerivedFile, header: bytes, file_key: bytes, content: bytes) -> DerivedFile:
        for fault in self._keys.put({file.recording: {file.slot: header}}).values():
            raise fault
        facts = self._seal(file, file_key, content)
        self._audit.append(
            "derived.added",
            {
                **_fields(file),
                "language": file.language,
                "format": file.form,
                "expires_at": file.expiry.astimezone(UTC).isoformat(),
                "bytes": facts.size_bytes,
                "sha256_ct": facts.sha256,
                "outcome": "added",
            },
        )
        self._catalogue.derived.seal(file, facts.size_bytes, facts.sha256)
        sealed = self._catalogue.derived.sealed(file.recording, file.kind)
        if sealed is None:
            raise DerivedRefused(f"{_named(file)} was removed meanwhile")
        return sealed

    def _seal(self, file: DerivedFile, file_key: bytes, content: bytes) -> BodyFacts:
        nonce = self._random(PAYLOAD_NONCE_BYTES)
        body = self._bodies.create(file.body, payload_key(file_key, nonce), nonce)
        try:
            while len(content) > CHUNK_BYTES:
                body.append(content[:CHUNK_BYTES], final=False)
                content = content[CHUNK_BYTES:]
            body.append(content, final=True)
            return body.finish()
        finally:
            body.close()


@dataclass(frozen=True, slots=True)
class End:
    """How a derived file ended.

    Attributes:
        cause: Why.
        at: When (aware).
        run: Id of the retention run, empty if it was none.
        entry: The line of the chain that says so.
    """

    cause: str
    at: datetime
    run: str
    entry: AuditEntry


def derived_stone(file: DerivedFile, row: CatalogueRow, wrap: Wrap | None, end: End) -> Tombstone:
    """What remains of a derived file: nothing of its words, and not by whom."""
    return Tombstone(
        recording=file.recording,
        state=State.SHREDDED,
        purpose=file.slot,
        policy_version=row.tags.policy_version,
        started_on=row.tags.started.astimezone(UTC).date(),
        minutes=0,
        expiry=file.expiry,
        gone_at=end.at,
        cause=end.cause,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        run=end.run,
        verified=True,
        chain_seq=end.entry.seq,
        chain_sha256=end.entry.sha256,
        node=row.tags.node,
        **key_facts({} if wrap is None else {file.slot: wrap}, file.slot),
    )


def _named(file: DerivedFile) -> str:
    return f"the {file.kind.value} of recording {file.recording}"


def _fields(file: DerivedFile) -> dict[str, str]:
    return {"rec": file.recording.text, "purpose": file.purpose, "kind": file.kind.value}
