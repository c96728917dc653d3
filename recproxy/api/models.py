"""The forms of the API's documents, for OpenAPI; ``recproxy.documents`` makes most of them.

Fields are only added, so a client must take ones that it does not know.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Answer(BaseModel):
    """A document of ours."""

    model_config = ConfigDict(frozen=True, extra="allow")


class ProblemDocument(Answer):
    """What went wrong (RFC 9457), and the mend."""

    type: str
    title: str
    status: int
    detail: str
    mend: str


class Me(Answer):
    """Who shows this token, and what it may."""

    name: str
    role: str
    operations: list[str]


class Call(Answer):
    """A call that goes on; numbers are masked."""

    ref: str
    started: Instant
    answered: Instant | None
    trunk: str
    direction: str
    caller: str
    callee: str
    decision: str
    purpose: str
    recording: str
    recording_state: str
    pausable: bool


class Calls(Answer):
    """The calls that go on, oldest first."""

    calls: list[Call]


class RecordingSummary(Answer):
    """What a list tells of a recording."""

    id: Hex
    state: str
    purpose: str
    purposes: list[str]
    direction: str
    trunk: str
    started: Instant
    expiry: Instant
    duration_s: float | None
    bytes: int
    held: bool


class TombstoneDocument(Answer):
    """What remains of a recording that is gone."""

    id: Hex
    state: str
    purpose: str
    policy_sha256: str
    started_on: str
    minutes_at_most: int
    expiry: Instant
    gone_at: Instant
    out_of_backups_at: Instant | None
    complete_at: Instant | None
    key_group: str
    key_id: str
    cause: str
    bytes: int
    sha256: str
    retention_run: str
    verified: bool
    audit_line: int
    audit_sha256: str


class Recordings(Answer):
    """Recordings, newest first; ``more`` tells that the limit cut the list.

    ``not_searched`` names other nodes with recordings among which no number was looked for.
    """

    recordings: list[RecordingSummary]
    gone: list[TombstoneDocument]
    more: bool
    not_searched: list[str]


class Pause(Answer):
    """Where nothing was recorded, in seconds from the beginning, by the lines of the audit chain."""

    from_s: float
    to_s: float
    why: str


class DerivedDocument(Answer):
    """What was made from a recording, such as a transcript: none of its words."""

    recording: Hex
    kind: str
    purpose: str
    state: str
    language: str
    form: str
    by: str
    added: Instant
    expiry: Instant
    bytes: int
    sha256: str


class RecordingFacts(RecordingSummary):
    """All of a recording but who called whom, which is encrypted."""

    legal_basis: str
    policy_sha256: str
    call: str
    node: str
    ended: Instant | None
    hold_reference: str
    reason: str
    cause: str
    audio: dict[str, Any]
    body: str
    sha256: str
    notice: dict[str, Any]
    terms: list[dict[str, Any]]
    quality: dict[str, Any] | None
    uses: list[str]
    playable: bool
    tag: str
    pauses: list[Pause]
    derived: list[DerivedDocument]


class Bucket(Answer):
    """How many recordings of a purpose expire within a span."""

    purpose: str
    within: str
    recordings: int


class RetentionOverview(Answer):
    """What is kept and until when."""

    at: Instant
    recordings: int
    held: int
    overdue: int
    oldest_overdue_s: float
    shredded: int
    expiring: list[Bucket]


class HoldDocument(Answer):
    """A hold: why, on whose word, until when."""

    id: Hex
    state: str
    kind: str
    reason: str
    case_ref: str
    recordings: list[Hex]
    requested_by: str
    requested_at: Instant
    ends: Instant
    approved_by: str
    approved_at: Instant | None
    ended_by: str
    ended_at: Instant | None


class Holds(Answer):
    """Holds, oldest request first."""

    holds: list[HoldDocument]


class TicketDocument(Answer):
    """A request to hear a recording, where two must agree."""

    id: Hex
    recording: Hex
    use: str
    requested_by: str
    requested_at: Instant
    ends: Instant
    approved_by: str | None
    approved_at: Instant | None


class Tickets(Answer):
    """Requests to hear a recording, oldest first."""

    requests: list[TicketDocument]


class AuditPage(Answer):
    """Lines of the audit chain, newest first; ``older`` asks for what came before."""

    lines: list[dict[str, Any]]
    older: int | None


class AuditVerdict(Answer):
    """Whether the audit chain is sound."""

    sound: bool
    lines: int
    sha256: str
    first: str
    last: str
    fault: str
    reason: str


class PurposeSummary(Answer):
    """A purpose of the policy in short."""

    name: str
    title: dict[str, str]
    keep_days: float
    roles: list[str]
    uses: list[str]
    four_eyes: bool
    tags: dict[str, float]
    pause_by_api: bool


class PolicySummary(Answer):
    """The policy in force."""

    version: str
    controller: str
    languages: list[str]
    purposes: list[PurposeSummary]
    lines: list[str]


class Live(Answer):
    """The process answers."""

    status: str


class Ready(Answer):
    """Whether new calls may come; why not."""

    ready: bool
    reasons: list[dict[str, str]]
