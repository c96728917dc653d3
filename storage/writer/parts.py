"""What a store is made of, and the steps that recovery shares with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from storage.audit import AuditLog
from storage.bodies import Bodies
from storage.catalogue import Catalogue, State, Tombstone, length_bucket
from storage.files import Files
from storage.keys import KeyStore
from storage.openbody import BodyFacts
from storage.tags import RecordingId, RecordingTags, SealFacts
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


def note_sealed(
    audit: AuditLog, tags: RecordingTags, facts: SealFacts, body: BodyFacts, *, durable: bool = True
) -> None:
    """Write ``rec.sealed`` to the audit chain.

    Args:
        audit: The chain.
        tags: Of the recording.
        facts: Likewise.
        body: Likewise.
        durable: Sync the line before returning.

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
        durable=durable,
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
