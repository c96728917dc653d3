"""A body while it is written: chunks enter it once, in order, until the final one.

A body is the age payload alone: a 16-byte nonce, then sealed chunks, in
``recordings/YYYY/MM/DD/<id>``, ``.part`` while open, then ``.age``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from storage.age import CHUNK_BYTES, seal_chunk
from storage.durable import sync_directories
from storage.errors import FileFault
from storage.files import Files, OpenFile
from storage.tags import RecordingId

BODIES_DIRECTORY: Final = "recordings"
OPEN_SUFFIX: Final = ".part"
SEALED_SUFFIX: Final = ".age"


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
class NewBody:
    """A body to create.

    Attributes:
        path: Path without suffix (``body_path``).
        key: Payload key, 32 bytes.
        nonce: Payload nonce, 16 bytes.
    """

    path: str
    key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)


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
        finished = finish_together(self._files, [self])[0]
        if isinstance(finished, FileFault):
            raise finished
        return finished

    def settle(self) -> str:
        """Sync, close and give the final name, which is not durable yet (``finish_together``).

        Returns:
            Its path.

        Raises:
            FileFault: Start-up will finish it.
            ValueError: The final chunk is not written.
        """
        if not self._final:
            raise ValueError(f"{self._path}: no final chunk")
        self._handle.sync()
        self._handle.close()
        self._files.rename(self._path + OPEN_SUFFIX, self._path + SEALED_SUFFIX)
        return self._path + SEALED_SUFFIX

    @property
    def facts(self) -> BodyFacts:
        """Length and hash of what is in the file."""
        return BodyFacts(self._size_bytes, self._digest.hexdigest())

    def close(self) -> None:
        """Release the file and leave it as it is; doing it twice is allowed."""
        self._handle.close()


def finish_together(files: Files, bodies: Sequence[OpenBody]) -> list[BodyFacts | FileFault]:
    """Sync, close and publish bodies under their final names; one sync for each directory.

    Args:
        files: The data directory.
        bodies: Each with its final chunk.

    Returns:
        For each its length and hash, durable; or why not: start-up will finish it.

    Raises:
        ValueError: A final chunk is not written.
    """
    results: list[BodyFacts | FileFault] = []
    places: dict[str, int] = {}
    for place, body in enumerate(bodies):
        try:
            places[body.settle()] = place
        except FileFault as err:
            results.append(err)
        else:
            results.append(body.facts)
    for path, fault in sync_directories(files, places).items():
        results[places[path]] = fault
    return results
