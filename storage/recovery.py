"""Start-up: completes and seals every recording that a crash left open.

A recording's length is fixed first: the whole unsealed tail and a seal mark go
into a fresh segment of the log and are synced before a body is touched. So
recovery may itself crash anywhere and be run again: it finds the same length,
the same bytes, and writes the same chunks. Chunks that are whole on disk are
kept; a torn one is written again with identical bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from storage.age import CHUNK_BYTES, payload_key
from storage.bodies import Bodies, BodyScan
from storage.catalogue import Catalogue, CatalogueRow, DerivedFile, DerivedKind, SealedRow, State
from storage.errors import BodyMissing, FileFault, KeyUnavailable, RecordingDamaged, RecordingNotFound
from storage.evidence import sealing_fields
from storage.files import Files
from storage.keys import KeyStore
from storage.objects import Objects
from storage.openbody import OPEN_SUFFIX, SEALED_SUFFIX, BodyFacts
from storage.places import KEYS_DIRECTORY, header_path
from storage.tags import RecordingId, SealFacts
from storage.wal import (
    LoggedRecording,
    RecordingKeys,
    SealMark,
    Tail,
    destroy_keys,
    keyed_recordings,
    read_keys,
    read_log,
    remove_segments,
    segment_numbers,
)
from storage.writer import RecordingStore, StoreParts
from storage.writer.parts import erase_unsealed

REASON: Final = "recovered"
_KINDS: Final = frozenset(kind.value for kind in DerivedKind)
_UNFINISHED: Final = (State.OPEN, State.ABORTED, State.DISCARDING)


class Outcome(Enum):
    """What recovery made of a recording."""

    SEALED = "sealed"
    DISCARDED = "discarded"
    DAMAGED = "damaged"
    POSTPONED = "postponed"


@dataclass(frozen=True, slots=True)
class RecoveredRecording:
    """One recording that was open.

    Attributes:
        recording: Which.
        outcome: SEALED; DISCARDED if it held no audio or its discard had begun; DAMAGED if the disk lost
            what the log had promised (it is ABORTED, its whole chunks can be
            salvaged); POSTPONED if it cannot be completed now: the disk failed, its
            header or its row is missing (nothing is erased, the next start tries again).
        frames: Sample frames in it, 0 unless it is SEALED.
        detail: Why, for DAMAGED and POSTPONED.
    """

    recording: RecordingId
    outcome: Outcome
    frames: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    row: CatalogueRow
    keys: RecordingKeys
    scan: BodyScan
    published: bool
    data: bytes
    mark: SealMark


def recover(store: RecordingStore, now: datetime) -> list[RecoveredRecording]:
    """Complete what an earlier run left; called once, before the first ``open``.

    Args:
        store: The store; nothing is open in it.
        now: The current instant (aware).

    Returns:
        One entry for each recording that was open, in no particular order.

    Raises:
        StorageError: The catalogue, the audit chain or the log cannot be used;
            nothing is lost, run it again.
        ValueError: Recordings are open in this store.
    """
    if store.open_recordings:
        raise ValueError("recover comes before the first open")
    parts = store.parts
    parts.wal.restart()
    rows = {row.tags.recording: row for row in parts.catalogue.select(states=_UNFINISHED, own=True)}
    results = _forget_finished(parts, rows)
    results += [
        _discard(parts, row, now, row.cause) for row in rows.values() if row.state is State.DISCARDING
    ]
    keys = _keys(parts, rows)
    logged = read_log(parts.files, keys)
    plans: list[_Plan] = []
    for recording, row in rows.items():
        if row.state is State.DISCARDING:
            continue
        if recording not in keys:
            if row.state is State.OPEN:
                results.append(_discard(parts, row, now, "not_opened"))
            continue
        found = _plan(parts, row, keys[recording], logged[recording])
        if isinstance(found, RecoveredRecording):
            results.append(found)
        elif found.mark.facts.reason == REASON and found.mark.facts.frames == 0:
            results.append(_discard(parts, row, now, "no_audio"))
        else:
            plans.append(found)
    if plans:
        parts.wal.rotate(Tail(plan.keys, plan.scan.plain_bytes, plan.data, plan.mark) for plan in plans)
    results += [_complete(parts, plan) for plan in plans]
    parts.wal.close(idle=False)
    if all(result.outcome is not Outcome.POSTPONED for result in results):
        remove_segments(parts.files, segment_numbers(parts.files))
    parts.audit.append("store.started", _totals(results))
    parts.audit.flush()
    store.accept_recovered()
    return results


def find_orphans(files: Files, catalogue: Catalogue, objects: Objects | None = None) -> tuple[str, ...]:
    """Look for headers and bodies that no row accounts for.

    Recording never leaves any: the row comes first and goes last. They come from a
    backup that was put back (of a shredded recording, or of the catalogue), so they
    are for a person to judge; nothing is removed here. Walks all files.

    Args:
        files: The data directory.
        catalogue: Its catalogue.
        objects: Where sealed bodies may be instead; None if they are all in the data directory.

    Returns:
        Their paths, sorted.

    Raises:
        StorageError: The directory or the catalogue cannot be read.
    """
    paths = [header_path(recording, purpose) for recording, purpose in KeyStore(files).headers()]
    paths += Bodies(files, objects).all_paths()
    known = {recording.text for recording in catalogue.ids()}  # read last: a row precedes its files
    derived = {name for file in catalogue.derived.all() for name in _names_of(file)}
    return tuple(sorted(path for path in paths if not _accounted(path, known, derived)))


def _names_of(file: DerivedFile) -> tuple[str, str]:
    """What a derived file is called in the key store and beside the body, without suffix."""
    return f"{file.recording}.{file.slot}", f"{file.recording}.{file.kind.value}"


def _accounted(path: str, known: Collection[str], derived: Collection[str]) -> bool:
    """Whether a row accounts for a file, by its name."""
    place, _, name = path.rpartition("/")
    owner, _, rest = name.partition(".")
    if place == KEYS_DIRECTORY:
        return name in derived if "." in rest else owner in known
    kind = rest.partition(".")[0]
    return f"{owner}.{kind}" in derived if kind in _KINDS else owner in known


def _forget_finished(parts: StoreParts, rows: Mapping[RecordingId, CatalogueRow]) -> list[RecoveredRecording]:
    """Destroy log keys that a crash left behind a finished seal, discard or shred."""
    orphans: list[RecoveredRecording] = []
    for recording in keyed_recordings(parts.files):
        if recording in rows:
            continue
        try:
            row = parts.catalogue.get(recording)
        except RecordingNotFound:
            if parts.catalogue.tombstone(recording) is None:
                why = "it has log keys but no row: was the catalogue lost, or an old one put back?"
                orphans.append(RecoveredRecording(recording, Outcome.POSTPONED, detail=why))
                continue
        else:
            if row.state is State.SEALED and row.facts is not None:
                sealed = SealedRow(recording, row.facts, row.size_bytes, row.sha256)
                parts.audit.append("rec.sealed", sealing_fields(row.tags, sealed, timedelta(0)))
        destroy_keys(parts.files, recording)
    return orphans


def _keys(parts: StoreParts, rows: Mapping[RecordingId, CatalogueRow]) -> dict[RecordingId, RecordingKeys]:
    """Log keys of the recordings that can be completed."""
    found: dict[RecordingId, RecordingKeys] = {}
    for recording in keyed_recordings(parts.files):
        if recording not in rows or rows[recording].state is State.DISCARDING:
            continue
        keys = read_keys(parts.files, recording)
        if keys is not None:
            found[recording] = keys
        elif rows[recording].state is State.ABORTED:
            destroy_keys(parts.files, recording)
    return found


def _check_headers(parts: StoreParts, row: CatalogueRow, keys: RecordingKeys) -> str | None:
    """What is wrong with the headers in the key store; None if those of all purposes are whole.

    They were durable before the log keys were, and are destroyed only after the row
    said so: a header that is not whole is never taken for a wish to erase.
    """
    for term in row.tags.terms:
        try:
            header = parts.keys.get(keys.recording, term.purpose)
        except KeyUnavailable:
            return f"its header for {term.purpose} is not in the key store: is the key store mounted?"
        if hashlib.sha256(header).hexdigest() != keys.header_sha256.get(term.purpose):
            return f"its header for {term.purpose} in the key store was altered: put back a copy"
    return None


def _plan(
    parts: StoreParts, row: CatalogueRow, keys: RecordingKeys, logged: LoggedRecording
) -> _Plan | RecoveredRecording:
    recording = row.tags.recording
    wrong = _check_headers(parts, row, keys)
    if wrong is not None:
        return RecoveredRecording(recording, Outcome.POSTPONED, detail=wrong)
    key = payload_key(keys.file_key, keys.nonce)
    published = parts.bodies.find(keys.body) == keys.body + SEALED_SUFFIX
    try:
        scan = parts.bodies.scan(keys.body + (SEALED_SUFFIX if published else OPEN_SUFFIX), key, keys.nonce)
        if row.state is State.ABORTED and not published and scan.file_bytes:
            parts.bodies.copy_open(keys.body, scan.file_bytes)
    except (FileFault, BodyMissing) as err:
        return RecoveredRecording(recording, Outcome.POSTPONED, detail=str(err))
    data = b"" if scan.final else logged.since(scan.plain_bytes)
    seal = logged.seal
    if seal is not None and seal.total_bytes <= scan.plain_bytes + len(data):
        data = data[: max(0, seal.total_bytes - scan.plain_bytes)]
        return _Plan(row, keys, scan, published, data, seal)
    # No seal, or one that was never synced: then no final chunk was ever sealed.
    total = scan.plain_bytes + len(data)
    return _Plan(row, keys, scan, published, data, SealMark(total, _facts(row, keys, total)))


def _facts(row: CatalogueRow, keys: RecordingKeys, total_bytes: int) -> SealFacts:
    frames = max(0, total_bytes - keys.header_bytes) // keys.audio.frame_bytes
    return SealFacts(
        ended=row.tags.started + timedelta(seconds=frames / keys.audio.rate_hz),
        frames=frames,
        caller=None,
        callee=None,
        dropped_packets=0,
        paused=timedelta(0),
        reason=REASON,
    )


def _complete(parts: StoreParts, plan: _Plan) -> RecoveredRecording:
    tags = plan.row.tags
    try:
        body = _finish_body(parts, plan)
    except RecordingDamaged as err:
        return _give_up(parts, plan, str(err))
    except FileFault as err:
        return RecoveredRecording(tags.recording, Outcome.POSTPONED, detail=str(err))
    facts, end = plan.mark.facts, _counted_from(plan)
    sealed = SealedRow(tags.recording, facts, body.size_bytes, body.sha256, end)
    parts.catalogue.mark_sealed([sealed])
    before = plan.row.counted_from or tags.started
    later = max(timedelta(0), (end or before) - before)
    parts.audit.append("rec.sealed", sealing_fields(tags, sealed, later))
    try:
        destroy_keys(parts.files, tags.recording)
    except FileFault:
        parts.leftover_keys.add(tags.recording)  # the store tries again at each sync
    return RecoveredRecording(tags.recording, Outcome.SEALED, plan.mark.facts.frames)


def _counted_from(plan: _Plan) -> datetime | None:
    """From when terms count that count from its end: the last audio that is known of."""
    facts = plan.mark.facts
    return plan.row.tags.counted_from(facts.ended, facts.frames, plan.keys.audio.rate_hz)


def _finish_body(parts: StoreParts, plan: _Plan) -> BodyFacts:
    scan, path = plan.scan, plan.keys.body
    if scan.final:
        return parts.bodies.publish(path, scan.file_bytes)
    if plan.published:
        raise RecordingDamaged(f"{path}{SEALED_SUFFIX} was sealed but is cut or altered")
    if not plan.data or scan.plain_bytes + len(plan.data) != plan.mark.total_bytes:
        raise RecordingDamaged(
            f"{path}{OPEN_SUFFIX}: body and log hold {scan.plain_bytes + len(plan.data)} of "
            f"{plan.mark.total_bytes} bytes"
        )
    body = parts.bodies.resume(path, payload_key(plan.keys.file_key, plan.keys.nonce), plan.keys.nonce, scan)
    try:
        data = plan.data
        while len(data) > CHUNK_BYTES:
            body.append(data[:CHUNK_BYTES], final=False)
            data = data[CHUNK_BYTES:]
        body.append(data, final=True)
        return body.finish()
    finally:
        body.close()


def _give_up(parts: StoreParts, plan: _Plan, why: str) -> RecoveredRecording:
    recording = plan.row.tags.recording
    if plan.row.state is State.OPEN:
        parts.catalogue.mark_aborted(recording, Outcome.DAMAGED.value, _counted_from(plan))
    parts.audit.append(
        "rec.failed",
        {
            "rec": recording.text,
            "purpose": plan.row.tags.purpose,
            "outcome": "aborted",
            "reason": Outcome.DAMAGED.value,
        },
    )
    destroy_keys(parts.files, recording)
    return RecoveredRecording(recording, Outcome.DAMAGED, detail=why)


def _discard(parts: StoreParts, row: CatalogueRow, now: datetime, reason: str) -> RecoveredRecording:
    try:
        erase_unsealed(parts, row.tags, row.body, reason, now)
    except FileFault as err:
        return RecoveredRecording(row.tags.recording, Outcome.POSTPONED, detail=str(err))
    return RecoveredRecording(row.tags.recording, Outcome.DISCARDED)


def _totals(results: list[RecoveredRecording]) -> dict[str, int]:
    return {outcome.value: sum(result.outcome is outcome for result in results) for outcome in Outcome}
