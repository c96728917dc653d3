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
from typing import Final, TypeAlias

from storage.audit import AuditLog
from storage.bodies import Bodies
from storage.catalogue import Catalogue, CatalogueRow, DerivedFile, State
from storage.durable import parent
from storage.errors import FileMissing, RecordingDamaged, RemoteFault, TagError
from storage.files import Files
from storage.objects import Objects
from storage.openbody import SEALED_SUFFIX
from storage.tags import RecordingId

__all__ = ["UploadReport", "Uploader"]

LOCK_PATH: Final = "upload.lock"
_TOGETHER: Final = 100
_Body: TypeAlias = CatalogueRow | DerivedFile


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
            for recording, body in self._sealed():
                if stopping():
                    break
                try:
                    if self._move(recording, body):
                        moved.append(recording)
                        size += body.size_bytes
                except RemoteFault as err:
                    failed.append((recording, str(err)))
                    broken_off = str(err)
                    break
                except RecordingDamaged as err:
                    failed.append((recording, str(err)))
            self._audit.flush()
        return UploadReport(tuple(dict.fromkeys(moved)), size, tuple(failed), broken_off)

    def _sealed(self) -> Iterator[tuple[RecordingId, _Body]]:
        """Rows of the bodies that are here and final: of recordings, and of what was made from them."""
        paths = [path for path in Bodies(self._files).all_paths() if path.endswith(SEALED_SUFFIX)]
        here = {path.removesuffix(SEALED_SUFFIX) for path in paths}
        waiting = list(dict.fromkeys(found for path in paths if (found := _owner(path))))
        for first in range(0, len(waiting), _TOGETHER):
            for row in self._catalogue.several(waiting[first : first + _TOGETHER]):
                if row.state is State.SEALED and self._catalogue.owns(row):
                    recording = row.tags.recording
                    bodies: tuple[_Body, ...] = (row, *self._catalogue.derived.of(recording))
                    for body in bodies:
                        if body.body in here and body.state is State.SEALED:
                            yield recording, body

    def _move(self, recording: RecordingId, row: _Body) -> bool:
        """Move one body; False if it was shredded meanwhile."""
        path = row.body + SEALED_SUFFIX
        self._check(row, Bodies(self._files).pieces(path), f"the body {path}")
        self._objects.upload(path, row.size_bytes, lambda offset, size: self._files.read(path, offset, size))
        if not self._is_sealed(recording, row):
            self._objects.delete(path)
            return False
        try:
            self._check(row, self._objects.pieces(path), f"the uploaded body {path}")
        except RecordingDamaged:
            self._objects.delete(path)
            if not self._is_sealed(recording, row):
                return False
            raise
        # Before the body goes: the chain may tell of a move that is made anew, never miss one.
        self._audit.append(
            "rec.body_moved",
            {
                "rec": recording.text,
                "bytes": row.size_bytes,
                "sha256_ct": row.sha256,
                "outcome": "moved",
            },
        )
        with suppress(FileMissing):  # shredded just now
            self._files.unlink(path)
        self._files.sync_directory(parent(path))
        return True

    def _is_sealed(self, recording: RecordingId, body: _Body) -> bool:
        (now,) = self._catalogue.several([recording]) or (None,)
        if now is None or now.state is not State.SEALED:
            return False
        if isinstance(body, CatalogueRow):
            return True
        return self._catalogue.derived.sealed(recording, body.kind) == body

    @staticmethod
    def _check(row: _Body, pieces: Iterator[bytes], what: str) -> None:
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        if digest.hexdigest() != row.sha256:
            raise RecordingDamaged(f"{what} is not what was sealed: its SHA-256 differs; it was not moved")


def _owner(path: str) -> RecordingId | None:
    """The recording that a body belongs to, by its name."""
    try:
        return RecordingId(path.rpartition("/")[2].partition(".")[0])
    except TagError:
        return None  # a foreign file
