"""What every recording carries: frozen values, no I/O.

A recording may exist only with these tags: why it was made, on what legal
ground, under which policy, until when it is kept, and the proof that the
parties were told (GDPR art. 5(1)(b) and (e), art. 13).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from storage.errors import TagError

_ID: Final = re.compile(r"[0-9a-f]{32}\Z")
_PURPOSE: Final = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
#: Before the name of an announcement that a recording client (SIPREC) played, not recproxy.
CLIENTS_PROMPT: Final = "src:"


@dataclass(frozen=True, slots=True)
class RecordingId:
    """A random 128-bit name, 32 lower-case hex digits; never built from caller data.

    Raises:
        TagError: The text is not 32 lower-case hex digits.
    """

    text: str

    def __post_init__(self) -> None:
        if not _ID.match(self.text):
            raise TagError(f"recording id {self.text!r} is not 32 lower-case hex digits")

    def __str__(self) -> str:
        return self.text


class LegalBasis(Enum):
    """GDPR art. 6(1): the ground on which a recording rests."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    LEGITIMATE_INTEREST = "legitimate_interest"
    PUBLIC_TASK = "public_task"


class Direction(Enum):
    """Of the call, seen from the organisation that records."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


@dataclass(frozen=True, slots=True)
class NoticeProof:
    """The announcement as it was played; without it nothing may be recorded.

    Attributes:
        prompt: The prompt's name in the policy; behind ``CLIENTS_PROMPT`` if a recording client played it.
        sha256: Hash of the audio file that was played, 64 hex digits; of a client's, hash of what
            shows that it did: its words in the call, or the policy's declaration.
        language: BCP 47 tag, e.g. ``nl``.
        heard_by: Who heard it to the end: ``caller``, ``callee`` or both.
        started: When its first frame left (aware, UTC).
        completed: When its last frame had been heard (aware, UTC).
    """

    prompt: str
    sha256: str
    language: str
    heard_by: tuple[str, ...]
    started: datetime
    completed: datetime

    def __post_init__(self) -> None:
        _aware("notice start", self.started)
        _aware("notice end", self.completed)
        if self.completed < self.started:
            raise TagError(f"notice ends at {self.completed} before it starts at {self.started}")
        if not self.heard_by:
            raise TagError("notice was heard by nobody")


@dataclass(frozen=True, slots=True)
class PurposeTerm:
    """One of the purposes of a recording, and how long it is kept for that purpose.

    Attributes:
        purpose: Purpose id of the policy.
        legal_basis: Ground under GDPR art. 6(1).
        expiry: The instant after which nothing may be opened for this purpose (aware, UTC).
        notice: Proof of the announcement that told of it; None if that of the recording did.
        from_end: Its term counts from the end of the recording: it expires as much later as that lasted.
    """

    purpose: str
    legal_basis: LegalBasis
    expiry: datetime
    notice: NoticeProof | None = None
    from_end: bool = False

    def __post_init__(self) -> None:
        if not _PURPOSE.match(self.purpose):
            raise TagError(f"purpose {self.purpose!r} is not lower-case letters, digits and underscores")
        _aware("expiry", self.expiry)


@dataclass(frozen=True, slots=True)
class RecordingTags:
    """The tags of one recording, fixed when it is opened.

    ``purpose``, ``legal_basis`` and ``expiry`` are those of the leading purpose: of the one
    that it is kept for longest, when it is opened.

    Attributes:
        recording: Its id, also the name of its files.
        call: Random reference of the call (not a SIP Call-ID).
        node: Name of the recording node.
        purpose: Purpose id of the policy.
        legal_basis: Ground under GDPR art. 6(1).
        policy_version: SHA-256 of the policy in force, 64 hex digits.
        direction: Inbound or outbound.
        trunk: Name of the trunk the call came from.
        started: When recording began (aware, UTC).
        expiry: The instant after which it must be shredded (aware, UTC).
        notice: Proof that the announcement was heard to its end.
        further: Purposes that it serves too, each with an expiry of its own.
        from_end: The term of the leading purpose counts from the end, as in ``PurposeTerm``.
    """

    recording: RecordingId
    call: str
    node: str
    purpose: str
    legal_basis: LegalBasis
    policy_version: str
    direction: Direction
    trunk: str
    started: datetime
    expiry: datetime
    notice: NoticeProof
    further: tuple[PurposeTerm, ...] = ()
    from_end: bool = False

    def __post_init__(self) -> None:
        _aware("start", self.started)
        terms = self.terms
        for term in terms:
            if term.expiry <= self.started:
                raise TagError(f"expiry {term.expiry} is not after the start {self.started}")
        if len({term.purpose for term in terms}) != len(terms):
            raise TagError(f"purpose {self.purpose!r} or another one is named twice")
        for told in (self.notice, *(term.notice for term in self.further if term.notice is not None)):
            if self.started < told.completed:
                raise TagError(
                    f"recording would start at {self.started}, before the notice ended at {told.completed}"
                )

    @property
    def terms(self) -> tuple[PurposeTerm, ...]:
        """All its purposes, the leading one first."""
        lead = PurposeTerm(self.purpose, self.legal_basis, self.expiry, from_end=self.from_end)
        return (lead, *self.further)

    def counted_from(self, ended: datetime, frames: int, rate_hz: int) -> datetime | None:
        """From when terms count that count from the end; None if none does.

        Args:
            ended: When it ended, by a clock that may have been set back (aware).
            frames: Sample frames in it: it lasted as long at least.
            rate_hz: Of these.
        """
        if not any(term.from_end for term in self.terms):
            return None
        return max(ended, self.started + timedelta(seconds=frames / rate_hz))

    def later(self, lasted: timedelta) -> RecordingTags:
        """The tags when each term that counts from the end expires that much later."""
        moved = tuple(replace(term, expiry=term.expiry + lasted * term.from_end) for term in self.further)
        return replace(self, expiry=self.expiry + lasted * self.from_end, further=moved)

    @property
    def kept_until(self) -> datetime:
        """When the last of its purposes expires: then all of it is shredded."""
        return max(term.expiry for term in self.terms)

    def live(self, now: datetime) -> tuple[PurposeTerm, ...]:
        """Purposes that have not expired; all of them if each has, as when a hold keeps it.

        Args:
            now: The current instant (aware).
        """
        return tuple(term for term in self.terms if term.expiry > now) or self.terms

    def without(self, purpose: str) -> RecordingTags:
        """The tags when one purpose is gone; of those left the longest leads.

        Args:
            purpose: Which; not the only one.
        """
        left = [term for term in self.terms if term.purpose != purpose]
        lead = max(left, key=lambda term: term.expiry)
        notice = lead.notice or self.notice
        others = [term for term in left if term is not lead]
        if notice != self.notice:  # what was told by the former one is still told by that
            others = [replace(term, notice=term.notice or self.notice) for term in others]
        return replace(
            self,
            purpose=lead.purpose,
            legal_basis=lead.legal_basis,
            expiry=lead.expiry,
            notice=notice,
            further=tuple(others),
            from_end=lead.from_end,
        )

    def notice_of(self, term: PurposeTerm) -> NoticeProof:
        """Proof of the announcement that told of one of its purposes."""
        return term.notice or self.notice


@dataclass(frozen=True, slots=True)
class Parties:
    """Who called whom: personal data, stored only encrypted to the recipients.

    Attributes:
        caller: Number or URI user as received; empty when withheld.
        callee: Number or URI user as dialled.
        sip_call_ids: Call-ID of the caller's and the callee's dialog.
    """

    caller: str
    callee: str
    sip_call_ids: tuple[str, str]


@dataclass(frozen=True, slots=True)
class NumberTokens:
    """The numbers of a call as keyed hashes, for exact look-up alone.

    Attributes:
        month: The month whose key made them, ``YYYY-MM``.
        tokens: One for each number, 32 hex digits.
        purposes: Purposes that let it be found; once the last of them has ended they are gone. Empty:
            as long as the recording lives.
    """

    month: str
    tokens: tuple[str, ...]
    purposes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """Quality of one channel, counted while it was recorded; all counts ≥ 0.

    Recordings of an earlier version have 0 for what was not counted then.

    Attributes:
        packets: RTP packets placed.
        lost: Packets that never came (by sequence number).
        late: Packets that came after their place had been written.
        reordered: Packets that came out of order but in time.
        duplicates: Packets whose sequence number had been placed already.
        ssrc_changes: Times the stream's SSRC changed.
        silence_samples: Samples of silence put where no audio was received.
        reanchored: Times a stream was put anew on the clock: timestamps that disagreed with arrival.
        drift_shifts: Times a stream was moved because its clock ran fast or slow.
        telephone_events: Keys pressed, as telephone-events; which ones is not kept.
        undecodable: Packets that no decoder took; silence in the recording.
        overrun: Packets beyond the room for audio that was not yet written.
        jitter_ms: Highest interarrival jitter (RFC 3550 section 6.4.1), milliseconds.
    """

    packets: int = 0
    lost: int = 0
    late: int = 0
    reordered: int = 0
    duplicates: int = 0
    ssrc_changes: int = 0
    silence_samples: int = 0
    reanchored: int = 0
    drift_shifts: int = 0
    telephone_events: int = 0
    undecodable: int = 0
    overrun: int = 0
    jitter_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class SealFacts:
    """What is known of a recording when it is sealed.

    Attributes:
        ended: When recording stopped (aware, UTC).
        frames: Sample frames (one sample per channel) written.
        caller: Facts of the left channel; None if lost in a crash.
        callee: Facts of the right channel; None if lost in a crash.
        dropped_packets: Packets the fork's ring could not hold.
        paused: Time without recording inside (hold).
        reason: Why it ended, e.g. ``hangup``, ``recovered``.
        pauses: How many times it was paused; 0 in recordings of an earlier version.
    """

    ended: datetime
    frames: int
    caller: ChannelFacts | None
    callee: ChannelFacts | None
    dropped_packets: int
    paused: timedelta
    reason: str
    pauses: int = 0


def _aware(what: str, instant: datetime) -> None:
    if instant.tzinfo is None:
        raise TagError(f"{what} {instant} has no time zone; give it in UTC")
