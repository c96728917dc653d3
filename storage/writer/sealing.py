"""Sealing recordings together: what is sealed at the same time shares its syncs.

Order: the log holds every length durably → final chunks → bodies synced and under
their final names → rows SEALED → audit → log keys destroyed. Each step is done for
all before the next begins; whoever fails at one takes part in none after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.catalogue import SealedRow
from storage.errors import SealError, StorageError, WriterClosed
from storage.evidence import sealing_fields
from storage.openbody import OpenBody, finish_together
from storage.tags import SealFacts
from storage.wal import SealMark, destroy_keys_together
from storage.writer.parts import StoreParts
from storage.writer.rowfaults import row_faults

if TYPE_CHECKING:
    from storage.tags import RecordingId
    from storage.writer.recording import RecordingWriter


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


def seal_together(
    parts: StoreParts, seals: Sequence[tuple[RecordingWriter, SealFacts]]
) -> list[SealedRecording | StorageError]:
    """Make recordings final.

    Args:
        parts: The store that they are in.
        seals: Each recording once, and what is known of it; ``frames`` is replaced by
            the number written.

    Returns:
        For each what it became, or why not. ``SealError``: it stands as it is; try
        again, or ``abort`` it: start-up will complete it. ``WriterClosed``: it had
        ended, or failed before.
    """
    return _Sealing(parts, seals).run()


class _Sealing:
    """One batch: what each recording is to become, and what went wrong with it."""

    def __init__(self, parts: StoreParts, seals: Sequence[tuple[RecordingWriter, SealFacts]]) -> None:
        self._parts = parts
        self._seals = seals
        self._marks: dict[RecordingId, SealMark] = {}
        self._faults: dict[RecordingId, StorageError] = {}

    def run(self) -> list[SealedRecording | StorageError]:
        for writer, facts in self._seals:
            try:
                self._marks[writer.recording] = writer.begin_seal(facts)
            except WriterClosed as err:
                self._faults[writer.recording] = err
        self._publish([writer for writer in self._sound() if writer.published is None])
        self._enter_rows([writer for writer in self._sound() if not writer.row_sealed])
        self._note(self._sound())
        self._forget_keys(self._sound())
        return [self._result(writer) for writer, _ in self._seals]

    def _sound(self) -> list[RecordingWriter]:
        return [writer for writer, _ in self._seals if writer.recording not in self._faults]

    def _publish(self, writers: Sequence[RecordingWriter]) -> None:
        """Bodies; who fails here has failed for good and is left to start-up."""
        logged: list[RecordingWriter] = []
        for writer in writers:
            try:
                writer.log_seal(self._marks[writer.recording])
            except StorageError as err:
                self._fail(writer, err)
            else:
                logged.append(writer)
        try:
            self._parts.wal.sync()
        except StorageError as err:
            for writer in logged:
                self._fail(writer, err)
            return
        closed: list[tuple[RecordingWriter, OpenBody]] = []
        for writer in logged:
            try:
                closed.append((writer, writer.close_body(self._marks[writer.recording])))
            except StorageError as err:
                self._fail(writer, err)
        finished = finish_together(self._parts.files, [body for _, body in closed])
        for (writer, _), body in zip(closed, finished, strict=True):
            if isinstance(body, StorageError):
                self._fail(writer, body)
            else:
                writer.published = body

    def _fail(self, writer: RecordingWriter, err: StorageError) -> None:
        writer.fail(err)
        self._refuse(writer, err)

    def _refuse(self, writer: RecordingWriter, err: StorageError) -> None:
        fault = SealError(f"recording {writer.recording} could not be sealed: {err}")
        fault.__cause__ = err
        self._faults[writer.recording] = fault

    def _enter_rows(self, writers: Sequence[RecordingWriter]) -> None:
        rows = [
            SealedRow(writer.recording, facts, body.size_bytes, body.sha256, writer.counted_from(facts))
            for writer in writers
            for facts in (self._marks[writer.recording].facts,)
            if (body := writer.published) is not None
        ]
        faults = row_faults(self._parts.catalogue.mark_sealed, rows)
        for place, writer in enumerate(writers):
            if place in faults:
                self._refuse(writer, faults[place])
            else:
                writer.row_sealed = True

    def _note(self, writers: Sequence[RecordingWriter]) -> None:
        for writer in writers:
            if writer.published is not None:
                try:
                    facts = self._marks[writer.recording].facts
                    later = (writer.counted_from(facts) or writer.tags.started) - writer.tags.started
                    sealed = SealedRow(
                        writer.recording, facts, writer.published.size_bytes, writer.published.sha256
                    )
                    fields = sealing_fields(writer.tags, sealed, later)
                    self._parts.audit.append("rec.sealed", fields, durable=False)
                except StorageError as err:
                    self._refuse(writer, err)
        try:
            self._parts.audit.sync()
        except StorageError as err:
            for writer in self._sound():
                self._refuse(writer, err)

    def _forget_keys(self, writers: Sequence[RecordingWriter]) -> None:
        for writer in writers:
            writer.end()
        faults = destroy_keys_together(self._parts.files, [writer.recording for writer in writers])
        self._parts.leftover_keys.update(faults)  # the store tries again at each sync

    def _result(self, writer: RecordingWriter) -> SealedRecording | StorageError:
        body = writer.published
        fault = self._faults.get(writer.recording)
        if body is None or fault is not None:
            return fault or SealError(f"recording {writer.recording} has no body")
        frames = self._marks[writer.recording].facts.frames
        return SealedRecording(writer.recording, frames, body.size_bytes, body.sha256)
