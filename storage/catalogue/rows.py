"""What the catalogue holds, as frozen values, and their written forms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Final, TypedDict

import sqlalchemy as sa

from storage.tags import (
    ChannelFacts,
    Direction,
    LegalBasis,
    NoticeProof,
    NumberTokens,
    PurposeTerm,
    RecordingId,
    RecordingTags,
    SealFacts,
)

_MINUTES: Final = (1, 5, 15, 60, 1440)


class State(Enum):
    """Where a recording is in its life; shredding is complete when no backup has its key any more."""

    OPEN = "open"
    SEALED = "sealed"
    ABORTED = "aborted"
    SHREDDING = "shredding"
    DISCARDING = "discarding"
    SHREDDED = "shredded"
    SHRED_COMPLETE = "shred_complete"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """Format of a recording's samples, for display.

    Attributes:
        encoding: ``ULAW``, ``ALAW`` or ``PCM16``.
        rate_hz: Frames a second.
        channels: Samples in a frame.
    """

    encoding: str
    rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class Wrap:
    """The key pair to which a header is wrapped.

    Attributes:
        purpose: For which purpose.
        sha256: Hash of the header, 64 hex digits.
        key_group: Group of the key pair; empty if it has none.
        epoch: Day or month whose key pair it is; empty for a long-lived one.
    """

    purpose: str
    sha256: str
    key_group: str = ""
    epoch: str = ""

    @property
    def key_id(self) -> str:
        """What a tombstone calls the key: its epoch, if it has one, and 16 digits of the header's hash."""
        return f"{self.epoch}:{self.sha256[:16]}" if self.epoch else self.sha256[:16]


@dataclass(frozen=True, slots=True)
class OpenRow:
    """What is known of a recording when it is opened.

    Attributes:
        tags: Its tags.
        audio: Format of the samples.
        body: Path of the body, without suffix.
        parties: The sealed parties.
        index: Its numbers as keyed hashes; None if it is not indexed.
        wraps: To which key pair the header of each purpose is wrapped.
    """

    tags: RecordingTags
    audio: AudioFacts
    body: str
    parties: bytes = field(repr=False)
    index: NumberTokens | None = None
    wraps: tuple[Wrap, ...] = ()


@dataclass(frozen=True, slots=True)
class SealedRow:
    """What is known of a recording when it is sealed.

    Attributes:
        recording: Which.
        facts: Of the whole of it.
        size_bytes: Length of the sealed body.
        sha256: Hash of the sealed body (ciphertext), 64 hex digits.
        counted_from: From when terms count that count from the end; None if none does.
    """

    recording: RecordingId
    facts: SealFacts
    size_bytes: int
    sha256: str
    counted_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class EndingPurpose:
    """A purpose of a recording that lives on without it; the key for it is being destroyed.

    Attributes:
        term: Purpose and expiry.
        cause: Why: ``expiry``, ``opt_out`` …
    """

    term: PurposeTerm
    cause: str


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """One recording that still has its files.

    Attributes:
        tags: Fixed when it was opened, but for purposes that have ended since.
        state: OPEN, SEALED, ABORTED, SHREDDING or DISCARDING.
        audio: Format of the samples.
        body: Path of the body in the data directory, without suffix.
        parties: Age payload that follows the same header as the body.
        held: True if a hold forbids shredding.
        hold_reference: Case reference of the hold, empty if there is none.
        facts: Known once sealed.
        size_bytes: Length of the sealed body, 0 before.
        sha256: Hash of the sealed body (ciphertext), empty before.
        reason: Why it was sealed or aborted, empty while open.
        cause: Why it is being shredded or discarded, empty if it is not.
        ending: Purposes whose key may still be there and may not be used any more.
        counted_from: From when terms count that count from the end; None if none does, or it is open.
    """

    tags: RecordingTags
    state: State
    audio: AudioFacts
    body: str
    parties: bytes
    held: bool
    hold_reference: str
    facts: SealFacts | None
    size_bytes: int
    sha256: str
    reason: str
    cause: str
    ending: tuple[EndingPurpose, ...] = ()
    counted_from: datetime | None = None

    def base(self, term: PurposeTerm) -> datetime:
        """The instant that the term of one of its purposes counts from."""
        return self.counted_from if term.from_end and self.counted_from else self.tags.started

    @property
    def header_purposes(self) -> tuple[str, ...]:
        """Every purpose that may have a header in the key store."""
        return (
            *(term.purpose for term in self.tags.terms),
            *(ending.term.purpose for ending in self.ending),
        )


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What remains of one purpose of a recording: nothing that says who called (law.md 3.8).

    Attributes:
        recording: Its random id.
        state: SHREDDED, SHRED_COMPLETE once no backup has the key either, or DISCARDED if it
            never held audio to keep.
        purpose: Purpose id; of a derived file with its kind behind a dot.
        policy_version: SHA-256 of the policy it was made under.
        started_on: Day it started, UTC; no time of day.
        minutes: Length rounded up to 1, 5, 15, 60 or 1440 minutes; 0 if unknown.
        expiry: When it had to be gone.
        gone_at: When its key had been destroyed.
        cause: ``expiry``, ``erase``, ``opt_out`` …
        size_bytes: Length of the body that was removed.
        sha256: Hash of that body (ciphertext), empty if it was never sealed.
        run: Id of the retention run, empty if it was none.
        verified: True if key and body were looked for afterwards and not found.
        chain_seq: Number of the audit line that says so.
        chain_sha256: Hash of that line.
        key_group: Group of the key that was destroyed; empty if it is not known yet.
        key_id: Which key: the first 16 digits of the SHA-256 of the header, behind its epoch if
            it had one; empty in tombstones of an earlier version.
        out_of_backups: When the last backup of the key is gone; None until retention has said so.
        complete_at: When that had come, by a trusted clock; None before.
        node: Node that had its key and whose chain that is; empty if written before nodes shared catalogues.
    """

    recording: RecordingId
    state: State
    purpose: str
    policy_version: str
    started_on: date
    minutes: int
    expiry: datetime
    gone_at: datetime
    cause: str
    size_bytes: int
    sha256: str
    run: str
    verified: bool
    chain_seq: int
    chain_sha256: str
    key_group: str = ""
    key_id: str = ""
    out_of_backups: datetime | None = None
    complete_at: datetime | None = None
    node: str = ""

    @property
    def derived(self) -> bool:
        """Whether it is of what was made from the recording, such as a transcript, not of itself."""
        return "." in self.purpose


class KeyFacts(TypedDict):
    """What a tombstone says of the key that was destroyed."""

    key_group: str
    key_id: str


def key_facts(wraps: Mapping[str, Wrap], purpose: str) -> KeyFacts:
    """What a tombstone says of the key for one purpose; of a key that nobody noted, nothing."""
    wrap = wraps.get(purpose)
    return KeyFacts(
        key_group="" if wrap is None else wrap.key_group, key_id="" if wrap is None else wrap.key_id
    )


def length_bucket(frames: int, rate_hz: int) -> int:
    """Length in minutes, rounded up to 1, 5, 15, 60 or 1440; 0 for no audio."""
    if frames <= 0:
        return 0
    minutes = frames / rate_hz / 60
    return next((bound for bound in _MINUTES if minutes <= bound), _MINUTES[-1])


def encode_facts(facts: SealFacts) -> str:
    """Write seal facts as JSON."""
    values = asdict(facts)
    values["ended"] = facts.ended.astimezone(UTC).isoformat()
    values["paused"] = facts.paused.total_seconds()
    return json.dumps(values, separators=(",", ":"))


def decode_facts(text: str) -> SealFacts:
    """Read seal facts back."""
    values = json.loads(text)
    values["ended"] = datetime.fromisoformat(values["ended"])
    values["paused"] = timedelta(seconds=values["paused"])
    for side in ("caller", "callee"):
        if values[side] is not None:
            values[side] = ChannelFacts(**values[side])
    return SealFacts(**values)


def encode_notice(notice: NoticeProof) -> str:
    """Write the proof of an announcement as JSON."""
    values = asdict(notice)
    values["started"] = notice.started.astimezone(UTC).isoformat()
    values["completed"] = notice.completed.astimezone(UTC).isoformat()
    return json.dumps(values, separators=(",", ":"))


def decode_notice(text: str | None) -> NoticeProof | None:
    """Read the proof of an announcement back; None if there is none."""
    if text is None:
        return None
    values = json.loads(text)
    values["heard_by"] = tuple(values["heard_by"])
    values["started"] = datetime.fromisoformat(values["started"])
    values["completed"] = datetime.fromisoformat(values["completed"])
    return NoticeProof(**values)


def decode_row(found: sa.RowMapping, further: Sequence[sa.RowMapping]) -> CatalogueRow:
    """Make a row of its columns and of those of its further purposes."""
    others = [
        (
            PurposeTerm(
                other["purpose"],
                LegalBasis(other["legal_basis"]),
                other["expiry"],
                decode_notice(other["notice"]),
                other["from_end"],
            ),
            other["cause"],
        )
        for other in further
    ]
    notice = NoticeProof(
        prompt=found["notice_prompt"],
        sha256=found["notice_sha256"],
        language=found["notice_language"],
        heard_by=tuple(found["notice_heard_by"].split(",")),
        started=found["notice_started"],
        completed=found["notice_completed"],
    )
    tags = RecordingTags(
        recording=RecordingId(found["id"]),
        call=found["call"],
        node=found["node"],
        purpose=found["purpose"],
        legal_basis=LegalBasis(found["legal_basis"]),
        policy_version=found["policy_version"],
        direction=Direction(found["direction"]),
        trunk=found["trunk"],
        started=found["started"],
        expiry=found["expiry"],
        notice=notice,
        further=tuple(term for term, cause in others if not cause),
        from_end=found["from_end"],
    )
    return CatalogueRow(
        tags=tags,
        state=State(found["state"]),
        audio=AudioFacts(found["encoding"], found["rate_hz"], found["channels"]),
        body=found["body"],
        parties=found["parties"],
        held=found["held"],
        hold_reference=found["hold_reference"],
        facts=None if found["facts"] is None else decode_facts(found["facts"]),
        size_bytes=found["size_bytes"],
        sha256=found["sha256"],
        reason=found["reason"],
        cause=found["cause"],
        ending=tuple(EndingPurpose(term, cause) for term, cause in others if cause),
        counted_from=found["counted_from"],
    )


def decode_tombstone(found: sa.RowMapping) -> Tombstone:
    """Make a tombstone of its columns."""
    values = dict(found)
    return Tombstone(
        **{
            **{name: value for name, value in values.items() if name not in {"id", "state"}},
            "recording": RecordingId(values["id"]),
            "state": State(values["state"]),
        }
    )


def stone_values(tombstone: Tombstone) -> dict[str, object]:
    """The columns of a tombstone."""
    values: dict[str, object] = asdict(tombstone)
    values["id"] = tombstone.recording.text
    values["state"] = tombstone.state.value
    del values["recording"]
    return values


def term_values(recording: RecordingId, term: PurposeTerm, cause: str = "") -> dict[str, object]:
    """The columns of a further purpose."""
    return {
        "id": recording.text,
        "purpose": term.purpose,
        "expiry": term.expiry,
        "legal_basis": term.legal_basis.value,
        "cause": cause,
        "notice": None if term.notice is None else encode_notice(term.notice),
        "from_end": term.from_end,
    }


def open_values(row: OpenRow) -> dict[str, object]:
    """The columns of a recording that is being opened."""
    tags, audio = row.tags, row.audio
    return {
        "id": tags.recording.text,
        "state": State.OPEN.value,
        "purpose": tags.purpose,
        "expiry": tags.expiry,
        "started": tags.started,
        "legal_basis": tags.legal_basis.value,
        "policy_version": tags.policy_version,
        "call": tags.call,
        "node": tags.node,
        "direction": tags.direction.value,
        "trunk": tags.trunk,
        **notice_values(tags.notice),
        "encoding": audio.encoding,
        "rate_hz": audio.rate_hz,
        "channels": audio.channels,
        "body": row.body,
        "parties": row.parties,
        "from_end": tags.from_end,
    }


def notice_values(notice: NoticeProof) -> dict[str, object]:
    """The columns of the announcement of the leading purpose."""
    return {
        "notice_prompt": notice.prompt,
        "notice_sha256": notice.sha256,
        "notice_language": notice.language,
        "notice_heard_by": ",".join(notice.heard_by),
        "notice_started": notice.started,
        "notice_completed": notice.completed,
    }


def wrap_values(row: OpenRow) -> list[dict[str, object]]:
    """The columns of each of its wraps."""
    return [{"id": row.tags.recording.text, **asdict(wrap)} for wrap in row.wraps]
