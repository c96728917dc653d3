"""Moving sealed bodies from this node's disk into an object store.

A body that is there, sealed, is moved: uploaded, read back whole and compared with the
hash in its row, and only then removed here. Nothing is remembered between: a body that
is on the disk is still to be moved, however far an earlier try came.

A recording may be shredded meanwhile. Its row says so before its object is looked for; so
after an upload the row is looked at again, and an object whose recording is not sealed
any more is deleted by whoever uploaded it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from storage.audit import AuditLog
from storage.bodies import Bodies
from storage.catalogue import Catalogue, CatalogueRow, State
from storage.durable import parent
from storage.errors import FileMissing, RecordingDamaged, RemoteFault, TagError
from storage.files import Files
from storage.objects import Objects
from storage.openbody import SEALED_SUFFIX
from storage.tags import RecordingId

__all__ = ["UploadReport", "Uploader"]

LOCK_PATH: Final = "upload.lock"
_TOGETHER: Final = 100


@dataclass(frozen=True, slots=True)
class UploadReport:
    """What one round did.

    Attributes:
        moved: Recordings whose body is in the object store now, and not here any more.
        size_bytes: Their length together.
        failed: Those that could not be moved, with the reason; their body is here still.
        broken_off: Why the round ended early: the store cannot be used; None if it did not.
    """

    moved: tuple[RecordingId, ...]
    size_bytes: int
    failed: tuple[tuple[RecordingId, str], ...]
    broken_off: str | None


class Uploader:
    """Moves the bodies of one data directory.

    Args:
        files: The data directory.
        catalogue: Its catalogue.
        audit: Its audit chain.
        objects: Where bodies go.
    """

    def __init__(self, files: Files, catalogue: Catalogue, audit: AuditLog, objects: Objects) -> None:
        self._files = files
        self._catalogue = catalogue
        self._audit = audit
        self._objects = objects

    def run(self, stopping: Callable[[], bool] = lambda: False) -> UploadReport:
        """Move all bodies that are sealed, the oldest first.

        Args:
            stopping: Asked before each; true ends the round.

        Returns:
            What was done. One that is damaged does not stop the others; a store that
            cannot be used does.

        Raises:
            StoreLocked: Another process is at it.
            StorageError: The catalogue or the audit chain cannot be used.
        """
        moved: list[RecordingId] = []
        failed: list[tuple[RecordingId, str]] = []
        size, broken_off = 0, None
        with self._files.lock(LOCK_PATH, wait=False):
            for row in self._sealed():
                if stopping():
                    break
                recording = row.tags.recording
                try:
                    if self._move(row):
                        moved.append(recording)
                        size += row.size_bytes
                except RemoteFault as err:
                    failed.append((recording, str(err)))
                    broken_off = str(err)
                    break
                except RecordingDamaged as err:
                    failed.append((recording, str(err)))
            self._audit.flush()
        return UploadReport(tuple(moved), size, tuple(failed), broken_off)

    def _sealed(self) -> Iterator[CatalogueRow]:
        """Rows of the bodies that are here and final."""
        waiting = [found for path in Bodies(self._files).all_paths() if (found := _sealed_id(path))]
        for first in range(0, len(waiting), _TOGETHER):
            for row in self._catalogue.several(waiting[first : first + _TOGETHER]):
                if row.state is State.SEALED and self._catalogue.owns(row):
                    yield row

    def _move(self, row: CatalogueRow) -> bool:
        """Move one body; False if it was shredded meanwhile."""
        path = row.body + SEALED_SUFFIX
        self._check(row, Bodies(self._files).pieces(path), f"the body {path}")
        self._objects.upload(path, row.size_bytes, lambda offset, size: self._files.read(path, offset, size))
        if not self._is_sealed(row):
            self._objects.delete(path)
            return False
        try:
            self._check(row, self._objects.pieces(path), f"the uploaded body {path}")
        except RecordingDamaged:
            self._objects.delete(path)
            if not self._is_sealed(row):
                return False
            raise
        # Before the body goes: the chain may tell of a move that is made anew, never miss one.
        self._audit.append(
            "rec.body_moved",
            {
                "rec": row.tags.recording.text,
                "bytes": row.size_bytes,
                "sha256_ct": row.sha256,
                "outcome": "moved",
            },
        )
        with suppress(FileMissing):  # shredded just now
            self._files.unlink(path)
        self._files.sync_directory(parent(path))
        return True

    def _is_sealed(self, row: CatalogueRow) -> bool:
        (now,) = self._catalogue.several([row.tags.recording]) or (None,)
        return now is not None and now.state is State.SEALED

    @staticmethod
    def _check(row: CatalogueRow, pieces: Iterator[bytes], what: str) -> None:
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        if digest.hexdigest() != row.sha256:
            raise RecordingDamaged(f"{what} is not what was sealed: its SHA-256 differs; it was not moved")


def _sealed_id(path: str) -> RecordingId | None:
    name = path.rpartition("/")[2]
    if not name.endswith(SEALED_SUFFIX):
        return None
    try:
        return RecordingId(name.removesuffix(SEALED_SUFFIX))
    except TagError:
        return None  # a foreign file
