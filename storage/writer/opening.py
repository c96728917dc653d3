"""Opening recordings together: what is opened at the same time shares its syncs.

Order: rows OPEN → headers in the key store, one for each purpose → log keys → bodies with their nonces →
audit. Each step is done, durably, for all before the next begins; whoever fails at
one takes part in none after it and is erased. Only then can audio be written, so
there is none on disk without a row that has purpose and expiry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from storage.age import FILE_KEY_BYTES, PAYLOAD_NONCE_BYTES, Random, Recipient, payload_key, seal_header
from storage.catalogue import AudioFacts, OpenRow, Wrap
from storage.container import AudioFormat, StreamInfo, encode_header
from storage.errors import StorageError
from storage.evidence import opening_fields
from storage.openbody import NewBody, OpenBody, body_path
from storage.tags import NumberTokens, Parties, RecordingId, RecordingTags
from storage.wal import SECRET_BYTES, RecordingKeys, write_keys
from storage.writer.parties import seal_parties
from storage.writer.parts import StoreParts, erase_unsealed
from storage.writer.recording import RecordingWriter
from storage.writer.rowfaults import row_faults


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A recording to open.

    Attributes:
        tags: Its tags: purpose, expiry and the proof of the announcement.
        parties: Who calls whom; encrypted before it is stored.
        audio: Format of the frames that will be written.
        index: Its numbers as keyed hashes; None if it is not to be found by number.
        recipients: Who can open it for a purpose, if that is not whom the store was given.
        epochs: By purpose the key group, and the epoch whose key pair its recipient is.
    """

    tags: RecordingTags
    parties: Parties
    audio: AudioFormat
    index: NumberTokens | None = None
    recipients: Mapping[str, Sequence[Recipient]] = field(default_factory=dict)
    epochs: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Opening:
    """One of them, on its way."""

    request: OpenRequest
    keys: RecordingKeys
    wav_header: bytes
    age_headers: Mapping[str, bytes]
    row: OpenRow
    body: OpenBody | None = None
    fault: StorageError | None = None


def open_together(
    parts: StoreParts,
    requests: Sequence[OpenRequest],
    recipients: Sequence[Recipient],
    random: Random,
    now: datetime,
    on_end: Callable[[RecordingWriter], None],
) -> list[RecordingWriter | StorageError]:
    """Open recordings.

    Args:
        parts: The store.
        requests: What to open, each id once.
        recipients: Who can open them.
        random: Source of randomness.
        now: The current instant (aware).
        on_end: Called with each writer when it has ended.

    Returns:
        For each its writer, or why it is not open: nothing of it was recorded.
    """
    openings = [_prepare(request, recipients, random) for request in requests]
    faults = row_faults(parts.catalogue.insert_open, [opening.row for opening in openings])
    for place, fault in faults.items():
        openings[place].fault = fault
    entered = [opening for opening in openings if opening.fault is None]
    _note_faults(openings, parts.keys.put({_id(each): each.age_headers for each in _sound(openings)}))
    _note_faults(openings, write_keys(parts.files, [each.keys for each in _sound(openings)]))
    _create_bodies(parts, _sound(openings))
    _audit(parts, _sound(openings))
    for opening in entered:
        if opening.fault is not None:
            _undo(parts, opening, now, opening.fault)
    return [_outcome(parts, opening, on_end) for opening in openings]


def _prepare(request: OpenRequest, recipients: Sequence[Recipient], random: Random) -> _Opening:
    tags, audio = request.tags, request.audio
    file_key = random(FILE_KEY_BYTES)
    wav_header = encode_header(audio, _stream_info(tags))
    age_headers = {
        term.purpose: seal_header(file_key, request.recipients.get(term.purpose, recipients), random)
        for term in tags.terms
    }
    keys = RecordingKeys(
        recording=tags.recording,
        body=body_path(tags.recording, tags.started),
        audio=audio,
        header_bytes=len(wav_header),
        header_sha256={
            purpose: hashlib.sha256(header).hexdigest() for purpose, header in age_headers.items()
        },
        file_key=file_key,
        nonce=random(PAYLOAD_NONCE_BYTES),
        secret=random(SECRET_BYTES),
    )
    wraps = tuple(
        Wrap(purpose, digest, *request.epochs.get(purpose, ("", "")))
        for purpose, digest in keys.header_sha256.items()
    )
    parties = seal_parties(request.parties, file_key, random(PAYLOAD_NONCE_BYTES))
    facts = AudioFacts(audio.encoding.name, audio.rate_hz, audio.channels)
    row = OpenRow(tags, facts, keys.body, parties, request.index, wraps)
    return _Opening(request, keys, wav_header, age_headers, row)


def _id(opening: _Opening) -> RecordingId:
    return opening.request.tags.recording


def _sound(openings: Iterable[_Opening]) -> list[_Opening]:
    return [opening for opening in openings if opening.fault is None]


def _note_faults(openings: Iterable[_Opening], faults: Mapping[RecordingId, StorageError]) -> None:
    for opening in openings:
        if opening.fault is None:
            opening.fault = faults.get(_id(opening))


def _create_bodies(parts: StoreParts, openings: Sequence[_Opening]) -> None:
    wanted = [
        NewBody(each.keys.body, payload_key(each.keys.file_key, each.keys.nonce), each.keys.nonce)
        for each in openings
    ]
    for opening, body in zip(openings, parts.bodies.create_together(wanted), strict=True):
        if isinstance(body, StorageError):
            opening.fault = body
        else:
            opening.body = body


def _audit(parts: StoreParts, openings: Sequence[_Opening]) -> None:
    for opening in openings:
        try:
            told = opening_fields(opening.request.tags, opening.row.audio, opening.request.epochs)
            parts.audit.append("rec.started", told, durable=False)
        except StorageError as err:
            opening.fault = err
    try:
        parts.audit.sync()
    except StorageError as err:
        for opening in _sound(openings):
            opening.fault = err


def _undo(parts: StoreParts, opening: _Opening, now: datetime, err: StorageError) -> None:
    if opening.body is not None:
        opening.body.close()
    try:
        erase_unsealed(parts, opening.request.tags, opening.keys.body, "not_opened", now)
    except StorageError as second:
        err.add_note(f"the half-open recording is left to the next start: {second}")


def _outcome(
    parts: StoreParts, opening: _Opening, on_end: Callable[[RecordingWriter], None]
) -> RecordingWriter | StorageError:
    if opening.fault is not None:
        return opening.fault
    if opening.body is None:
        return StorageError(f"recording {_id(opening)} has no body")
    return RecordingWriter(
        parts, opening.request.tags, opening.keys, opening.body, opening.wav_header, on_end
    )


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
            **_further_facts(tags),
        },
    )


def _further_facts(tags: RecordingTags) -> dict[str, str]:
    """What the header says of further purposes; nothing if there are none."""
    told = [
        f"{term.purpose} until {term.expiry.astimezone(UTC).isoformat()}, "
        f"{term.legal_basis.value}, {tags.notice_of(term).prompt} {tags.notice_of(term).sha256}"
        for term in tags.further
    ]
    return {"further_purposes": "; ".join(told)} if told else {}
