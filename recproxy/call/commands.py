"""What a call wants done: plain values, carried out by the driver's ports.

SIP commands go to ``SipPort``, media commands to ``MediaPort``; ``Note`` is a
line for the event log and the audit chain. A port that cannot carry out a
command answers with an event, never with an exception.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeAlias

from recproxy.call.events import CallFacts, Codec, CryptoOffer, LegName, LocalMedia, Sdp, StreamFacts
from recproxy.policy import Phrase, RecordPlan
from storage.tags import LegalBasis


@dataclass(frozen=True, slots=True)
class StreamSecurity:
    """How a stream that we open and seal ourselves is described to one leg.

    Attributes:
        protocol: Of the m= line: ``RTP/AVP``, ``RTP/SAVP`` …
        crypto: Our a=crypto lines; empty for plain RTP.
    """

    protocol: str
    crypto: tuple[CryptoOffer, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """SRTP with one leg: what it sends with, and what it is sent with. Never shown."""

    suite: str
    inbound: bytes = field(repr=False)
    outbound: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SdpToSend:
    """A received body, to be sent on with our addresses.

    Attributes:
        body: The bytes as received from the other leg.
        local: Our address and port for each m= section, in order; None disables
            the section (port 0).
        keep: Payload types to keep, for each m= section; None keeps all.
        security: For each m= section of a recorded call, how we secure it; its other
            sections have None. Empty: keys pass through untouched, end to end.
    """

    body: bytes = field(repr=False)
    local: tuple[LocalMedia | None, ...]
    keep: tuple[frozenset[int] | None, ...]
    security: tuple[StreamSecurity | None, ...] = ()


@dataclass(frozen=True, slots=True)
class InviteCallee:
    """Send the INVITE of leg B to the trunk that the caller's trunk forwards to.

    Attributes:
        offer: For the callee.
        number: Whom to call instead of whom the caller asked for; empty: nobody else.
    """

    offer: SdpToSend
    number: str = ""


@dataclass(frozen=True, slots=True)
class ProgressCaller:
    """Send a provisional response to the caller; ``reliable`` asks it to be acknowledged (RFC 3262)."""

    code: int
    reason: str
    sdp: SdpToSend | None
    reliable: bool = False


@dataclass(frozen=True, slots=True)
class AnswerCaller:
    """Send 200 to the caller."""

    sdp: SdpToSend


@dataclass(frozen=True, slots=True)
class EndLeg:
    """End a leg as its state asks: failure response, CANCEL or BYE.

    Attributes:
        leg: Which.
        code: Status for a failure response; 200 for an ordinary BYE or CANCEL.
        reason: Reason phrase, and with a BYE or CANCEL the text of a Reason
            header (RFC 3326) when ``code`` is not 200.
        retry_after_s: Retry-After for 503, None for none.
    """

    leg: LegName
    code: int
    reason: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class SendReoffer:
    """Pass a re-offer on to ``leg`` as a re-INVITE; without one, ask it for an offer.

    Before the call is answered it goes as an UPDATE.
    """

    leg: LegName
    offer: SdpToSend | None


@dataclass(frozen=True, slots=True)
class AnswerReoffer:
    """Answer the pending re-offer of ``leg``.

    ``sdp`` comes with 200 only: an answer, or the offer that was asked for. 200 without it
    repeats what we said last.
    """

    leg: LegName
    code: int
    reason: str
    sdp: SdpToSend | None


@dataclass(frozen=True, slots=True)
class AcknowledgeReoffer:
    """Send the answer to the offer that ``leg`` was asked for, in the ACK; None repeats what stands."""

    leg: LegName
    sdp: SdpToSend | None


@dataclass(frozen=True, slots=True)
class ForkStream:
    """How one m= section of a recording client is taken.

    Attributes:
        local: Where we receive it.
        codecs: What of the offered payload types may be sent.
        crypto: Our key, under the tag of the one that was chosen; None for plain RTP.
        active: Whether anything is to come; else it is answered ``a=inactive``.
    """

    local: LocalMedia
    codecs: tuple[Codec, ...]
    crypto: CryptoOffer | None
    active: bool


@dataclass(frozen=True, slots=True)
class AnswerFork:
    """Send 200 to a recording client: to its INVITE, or to what is pending in its dialog.

    Attributes:
        offer: As received.
        streams: For each m= section of it; None refuses the section.
        again: The dialog is up.
    """

    offer: Sdp
    streams: tuple[ForkStream | None, ...]
    again: bool = False


@dataclass(frozen=True, slots=True)
class NameRecording:
    """Tell the trunks that want to know which recording the call has.

    Attributes:
        recording: Its id; empty once it is destroyed.
    """

    recording: str


class RecordState(Enum):
    """What ``a=record`` says (RFC 7866 section 7.1)."""

    ON = "on"
    OFF = "off"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class IndicateRecording:
    """Tell a record-aware telephone whether it is recorded now; answered by nothing."""

    leg: LegName
    state: RecordState


SipCommand: TypeAlias = (
    InviteCallee
    | ProgressCaller
    | AnswerCaller
    | AnswerFork
    | EndLeg
    | SendReoffer
    | AnswerReoffer
    | AcknowledgeReoffer
    | NameRecording
    | IndicateRecording
)


@dataclass(frozen=True, slots=True)
class AllocateMedia:
    """Open a port pair on both sides for every stream; answered by an event."""

    trunk: str
    streams: int


@dataclass(frozen=True, slots=True)
class ReleaseMedia:
    """Close all ports of the call. Its last command."""


@dataclass(frozen=True, slots=True)
class ConnectMedia:
    """Set where ``leg`` receives, from its SDP; None for a disabled stream.

    Attributes:
        leg: Which.
        streams: In port order.
        keys: For each of them, None if we do not speak SRTP with ``leg``; empty for none at all.
    """

    leg: LegName
    streams: tuple[StreamFacts | None, ...]
    keys: tuple[StreamKeys | None, ...] = ()


@dataclass(frozen=True, slots=True)
class RenewMedia:
    """Somebody else is to sit at ``leg``: forget where it received, and its keys; answered by an event."""

    leg: LegName


@dataclass(frozen=True, slots=True)
class SetGate:
    """Let media through both ways, or not."""

    opened: bool


@dataclass(frozen=True, slots=True)
class PlayPrompt:
    """Play the announcement to these legs, in this codec; answered by events.

    Attributes:
        prompt: Name of the prompt in the policy.
        language: BCP 47 tag of the wanted text.
        legs: Everybody who must hear it.
        stream: Index of the audio stream.
        codec: Negotiated codec.
        ptime_ms: Frame length to send.
    """

    prompt: str
    language: str
    legs: tuple[LegName, ...]
    stream: int
    codec: Codec
    ptime_ms: int


@dataclass(frozen=True, slots=True)
class StopPrompt:
    """Stop the announcement at once; it does not count as heard."""


@dataclass(frozen=True, slots=True)
class PlayTone:
    """Play the short tone, or ``words``, to ``leg``, which hears nothing else; answered by nothing."""

    leg: LegName
    stream: int
    codec: Codec
    ptime_ms: int
    words: Phrase | None = None


@dataclass(frozen=True, slots=True)
class NoticeFacts:
    """The announcement as heard (see ``storage.tags.NoticeProof``)."""

    prompt: str
    sha256: str
    language: str
    heard_by: tuple[LegName, ...]
    started: datetime
    completed: datetime


@dataclass(frozen=True, slots=True)
class FurtherPurpose:
    """A purpose that a recording serves beside the leading one.

    Attributes:
        purpose: Purpose id.
        legal_basis: Ground under GDPR art. 6(1).
        retention: Time to keep for it.
        notice: Proof of the announcement that told of it.
        from_end: That counts from the end of the recording, not from its start.
    """

    purpose: str
    legal_basis: LegalBasis
    retention: timedelta
    notice: NoticeFacts
    from_end: bool = False


@dataclass(frozen=True, slots=True)
class OpenRecording:
    """Start recording one stream now; answered by an event.

    Attributes:
        facts: The call.
        callee_call_id: Call-ID of the callee's dialog.
        purpose: Purpose id.
        legal_basis: Ground under GDPR art. 6(1).
        retention: Time to keep.
        policy_version: SHA-256 of the policy, hex.
        notice: Proof of the announcement.
        stream: Index of the audio stream.
        codecs: Every audio codec that was agreed, payload type by payload type.
        further: Purposes that it serves too; purpose, basis, term and notice above are the leading one's.
        from_end: Its term counts from the end of the recording, not from its start.
    """

    facts: CallFacts
    callee_call_id: str
    purpose: str
    legal_basis: LegalBasis
    retention: timedelta
    policy_version: str
    notice: NoticeFacts
    stream: int
    codecs: tuple[Codec, ...]
    further: tuple[FurtherPurpose, ...] = ()
    from_end: bool = False


@dataclass(frozen=True, slots=True)
class PartRecording:
    """Close the recording and go on in another from the same instant; answered as an opening is.

    Attributes:
        reason: Why the one that runs ends.
        following: What the other is made for; in the format of the first.
        guarded: It serves a purpose that was announced just now: no packet of before may be in it.
    """

    reason: str
    following: OpenRecording
    guarded: bool


@dataclass(frozen=True, slots=True)
class PauseRecording:
    """Record silence from now on."""


@dataclass(frozen=True, slots=True)
class ResumeRecording:
    """Record audio again; ``codecs`` as agreed now."""

    codecs: tuple[Codec, ...]


@dataclass(frozen=True, slots=True)
class SealRecording:
    """Stop the fork and close the recording for good."""

    reason: str


@dataclass(frozen=True, slots=True)
class DiscardRecording:
    """Stop the fork and destroy the recording: key, log and body.

    Attributes:
        reason: Why.
        purposes: What is destroyed of earlier recordings of the call too; None for all of them.
    """

    reason: str
    purposes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class DropPurposes:
    """A party said no to some of the purposes: destroy the keys for them, the recording goes on.

    Attributes:
        purposes: Which.
        reason: Why.
        earlier: Also in recordings of the call that were closed before; one that serves nothing
            else is shredded.
    """

    purposes: tuple[str, ...]
    reason: str
    earlier: bool = True


@dataclass(frozen=True, slots=True)
class SwapSides:
    """From now on each party's voice comes by the other's ports, or by its own again.

    Only in a fork: its client moves a voice to another m= section without a new offer.
    """

    swapped: bool


MediaCommand: TypeAlias = (
    AllocateMedia
    | ReleaseMedia
    | ConnectMedia
    | RenewMedia
    | SetGate
    | PlayPrompt
    | StopPrompt
    | PlayTone
    | OpenRecording
    | PartRecording
    | PauseRecording
    | ResumeRecording
    | SealRecording
    | DiscardRecording
    | DropPurposes
    | SwapSides
)


@dataclass(frozen=True, slots=True)
class Note:
    """One line for the event log; names and keys are declared in ``recproxy.logevents``."""

    event: str
    fields: tuple[tuple[str, str | int | float | bool], ...] = ()


@dataclass(frozen=True, slots=True)
class AuditNote:
    """One event for the audit chain (law.md 3.9): evidence, no personal data."""

    event: str
    fields: tuple[tuple[str, str | int | float | bool], ...] = ()


Command: TypeAlias = SipCommand | MediaCommand | Note | AuditNote


def purpose_fields(plan: RecordPlan | None) -> tuple[tuple[str, str], ...]:
    """The field that names the purposes in notes, with commas; none if no purpose applies."""
    return (("purpose", plan.names),) if plan is not None else ()
