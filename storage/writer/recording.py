"""One open recording: buffer → log → chunks → seal.

A chunk is sealed into the body only when the log holds its plaintext durably,
and the final chunk only when the log holds the final length durably. So for one
(key, counter, final flag) there is exactly one plaintext, whatever crashes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from storage.age import CHUNK_BYTES
from storage.errors import StorageError, WriterClosed
from storage.openbody import BodyFacts, OpenBody
from storage.tags import RecordingId, RecordingTags, SealFacts
from storage.wal import RecordingKeys, SealMark, Tail
from storage.writer.parts import StoreParts, erase_purpose, erase_unsealed
from storage.writer.sealing import SealedRecording, seal_together
from storage.writer.unsealed import Unsealed

_LOG_AT_BYTES: Final = 32 * 1024


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

    Attributes:
        published: Its body, once that has its final name.
        row_sealed: True once the catalogue says that it is sealed.
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
        self._tail = Unsealed(header)
        self._total = len(header)
        self._logged = 0
        self._durable = 0
        self._on_end = on_end
        self._failure: StorageError | None = None
        self._mark: SealMark | None = None
        self.published: BodyFacts | None = None
        self.row_sealed = False

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
        self._tail.add(frames)
        self._total += len(frames)
        if self._total - self._logged >= _LOG_AT_BYTES:
            self._log(keys)

    def seal(self, facts: SealFacts) -> SealedRecording:
        """Make it final: ``seal_together`` of this one alone.

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
        sealed = seal_together(self._parts, [(self, facts)])[0]
        if isinstance(sealed, StorageError):
            raise sealed
        return sealed

    def abort(self, reason: str) -> None:
        """End it without seal: what is written is kept, start-up completes it; expiry stands.

        A term that counts from the end counts from the end of what was written.

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
                self._parts.wal.write_out()
        except StorageError as err:
            self._failure = self._failure or err
        self._body.close()
        self._parts.wal.keep_segment()
        self.end()
        if not self.row_sealed:
            end = self._tags.counted_from(self._tags.started, self.frames, self._audio.rate_hz)
            self._parts.catalogue.mark_aborted(self.recording, reason, end)
            self._parts.audit.append(
                "rec.failed",
                {
                    "rec": self.recording.text,
                    "purpose": ",".join(term.purpose for term in self._tags.terms),
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
        self.end()

    def drop_purpose(self, purpose: str, reason: str, now: datetime) -> None:
        """End one of several purposes: its key is destroyed at once, the recording goes on for the others.

        Once the row says so a crash does not undo it: retention finishes it.

        Args:
            purpose: Which; not the only one.
            reason: E.g. ``opt_out``; no personal data.
            now: The current instant (aware).

        Raises:
            StorageError: Repeat; what is destroyed stays destroyed.
            WriterClosed: It has ended.
        """
        self._not_ended()
        parts = self._parts
        row = parts.catalogue.claim_purpose(self.recording, purpose, reason)
        self._tags = row.tags
        erase_purpose(parts.files, parts.catalogue, parts.audit, row, purpose, now)

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

    # The steps of ``seal_together``, in their order.

    def begin_seal(self, facts: SealFacts) -> SealMark:
        """Settle length and facts.

        Raises:
            WriterClosed: It has ended, or failed before.
        """
        self._usable()
        return self._mark or SealMark(self._total, replace(facts, frames=self.frames))

    def log_seal(self, mark: SealMark) -> None:
        """Log what is not in the log yet, and that this is all.

        Raises:
            WalError: The log cannot be written.
        """
        keys = self._usable()
        self._log(keys)
        self._parts.wal.append_seal(keys, mark)

    def counted_from(self, facts: SealFacts) -> datetime | None:
        """From when terms count that count from its end; None if none does."""
        return self._tags.counted_from(facts.ended, facts.frames, self._audio.rate_hz)

    def close_body(self, mark: SealMark) -> OpenBody:
        """The log was synced: write the chunks that are left and the final one.

        Raises:
            FileFault: The body cannot be written.
        """
        self._mark = mark
        self._durable = self._logged
        self._seal_durable_chunks()
        self._body.append(bytes(self._tail), final=True)
        return self._body

    def end(self) -> None:
        """Forget its secrets; nothing can be done with it any more."""
        self._keys = None
        self._tail.clear()
        self._parts.wal.forget(self.recording)
        self._on_end(self)

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
        try:
            self._parts.wal.append(keys, self._logged, self._tail.last(fresh))
        except StorageError as err:
            self.fail(err)
            raise
        self._logged += fresh

    def _seal_durable_chunks(self) -> None:
        """Every full chunk behind which more is durable; the last may have to be final."""
        while self._durable - self._body.sealed_bytes > CHUNK_BYTES:
            self._body.append(self._tail.first(CHUNK_BYTES), final=False)
            self._tail.forget(CHUNK_BYTES)
