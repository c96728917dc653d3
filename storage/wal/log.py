"""The write-ahead log: what is not yet a whole chunk of a body.

All open recordings share one append-only segment ``wal/<number>.wal``, so that
one sync serves all calls. A record holds the very plaintext bytes of one body
stream, encrypted under a key of that recording alone: HKDF-SHA256 of its log
secret, salted with 16 random bytes of the segment; the nonce is the record's
offset in the segment. A segment is never reopened for writing and its salt is
new each time, so no (key, nonce) pair is ever used twice, not even when a name
is reused after a power loss.

``wal/<id>.key`` holds what completing a recording takes: file key, payload
nonce, log secret, the format. It is destroyed as soon as the recording is
sealed; from then on neither log nor body can be read on this machine.

When a segment gets long, ``rotate`` writes the unsealed tail of every open
recording to a new one and removes the old one. See FORMAT.md for the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from storage.age import Random
from storage.catalogue import encode_facts
from storage.errors import FileFault, FileMissing, WalError
from storage.files import Files, OpenFile
from storage.tags import RecordingId
from storage.wal.keyfile import WAL_DIRECTORY, RecordingKeys
from storage.wal.records import (
    MAGIC,
    MAX_RECORD_BYTES,
    SALT_BYTES,
    SEGMENT_HEADER_BYTES,
    Kind,
    SealMark,
    SegmentCiphers,
    Tail,
    segment_numbers,
    segment_path,
)

_WRITE_BYTES: Final = 256 << 10
"""So much is appended before it is written without a sync."""


class Wal:
    """Writes the log; one object per daemon, used by one thread.

    Args:
        files: The data directory.
        random: Source of randomness.
        segment_bytes: Length at which ``full`` asks for a rotation.
    """

    def __init__(self, files: Files, random: Random, segment_bytes: int) -> None:
        self._files = files
        self._random = random
        self._segment_bytes = segment_bytes
        self._handle: OpenFile | None = None
        self._current: int | None = None
        self._highest = 0
        self._size_bytes = 0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._keep = False
        self._stale: list[int] = []
        self._ciphers = SegmentCiphers(b"")
        self._unsynced = False
        self._failure: WalError | None = None

    @property
    def failure(self) -> WalError | None:
        """Why nothing more can be logged; None if all is well."""
        return self._failure

    @property
    def half_full(self) -> bool:
        """True if a rotation will come soon: bodies had better be synced by then."""
        return self._size_bytes > self._segment_bytes // 2

    @property
    def full(self) -> bool:
        """True if the segment should be rotated."""
        return self._size_bytes > self._segment_bytes

    def append(self, keys: RecordingKeys, offset: int, data: bytes) -> None:
        """Log plaintext of one recording; durable after ``sync``, which writes it too.

        Args:
            keys: Of the recording.
            offset: Where ``data`` starts in its plaintext.
            data: Any length.

        Raises:
            WalError: The log failed now or before; see ``restart``.
        """
        for start in range(0, len(data), MAX_RECORD_BYTES):
            self._append(keys, Kind.DATA, offset + start, data[start : start + MAX_RECORD_BYTES])

    def append_seal(self, keys: RecordingKeys, mark: SealMark) -> None:
        """Log that a recording is complete; durable after ``sync``.

        Args:
            keys: Of the recording.
            mark: Its final length and facts.

        Raises:
            WalError: The log failed now or before; see ``restart``.
        """
        self._append(keys, Kind.SEAL, mark.total_bytes, encode_facts(mark.facts).encode())

    def sync(self) -> None:
        """Make everything appended durable: one sync for all recordings.

        Raises:
            WalError: Everything since the last good sync may be lost. The segment
                is never synced again (a second try could say yes without having
                written); only ``restart`` goes on.
        """
        if self._failure is not None:
            raise self._failed_before(self._failure)
        if not self._unsynced or self._handle is None:
            return
        self._write_out()
        with self._failing():
            self._handle.sync()
        self._unsynced = False

    def write_out(self) -> None:
        """Hand everything appended to the system: it survives the end of this process, not yet a power loss.

        Raises:
            WalError: The log failed now or before; see ``restart``.
        """
        if self._failure is not None:
            raise self._failed_before(self._failure)
        self._write_out()

    def rotate(self, tails: Iterable[Tail]) -> None:
        """Begin a new segment with the unsealed tails and remove the old one.

        The bodies must have been synced: what the old segment held of sealed
        chunks is gone afterwards.

        Args:
            tails: One for each open recording.

        Raises:
            WalError: The old segment stands, the log has failed.
        """
        self._write_out()
        old, keep = self._current, self._keep
        self._leave_segment()
        self._begin_segment()
        for tail in tails:
            self.append(tail.keys, tail.offset, tail.data)
            if tail.seal is not None:
                self.append_seal(tail.keys, tail.seal)
        self.sync()
        if old is not None and not keep:
            self._stale.append(old)
        self.remove_stale()

    def keep_segment(self) -> None:
        """Leave the present segment for recovery: a recording that failed is in it."""
        self._keep = True

    def forget(self, recording: RecordingId) -> None:
        """Drop the key of a recording that is sealed, aborted or discarded."""
        self._ciphers.forget(recording)

    def remove_stale(self) -> None:
        """Remove segments that hold nothing of use; a failure is tried again next time."""
        for number in tuple(self._stale):
            try:
                self._files.unlink(segment_path(number))
                self._files.sync_directory(WAL_DIRECTORY)
            except FileMissing:
                pass
            except FileFault:
                return
            self._stale.remove(number)

    def restart(self) -> None:
        """After a failure: leave the old segment to recovery and go on in a new one."""
        self._leave_segment()
        self._failure = None

    def close(self, *, idle: bool) -> None:
        """Release the segment.

        Args:
            idle: True if every recording is sealed, aborted or discarded: the
                segment is then removed, unless recovery needs it.
        """
        if not idle and self._failure is None:
            self._write_out()
        current, keep = self._current, self._keep or self._failure is not None
        self._leave_segment()
        if idle and current is not None and not keep:
            self._stale.append(current)
            self.remove_stale()

    def _append(self, keys: RecordingKeys, kind: Kind, offset: int, data: bytes) -> None:
        if self._failure is not None:
            raise self._failed_before(self._failure)
        if self._handle is None:
            self._begin_segment()
        record = self._ciphers.seal(keys, kind, offset, data, self._size_bytes)
        self._pending += record
        length = sum(map(len, record))
        self._pending_bytes += length
        self._size_bytes += length
        self._unsynced = True
        if self._pending_bytes >= _WRITE_BYTES:
            self._write_out()

    def _write_out(self) -> None:
        """One write for the records of all recordings."""
        if not self._pending or self._handle is None:
            return
        pending = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        with self._failing():
            self._handle.write(pending)

    def _begin_segment(self) -> None:
        with self._failing():
            self._files.make_directory(WAL_DIRECTORY)
            self._highest = self._current = max((*segment_numbers(self._files), self._highest)) + 1
            salt = self._random(SALT_BYTES)
            self._ciphers = SegmentCiphers(salt)
            self._handle = self._files.create(segment_path(self._current))
            self._handle.write(MAGIC + salt)
            self._files.sync_directory(WAL_DIRECTORY)
        self._size_bytes = SEGMENT_HEADER_BYTES
        self._unsynced = True

    def _leave_segment(self) -> None:
        if self._handle is not None:
            self._handle.close()
        self._handle = None
        self._current = None
        self._size_bytes = 0
        self._pending.clear()
        self._pending_bytes = 0
        self._keep = False
        self._ciphers = SegmentCiphers(b"")
        self._unsynced = False

    def _failing(self) -> _Failing:
        return _Failing(self)

    def fail(self, failure: WalError) -> None:
        """Take note that nothing more can be logged until ``restart``."""
        self._failure = failure

    @staticmethod
    def _failed_before(failure: WalError) -> WalError:
        error = WalError(f"the write-ahead log failed before: {failure}")
        error.__cause__ = failure
        return error


class _Failing:
    """Turns a file fault into a WalError that sticks."""

    def __init__(self, wal: Wal) -> None:
        self._wal = wal

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, FileFault):
            failure = WalError(f"write-ahead log: {err}")
            self._wal.fail(failure)
            raise failure from err
