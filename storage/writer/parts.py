"""What a store is made of, and the steps that recovery shares with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from storage.audit import AuditLog
from storage.bodies import Bodies
from storage.catalogue import Catalogue, CatalogueRow, State, Tombstone, key_facts, length_bucket
from storage.errors import ShredError
from storage.files import Files
from storage.keys import KeyStore
from storage.tags import RecordingId, RecordingTags
from storage.wal import Wal, destroy_keys


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


def erase_purpose(
    files: Files,
    catalogue: Catalogue,
    audit: AuditLog,
    row: CatalogueRow,
    purpose: str,
    now: datetime,
    run: str = "",
) -> Tombstone:
    """Destroy the key of one purpose of a recording that lives on; may be repeated.

    Args:
        files: The data directory.
        catalogue: Its catalogue.
        audit: Its audit chain.
        row: As ``Catalogue.claim_purpose`` gave it.
        purpose: Which purpose.
        now: The current instant (aware).
        run: Id of the retention run, empty if it is none.

    Returns:
        What remains of that purpose.

    Raises:
        StorageError: Repeat.
    """
    recording = row.tags.recording
    ending = next(ending for ending in row.ending if ending.term.purpose == purpose)
    keys = KeyStore(files)
    key_found = keys.destroy(recording, (purpose,))
    if keys.exists(recording, (purpose,)):
        raise ShredError(f"recording {recording}: its key for {purpose} is still there after it was removed")
    fields = {"rec": recording.text, "purpose": purpose, "reason": ending.cause, "run": run}
    wraps = catalogue.wraps.of(recording)
    entry = audit.append("rec.purpose_expired", {**fields, "outcome": "shredded", "key_found": key_found})
    tombstone = Tombstone(
        recording=recording,
        state=State.SHREDDED,
        purpose=purpose,
        policy_version=row.tags.policy_version,
        started_on=row.tags.started.astimezone(UTC).date(),
        minutes=length_bucket(row.facts.frames if row.facts else 0, row.audio.rate_hz),
        expiry=ending.term.expiry,
        gone_at=now,
        cause=ending.cause,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        run=run,
        verified=True,
        chain_seq=entry.seq,
        chain_sha256=entry.sha256,
        node=row.tags.node,
        **key_facts(wraps, purpose),
    )
    catalogue.bury_purpose(tombstone)
    audit.append("tombstone.written", {**fields, "outcome": "shredded"}, durable=False)
    return tombstone


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
    row = parts.catalogue.get(tags.recording)
    purposes = row.header_purposes
    parts.keys.destroy(tags.recording, purposes)
    destroy_keys(parts.files, tags.recording)
    parts.bodies.unlink(path)
    entry = parts.audit.append(
        "rec.discarded",
        {"rec": tags.recording.text, "purpose": ",".join(purposes), "outcome": "discarded", "reason": reason},
    )
    verified = not parts.keys.exists(tags.recording, purposes) and parts.bodies.find(path) is None
    terms = [(term, reason) for term in row.tags.terms]
    terms += [(ending.term, ending.cause) for ending in row.ending]
    wraps = parts.catalogue.wraps.of(tags.recording)
    parts.catalogue.bury(
        [
            Tombstone(
                recording=tags.recording,
                state=State.DISCARDED,
                purpose=term.purpose,
                policy_version=tags.policy_version,
                started_on=tags.started.astimezone(UTC).date(),
                minutes=length_bucket(0, 1),
                expiry=term.expiry,
                gone_at=now,
                cause=cause,
                size_bytes=0,
                sha256="",
                run="",
                verified=verified,
                chain_seq=entry.seq,
                chain_sha256=entry.sha256,
                node=row.tags.node,
                **key_facts(wraps, term.purpose),
            )
            for term, cause in terms
        ]
    )
