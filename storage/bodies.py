"""Encrypted bodies: ``recordings/YYYY/MM/DD/<id>``, ``.part`` while open, then ``.age``.

A body is the age payload alone: a 16-byte nonce, then sealed chunks. The header
lives in the key store. This module knows nothing of audio or of the log; it
keeps one promise: a chunk enters the file once, in order, and what stands in
the file after a crash can be told apart into whole chunks and a torn rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from storage.age import (
    CHUNK_BYTES,
    PAYLOAD_NONCE_BYTES,
    SEALED_CHUNK_BYTES,
    TAG_BYTES,
    PayloadError,
    open_chunk,
    seal_chunk,
)
from storage.errors import BodyMissing, FileMissing
from storage.files import Files, OpenFile, parent
from storage.tags import RecordingId

BODIES_DIRECTORY: Final = "recordings"
OPEN_SUFFIX: Final = ".part"
SEALED_SUFFIX: Final = ".age"
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class BodyFacts:
    """A sealed body.

    Attributes:
        size_bytes: Length of the file.
        sha256: Hash of the file (ciphertext), 64 hex digits.
    """

    size_bytes: int
    sha256: str


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


def body_path(recording: RecordingId, started: datetime) -> str:
    """Path of a recording's body without suffix, from its start in UTC."""
    return f"{BODIES_DIRECTORY}/{started.astimezone(UTC):%Y/%m/%d}/{recording}"


class OpenBody:
    """A body that is being written; sealed chunks enter it once, in order.

    Args:
        handle: The ``.part`` file, positioned at its end; owned by this object.
        files: The data directory.
        path: Path without suffix.
        key: Payload key, 32 bytes.
        chunks: Whole chunks in the file already.
        digest: Hash over all bytes in the file already.
        size_bytes: Length of the file.

    Attributes:
        chunks: Whole chunks in the file.
        dirty: True if some of them are not durable yet.
    """

    def __init__(
        self,
        handle: OpenFile,
        files: Files,
        path: str,
        key: bytes,
        chunks: int,
        digest: hashlib._Hash,
        size_bytes: int,
    ) -> None:
        self._handle = handle
        self._files = files
        self._path = path
        self._key = key
        self._digest = digest
        self._size_bytes = size_bytes
        self._final = False
        self.chunks = chunks
        self.dirty = False

    @property
    def sealed_bytes(self) -> int:
        """Plaintext that is in the file as whole chunks (before the final one)."""
        return self.chunks * CHUNK_BYTES

    def append(self, plaintext: bytes, *, final: bool) -> None:
        """Seal the next chunk and write it.

        Args:
            plaintext: 64 KiB, or with ``final`` what is left.
            final: True for the last chunk of the recording.

        Raises:
            FileFault: The chunk may be torn; the body must not be written again
                by this object.
            ValueError: The final chunk is written already.
        """
        if self._final:
            raise ValueError(f"{self._path}: a chunk after the final one")
        sealed = seal_chunk(self._key, self.chunks, plaintext, final=final)
        self.dirty = True
        self._handle.write(sealed)
        self._digest.update(sealed)
        self._size_bytes += len(sealed)
        self.chunks += 1
        self._final = final

    def sync(self) -> None:
        """Make all chunks so far durable.

        Raises:
            FileFault: Chunks since the last good sync may be lost.
        """
        self._handle.sync()
        self.dirty = False

    def finish(self) -> BodyFacts:
        """Sync, close and publish under the final name; durable on return.

        Returns:
            Length and hash of the body.

        Raises:
            FileFault: Start-up will finish it.
            ValueError: The final chunk is not written.
        """
        if not self._final:
            raise ValueError(f"{self._path}: no final chunk")
        self._handle.sync()
        self._handle.close()
        self._files.rename(self._path + OPEN_SUFFIX, self._path + SEALED_SUFFIX)
        self._files.sync_directory(parent(self._path))
        return BodyFacts(self._size_bytes, self._digest.hexdigest())

    def close(self) -> None:
        """Release the file and leave it as it is; doing it twice is allowed."""
        self._handle.close()


class Bodies:
    """All bodies of a data directory.

    Args:
        files: The data directory.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

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
        self._files.make_directory(parent(path))
        handle = self._files.create(path + OPEN_SUFFIX)
        try:
            handle.write(nonce)
            self._files.sync_directory(parent(path))
        except BaseException:
            handle.close()
            raise
        return OpenBody(handle, self._files, path, key, 0, hashlib.sha256(nonce), len(nonce))

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
        """Path with suffix of a body, sealed or open; None if there is neither."""
        for suffix in (SEALED_SUFFIX, OPEN_SUFFIX):
            if self._files.size(path + suffix) is not None:
                return path + suffix
        return None

    def size(self, path: str) -> int:
        """Length of a body in bytes, 0 if it is missing.

        Args:
            path: Path with suffix.
        """
        return self._files.size(path) or 0

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
                raise BodyMissing(f"the body {path} is missing") from err
            if not piece:
                return
            yield piece
            offset += len(piece)

    def unlink(self, path: str) -> bool:
        """Remove a body in either form, durably; may be repeated.

        Args:
            path: Path without suffix.

        Returns:
            False if there was none.

        Raises:
            FileFault: Repeat.
        """
        found = False
        for suffix in (SEALED_SUFFIX, OPEN_SUFFIX, f"{OPEN_SUFFIX}.new"):
            if self._files.size(path + suffix) is not None:
                self._files.unlink(path + suffix)
                found = True
        if self._files.names(parent(path)) or found:
            self._files.sync_directory(parent(path))
        return found

    def all_paths(self) -> Iterator[str]:
        """Yield the path, with suffix, of every file below the directory of bodies."""
        yield from self._walk(BODIES_DIRECTORY, 3)

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


def _open(key: bytes, counter: int, sealed: bytes) -> tuple[int, bool] | None:
    """Length of a chunk's plaintext and its final flag; None if it does not authenticate."""
    for final in (False, True):
        try:
            return len(open_chunk(key, counter, sealed, final=final)), final
        except PayloadError:
            continue
    return None
