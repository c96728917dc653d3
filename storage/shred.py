"""Shredding recordings: cryptographic erase in a fixed, repeatable order (``storage.endings``).

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

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from storage.audit import AuditLog
from storage.bodies import Bodies
from storage.catalogue import EXPIRY, Catalogue, CatalogueRow, Tombstone
from storage.derived import DerivedStore
from storage.endings import Ending, Endings, ShredCertificate
from storage.errors import CatalogueError, RecordingNotFound, ShredError, StorageError
from storage.files import Files
from storage.keys import KeyStore
from storage.objects import Objects
from storage.places import SHRED_LOCK
from storage.tags import RecordingId
from storage.writer.parts import erase_purpose

__all__ = ["LOCK_PATH", "ShredCertificate", "Shredder"]

LOCK_PATH: Final = SHRED_LOCK


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
        (made,) = self.shred_together([recording], cause, now, run)
        if isinstance(made, StorageError):
            raise made
        return made

    def shred_together(
        self, recordings: Sequence[RecordingId], cause: str, now: datetime, run: str = ""
    ) -> list[ShredCertificate | StorageError]:
        """Shred recordings that share their syncs; each in the same order as alone, and each may fail alone.

        Every step is done, durably, for all before the next begins; whoever fails at one takes part
        in none after it and can be shredded again.

        Args:
            recordings: Which, each once.
            cause: As for ``shred``.
            now: Likewise.
            run: Likewise.

        Returns:
            For each its certificate, or what ``shred`` would raise.

        Raises:
            CatalogueError: The catalogue cannot be used; nothing was touched.
        """
        with self._files.lock(LOCK_PATH):
            claims = self._catalogue.claim_several(recordings, cause, now if cause == EXPIRY else None)
            rows = [row for row in claims.values() if isinstance(row, CatalogueRow)]
            ended = dict(zip([row.tags.recording for row in rows], self._end(rows, now, run), strict=True))
            return [ended.get(one) or self._unclaimed(one, claims[one]) for one in recordings]

    def _unclaimed(
        self, recording: RecordingId, why: CatalogueRow | CatalogueError
    ) -> ShredCertificate | StorageError:
        """What is left to say of a recording that was not claimed."""
        if isinstance(why, CatalogueRow):
            return ShredError(f"recording {recording} was claimed and not ended: repeat")
        if isinstance(why, RecordingNotFound):
            tombstone = self._catalogue.tombstone(recording)
            if tombstone is not None:
                return ShredCertificate(tombstone, repeated=True, key_found=False, body_found=False)
        return why

    def _end(
        self, rows: Sequence[CatalogueRow], now: datetime, run: str
    ) -> list[ShredCertificate | StorageError]:
        recordings = [row.tags.recording for row in rows]
        derived = self._catalogue.derived.of_several(recordings)
        wraps = self._catalogue.wraps.of_several(recordings)
        endings = [
            Ending(row, derived.get(one.text, ()), wraps.get(one.text, {}), now, run)
            for one, row in zip(recordings, rows, strict=True)
        ]
        return Endings(self._files, self._audit, self._keys, self._bodies).carry_out(
            endings, self._catalogue.bury_several
        )

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
