"""What the audit chain tells of one recording's beginning and end, written and read back.

The lines ``rec.started`` and ``rec.sealed`` hold all of a row of the catalogue but who
called whom, so that a catalogue that is lost can be made again (``storage.rebuilding``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from storage.audit import AuditValue
from storage.catalogue import AudioFacts, SealedRow
from storage.catalogue.rows import decode_notice, encode_notice
from storage.errors import EvidenceMissing, TagError
from storage.tags import (
    Direction,
    LegalBasis,
    NoticeProof,
    PurposeTerm,
    RecordingId,
    RecordingTags,
    SealFacts,
)

__all__ = ["Epoch", "Opened", "opening_fields", "read_opening", "read_sealing", "sealing_fields"]

Epoch = tuple[str, str]
"""Group of a key pair, and the day or month whose it is; both empty for a long-lived one."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A recording as it was opened.

    Attributes:
        tags: Its tags.
        audio: Format of its samples.
        epochs: By purpose the key pair that its header was wrapped to, if that is of an epoch.
    """

    tags: RecordingTags
    audio: AudioFacts
    epochs: Mapping[str, Epoch]


def opening_fields(tags: RecordingTags, audio: AudioFacts, epochs: Mapping[str, Epoch]) -> dict[str, str]:
    """The fields of ``rec.started``.

    Args:
        tags: Of the recording.
        audio: Format of its samples.
        epochs: By purpose the key pair that its header is wrapped to, if that is of an epoch.
    """
    notice = tags.notice
    return {
        "rec": tags.recording.text,
        "call": tags.call,
        "purpose": ",".join(term.purpose for term in tags.terms),
        "policy": tags.policy_version,
        "basis": tags.legal_basis.value,
        "direction": tags.direction.value,
        "trunk": tags.trunk,
        "started": _text(tags.started),
        "prompt": notice.prompt,
        "prompt_sha256": notice.sha256,
        "language": notice.language,
        "heard_by": ",".join(notice.heard_by),
        "notice_started": _text(notice.started),
        "notice_completed": _text(notice.completed),
        "audio": f"{audio.encoding}/{audio.rate_hz}/{audio.channels}",
        "expires_at": _text(tags.kept_until),
        **_several(tags),
        **(
            {"from_end": ",".join(term.purpose for term in tags.terms if term.from_end)}
            if _from_end(tags)
            else {}
        ),
        **{
            f"notice_{place}": encode_notice(term.notice)
            for place, term in enumerate(tags.further, start=1)
            if term.notice is not None
        },
        **({"epochs": json.dumps(dict(epochs), separators=(",", ":"))} if epochs else {}),
        "outcome": "opened",
    }


def read_opening(line: Mapping[str, AuditValue]) -> Opened:
    """Read ``rec.started`` back.

    Args:
        line: The line.

    Raises:
        EvidenceMissing: It does not tell enough, as those of an earlier version.
    """
    try:
        return Opened(_tags(line), _audio(str(line["audio"])), _epochs(str(line.get("epochs", "{}"))))
    except (KeyError, ValueError, TypeError, TagError) as err:
        raise EvidenceMissing(
            f"line {line.get('seq')} of the audit chain does not tell how recording {line.get('rec')} "
            f"was opened: {type(err).__name__} {err}"
        ) from err


def sealing_fields(tags: RecordingTags, sealed: SealedRow, later: timedelta) -> dict[str, str | int]:
    """The fields of ``rec.sealed``.

    Args:
        tags: Of the recording, as it was opened.
        sealed: Its facts.
        later: How much later terms expire that count from the end than ``tags`` say.
    """
    return {
        "rec": tags.recording.text,
        "call": tags.call,
        "purpose": ",".join(term.purpose for term in tags.terms),
        "outcome": "sealed",
        "reason": sealed.facts.reason,
        "bytes": sealed.size_bytes,
        "frames": sealed.facts.frames,
        "ended": _text(sealed.facts.ended),
        "sha256_ct": sealed.sha256,
        "expires_at": _text(tags.later(later).kept_until),
    }


def read_sealing(line: Mapping[str, AuditValue], opened: Opened) -> SealedRow:
    """Read ``rec.sealed`` back.

    Args:
        line: The line.
        opened: What was told of the recording's beginning.

    Returns:
        Its facts, but for those of its channels and pauses, which the chain does not tell.

    Raises:
        EvidenceMissing: It does not tell enough, as those of an earlier version.
    """
    try:
        facts = SealFacts(
            ended=_instant(line["ended"]),
            frames=int(line["frames"]),
            caller=None,
            callee=None,
            dropped_packets=0,
            paused=timedelta(0),
            reason=str(line["reason"]),
        )
        counted = opened.tags.counted_from(facts.ended, facts.frames, opened.audio.rate_hz)
        return SealedRow(opened.tags.recording, facts, int(line["bytes"]), str(line["sha256_ct"]), counted)
    except (KeyError, ValueError, TypeError) as err:
        raise EvidenceMissing(
            f"line {line.get('seq')} of the audit chain does not tell how recording {line.get('rec')} "
            f"was sealed: {type(err).__name__} {err}"
        ) from err


def _several(tags: RecordingTags) -> dict[str, str]:
    """The expiry and the legal basis of each purpose, if there are several."""
    if not tags.further:
        return {}
    return {
        "expires_by_purpose": ",".join(f"{term.purpose}={_text(term.expiry)}" for term in tags.terms),
        "basis_by_purpose": ",".join(f"{term.purpose}={term.legal_basis.value}" for term in tags.terms),
    }


def _from_end(tags: RecordingTags) -> bool:
    return any(term.from_end for term in tags.terms)


def _tags(line: Mapping[str, AuditValue]) -> RecordingTags:
    purposes = str(line["purpose"]).split(",")
    expiries = _pairs(line.get("expires_by_purpose")) or {purposes[0]: str(line["expires_at"])}
    bases = _pairs(line.get("basis_by_purpose")) or {purposes[0]: str(line["basis"])}
    from_end = str(line.get("from_end", "")).split(",")
    lead, *further = (
        PurposeTerm(
            purpose,
            LegalBasis(bases[purpose]),
            _instant(expiries[purpose]),
            decode_notice(None if (told := line.get(f"notice_{place}")) is None else str(told)),
            purpose in from_end,
        )
        for place, purpose in enumerate(purposes)
    )
    return RecordingTags(
        recording=RecordingId(str(line["rec"])),
        call=str(line["call"]),
        node=str(line["node"]),
        purpose=lead.purpose,
        legal_basis=lead.legal_basis,
        policy_version=str(line["policy"]),
        direction=Direction(line["direction"]),
        trunk=str(line["trunk"]),
        started=_instant(line["started"]),
        expiry=lead.expiry,
        notice=NoticeProof(
            prompt=str(line["prompt"]),
            sha256=str(line["prompt_sha256"]),
            language=str(line["language"]),
            heard_by=tuple(str(line["heard_by"]).split(",")),
            started=_instant(line["notice_started"]),
            completed=_instant(line["notice_completed"]),
        ),
        further=tuple(further),
        from_end=lead.from_end,
    )


def _audio(text: str) -> AudioFacts:
    encoding, rate_hz, channels = text.split("/")
    return AudioFacts(encoding, int(rate_hz), int(channels))


def _epochs(text: str) -> dict[str, Epoch]:
    return {purpose: (str(group), str(epoch)) for purpose, (group, epoch) in json.loads(text).items()}


def _pairs(text: AuditValue | None) -> dict[str, str]:
    return dict(one.split("=", maxsplit=1) for one in str(text).split(",")) if text else {}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _instant(value: AuditValue) -> datetime:
    """Read an instant.

    Raises:
        ValueError: It is none, or has no time zone.
    """
    found = datetime.fromisoformat(str(value))
    if found.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return found
