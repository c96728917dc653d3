"""Shredding one recording: cryptographic erase in a fixed, repeatable order.

Claim (row SHREDDING; refused if held) → audit ``shred.started`` → key destroyed →
log key destroyed → body unlinked, here and in the object store, with all its versions →
looked for again and not found → audit
``shred.verified`` → tombstone in place of the row → audit ``tombstone.written``.
A crash after any step leaves a row in SHREDDING, and shredding it again does
what is left. A lock makes two processes take turns; the second finds the
tombstone.

What this does not reach: copies of the key store (see THREATS.md). The body, the
parties and every backup of them are unreadable as soon as the key is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from storage.audit import AuditLog
from storage.bodies import Bodies
from storage.catalogue import EXPIRY, Catalogue, CatalogueRow, State, Tombstone, key_facts, length_bucket
from storage.derived import DerivedStore, End, derived_stone
from storage.errors import FileFault, RecordingNotFound, ShredError
from storage.files import Files
from storage.keys import KeyStore
from storage.objects import Objects
from storage.places import SHRED_LOCK
from storage.tags import RecordingId
from storage.wal import destroy_keys
from storage.writer.parts import erase_purpose

LOCK_PATH: Final = SHRED_LOCK


@dataclass(frozen=True, slots=True)
class ShredCertificate:
    """Proof that a recording is gone; holds nothing that says who called.

    Attributes:
        tombstone: What stands in the catalogue now, for the purpose that was the last.
        repeated: True if it was shredded before and nothing was left to do.
        key_found: False if the key had been destroyed by an earlier, interrupted try.
        body_found: Likewise for the body.
    """

    tombstone: Tombstone
    repeated: bool
    key_found: bool
    body_found: bool


class Shredder:
    """Shreds recordings of one data directory.

    Args:
        files: The data directory.
        catalogue: Its catalogue.
        audit: Its audit chain.
        objects: Where sealed bodies may be instead; None if they are all in the data directory.
    """

    def __init__(
        self, files: Files, catalogue: Catalogue, audit: AuditLog, objects: Objects | None = None
    ) -> None:
        self._files = files
        self._catalogue = catalogue
        self._audit = audit
        self._keys = KeyStore(files)
        self._bodies = Bodies(files, objects)
        self._derived = DerivedStore(files, catalogue, audit, objects)

    def shred(self, recording: RecordingId, cause: str, now: datetime, run: str = "") -> ShredCertificate:
        """Destroy the key, remove the body, leave a tombstone. May be repeated.

        The caller flushes the audit log when it has shredded what it wants to.

        Args:
            recording: Which; sealed or aborted.
            cause: ``expiry``, ``erase``, ``opt_out``, ``withdraw``, ``objection`` …
            now: The current instant (aware).
            run: Id of the retention run, empty if it is none.

        Returns:
            The certificate.

        Raises:
            HeldRecording: A hold stands; nothing was touched.
            RecordingNotFound: It never existed.
            CatalogueError: It is still open, or the catalogue cannot be used.
            ShredError: A file cannot be destroyed; repeat. If the key is gone
                the recording is unreadable all the same.
            StorageError: The audit chain cannot be written; repeat.
        """
        with self._files.lock(LOCK_PATH):
            try:
                row = self._catalogue.claim_for_shredding(recording, cause, now if cause == EXPIRY else None)
            except RecordingNotFound:
                tombstone = self._catalogue.tombstone(recording)
                if tombstone is None:
                    raise
                return ShredCertificate(tombstone, repeated=True, key_found=False, body_found=False)
            return self._destroy(row, now, run)

    def shred_purpose(
        self, recording: RecordingId, purpose: str, cause: str, now: datetime, run: str = ""
    ) -> Tombstone:
        """Destroy the key of one purpose; the recording lives on for the others. May be repeated.

        Args:
            recording: Which.
            purpose: Which purpose; not the only one.
            cause: As for ``shred``.
            now: The current instant (aware).
            run: Id of the retention run, empty if it is none.

        Returns:
            What remains of that purpose.

        Raises:
            StorageError: As for ``shred``.
        """
        with self._files.lock(LOCK_PATH):
            for stone in self._catalogue.tombstones_of(recording):
                if stone.purpose == purpose:
                    return stone
            row = self._catalogue.claim_purpose(recording, purpose, cause, now if cause == EXPIRY else None)
            for file in self._catalogue.derived.of(recording):
                if file.purpose == purpose:
                    self._derived.erase(file, row, cause, now, run=run)
            return erase_purpose(self._files, self._catalogue, self._audit, row, purpose, now, run)

    def _destroy(self, row: CatalogueRow, now: datetime, run: str) -> ShredCertificate:
        recording = row.tags.recording
        derived = self._catalogue.derived.of(recording)
        purposes = (*row.header_purposes, *(file.slot for file in derived))
        fields = {"rec": recording.text, "purpose": ",".join(purposes), "reason": row.cause, "run": run}
        self._audit.append("shred.started", {**fields, "outcome": "started"})
        try:
            key_found = self._keys.destroy(recording, purposes)
            destroy_keys(self._files, recording)
            body_found = self._bodies.unlink(row.body)
            for file in derived:
                self._bodies.unlink(file.body)
            bodies = (row.body, *(file.body for file in derived))
            gone = not self._keys.exists(recording, purposes) and not any(map(self._bodies.find, bodies))
        except FileFault as err:
            self._audit.append("shred.failed", {**fields, "outcome": "failed"}, durable=False)
            raise ShredError(f"recording {recording} is not fully shredded, repeat: {err}") from err
        if not gone:
            raise ShredError(f"recording {recording}: key or body is still there after it was removed")
        entry = self._audit.append(
            "shred.verified",
            {
                **fields,
                "outcome": "verified",
                "key_found": key_found,
                "body_found": body_found,
                "bytes": row.size_bytes,
                "sha256_ct": row.sha256,
            },
        )
        terms = [(term, row.cause) for term in row.tags.terms]
        terms += [(ending.term, ending.cause) for ending in row.ending]
        wraps = self._catalogue.wraps.of(recording)
        tombstones = [
            Tombstone(
                recording=recording,
                state=State.SHREDDED,
                purpose=term.purpose,
                policy_version=row.tags.policy_version,
                started_on=row.tags.started.astimezone(UTC).date(),
                minutes=length_bucket(row.facts.frames if row.facts else 0, row.audio.rate_hz),
                expiry=term.expiry,
                gone_at=now,
                cause=cause,
                size_bytes=row.size_bytes,
                sha256=row.sha256,
                run=run,
                verified=gone,
                chain_seq=entry.seq,
                chain_sha256=entry.sha256,
                node=row.tags.node,
                **key_facts(wraps, term.purpose),
            )
            for term, cause in terms
        ]
        end = End(row.cause, now, run, entry)
        tombstones += [derived_stone(file, row, wraps.get(file.slot), end) for file in derived]
        self._catalogue.bury(tombstones)
        self._audit.append("tombstone.written", {**fields, "outcome": "shredded"}, durable=False)
        return ShredCertificate(tombstones[0], repeated=False, key_found=key_found, body_found=body_found)
