"""Encrypted bodies: ``recordings/YYYY/MM/DD/<id>``, ``.part`` while open, then ``.age``.

A body is the age payload alone: a 16-byte nonce, then sealed chunks. The header
lives in the key store. This module knows nothing of audio or of the log; it
keeps one promise: a chunk enters the file once, in order, and what stands in
the file after a crash can be told apart into whole chunks and a torn rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from storage.age import (
    PAYLOAD_NONCE_BYTES,
    SEALED_CHUNK_BYTES,
    TAG_BYTES,
    PayloadError,
    open_chunk,
)
from storage.durable import parent, sync_directories
from storage.errors import BodyMissing, FileFault, FileMissing, StorageError
from storage.files import Files
from storage.objects import Objects
from storage.openbody import BODIES_DIRECTORY, OPEN_SUFFIX, SEALED_SUFFIX, BodyFacts, NewBody, OpenBody

_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class BodyScan:
    """What a crash left of an open body.

    Attributes:
        chunks: Whole chunks that authenticate, from the first on; the final one
            counts too.
        plain_bytes: Plaintext in them.
        final: True if the last of them is the final chunk.
        file_bytes: Length of nonce and those chunks: the good part of the file.
    """

    chunks: int
    plain_bytes: int
    final: bool
    file_bytes: int


class Bodies:
    """All bodies of a data directory.

    Args:
        files: The data directory.
        objects: Where sealed bodies may be instead; None if they are all in the data directory.
    """

    def __init__(self, files: Files, objects: Objects | None = None) -> None:
        self._files = files
        self._objects = objects

    def create(self, path: str, key: bytes, nonce: bytes) -> OpenBody:
        """Create the ``.part`` file with its nonce; its name is durable on return.

        Args:
            path: Path without suffix (``body_path``).
            key: Payload key, 32 bytes.
            nonce: Payload nonce, 16 bytes.

        Returns:
            The body, without a chunk.

        Raises:
            FileFault: It cannot be created.
        """
        created = self.create_together([NewBody(path, key, nonce)])[0]
        if isinstance(created, FileFault):
            raise created
        return created

    def create_together(self, bodies: Sequence[NewBody]) -> list[OpenBody | FileFault]:
        """Create ``.part`` files, each with its nonce; one sync for each directory.

        Args:
            bodies: What to create.

        Returns:
            For each the body, without a chunk, its name durable; or why it could not be
            created: part of it may be on disk.
        """
        results: list[OpenBody | FileFault] = []
        places: dict[str, int] = {}
        made: set[str] = set()
        for place, body in enumerate(bodies):
            try:
                if parent(body.path) not in made:
                    self._files.make_directory(parent(body.path))
                    made.add(parent(body.path))
                results.append(self._create(body))
                places[body.path] = place
            except FileFault as err:
                results.append(err)
        for path, fault in sync_directories(self._files, places).items():
            _close(results[places[path]])
            results[places[path]] = fault
        return results

    def _create(self, body: NewBody) -> OpenBody:
        handle = self._files.create(body.path + OPEN_SUFFIX)
        try:
            handle.write(body.nonce)
        except BaseException:
            handle.close()
            raise
        digest = hashlib.sha256(body.nonce)
        return OpenBody(handle, self._files, body.path, body.key, 0, digest, len(body.nonce))

    def scan(self, path: str, key: bytes, nonce: bytes) -> BodyScan:
        """Find the whole chunks of an open body, from the first on.

        Args:
            path: Path with suffix.
            key: Payload key, 32 bytes.
            nonce: The nonce that must stand at the start.

        Returns:
            What is good; all zero if the file or its nonce is missing or torn.

        Raises:
            FileFault: It cannot be read.
        """
        size = self._files.size(path)
        if size is None or self._files.read(path, 0, PAYLOAD_NONCE_BYTES) != nonce:
            return BodyScan(0, 0, final=False, file_bytes=0)
        chunks, plain, offset = 0, 0, PAYLOAD_NONCE_BYTES
        while size - offset > TAG_BYTES or (chunks == 0 and size - offset == TAG_BYTES):
            sealed = self._files.read(path, offset, SEALED_CHUNK_BYTES)
            opened = _open(key, chunks, sealed)
            if opened is None:
                break
            chunks, plain, offset = chunks + 1, plain + opened[0], offset + len(sealed)
            if opened[1]:
                return BodyScan(chunks, plain, final=True, file_bytes=offset)
        return BodyScan(chunks, plain, final=False, file_bytes=offset)

    def resume(self, path: str, key: bytes, nonce: bytes, scan: BodyScan) -> OpenBody:
        """Reopen a ``.part`` file behind its good chunks, cutting what is torn.

        Args:
            path: Path without suffix.
            key: Payload key, 32 bytes.
            nonce: Payload nonce, 16 bytes.
            scan: From ``scan`` of the same file; not final.

        Returns:
            The body, ready for its next chunk.

        Raises:
            FileFault: It cannot be reopened.
        """
        if scan.file_bytes == 0:
            if self._files.size(path + OPEN_SUFFIX) is not None:
                self._files.unlink(path + OPEN_SUFFIX)
            return self.create(path, key, nonce)
        digest = self._hash(path + OPEN_SUFFIX, scan.file_bytes)
        handle = self._files.reopen(path + OPEN_SUFFIX, scan.file_bytes)
        return OpenBody(handle, self._files, path, key, scan.chunks, digest, scan.file_bytes)

    def copy_open(self, path: str, size_bytes: int) -> None:
        """Write the good part of a ``.part`` file to fresh disk blocks.

        After a failed sync the kernel may hold pages that never reached the disk
        and call them clean; a copy is dirty, so syncing it means something.

        Args:
            path: Path without suffix.
            size_bytes: Length of the good part.

        Raises:
            FileFault: The old file stands, unless only the last sync failed.
        """
        source, draft = path + OPEN_SUFFIX, f"{path}{OPEN_SUFFIX}.new"
        if self._files.size(draft) is not None:
            self._files.unlink(draft)
        handle = self._files.create(draft)
        try:
            offset = 0
            while offset < size_bytes:
                piece = self._files.read(source, offset, min(_READ_BYTES, size_bytes - offset))
                if not piece:
                    raise BodyMissing(f"the body {source} ends at {offset} bytes, not at {size_bytes}")
                handle.write(piece)
                offset += len(piece)
            handle.sync()
        finally:
            handle.close()
        self._files.rename(draft, source)
        self._files.sync_directory(parent(path))

    def publish(self, path: str, size_bytes: int) -> BodyFacts:
        """Publish a body whose final chunk a crash left in place.

        Args:
            path: Path without suffix.
            size_bytes: Length of nonce and chunks; anything behind is cut.

        Returns:
            Length and hash.

        Raises:
            FileFault: Repeat.
        """
        if self._files.size(path + SEALED_SUFFIX) is None:
            handle = self._files.reopen(path + OPEN_SUFFIX, size_bytes)
            try:
                handle.sync()
            finally:
                handle.close()
            self._files.rename(path + OPEN_SUFFIX, path + SEALED_SUFFIX)
        self._files.sync_directory(parent(path))
        return BodyFacts(size_bytes, self._hash(path + SEALED_SUFFIX, size_bytes).hexdigest())

    def find(self, path: str) -> str | None:
        """Path with suffix of a body, sealed or open, here or in the object store; None if nowhere."""
        for suffix in (SEALED_SUFFIX, OPEN_SUFFIX):
            if self._files.size(path + suffix) is not None:
                return path + suffix
        if self._objects is not None and self._objects.size(path + SEALED_SUFFIX) is not None:
            return path + SEALED_SUFFIX
        return None

    def size(self, path: str) -> int:
        """Length of a body in bytes, 0 if it is missing.

        Args:
            path: Path with suffix.
        """
        size = self._files.size(path)
        if size is None and self._objects is not None:
            size = self._objects.size(path)
        return size or 0

    def pieces(self, path: str) -> Iterator[bytes]:
        """Read a body from its start, in pieces of bounded size.

        Args:
            path: Path with suffix.

        Yields:
            At most 1 MiB each.

        Raises:
            BodyMissing: It is not there.
            FileFault: It cannot be read.
        """
        offset = 0
        while True:
            try:
                piece = self._files.read(path, offset, _READ_BYTES)
            except FileMissing as err:
                if self._objects is None:
                    raise BodyMissing(f"the body {path} is missing") from err
                yield from self._objects.pieces(path, offset)  # perhaps moved just now
                return
            if not piece:
                return
            yield piece
            offset += len(piece)

    def unlink(self, path: str) -> bool:
        """Remove a body in either form, here and in the object store, durably; may be repeated.

        Args:
            path: Path without suffix.

        Returns:
            False if there was none.

        Raises:
            FileFault: Repeat.
        """
        found, faults = self.unlink_together([path])
        for fault in faults.values():
            raise fault
        return bool(found)

    def unlink_together(self, paths: Iterable[str]) -> tuple[set[str], dict[str, StorageError]]:
        """Remove bodies as ``unlink`` does, with one sync for each directory.

        Args:
            paths: Paths without suffix.

        Returns:
            Those of which there was something, and what went wrong, by path: repeat.
        """
        here: set[str] = set()
        stored: set[str] = set()
        faults: dict[str, StorageError] = {}
        unlinked: list[str] = []
        for path in paths:
            try:
                if self._unlink_here(path):
                    here.add(path)
                if self._objects is not None and self._objects.delete(path + SEALED_SUFFIX):
                    stored.add(path)
            except StorageError as err:
                faults[path] = err
            else:
                unlinked.append(path)
        return here | stored, faults | self._sync_parents(unlinked, here)

    def _sync_parents(self, paths: Iterable[str], removed: set[str]) -> dict[str, StorageError]:
        """Make removals from here durable; a directory that does not exist is not synced.

        Args:
            paths: Paths without suffix.
            removed: Those of which a file was removed here, not from the object store alone.

        Returns:
            What went wrong, by path.
        """
        places: dict[str, list[str]] = {}
        for path in paths:
            places.setdefault(parent(path), []).append(path)
        faults: dict[str, StorageError] = {}
        for place, within in places.items():
            try:
                if not removed.isdisjoint(within) or self._files.names(place):
                    self._files.sync_directory(place)
            except StorageError as err:
                faults |= dict.fromkeys(within, err)
        return faults

    def _unlink_here(self, path: str) -> bool:
        found = False
        for suffix in (SEALED_SUFFIX, OPEN_SUFFIX, f"{OPEN_SUFFIX}.new"):
            if self._files.size(path + suffix) is not None:
                self._files.unlink(path + suffix)
                found = True
        return found

    def all_paths(self) -> Iterator[str]:
        """Yield the path, with suffix, of every file below the directory of bodies, and of every object."""
        yield from self._walk(BODIES_DIRECTORY, 3)
        if self._objects is not None:
            yield from self._objects.keys()

    def _walk(self, path: str, depth: int) -> Iterator[str]:
        for name in self._files.names(path):
            if depth:
                yield from self._walk(f"{path}/{name}", depth - 1)
            else:
                yield f"{path}/{name}"

    def _hash(self, path: str, size_bytes: int) -> hashlib._Hash:
        digest = hashlib.sha256()
        offset = 0
        while offset < size_bytes:
            piece = self._files.read(path, offset, min(_READ_BYTES, size_bytes - offset))
            if not piece:
                raise BodyMissing(f"the body {path} ends at {offset} bytes, not at {size_bytes}")
            digest.update(piece)
            offset += len(piece)
        return digest


def _close(body: OpenBody | FileFault) -> None:
    if isinstance(body, OpenBody):
        body.close()


def _open(key: bytes, counter: int, sealed: bytes) -> tuple[int, bool] | None:
    """Length of a chunk's plaintext and its final flag; None if it does not authenticate."""
    for final in (False, True):
        try:
            return len(open_chunk(key, counter, sealed, final=final)), final
        except PayloadError:
            continue
    return None
