"""One open recording: buffer → log → chunks → seal.

A chunk is sealed into the body only when the log holds its plaintext durably,
and the final chunk only when the log holds the final length durably. So for one
(key, counter, final flag) there is exactly one plaintext, whatever crashes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Final

from storage.age import CHUNK_BYTES, PAYLOAD_NONCE_BYTES, PayloadError, open_chunk, payload_key, seal_chunk
from storage.audit import AuditLog
from storage.bodies import Bodies, BodyFacts, OpenBody
from storage.catalogue import Catalogue, State, Tombstone, length_bucket
from storage.errors import FileFault, RecordingDamaged, SealError, StorageError, WriterClosed
from storage.files import Files
from storage.keys import KeyStore
from storage.tags import Parties, RecordingId, RecordingTags, SealFacts
from storage.wal import RecordingKeys, SealMark, Tail, Wal, destroy_keys

_LOG_AT_BYTES: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class StoreParts:
    """Everything a recording is made of.

    Attributes:
        files: The data directory.
        catalogue: Rows.
        audit: The chain.
        keys: Headers.
        bodies: Bodies.
        wal: The write-ahead log.
        leftover_keys: Recordings whose log keys could not be destroyed yet.
    """

    files: Files
    catalogue: Catalogue
    audit: AuditLog
    keys: KeyStore
    bodies: Bodies
    wal: Wal
    leftover_keys: set[RecordingId]


@dataclass(frozen=True, slots=True)
class SealedRecording:
    """A recording that is safe and that this machine can no longer read.

    Attributes:
        recording: Its id.
        frames: Sample frames in it.
        size_bytes: Length of its body.
        sha256: Hash of its body (ciphertext), 64 hex digits.
    """

    recording: RecordingId
    frames: int
    size_bytes: int
    sha256: str


class RecordingWriter:
    """Takes the audio of one recording; made by ``RecordingStore.open`` only.

    Used by one thread, the one that owns the store. Exactly one of ``seal``,
    ``abort`` and ``discard`` ends it; one that raised may be called again, and
    ``abort`` may follow a ``seal`` that raised.

    Args:
        parts: The store.
        tags: Of the recording.
        keys: Its secrets; dropped when it ends.
        body: Its body, without a chunk.
        header: The WAV header, first bytes of the plaintext.
        on_end: Called once when it has ended.
    """

    def __init__(
        self,
        parts: StoreParts,
        tags: RecordingTags,
        keys: RecordingKeys,
        body: OpenBody,
        header: bytes,
        on_end: Callable[[RecordingWriter], None],
    ) -> None:
        self._parts = parts
        self._tags = tags
        self._keys: RecordingKeys | None = keys
        self._audio = keys.audio
        self._body = body
        self._path = keys.body
        self._header_bytes = len(header)
        self._tail = bytearray(header)
        self._total = len(header)
        self._logged = 0
        self._durable = 0
        self._on_end = on_end
        self._failure: StorageError | None = None
        self._mark: SealMark | None = None
        self._published: BodyFacts | None = None
        self._row_sealed = False

    @property
    def recording(self) -> RecordingId:
        """Its id."""
        return self._tags.recording

    @property
    def tags(self) -> RecordingTags:
        """Its tags."""
        return self._tags

    @property
    def frames(self) -> int:
        """Sample frames written so far."""
        return (self._total - self._header_bytes) // self._audio.frame_bytes

    @property
    def failure(self) -> StorageError | None:
        """Why it can take no more audio; None if all is well."""
        return self._failure

    @property
    def sealing(self) -> bool:
        """True once its length is final: only ``seal`` or ``abort`` may follow."""
        return self._mark is not None

    @property
    def ended(self) -> bool:
        """True once it is sealed, aborted or discarded."""
        return self._keys is None

    def write(self, frames: bytes) -> None:
        """Add audio. It is durable after the next ``RecordingStore.sync``.

        Args:
            frames: Whole sample frames in the format it was opened with.

        Raises:
            WriterClosed: It has ended or failed.
            WalError: The log cannot be written; every recording is affected.
            ValueError: Not whole frames.
        """
        keys = self._usable()
        if len(frames) % self._audio.frame_bytes:
            raise ValueError(f"{len(frames)} bytes are not whole frames of {self._audio.frame_bytes}")
        if self._mark is not None:
            raise WriterClosed(f"recording {self.recording} is being sealed")
        self._tail += frames
        self._total += len(frames)
        if self._total - self._logged >= _LOG_AT_BYTES:
            self._log(keys)

    def seal(self, facts: SealFacts) -> SealedRecording:
        """Make it final: log its length, last chunk, publish, row, audit, destroy the keys.

        Args:
            facts: What is known of it; ``frames`` is replaced by the number
                written here.

        Returns:
            What it became.

        Raises:
            SealError: It stands as it is; call again, or ``abort``: start-up will
                complete it.
            WriterClosed: It has ended, or failed before.
        """
        keys = self._usable()
        mark = self._mark or SealMark(self._total, replace(facts, frames=self.frames))
        try:
            if self._published is None:
                self._published = self._publish(keys, mark)
            self._enter(mark, self._published)
        except StorageError as err:
            if self._published is None:
                self.fail(err)
            raise SealError(f"recording {self.recording} could not be sealed: {err}") from err
        self._forget_keys()
        return SealedRecording(
            self.recording, mark.facts.frames, self._published.size_bytes, self._published.sha256
        )

    def abort(self, reason: str) -> None:
        """End it without seal: what is written is kept, start-up completes it; expiry stands.

        Args:
            reason: One word or a few, no personal data.

        Raises:
            StorageError: The row still says OPEN; start-up completes it all the same.
            WriterClosed: It has ended.
        """
        keys = self._not_ended()
        try:
            if self._parts.wal.failure is None and self._mark is None:
                self._log(keys)
        except StorageError as err:
            self._failure = self._failure or err
        self._body.close()
        self._parts.wal.keep_segment()
        self._end()
        if not self._row_sealed:
            self._parts.catalogue.mark_aborted(self.recording, reason)
            self._parts.audit.append(
                "rec.failed",
                {
                    "rec": self.recording.text,
                    "purpose": self._tags.purpose,
                    "outcome": "aborted",
                    "reason": reason,
                },
            )

    def discard(self, reason: str, now: datetime) -> None:
        """Erase it: the row says so, then keys, then the body; a tombstone stays.

        Once the row says so a crash does not undo it: the next start finishes it.

        Args:
            reason: E.g. ``opt_out``; no personal data.
            now: The current instant (aware).

        Raises:
            StorageError: Repeat; what is destroyed stays destroyed.
            WriterClosed: It has ended.
        """
        self._not_ended()
        self._failure = self._failure or WriterClosed(f"recording {self.recording} was discarded: {reason}")
        self._tail.clear()
        self._body.close()
        erase_unsealed(self._parts, self._tags, self._path, reason, now)
        self._end()

    # What follows is for the store alone.

    def log_pending(self) -> None:
        """Append what is not in the log yet; the store syncs the log afterwards.

        Raises:
            WalError: The log cannot be written.
        """
        self._log(self._usable())

    def note_synced(self) -> None:
        """The log was synced: seal the chunks that are durable in it.

        Raises:
            FileFault: The body cannot be written; the recording must be failed.
        """
        self._durable = self._logged
        self._seal_durable_chunks()

    @property
    def body_dirty(self) -> bool:
        """True if chunks of the body are not durable there yet (they are in the log)."""
        return self._body.dirty

    def sync_body(self) -> None:
        """Make the chunks of the body durable there, if there are any that are not.

        Raises:
            FileFault: The recording must be failed.
        """
        if self._body.dirty:
            self._body.sync()

    def tail(self) -> Tail:
        """What no chunk holds, for the next segment of the log.

        Raises:
            FileFault: The body cannot be synced; the recording must be failed.
        """
        keys = self._usable()
        self.sync_body()
        return Tail(keys, self._body.sealed_bytes, bytes(self._tail))

    def note_rotated(self) -> None:
        """The log was rotated and holds the whole tail durably."""
        self._logged = self._durable = self._total

    def fail(self, error: StorageError) -> None:
        """Take no more audio; ``abort`` or ``discard`` must follow."""
        self._failure = self._failure or error
        self._parts.wal.keep_segment()

    def _usable(self) -> RecordingKeys:
        keys = self._not_ended()
        if self._failure is not None:
            raise WriterClosed(f"recording {self.recording} failed: {self._failure}") from self._failure
        return keys

    def _not_ended(self) -> RecordingKeys:
        if self._keys is None:
            raise WriterClosed(f"recording {self.recording} has ended")
        return self._keys

    def _log(self, keys: RecordingKeys) -> None:
        fresh = self._total - self._logged
        if not fresh:
            return
        data = bytes(memoryview(self._tail)[len(self._tail) - fresh :])
        try:
            self._parts.wal.append(keys, self._logged, data)
        except StorageError as err:
            self.fail(err)
            raise
        self._logged += fresh

    def _seal_durable_chunks(self) -> None:
        """Every full chunk behind which more is durable; the last may have to be final."""
        while self._durable - self._body.sealed_bytes > CHUNK_BYTES:
            chunk = bytes(memoryview(self._tail)[:CHUNK_BYTES])
            self._body.append(chunk, final=False)
            del self._tail[:CHUNK_BYTES]

    def _publish(self, keys: RecordingKeys, mark: SealMark) -> BodyFacts:
        if self._mark is None:
            self._log(keys)
            self._parts.wal.append_seal(keys, mark)
            self._parts.wal.sync()
            self._mark = mark
            self._durable = self._logged
        self._seal_durable_chunks()
        last = bytes(self._tail)
        self._body.append(last, final=True)
        return self._body.finish()

    def _enter(self, mark: SealMark, body: BodyFacts) -> None:
        if not self._row_sealed:
            self._parts.catalogue.mark_sealed(self.recording, mark.facts, body.size_bytes, body.sha256)
            self._row_sealed = True
        note_sealed(self._parts.audit, self._tags, mark.facts, body)

    def _forget_keys(self) -> None:
        self._end()
        try:
            destroy_keys(self._parts.files, self.recording)
        except FileFault:
            self._parts.leftover_keys.add(self.recording)  # the store tries again at each sync

    def _end(self) -> None:
        self._keys = None
        self._tail.clear()
        self._parts.wal.forget(self.recording)
        self._on_end(self)


def note_sealed(audit: AuditLog, tags: RecordingTags, facts: SealFacts, body: BodyFacts) -> None:
    """Write ``rec.sealed`` to the audit chain.

    Raises:
        StorageError: It cannot be written.
    """
    audit.append(
        "rec.sealed",
        {
            "rec": tags.recording.text,
            "call": tags.call,
            "purpose": tags.purpose,
            "outcome": "sealed",
            "reason": facts.reason,
            "bytes": body.size_bytes,
            "frames": facts.frames,
            "sha256_ct": body.sha256,
            "expires_at": tags.expiry.astimezone(UTC).isoformat(),
        },
    )


def erase_unsealed(parts: StoreParts, tags: RecordingTags, path: str, reason: str, now: datetime) -> None:
    """Destroy what there is of a recording that was never sealed; may be repeated.

    Args:
        parts: The store.
        tags: Of the recording; its row is OPEN, ABORTED or DISCARDING.
        path: Path of its body, without suffix.
        reason: Cause in its tombstone.
        now: The current instant (aware).

    Raises:
        StorageError: Repeat.
    """
    parts.catalogue.mark_discarding(tags.recording, reason)
    parts.keys.destroy(tags.recording)
    destroy_keys(parts.files, tags.recording)
    parts.bodies.unlink(path)
    entry = parts.audit.append(
        "rec.discarded",
        {"rec": tags.recording.text, "purpose": tags.purpose, "outcome": "discarded", "reason": reason},
    )
    parts.catalogue.bury(
        Tombstone(
            recording=tags.recording,
            state=State.DISCARDED,
            purpose=tags.purpose,
            policy_version=tags.policy_version,
            started_on=tags.started.astimezone(UTC).date(),
            minutes=length_bucket(0, 1),
            expiry=tags.expiry,
            gone_at=now,
            cause=reason,
            size_bytes=0,
            sha256="",
            run="",
            verified=not parts.keys.exists(tags.recording) and parts.bodies.find(path) is None,
            chain_seq=entry.seq,
            chain_sha256=entry.sha256,
        )
    )


def seal_parties(parties: Parties, file_key: bytes, nonce: bytes) -> bytes:
    """Encrypt the parties as an age payload under the recording's own file key.

    The same header opens it, so shredding the recording erases the parties too,
    in every backup of the catalogue.

    Args:
        parties: What to encrypt.
        file_key: Of the recording, 16 bytes.
        nonce: 16 random bytes, not the nonce of the body.

    Returns:
        Nonce and one final chunk.
    """
    text = json.dumps(asdict(parties)).encode()
    return nonce + seal_chunk(payload_key(file_key, nonce), 0, text, final=True)


def open_parties(sealed: bytes, file_key: bytes) -> Parties:
    """Decrypt what ``seal_parties`` gave.

    Args:
        sealed: From the catalogue.
        file_key: Of the recording, 16 bytes.

    Returns:
        The parties.

    Raises:
        RecordingDamaged: The bytes were altered.
    """
    nonce, chunk = sealed[:PAYLOAD_NONCE_BYTES], sealed[PAYLOAD_NONCE_BYTES:]
    try:
        values = json.loads(open_chunk(payload_key(file_key, nonce), 0, chunk, final=True))
    except (PayloadError, ValueError) as err:
        raise RecordingDamaged("the parties in the catalogue do not authenticate") from err
    caller_id, callee_id = values["sip_call_ids"]
    return Parties(values["caller"], values["callee"], (caller_id, callee_id))
