"""Recordings, tombstones, parties and holds as JSON documents: a contract, fields are only added.

The command line prints them and the HTTP API serves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TypeAlias

from recproxy.jsonform import Json, instant
from storage import (
    CatalogueRow,
    ChannelFacts,
    DerivedFile,
    Hold,
    NoticeProof,
    Parties,
    PurposeTerm,
    RecordingTags,
    TermChange,
    Ticket,
    Tombstone,
)

__all__ = [
    "Document",
    "body_path",
    "hold_evidence",
    "of_derived",
    "of_hold",
    "of_parties",
    "of_row",
    "of_ticket",
    "of_tombstone",
    "promotion_evidence",
    "summary",
    "ticket_evidence",
]

Document: TypeAlias = Mapping[str, Json]


def summary(row: CatalogueRow) -> Document:
    """What a list tells of a recording."""
    tags, facts = row.tags, row.facts
    return {
        "id": tags.recording.text,
        "state": row.state.value,
        "purpose": tags.purpose,
        "purposes": [term.purpose for term in tags.terms],
        "direction": tags.direction.value,
        "trunk": tags.trunk,
        "started": instant(tags.started),
        "expiry": instant(tags.kept_until),
        "duration_s": None if facts is None else round(facts.frames / row.audio.rate_hz, 3),
        "bytes": row.size_bytes,
        "held": row.held,
    }


def body_path(row: CatalogueRow) -> str:
    """Where the body is, in the data directory; it has another suffix until it is sealed."""
    return f"{row.body}.age" if row.sha256 else f"{row.body}.part"


def of_row(row: CatalogueRow) -> Document:
    """All of a recording but its parties."""
    tags, facts = row.tags, row.facts
    return {
        **summary(row),
        "legal_basis": tags.legal_basis.value,
        "policy_sha256": tags.policy_version,
        "call": tags.call,
        "node": tags.node,
        "ended": None if facts is None else instant(facts.ended),
        "hold_reference": row.hold_reference,
        "reason": row.reason,
        "cause": row.cause,
        "audio": {
            "encoding": row.audio.encoding,
            "rate_hz": row.audio.rate_hz,
            "channels": row.audio.channels,
        },
        "body": body_path(row),
        "sha256": row.sha256,
        "notice": _of_notice(tags.notice),
        "terms": [_of_term(tags, term) for term in tags.terms],
        "quality": None
        if facts is None
        else {
            "frames": facts.frames,
            "pauses": facts.pauses,
            "paused_s": facts.paused.total_seconds(),
            "dropped_packets": facts.dropped_packets,
            "caller": _of_channel(facts.caller),
            "callee": _of_channel(facts.callee),
        },
    }


def of_tombstone(stone: Tombstone) -> Document:
    """What remains of a recording."""
    return {
        "id": stone.recording.text,
        "state": stone.state.value,
        "purpose": stone.purpose,
        "policy_sha256": stone.policy_version,
        "started_on": stone.started_on.isoformat(),
        "minutes_at_most": stone.minutes,
        "expiry": instant(stone.expiry),
        "gone_at": instant(stone.gone_at),
        "out_of_backups_at": _or_none(stone.out_of_backups),
        "complete_at": _or_none(stone.complete_at),
        "key_group": stone.key_group,
        "key_id": stone.key_id,
        "cause": stone.cause,
        "bytes": stone.size_bytes,
        "sha256": stone.sha256,
        "retention_run": stone.run,
        "verified": stone.verified,
        "audit_line": stone.chain_seq,
        "audit_sha256": stone.chain_sha256,
    }


def of_parties(parties: Parties) -> Document:
    """Who called whom: personal data."""
    return {
        "caller": parties.caller,
        "callee": parties.callee,
        "sip_call_ids": list(parties.sip_call_ids),
    }


def of_derived(file: DerivedFile) -> Document:
    """What was made from a recording: none of its words."""
    return {
        "recording": file.recording.text,
        "kind": file.kind.value,
        "purpose": file.purpose,
        "state": file.state.value,
        "language": file.language,
        "form": file.form,
        "by": file.origin,
        "added": instant(file.added),
        "expiry": instant(file.expiry),
        "bytes": file.size_bytes,
        "sha256": file.sha256,
    }


def of_hold(hold: Hold) -> Document:
    """A hold: why, whose word, until when."""
    return {
        "id": hold.id,
        "state": hold.state.value,
        "kind": hold.kind.value,
        "reason": hold.reason.value,
        "case_ref": hold.case_ref,
        "recordings": [recording.text for recording in hold.recordings],
        "requested_by": hold.requested_by,
        "requested_at": instant(hold.requested_at),
        "ends": instant(hold.ends),
        "approved_by": hold.approved_by,
        "approved_at": None if hold.approved_at is None else instant(hold.approved_at),
        "ended_by": hold.ended_by,
        "ended_at": None if hold.ended_at is None else instant(hold.ended_at),
    }


def of_ticket(ticket: Ticket) -> Document:
    """A request to hear a recording: who asked, who approved, until when."""
    return {
        "id": ticket.id,
        "recording": ticket.recording.text,
        "use": ticket.use,
        "requested_by": ticket.requested_by,
        "requested_at": instant(ticket.requested_at),
        "ends": instant(ticket.ends),
        "approved_by": ticket.approved_by or None,
        "approved_at": None if ticket.approved_at is None else instant(ticket.approved_at),
    }


def ticket_evidence(ticket: Ticket, purpose: str, why: str) -> Mapping[str, str]:
    """What the audit chain is told of a request, or of its approval."""
    return {
        "rec": ticket.recording.text,
        "purpose": purpose,
        "use": ticket.use,
        "ticket": ticket.id,
        "outcome": "approved" if ticket.approved_by else "requested",
        "reason": why or "none given",
    }


def hold_evidence(hold: Hold) -> tuple[Mapping[str, str], ...]:
    """What the audit chain is told of a change of a hold: the fields of one line for each recording."""
    return tuple(
        {
            "hold": hold.id,
            "rec": recording.text,
            "case_ref": hold.case_ref,
            "reason": hold.reason.value,
            "end": instant(hold.ends),
            "outcome": hold.state.value,
        }
        for recording in hold.recordings
    )


def promotion_evidence(change: TermChange, tag: str, why: str, policy: str) -> Mapping[str, str]:
    """What the audit chain is told of a recording that is kept longer by a tag.

    Args:
        change: Its expiry before and after.
        tag: The tag.
        why: Of the person; may be empty.
        policy: Version of the policy that the recording was made under.
    """
    return {
        "rec": change.recording.text,
        "purpose": change.purpose,
        "tag": tag[:64],
        "before": change.before.isoformat(),
        "expires_at": change.after.isoformat(),
        "policy": policy,
        "outcome": "promoted",
        "reason": why or "none given",
    }


def _or_none(moment: datetime | None) -> Json:
    return None if moment is None else instant(moment)


def _of_notice(notice: NoticeProof) -> Document:
    return {
        "prompt": notice.prompt,
        "sha256": notice.sha256,
        "language": notice.language,
        "heard_by": list(notice.heard_by),
        "started": instant(notice.started),
        "completed": instant(notice.completed),
    }


def _of_term(tags: RecordingTags, term: PurposeTerm) -> Document:
    """One of the purposes, and the words that told of it."""
    return {
        "purpose": term.purpose,
        "legal_basis": term.legal_basis.value,
        "expiry": instant(term.expiry),
        "counts_from": "call_end" if term.from_end else "call_start",
        "notice": _of_notice(tags.notice_of(term)),
    }


def _of_channel(facts: ChannelFacts | None) -> Document | None:
    return None if facts is None else asdict(facts)
