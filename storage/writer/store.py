"""The store of a recording daemon: opens recordings and syncs them together.

Order of ``open``: row OPEN → header in the key store → log keys → body with its
nonce → audit. Only then can audio be written, so there is none on disk without a
row that has purpose and expiry. One thread uses the store; ``sync`` is called by
it at least twice a second.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from storage.age import FILE_KEY_BYTES, PAYLOAD_NONCE_BYTES, Random, Recipient, payload_key, seal_header
from storage.audit import AuditLog
from storage.bodies import Bodies, OpenBody, body_path
from storage.catalogue import AudioFacts, Catalogue
from storage.container import AudioFormat, StreamInfo, encode_header
from storage.errors import FileFault, KeyFileError, StorageError, StoreNotRecovered, WalError
from storage.files import Files
from storage.keys import KeyStore
from storage.tags import NumberTokens, Parties, RecordingId, RecordingTags
from storage.wal import (
    SECRET_BYTES,
    RecordingKeys,
    Tail,
    Wal,
    destroy_keys,
    keyed_recordings,
    segment_numbers,
    write_keys,
)
from storage.writer.recording import RecordingWriter, StoreParts, erase_unsealed, seal_parties

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
        self._check_recovered()
        if self._parts.wal.failure is not None:
            if self._sound():
                raise WalError("the write-ahead log failed: sync and abort what is open first")
            self._parts.wal.restart()
        file_key = self._random(FILE_KEY_BYTES)
        header = encode_header(audio, _stream_info(tags))
        age_header = seal_header(file_key, self._recipients, self._random)
        keys = RecordingKeys(
            recording=tags.recording,
            body=body_path(tags.recording, tags.started),
            audio=audio,
            header_bytes=len(header),
            header_sha256=hashlib.sha256(age_header).hexdigest(),
            file_key=file_key,
            nonce=self._random(PAYLOAD_NONCE_BYTES),
            secret=self._random(SECRET_BYTES),
        )
        sealed_parties = seal_parties(parties, file_key, self._random(PAYLOAD_NONCE_BYTES))
        facts = AudioFacts(audio.encoding.name, audio.rate_hz, audio.channels)
        self._parts.catalogue.insert_open(tags, sealed_parties, facts, keys.body, index)
        body: OpenBody | None = None
        try:
            self._parts.keys.put(tags.recording, age_header)
            write_keys(self._parts.files, keys)
            body = self._parts.bodies.create(keys.body, payload_key(file_key, keys.nonce), keys.nonce)
            self._parts.audit.append("rec.started", _started_fields(tags))
        except StorageError as err:
            if body is not None:
                body.close()
            self._undo(tags, keys.body, now, err)
            raise
        writer = RecordingWriter(self._parts, tags, keys, body, header, self._ended)
        self._open[tags.recording] = writer
        return writer

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
        for recording in tuple(self._parts.leftover_keys):
            try:
                destroy_keys(self._parts.files, recording)
            except FileFault:
                continue  # counted in leftover_keys, tried again at the next sync
            self._parts.leftover_keys.discard(recording)

    def _undo(self, tags: RecordingTags, path: str, now: datetime, err: StorageError) -> None:
        try:
            erase_unsealed(self._parts, tags, path, "not_opened", now)
        except StorageError as second:
            err.add_note(f"the half-open recording is left to the next start: {second}")

    def _ended(self, writer: RecordingWriter) -> None:
        self._open.pop(writer.recording, None)


def _failed(writer: RecordingWriter, error: StorageError) -> RecordingFault:
    writer.fail(error)
    return RecordingFault(writer.recording, error)


def _started_fields(tags: RecordingTags) -> dict[str, str]:
    return {
        "rec": tags.recording.text,
        "call": tags.call,
        "purpose": tags.purpose,
        "policy": tags.policy_version[:16],
        "basis": tags.legal_basis.value,
        "prompt": tags.notice.prompt,
        "prompt_sha256": tags.notice.sha256,
        "language": tags.notice.language,
        "expires_at": tags.expiry.astimezone(UTC).isoformat(),
        "outcome": "opened",
    }


def _stream_info(tags: RecordingTags) -> StreamInfo:
    notice = tags.notice
    return StreamInfo(
        tags.recording.text,
        {
            "call": tags.call,
            "node": tags.node,
            "purpose": tags.purpose,
            "legal_basis": tags.legal_basis.value,
            "policy": tags.policy_version,
            "direction": tags.direction.value,
            "trunk": tags.trunk,
            "started": tags.started.astimezone(UTC).isoformat(),
            "expiry": tags.expiry.astimezone(UTC).isoformat(),
            "channels": "left caller, right callee",
            "notice_prompt": notice.prompt,
            "notice_sha256": notice.sha256,
            "notice_language": notice.language,
            "notice_heard_by": ",".join(notice.heard_by),
            "notice_started": notice.started.astimezone(UTC).isoformat(),
            "notice_completed": notice.completed.astimezone(UTC).isoformat(),
        },
    )
