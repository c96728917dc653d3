"""What is asked of a policy, and what it can answer: plain values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import Enum
from typing import TypeAlias

from storage.tags import Direction, LegalBasis


class Audience(Enum):
    """Who must hear the announcement to its end before anything is recorded."""

    BOTH = "both"
    OUTSIDE = "outside"  # the party outside the organisation: caller inbound, callee outbound


class OnFailure(Enum):
    """What becomes of a call that should be recorded and cannot be."""

    CONTINUE = "continue_unrecorded"  # it goes on
    REFUSE = "block_call"  # it is refused or ended


class StaffNotice(Enum):
    """How the staff learn, each time, that a call is recorded."""

    ANNOUNCEMENT = "announcement"  # they hear it too
    BEEP = "beep"  # when recording starts, and each time it goes on
    WHISPER = "whisper"  # words that only they hear
    BEEP_REPEAT = "beep_repeat"  # a beep, over and over


class NewParty(Enum):
    """What becomes of a recording when somebody else joins the call."""

    REPLAY = "replay"  # the call to that party is announced and decided anew
    STOP = "stop"  # the recording ends


class ChoiceMode(Enum):
    """What the outside party may choose by a key."""

    NONE = "none"
    OPT_OUT = "opt_out"  # recorded unless a key refuses
    OPT_IN = "opt_in"  # recorded only if a key agrees


class ChoiceWindow(Enum):
    """When a key of the outside party refuses; the keys of staff do at any time."""

    ANNOUNCEMENT = "announcement"
    CALL = "call"


class ChoiceEffect(Enum):
    """What a refusal does."""

    STOP_AND_SHRED = "stop_and_shred"  # as if there had been no recording
    STOP = "stop"  # what was recorded before stays


class RecordPreference(Enum):
    """What a record-aware party asks for by ``a=recordpref`` (RFC 7866 section 8.2)."""

    NONE = "none"  # it says nothing, ``nopreference`` or ``on``
    OFF = "off"
    PAUSE = "pause"


class PassReason(Enum):
    """Why a call passes unrecorded."""

    EMERGENCY = "emergency"
    HELP_LINE = "help_line"
    CONFIDENTIAL = "confidential"  # a number of the confidential list takes part
    PRIVATE = "private"  # the private prefix was dialled, or an exempt extension takes part
    NO_RULE = "no_rule"  # no line, or no purpose of its line, is meant for it
    NOT_SAMPLED = "not_sampled"  # the draw left it out
    ANONYMOUS = "anonymous"  # a purpose that finds people by number, and no number
    JURISDICTION = "jurisdiction"  # the law of a party wants what the purpose does not give
    PREFERENCE = "preference"  # a record-aware party asked not to be recorded


@dataclass(frozen=True, slots=True)
class CallQuestion:
    """The facts of a call that a policy may decide on.

    Attributes:
        trunk: Name of the trunk the INVITE came from.
        direction: Seen from the organisation.
        caller: Number or user part of the caller's identity; empty if withheld or unknown.
        callee: User part of the Request-URI.
        anonymous: The caller withholds the number.
        sos: Request-URI is an emergency service URN (RFC 5031).
        call: What names the call in the draw of a sample; the caller cannot steer the draw by it.
        day: UTC day of the INVITE, which chooses the key of the draw.
        identities: Further numbers of the call: asserted, diverting, referring.
        emergency_callback: An emergency service calls back (RFC 7090).
        preference: Of a record-aware party.
        topic: Purpose that a header of the PBX or a code named; empty for none.
    """

    trunk: str
    direction: Direction
    caller: str
    callee: str
    anonymous: bool
    sos: bool
    call: str = ""
    day: date = date.min
    identities: tuple[str, ...] = ()
    emergency_callback: bool = False
    preference: RecordPreference = RecordPreference.NONE
    topic: str = ""

    @property
    def outside(self) -> str:
        """The number of the party outside the organisation; empty if it is withheld."""
        if self.direction is Direction.OUTBOUND:
            return self.callee
        return "" if self.anonymous else self.caller

    @property
    def inside(self) -> str:
        """The number of the party inside the organisation; empty if it is withheld."""
        if self.direction is Direction.INBOUND:
            return self.callee
        return "" if self.anonymous else self.caller


@dataclass(frozen=True, slots=True)
class ChoicePlan:
    """How the parties say yes or no to a recording.

    Attributes:
        mode: What may be chosen.
        accept: Key sequences of the outside party that say yes (opt-in).
        refuse: Key sequences of the outside party that say no.
        staff_refuse: The same for staff, when the other says no aloud.
        window_s: How long after the announcement a yes is taken, seconds; silence is no.
        refused_in: When ``refuse`` says no.
        effect: What becomes of that which was recorded before the no.
    """

    mode: ChoiceMode = ChoiceMode.NONE
    accept: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()
    staff_refuse: tuple[str, ...] = ()
    window_s: float = 10.0
    refused_in: ChoiceWindow = ChoiceWindow.CALL
    effect: ChoiceEffect = ChoiceEffect.STOP_AND_SHRED


@dataclass(frozen=True, slots=True)
class PausePlan:
    """How staff stop the recording while something is said that must not be kept (payment).

    Attributes:
        keys: Key sequences that pause, and go on.
        longest_s: After which it goes on by itself, seconds.
        api: Whether a program may, over the HTTP API.
    """

    keys: tuple[str, ...] = ()
    longest_s: float = 180.0
    api: bool = False


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text that is spoken to one party.

    Attributes:
        prompt: Its name.
        language: BCP 47 tag.
    """

    prompt: str
    language: str


@dataclass(frozen=True, slots=True)
class DeclinePlan:
    """What a party hears who refuses what a statute orders, before the call ends or goes elsewhere.

    Attributes:
        purpose: What the statute orders.
        words: The text.
        target: Number that a call from outside goes on to then; empty: it ends.
        others: The text in other languages that the party may choose.
    """

    purpose: str
    words: Phrase
    target: str = field(default="", repr=False)
    others: tuple[Phrase, ...] = ()


@dataclass(frozen=True, slots=True)
class LanguageKey:
    """A key that has an announcement said in another language.

    Attributes:
        keys: The sequence.
        words: The announcement then.
    """

    keys: str
    words: Phrase


@dataclass(frozen=True, slots=True)
class PurposePlan:
    """One of the purposes of a recording; each has an expiry, words and a choice of its own.

    Attributes:
        purpose: Its id.
        legal_basis: Ground under GDPR art. 6(1), as it is used for this call.
        retention: Time to keep, from the start of the recording or from its end.
        prompt: Name of the announcement.
        language: BCP 47 tag of its text.
        audience: Who must hear it.
        choice: How the parties say yes or no to this purpose.
        from_end: The term counts from the end of the recording.
        languages: Other languages that the outside party may choose.
        start: Key sequences by which staff ask for it; none: at once.
        stop: Key sequences by which staff end it; it may be asked for again.
    """

    purpose: str
    legal_basis: LegalBasis
    retention: timedelta
    prompt: str
    language: str
    audience: Audience = Audience.BOTH
    choice: ChoicePlan = ChoicePlan()
    from_end: bool = False
    languages: tuple[LanguageKey, ...] = ()
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()

    def spoken_in(self, language: str) -> PurposePlan:
        """The same in another language; as it is if it has none in that."""
        for one in self.languages:
            if one.words.language == language:
                return replace(self, prompt=one.words.prompt, language=language)
        return self


@dataclass(frozen=True, slots=True)
class Words:
    """One announcement of a call.

    Attributes:
        prompt: Its name.
        language: BCP 47 tag of its text.
        audience: Who must hear it.
        purposes: Which purposes it tells of; one or more.
    """

    prompt: str
    language: str
    audience: Audience
    purposes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForkAnnouncement:
    """What must be shown before a call that a recording client forks to us may be recorded.

    Attributes:
        declared: The policy declares that its parties are always told; else each call must say so.
        prompts: Announcements that the client may name.
        ref: Where the declaration is written down.
        sha256: Of the declaration, 64 hex digits; empty without one.
    """

    declared: bool
    prompts: frozenset[str]
    ref: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """How a call is to be recorded.

    Purpose, basis, term, announcement and choice are those of the leading purpose: of the one
    that the recording is kept for longest. The rest is the strictest of all purposes.

    Attributes:
        purpose: Purpose id.
        legal_basis: Ground under GDPR art. 6(1), as it is used for this call.
        retention: Time to keep, from the start of the recording or from its end.
        prompt: Name of the announcement.
        language: BCP 47 tag of its text.
        audience: Who must hear it.
        on_failure: What happens if it cannot be played or the recorder fails.
        policy_version: SHA-256 of the normalised policy, 64 hex digits.
        choice: How the parties say yes or no.
        pause: How staff pause.
        start: Key sequences by which staff ask for announcement and recording; none: at once.
        stop: Key sequences by which staff end it.
        purposes: Every purpose of the call, the leading one first; empty for that one alone.
        staff_notice: How the staff learn of it.
        on_new_party: What happens when somebody joins.
        indexed: Whether the recording may be found by a party's number: for one purpose at least.
        jurisdiction: Countries whose rules were applied, such as ``DE+NL``.
        fork: What must be shown if a recording client forks the call to us; None: nobody announces there.
        statutory: Purposes that a statute orders, whatever a telephone asks for.
        whisper: What staff hear if they are told by whisper.
        decline: What becomes of a party who refuses; None: the choice says it.
        from_end: The term of the leading purpose counts from the end of the recording.
    """

    purpose: str
    legal_basis: LegalBasis
    retention: timedelta
    prompt: str
    language: str
    audience: Audience
    on_failure: OnFailure
    policy_version: str
    choice: ChoicePlan = ChoicePlan()
    pause: PausePlan = PausePlan()
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    purposes: tuple[PurposePlan, ...] = ()
    staff_notice: StaffNotice = StaffNotice.ANNOUNCEMENT
    on_new_party: NewParty = NewParty.REPLAY
    indexed: bool = True
    jurisdiction: str = ""
    fork: ForkAnnouncement | None = None
    statutory: frozenset[str] = frozenset()
    whisper: Phrase | None = None
    decline: DeclinePlan | None = None
    from_end: bool = False

    @property
    def each(self) -> tuple[PurposePlan, ...]:
        """All its purposes, the leading one first."""
        return self.purposes or (
            PurposePlan(
                self.purpose,
                self.legal_basis,
                self.retention,
                self.prompt,
                self.language,
                self.audience,
                self.choice,
                self.from_end,
                start=self.start,
                stop=self.stop,
            ),
        )

    def spoken_in(self, language: str) -> RecordPlan:
        """The plan with what is said in another language, as far as it can be said in that."""
        each = tuple(one.spoken_in(language) for one in self.each)
        decline = self.decline
        if decline is not None:
            words = next((one for one in decline.others if one.language == language), decline.words)
            decline = replace(decline, words=words)
        lead = each[0]
        return replace(self, prompt=lead.prompt, language=lead.language, purposes=each, decline=decline)

    @property
    def at_once(self) -> RecordPlan:
        """The same without what staff ask for by a key, if anything is left."""
        first = tuple(one for one in self.each if not one.start)
        return replace(self, purposes=first) if 0 < len(first) < len(self.each) else self

    @property
    def waiting(self) -> frozenset[str]:
        """Ids of the purposes that staff ask for by a key."""
        return frozenset(one.purpose for one in self.each if one.start)

    @property
    def names(self) -> str:
        """Ids of all its purposes, with commas, as logs and the audit chain have them."""
        return ",".join(one.purpose for one in self.each)

    @property
    def announcements(self) -> tuple[Words, ...]:
        """What must be heard of all purposes together."""
        return self.announcements_of([one.purpose for one in self.each])

    def announcements_of(self, purposes: Collection[str]) -> tuple[Words, ...]:
        """What must be heard, in order: each text once, to everybody whom a purpose of it names.

        Args:
            purposes: Ids of those that are to be told of.
        """
        told: dict[tuple[str, str], Words] = {}
        for one in self.each:
            if one.purpose not in purposes:
                continue
            same = told.get((one.prompt, one.language))
            if same is None:
                told[one.prompt, one.language] = Words(one.prompt, one.language, one.audience, (one.purpose,))
            else:
                both = Audience.BOTH if Audience.BOTH in {same.audience, one.audience} else same.audience
                told[one.prompt, one.language] = replace(
                    same, audience=both, purposes=(*same.purposes, one.purpose)
                )
        return tuple(told.values())


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What it means for a call that is recorded that somebody joins it.

    Attributes:
        exempt: Why nothing with this party may be recorded; None if it may.
        outside: Whether the party is outside the organisation, and must be told.
    """

    exempt: PassReason | None
    outside: bool


@dataclass(frozen=True, slots=True)
class Record:
    """The call is to be announced and recorded."""

    plan: RecordPlan


@dataclass(frozen=True, slots=True)
class Pass:
    """The call passes, unannounced and unrecorded.

    Attributes:
        why: Why.
        topics: Purposes that would record it if a program named one of them while it goes on.
    """

    why: PassReason
    topics: tuple[str, ...] = ()


Decision: TypeAlias = Record | Pass
