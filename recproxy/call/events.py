"""What can happen to a call: plain facts, handed to the machine.

No event names its call: the driver keeps that beside it. SDP bodies travel as
the bytes that were received, beside what ``recproxy.sip.sdp`` read from them;
the machine never looks into the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from recproxy.policy import RecordPreference
from storage.tags import Direction

#: Length of master key and salt by crypto suite (RFC 4568 section 6.2, RFC 7714 section 12); the
#: order is that of our offers, the tag of each is its place, from 1.
SRTP_KEY_BYTES: Final = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AEAD_AES_256_GCM": 44,
    "AEAD_AES_128_GCM": 28,
    "AES_CM_128_HMAC_SHA1_32": 30,
}
_SECRET_SHARE: Final = max(SRTP_KEY_BYTES.values())
#: Random bytes that hold one key for each suite.
SRTP_SECRET_BYTES: Final = _SECRET_SHARE * len(SRTP_KEY_BYTES)


class LegName(Enum):
    """Which side of the B2BUA."""

    CALLER = "caller"
    CALLEE = "callee"

    @property
    def other(self) -> LegName:
        """The opposite leg."""
        return LegName.CALLEE if self is LegName.CALLER else LegName.CALLER


class MediaDirection(Enum):
    """Direction attribute of a media description (RFC 8866 section 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type of a media description.

    Attributes:
        payload_type: 0–127.
        name: Encoding name as in rtpmap, upper case (``PCMU``, ``OPUS``).
        clock_hz: RTP clock rate.
        channels: From rtpmap, 1 if not given.
        fmtp: Format parameters as written, without the payload type; may be empty.
    """

    payload_type: int
    name: str
    clock_hz: int
    channels: int = 1
    fmtp: str = ""


@dataclass(frozen=True, slots=True)
class CryptoOffer:
    """One a=crypto line that can be served (RFC 4568); the key is never shown.

    Attributes:
        tag: Its number within the section.
        suite: One of ``SRTP_KEY_BYTES``.
        key: Master key and salt of the packets that its sender sends.
    """

    tag: int
    suite: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """One m= section as read.

    Attributes:
        kind: ``audio``, ``video``, ``image`` …
        protocol: Transport, e.g. ``RTP/AVP``, ``RTP/SAVP``, ``udptl``.
        address: Connection address, numeric; ``0.0.0.0`` is an old hold.
        port: 0 if the section is disabled.
        rtcp_port: From a=rtcp or rtcp-mux; None for the usual port + 1.
        direction: As declared, at media or session level.
        ptime_ms: From a=ptime, None if not given.
        codecs: In order of preference; empty if the protocol is not RTP.
        crypto: Keys that its sender offers for SRTP, in order of preference.
        label: From a=label (RFC 4574), empty if not given.
    """

    kind: str
    protocol: str
    address: str
    port: int
    rtcp_port: int | None
    direction: MediaDirection
    ptime_ms: int | None
    codecs: tuple[Codec, ...]
    crypto: tuple[CryptoOffer, ...] = ()
    label: str = ""

    @property
    def held(self) -> bool:
        """Whether the sender of this section does not want to hear and speak both ways."""
        return self.direction is not MediaDirection.SENDRECV or self.address in {"0.0.0.0", "::"}  # noqa: S104


@dataclass(frozen=True, slots=True)
class Sdp:
    """An SDP body: the bytes, and what was read from them (RFC 8866). It may hold keys."""

    body: bytes = field(repr=False)
    streams: tuple[StreamFacts, ...]


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What the policy may decide on.

    Attributes:
        trunk: Name of the trunk the INVITE came from.
        direction: Seen from the organisation.
        caller: User part of the identity (P-Asserted-Identity, else From); empty if withheld.
        callee: User part of the Request-URI.
        anonymous: The caller asked for privacy (RFC 3323) or the number is withheld.
        sos: Request-URI is an emergency service URN (RFC 5031).
        sip_call_id: Call-ID of the caller's dialog.
        received: When the INVITE came (aware, UTC).
        identities: All numbers that the INVITE names beside its Request-URI; for exemptions
            alone, never stored or shown.
        emergency_callback: An emergency service calls back (RFC 7090).
        preference: What the offer of a record-aware telephone asks for (RFC 7866).
        topic: Purpose that the PBX names; empty for none.
        aware: Whether the caller's telephone understands ``a=record`` (RFC 7866).
    """

    trunk: str
    direction: Direction
    caller: str
    callee: str
    anonymous: bool
    sos: bool
    sip_call_id: str
    received: datetime
    identities: tuple[str, ...] = field(default=(), repr=False)
    emergency_callback: bool = False
    preference: RecordPreference = RecordPreference.NONE
    topic: str = ""
    aware: bool = False


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """Where we receive one stream of one leg.

    Attributes:
        address: Numeric.
        rtp_port: Of RTP.
        secret: ``SRTP_SECRET_BYTES`` random bytes of this stream and leg alone, for our keys.
    """

    address: str
    rtp_port: int
    secret: bytes = field(default=b"", repr=False)

    def key(self, suite: str) -> bytes:
        """Our master key and salt for ``suite``: each has one of its own."""
        start = list(SRTP_KEY_BYTES).index(suite) * _SECRET_SHARE
        return self.secret[start : start + SRTP_KEY_BYTES[suite]]


@dataclass(frozen=True, slots=True)
class InviteReceived:
    """The caller's INVITE. First event of every call.

    ``offer`` is None if the caller leaves the offer to us (RFC 3264 section 4): its answer then
    comes with the ACK.
    """

    facts: CallFacts
    offer: Sdp | None


@dataclass(frozen=True, slots=True)
class MediaAllocated:
    """Port pairs were opened for every stream, seen by each leg, in m-line order.

    Attributes:
        caller: What faces the caller.
        callee: What faces the callee.
        callee_secure: Whether a recorded call is SRTP towards the callee; None: as the caller has it.
    """

    caller: tuple[LocalMedia, ...]
    callee: tuple[LocalMedia, ...]
    callee_secure: bool | None = None


@dataclass(frozen=True, slots=True)
class MediaRenewed:
    """``leg`` has the ports that it had, and keys that nobody was told."""

    leg: LegName
    local: tuple[LocalMedia, ...]


@dataclass(frozen=True, slots=True)
class MediaUnavailable:
    """No ports or sockets are left."""

    why: str


@dataclass(frozen=True, slots=True)
class CalleeProgress:
    """A provisional response 101–199 of the callee; ``sdp`` is early media.

    ``reliable``: we have acknowledged it, and the caller can acknowledge ours (RFC 3262).
    """

    code: int
    reason: str
    sdp: Sdp | None
    reliable: bool = False


@dataclass(frozen=True, slots=True)
class CalleeAnswered:
    """The callee's 200, acknowledged by us.

    ``sdp`` is None when the 200 carried none: the answer of the last reliable
    or unreliable 18x then holds.
    ``aware`` says whether the telephone understands ``a=record`` (RFC 7866).
    """

    sdp: Sdp | None
    sip_call_id: str
    aware: bool = False


@dataclass(frozen=True, slots=True)
class CallerConfirmed:
    """The caller's ACK to our 200; ``sdp`` is its answer if our 200 carried the offer."""

    sdp: Sdp | None = None


@dataclass(frozen=True, slots=True)
class EarlyAnswer:
    """The caller's answer, in PRACK, to the offer in our provisional response (RFC 3262 section 5)."""

    sdp: Sdp


@dataclass(frozen=True, slots=True)
class LegEnded:
    """A dialog is gone: CANCEL, BYE, a failure response, a transport fault.

    Attributes:
        leg: Which.
        code: SIP status: the callee's failure code, 487 for CANCEL, 200 for BYE, 408 …
        reason: Reason phrase or the text of a Reason header (RFC 3326); may be empty.
        by_us: True if it follows an ``EndLeg`` of ours.
    """

    leg: LegName
    code: int
    reason: str
    by_us: bool


@dataclass(frozen=True, slots=True)
class ReofferReceived:
    """A re-INVITE inside a confirmed dialog; without an offer it asks for one.

    Or an UPDATE, which may come before the call is answered, as may an offer in PRACK.
    """

    leg: LegName
    offer: Sdp | None


@dataclass(frozen=True, slots=True)
class ReofferAnswered:
    """Final response to the re-INVITE, or UPDATE, that we sent to ``leg``.

    ``sdp`` comes with 2xx only: its answer, or its offer if we asked for one.
    """

    leg: LegName
    code: int
    reason: str
    sdp: Sdp | None


@dataclass(frozen=True, slots=True)
class ReofferConfirmed:
    """The ACK of the leg that asked for an offer and got it; ``sdp`` is its answer."""

    leg: LegName
    sdp: Sdp | None


class ForkSides(NamedTuple):
    """Index of the m= section in which either party of a forked call speaks; None if in none."""

    caller: int | None
    callee: int | None

    def of(self, leg: LegName) -> int | None:
        """That of one party."""
        return self.caller if leg is LegName.CALLER else self.callee


@dataclass(frozen=True, slots=True)
class ForkNotice:
    """What a recording client says of the announcement that it played.

    Attributes:
        completed: It has been heard to its end; else it is still to come.
        prompt: Its name in the policy; empty if it is not named.
        language: BCP 47 tag of its words; empty if not named.
        heard_by: By whom; empty for everybody who must hear it.
        text: The words of the client: the evidence.
    """

    completed: bool
    prompt: str
    language: str
    heard_by: tuple[LegName, ...]
    text: str


@dataclass(frozen=True, slots=True)
class ForkInvited:
    """A recording client's INVITE (RFC 7866), instead of ``InviteReceived``; ``notice`` came with it."""

    facts: CallFacts
    offer: Sdp
    sides: ForkSides
    notice: ForkNotice | None


@dataclass(frozen=True, slots=True)
class ForkChanged:
    """A re-INVITE or UPDATE of a recording client; without an offer it has been answered."""

    offer: Sdp | None
    sides: ForkSides
    notice: ForkNotice | None


@dataclass(frozen=True, slots=True)
class LegFault:
    """SIP or media failed on this leg; it is treated as ended with 500.

    If the leg's SDP is to blame, a call that is being set up is refused with 488 instead.
    """

    leg: LegName
    what: str
    by_sdp: bool = False


@dataclass(frozen=True, slots=True)
class PromptStarted:
    """The first frame of the announcement left."""

    at: datetime


@dataclass(frozen=True, slots=True)
class PromptCompleted:
    """The last frame has been heard on every leg that must hear it."""

    at: datetime
    prompt: str
    sha256: str
    language: str
    heard_by: tuple[LegName, ...]


@dataclass(frozen=True, slots=True)
class PromptFailed:
    """The announcement could not be played to its end."""

    why: str


@dataclass(frozen=True, slots=True)
class RecordingOpened:
    """Row, key and log of the recording exist."""

    recording: str


@dataclass(frozen=True, slots=True)
class RecordingFailed:
    """The recorder could not open, or lost, the recording."""

    why: str


@dataclass(frozen=True, slots=True)
class DigitPressed:
    """A party pressed a key (RFC 4733, INFO). Which one is never logged or stored."""

    leg: LegName
    digit: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RecordAsked:
    """A party's telephone asks, by ``Record: on`` or ``off`` in INFO, to go on or to pause."""

    leg: LegName
    on: bool


@dataclass(frozen=True, slots=True)
class PartyJoined:
    """Somebody else sits at the far end of a leg: a transfer by the other side, or its identity changed.

    Attributes:
        leg: Which.
        number: Of the new party; empty if it is withheld. For exemptions alone, never stored or shown.
        answering: It answers in place of whoever was called: nobody was told yet.
    """

    leg: LegName
    number: str = field(repr=False)
    answering: bool = False


@dataclass(frozen=True, slots=True)
class TransferAsked:
    """A party asks the other, by REFER (RFC 3515), to call somebody else.

    Attributes:
        leg: Of who asks.
        number: Whom to call. For exemptions alone, never stored or shown.
    """

    leg: LegName
    number: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IndicationRefused:
    """A telephone did not take our offer that tells it of the recording: it makes one itself (491).

    Attributes:
        leg: Which.
        draw: A random number, 0 to 1,000,000, that chooses when it is told again.
    """

    leg: LegName
    draw: int


@dataclass(frozen=True, slots=True)
class PreferenceTold:
    """A record-aware telephone says anew what it wants (RFC 7866 section 8.2)."""

    leg: LegName
    preference: RecordPreference


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """The operator asks for a pause."""


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """The operator's pause is over."""


@dataclass(frozen=True, slots=True)
class TopicNamed:
    """A program says what the call is for."""

    purpose: str


@dataclass(frozen=True, slots=True)
class DrainExpired:
    """The daemon stops: end the call now."""


Event: TypeAlias = (
    InviteReceived
    | MediaAllocated
    | MediaRenewed
    | MediaUnavailable
    | CalleeProgress
    | CalleeAnswered
    | CallerConfirmed
    | EarlyAnswer
    | LegEnded
    | ReofferReceived
    | ReofferAnswered
    | ReofferConfirmed
    | LegFault
    | ForkInvited
    | ForkChanged
    | PromptStarted
    | PromptCompleted
    | PromptFailed
    | RecordingOpened
    | RecordingFailed
    | DigitPressed
    | RecordAsked
    | PartyJoined
    | TransferAsked
    | IndicationRefused
    | PreferenceTold
    | PauseAsked
    | ResumeAsked
    | TopicNamed
    | DrainExpired
)
