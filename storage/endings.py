"""The steps of shredding, for several recordings at once: what is destroyed together shares its syncs.

Order, for each of them: audit ``shred.started`` → keys destroyed → log keys destroyed → bodies
unlinked → looked for again and not found → audit ``shred.verified`` → tombstones in place of the
row → audit ``tombstone.written``. Each step is durable for all before the next begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from storage.audit import AuditEntry, AuditLog
from storage.bodies import Bodies
from storage.catalogue import (
    CatalogueRow,
    DerivedFile,
    State,
    Tombstone,
    Wrap,
    key_facts,
    length_bucket,
)
from storage.derived import End, derived_stone
from storage.errors import ShredError, StorageError
from storage.files import Files
from storage.keys import KeyStore
from storage.tags import RecordingId
from storage.wal import destroy_keys_together
from storage.writer.rowfaults import row_faults

__all__ = ["Ending", "Endings", "ShredCertificate"]

Bury: TypeAlias = Callable[[Sequence[Sequence[Tombstone]]], None]


@dataclass(frozen=True, slots=True)
class ShredCertificate:
    """Proof that a recording is gone; holds nothing that says who called.

    Attributes:
        tombstone: What stands in the catalogue now, for the purpose that was the last.
        repeated: True if it was shredded before and nothing was left to do.
        key_found: False if the key had been destroyed by an earlier, interrupted try.
        body_found: Likewise for the body.
    """

    tombstone: Tombstone
    repeated: bool
    key_found: bool
    body_found: bool


@dataclass(slots=True)
class Ending:
    """One recording on its way out; its row is in SHREDDING.

    Attributes:
        row: As claimed.
        derived: What was made from it: it goes too.
        wraps: To which key pairs its headers are wrapped, by purpose and slot.
        now: The current instant (aware).
        run: Id of the retention run, empty if it is none.
        key_found: Whether a key was still there.
        body_found: Whether a body was.
        entry: The line that says that both were looked for in vain.
        fault: What went wrong; it takes part in no further step.
    """

    row: CatalogueRow
    derived: tuple[DerivedFile, ...]
    wraps: Mapping[str, Wrap]
    now: datetime
    run: str
    key_found: bool = False
    body_found: bool = False
    entry: AuditEntry | None = None
    fault: StorageError | None = None

    @property
    def recording(self) -> RecordingId:
        """Which."""
        return self.row.tags.recording

    @property
    def slots(self) -> tuple[str, ...]:
        """Every name that a header of it may have in the key store."""
        return (*self.row.header_purposes, *(file.slot for file in self.derived))

    @property
    def bodies(self) -> tuple[str, ...]:
        """Paths of its body and of those of what was made from it, without suffix."""
        return (self.row.body, *(file.body for file in self.derived))

    @property
    def fields(self) -> dict[str, str]:
        """For the audit chain."""
        purposes = ",".join(self.slots)
        return {"rec": self.recording.text, "purpose": purposes, "reason": self.row.cause, "run": self.run}

    def fail(self, err: StorageError) -> None:
        """Say what went wrong with its files."""
        self.fault = ShredError(f"recording {self.recording} is not fully shredded, repeat: {err}")
        self.fault.__cause__ = err

    def tombstones(self) -> list[Tombstone]:
        """What remains of it, that of a purpose first; empty before it was verified."""
        row, entry = self.row, self.entry
        if entry is None:
            return []
        terms = [(term, row.cause) for term in row.tags.terms]
        terms += [(ending.term, ending.cause) for ending in row.ending]
        stones = [
            Tombstone(
                recording=self.recording,
                state=State.SHREDDED,
                purpose=term.purpose,
                policy_version=row.tags.policy_version,
                started_on=row.tags.started.astimezone(UTC).date(),
                minutes=length_bucket(row.facts.frames if row.facts else 0, row.audio.rate_hz),
                expiry=term.expiry,
                gone_at=self.now,
                cause=cause,
                size_bytes=row.size_bytes,
                sha256=row.sha256,
                run=self.run,
                verified=True,
                chain_seq=entry.seq,
                chain_sha256=entry.sha256,
                node=row.tags.node,
                **key_facts(self.wraps, term.purpose),
            )
            for term, cause in terms
        ]
        end = End(row.cause, self.now, self.run, entry)
        return stones + [derived_stone(file, row, self.wraps.get(file.slot), end) for file in self.derived]


class Endings:
    """Carries endings out; for who has the lock of shredding.

    Args:
        files: The data directory.
        audit: Its audit chain.
        keys: Its headers.
        bodies: Its bodies.
    """

    def __init__(self, files: Files, audit: AuditLog, keys: KeyStore, bodies: Bodies) -> None:
        self._files = files
        self._audit = audit
        self._keys = keys
        self._bodies = bodies

    def carry_out(self, endings: Sequence[Ending], bury: Bury) -> list[ShredCertificate | StorageError]:
        """Destroy recordings and leave their tombstones.

        Args:
            endings: Which, each once.
            bury: Puts tombstones in place of rows, all or none.

        Returns:
            For each its certificate, or what went wrong.
        """
        self._tell(_sound(endings), "shred.started", "started")
        self._destroy_keys(_sound(endings))
        self._unlink(_sound(endings))
        self._look(_sound(endings))
        self._say([one for one in endings if isinstance(one.fault, ShredError)], "shred.failed", "failed")
        self._tell(_sound(endings), "shred.verified", "verified")
        graves = _sound(endings)
        faults = row_faults(bury, [ending.tombstones() for ending in graves])
        for place, fault in faults.items():
            graves[place].fault = fault
        self._say(_sound(endings), "tombstone.written", "shredded")
        return [ending.fault or _certificate(ending) for ending in endings]

    def _tell(self, endings: Sequence[Ending], event: str, outcome: str) -> None:
        """A line for each, durable."""
        for ending in endings:
            facts: dict[str, str | int] = {**ending.fields, "outcome": outcome}
            if event == "shred.verified":
                facts |= {"key_found": ending.key_found, "body_found": ending.body_found}
                facts |= {"bytes": ending.row.size_bytes, "sha256_ct": ending.row.sha256}
            try:
                ending.entry = self._audit.append(event, facts, durable=False)
            except StorageError as err:
                ending.fault = err
        try:
            self._audit.sync()
        except StorageError as err:
            for ending in _sound(endings):
                ending.fault = err

    def _say(self, endings: Sequence[Ending], event: str, outcome: str) -> None:
        """A line for each, durable with the next ones."""
        for ending in endings:
            try:
                self._audit.append(event, {**ending.fields, "outcome": outcome}, durable=False)
            except StorageError as err:
                ending.fault = err

    def _destroy_keys(self, endings: Sequence[Ending]) -> None:
        for ending in endings:
            try:
                ending.key_found = self._keys.exists(ending.recording, ending.slots)
            except StorageError as err:
                ending.fail(err)
        faults = self._keys.destroy_several({one.recording: one.slots for one in _sound(endings)})
        _note(endings, faults)
        _note(endings, destroy_keys_together(self._files, [one.recording for one in _sound(endings)]))

    def _unlink(self, endings: Sequence[Ending]) -> None:
        owners = {path: ending for ending in endings for path in ending.bodies}
        found, faults = self._bodies.unlink_together(owners)
        for path, ending in owners.items():
            ending.body_found = ending.body_found or path in found
            if path in faults and ending.fault is None:
                ending.fail(faults[path])

    def _look(self, endings: Sequence[Ending]) -> None:
        for ending in endings:
            try:
                left = self._keys.exists(ending.recording, ending.slots) or any(
                    map(self._bodies.find, ending.bodies)
                )
            except StorageError as err:
                ending.fail(err)
            else:
                if left:
                    said = f"recording {ending.recording}: key or body is still there after it was removed"
                    ending.fault = ShredError(said)


def _note(endings: Sequence[Ending], faults: Mapping[RecordingId, StorageError]) -> None:
    for ending in endings:
        if ending.recording in faults and ending.fault is None:
            ending.fail(faults[ending.recording])


def _sound(endings: Sequence[Ending]) -> list[Ending]:
    return [ending for ending in endings if ending.fault is None]


def _certificate(ending: Ending) -> ShredCertificate:
    return ShredCertificate(
        ending.tombstones()[0],
        repeated=False,
        key_found=ending.key_found,
        body_found=ending.body_found,
    )
