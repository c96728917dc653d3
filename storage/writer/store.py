"""The store of a recording daemon: opens recordings and syncs them together.

One thread uses the store; ``sync`` is called by it at least twice a second. The order
of what is written is that of ``storage.writer.opening`` and ``storage.writer.sealing``.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from storage.age import Random, Recipient
from storage.audit import AuditLog
from storage.bodies import Bodies
from storage.catalogue import Catalogue
from storage.container import AudioFormat
from storage.errors import (
    FileFault,
    KeyFileError,
    RecordingNotFound,
    StorageError,
    StoreNotRecovered,
    WalError,
)
from storage.files import Files
from storage.keys import KeyStore
from storage.tags import NumberTokens, Parties, RecordingId, RecordingTags, SealFacts
from storage.wal import Tail, Wal, destroy_keys_together, keyed_recordings, segment_numbers
from storage.writer.opening import OpenRequest, open_together
from storage.writer.parts import StoreParts, erase_purpose
from storage.writer.recording import RecordingWriter
from storage.writer.sealing import SealedRecording, seal_together

DEFAULT_SEGMENT_BYTES: Final = 32 << 20
LOCK_PATH: Final = "daemon.lock"
_BODY_SHARE: Final = 16


@dataclass(frozen=True, slots=True)
class RecordingFault:
    """A recording that failed during ``sync``; ``abort`` must follow.

    Attributes:
        recording: Which.
        error: Why.
    """

    recording: RecordingId
    error: StorageError


class RecordingStore:
    """Everything a daemon needs to record; holds the lock of the data directory.

    Start-up is ``RecordingStore(...)``, then ``storage.recover(store, now)``, then
    ``open``. The daemon seals or aborts every writer before ``close``.

    Args:
        files: The data directory.
        catalogue: Its catalogue.
        audit: Its audit chain; ``store.audit`` gives it to others on the same thread.
        recipients: Public keys that can open the recordings.
        random: Source of randomness.
        segment_bytes: Length at which the log goes on in a new segment.

    Raises:
        StoreLocked: Another daemon uses the data directory.
        KeyFileError: There is no recipient.
    """

    def __init__(
        self,
        files: Files,
        catalogue: Catalogue,
        audit: AuditLog,
        recipients: Sequence[Recipient],
        *,
        random: Random = secrets.token_bytes,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> None:
        if not recipients:
            raise KeyFileError("no recipient is configured: nobody could open the recordings")
        self._lock = ExitStack()
        self._lock.enter_context(files.lock(LOCK_PATH, wait=False))
        self._recipients = tuple(recipients)
        self._random = random
        self._parts = StoreParts(
            files=files,
            catalogue=catalogue,
            audit=audit,
            keys=KeyStore(files),
            bodies=Bodies(files),
            wal=Wal(files, random, segment_bytes),
            leftover_keys=set(),
        )
        self._open: dict[RecordingId, RecordingWriter] = {}
        self._recovered = False

    @property
    def parts(self) -> StoreParts:
        """What it is made of, for recovery, shredding and reading."""
        return self._parts

    @property
    def audit(self) -> AuditLog:
        """The audit chain; same thread as the store."""
        return self._parts.audit

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue; may be read from any thread."""
        return self._parts.catalogue

    @property
    def open_recordings(self) -> tuple[RecordingWriter, ...]:
        """Writers that have not ended."""
        return tuple(self._open.values())

    @property
    def leftover_keys(self) -> int:
        """Sealed recordings whose log keys could not be destroyed yet; should be 0."""
        return len(self._parts.leftover_keys)

    def open(
        self,
        tags: RecordingTags,
        parties: Parties,
        audio: AudioFormat,
        now: datetime,
        index: NumberTokens | None = None,
    ) -> RecordingWriter:
        """Open a recording.

        Args:
            tags: Its tags: purpose, expiry and the proof of the announcement.
            parties: Who calls whom; encrypted before it is stored.
            audio: Format of the frames that will be written.
            now: The current instant (aware).
            index: Its numbers as keyed hashes; None if it is not to be found by number.

        Returns:
            Its writer.

        Raises:
            StorageError: It is not open, nothing was recorded.
            StoreNotRecovered: ``recover`` was not called first.
        """
        opened = self.open_together([OpenRequest(tags, parties, audio, index)], now)[0]
        if isinstance(opened, StorageError):
            raise opened
        return opened

    def open_together(
        self, requests: Sequence[OpenRequest], now: datetime
    ) -> list[RecordingWriter | StorageError]:
        """Open recordings that wait, with one commit and one sync of each directory for all.

        Args:
            requests: What to open, each id once.
            now: The current instant (aware).

        Returns:
            For each its writer, or why it is not open: nothing of it was recorded.

        Raises:
            StoreNotRecovered: ``recover`` was not called first.
            WalError: The log failed: sync and abort what is open first.
        """
        self._check_recovered()
        if self._parts.wal.failure is not None:
            if self._sound():
                raise WalError("the write-ahead log failed: sync and abort what is open first")
            self._parts.wal.restart()
        opened = open_together(self._parts, requests, self._recipients, self._random, now, self._ended)
        self._open.update(
            {writer.recording: writer for writer in opened if isinstance(writer, RecordingWriter)}
        )
        return opened

    def seal_together(
        self, seals: Sequence[tuple[RecordingWriter, SealFacts]]
    ) -> list[SealedRecording | StorageError]:
        """Make recordings final, with one sync of the log and one commit for all.

        Args:
            seals: Each recording once, and what is known of it.

        Returns:
            For each what ``RecordingWriter.seal`` gives or raises.
        """
        return seal_together(self._parts, seals)

    def drop_purpose(self, recording: RecordingId, purpose: str, reason: str, now: datetime) -> None:
        """End one of several purposes of a recording: its key is destroyed at once. May be repeated.

        Args:
            recording: Which; its writer may have ended.
            purpose: Which; not the only one.
            reason: E.g. ``opt_out``; no personal data.
            now: The current instant (aware).

        Raises:
            StorageError: Repeat; what is destroyed stays destroyed.
        """
        parts, writer = self._parts, self._open.get(recording)
        if any(stone.purpose == purpose for stone in parts.catalogue.tombstones_of(recording)):
            return
        if writer is not None:
            writer.drop_purpose(purpose, reason, now)
            return
        row = parts.catalogue.claim_purpose(recording, purpose, reason)
        erase_purpose(parts.files, parts.catalogue, parts.audit, row, purpose, now)

    def withdraw(self, recording: RecordingId, reason: str) -> None:
        """End the last purpose of a recording that is closed: its key is destroyed at once.

        The body, which nobody can read then, goes with the next run of retention. May be repeated.

        Args:
            recording: Which; sealed or aborted.
            reason: E.g. ``opt_out``; no personal data.

        Raises:
            HeldRecording: A hold stands; nothing was touched.
            StorageError: Repeat; what is destroyed stays destroyed.
        """
        parts = self._parts
        try:
            row = parts.catalogue.claim_for_shredding(recording, reason)
        except RecordingNotFound:
            return  # retention was faster
        parts.keys.destroy(recording, row.header_purposes)

    def sync(self) -> tuple[RecordingFault, ...]:
        """Make all audio written so far durable: one sync of the log for all calls.

        Returns:
            Recordings that failed just now. Each must be aborted; the others go on.
            If the log itself fails, that is all of them.

        Raises:
            StorageError: The audit chain cannot be written; audio is not affected.
        """
        faults = self._sync_log()
        if not faults and self._parts.wal.full:
            faults = self._rotate()
        elif not faults and self._parts.wal.half_full:
            faults = self._sync_some_bodies()
        self._destroy_leftover_keys()
        self._parts.audit.flush()
        return tuple(faults)

    def free_bytes(self) -> int:
        """Space left on the file system of the data directory.

        Raises:
            FileFault: It cannot be asked.
        """
        return self._parts.files.free_bytes()

    def close(self) -> None:
        """Release everything. Writers that have not ended are left to recovery.

        Raises:
            StorageError: Something could not be synced; recovery will see to it.
        """
        try:
            self._sync_log()
            self._destroy_leftover_keys()
            self._parts.wal.close(idle=not self._open)
            self._parts.audit.close()
        finally:
            self._lock.close()

    def accept_recovered(self) -> None:
        """Called by ``recover`` when nothing of an earlier run is left open."""
        self._recovered = True

    def _check_recovered(self) -> None:
        if not self._recovered and (
            keyed_recordings(self._parts.files) or segment_numbers(self._parts.files)
        ):
            raise StoreNotRecovered("recordings of an earlier run are still open: call recover first")
        self._recovered = True

    def _sound(self) -> list[RecordingWriter]:
        return [writer for writer in self._open.values() if writer.failure is None and not writer.sealing]

    def _sync_log(self) -> list[RecordingFault]:
        faults: list[RecordingFault] = []
        sound = self._sound()
        try:
            for writer in sound:
                writer.log_pending()
            self._parts.wal.sync()
        except WalError as err:
            return [_failed(writer, err) for writer in sound]
        for writer in sound:
            try:
                writer.note_synced()
            except FileFault as err:
                faults.append(_failed(writer, err))
        return faults

    def _sync_some_bodies(self) -> list[RecordingFault]:
        """Spread the syncs that a rotation needs, so that it does not take long itself."""
        faults: list[RecordingFault] = []
        dirty = [writer for writer in self._sound() if writer.body_dirty]
        for writer in dirty[: len(self._open) // _BODY_SHARE + 1]:
            try:
                writer.sync_body()
            except FileFault as err:
                faults.append(_failed(writer, err))
        return faults

    def _rotate(self) -> list[RecordingFault]:
        faults: list[RecordingFault] = []
        sound: list[RecordingWriter] = []
        tails: list[Tail] = []
        if any(writer.sealing for writer in self._open.values()):
            self._parts.wal.keep_segment()  # its seal record is in it
        for writer in self._sound():
            try:
                tails.append(writer.tail())
            except FileFault as err:
                faults.append(_failed(writer, err))
            else:
                sound.append(writer)
        try:
            self._parts.wal.rotate(tails)
        except WalError as err:
            return faults + [_failed(writer, err) for writer in sound]
        for writer in sound:
            writer.note_rotated()
        return faults

    def _destroy_leftover_keys(self) -> None:
        if self._parts.leftover_keys:
            faults = destroy_keys_together(self._parts.files, tuple(self._parts.leftover_keys))
            self._parts.leftover_keys.intersection_update(faults)  # tried again at the next sync

    def _ended(self, writer: RecordingWriter) -> None:
        self._open.pop(writer.recording, None)


def _failed(writer: RecordingWriter, error: StorageError) -> RecordingFault:
    writer.fail(error)
    return RecordingFault(writer.recording, error)
