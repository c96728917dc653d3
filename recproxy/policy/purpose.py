"""One purpose of ``policy.yaml`` as frozen values: why, for whom, with which words, for how long.

Long because it is the table of a purpose's keys; what is decided from them is elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from recproxy.policy.accountability import Balancing, Basis, Dpia, Outcome, Staff, Text, WorksCouncil
from recproxy.policy.asking import Consent, Decline
from recproxy.policy.decision import (
    Audience,
    ChoiceEffect,
    ChoiceMode,
    ChoiceWindow,
    NewParty,
    OnFailure,
    StaffNotice,
)
from recproxy.policy.emergency import Country
from recproxy.policy.forks import ForkAnnounce
from recproxy.policy.names import Language, LineName, PromptId, PurposeName
from storage.tags import Direction

__all__ = [
    "WHISPER",
    "Access",
    "Analytics",
    "Announce",
    "Balancing",
    "Basis",
    "Choice",
    "ChoiceEffect",
    "ChoiceWindow",
    "Consent",
    "CopyRight",
    "CounterpartyVoice",
    "Decline",
    "Derived",
    "Dpia",
    "Evidence",
    "Failure",
    "Index",
    "Kind",
    "Language",
    "LineName",
    "Outcome",
    "Override",
    "Pause",
    "Payment",
    "Playback",
    "Promote",
    "PromptId",
    "Purpose",
    "PurposeName",
    "Retention",
    "RetentionReach",
    "RetentionStart",
    "Scope",
    "Selection",
    "SelectionMode",
    "SpecialCategories",
    "SpecialGround",
    "Staff",
    "Storage",
    "Texts",
    "Transcript",
    "Transfer",
    "WorksCouncil",
]

Texts = Mapping[Language, Text]
Share = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
CountryCode = Annotated[str, Meta(pattern=r"^[A-Z]{2}$", description="a country code such as NL")]
WHISPER: Final = PromptId("recording_on")
"""Name of the built-in text that staff hear if a purpose whispers and has none of its own."""


class Kind(Enum):
    """What sort of purpose it is; the rules of countries go by it."""

    TRAINING = "training"
    AGREEMENTS = "agreements"
    QUALITY = "quality"
    STATUTORY = "statutory"
    OTHER = "other"


class SelectionMode(Enum):
    """Which calls of the scope are recorded."""

    ALL = "all"
    SELECTIVE = "selective"  # a share of them, drawn
    MANUAL = "manual"  # those that staff choose by a key
    NON_SELECTIVE = "non_selective"  # a share of them, drawn, that nobody can find by a person


class RetentionStart(Enum):
    """From when the time to keep counts."""

    CALL_START = "call_start"
    CALL_END = "call_end"


class RetentionReach(Enum):
    """Which recordings a longer term is meant for; a shorter one is for all, at once."""

    NEW = "new"
    EXISTING = "existing"


class CopyRight(Enum):
    """How a person gets a copy."""

    FULL = "full"
    ON_LOOKUP = "on_lookup"  # once he says date, time and line


class Index(Enum):
    """What finds the recordings of a person."""

    NUMBER = "number"
    NONE = "none"


class CounterpartyVoice(Enum):
    """What a copy holds of the other voice."""

    INCLUDE = "include"
    TRANSCRIPT = "transcript"


class SpecialCategories(Enum):
    """Data of GDPR art. 9 in the talk."""

    NONE = "none"
    INCIDENTAL = "incidental"
    GROUND = "ground"  # they are meant to be there; see special_ground


class Transcript(Enum):
    """Whether the talk is written out."""

    OFF = "off"
    ON = "on"


class Analytics(Enum):
    """What programs find out from a voice; only nothing is allowed."""

    OFF = "off"
    VOICEPRINT = "voiceprint"
    EMOTION = "emotion"


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which calls of the scope are recorded.

    Attributes:
        mode: All, a share of them, or those that staff choose.
        rate: The share.
        criteria: By what people choose, for the notice.
        topic: Only calls that a header of the PBX or a code names this purpose for.
        topic_api: A program may name it too, over the HTTP API, while a call goes on.
        code: What is dialled first to name it.
        keys: Key strings with which staff start a recording.
        stop_keys: Key strings with which staff end it; what was recorded stays.
    """

    mode: SelectionMode
    rate: Share | None = None
    criteria: str = ""
    topic: bool = False
    topic_api: bool = False
    code: Annotated[str, Meta(pattern=r"^([*#][0-9*#]{1,8})?$", description='a code such as "*81"')] = ""
    keys: tuple[str, ...] = ()
    stop_keys: tuple[str, ...] = ()


class Scope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which calls the purpose is for.

    Attributes:
        lines: Names of lines.
        directions: Seen from the organisation.
        internal: Also calls between two of the lines.
    """

    lines: tuple[LineName, ...]
    directions: tuple[Direction, ...]
    internal: bool = False


class Announce(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The words before a recording. There is no key that leaves them out.

    Attributes:
        prompts: Name of the announcement, by language: one of ``prompts``, or a built-in one.
        audience: Who must hear it to its end.
        staff: How staff learn of it each time.
        whisper: What only staff hear, by language; none is the built-in text.
        speak_term: Whether the words say how long the recording is kept.
        on_new_party: What happens when somebody joins.
        fork: Who announces in calls that a recording client forks to us; None: nobody, so none is recorded.
        language_keys: Keys by which the outside party, while it is played, has it said in another language.
    """

    prompts: Mapping[Language, PromptId]
    audience: Audience = Audience.BOTH
    staff: StaffNotice
    whisper: Mapping[Language, PromptId] = msgspec.field(default_factory=dict)
    speak_term: bool
    on_new_party: NewParty
    fork: ForkAnnounce | None = None
    language_keys: Mapping[str, Language] = msgspec.field(default_factory=dict)


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the outside party may choose by a key.

    Attributes:
        mode: Whether a key refuses, agrees, or nothing does.
        keys: Any of them is the choice.
        staff_keys: With any of them staff refuse, when the other does so aloud.
        timeout: From the end of the announcement; without a key by then, an opt-in is not given.
        window: When the keys are heard.
        effect: Of a refusal.
        records_on_timeout: Must stay false: silence is no consent.
        reason: Why there is a choice though a statute orders the recording.
    """

    mode: ChoiceMode
    keys: tuple[str, ...] = ()
    staff_keys: tuple[str, ...] = ()
    timeout: timedelta = timedelta(seconds=10)
    window: ChoiceWindow = ChoiceWindow.CALL
    effect: ChoiceEffect = ChoiceEffect.STOP_AND_SHRED
    records_on_timeout: bool = False
    reason: str = ""


class Promote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A longer term for recordings with a tag.

    Attributes:
        tag: What staff set.
        keep: Time to keep then.
        rationale: Why.
    """

    tag: Text
    keep: timedelta
    rationale: Texts


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long. There is no default.

    Attributes:
        keep: Time to keep; then the key is destroyed.
        rationale: Why so long.
        floor: A statute orders at least this.
        ceiling: Never longer.
        promote: A longer term for some.
        start: From when it counts.
        reach: Which recordings a longer term is meant for.
        override_reason: Why a training is kept for more than 180 days.
    """

    keep: timedelta
    rationale: Texts
    floor: timedelta | None = None
    ceiling: timedelta | None = None
    promote: Promote | None = None
    start: RetentionStart = RetentionStart.CALL_START
    reach: RetentionReach = RetentionReach.NEW
    override_reason: str = ""


class Access(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the right of access is kept (GDPR art. 15).

    Attributes:
        copy: How a person gets a copy.
        index: What finds his recordings.
        counterparty_voice: What the copy holds of the other voice.
        sla: Time to answer.
    """

    copy: CopyRight
    index: Index
    counterparty_voice: CounterpartyVoice
    sla: timedelta


class Payment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pause for card data.

    Attributes:
        keys: Key strings with which staff begin and end it.
        api: Whether a program may.
        max: After this time recording goes on.
    """

    keys: tuple[str, ...] = ()
    api: bool = False
    max: timedelta


class Pause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When nothing is recorded though recording is on.

    Attributes:
        on_hold: Must stay true.
        payment: A pause for card data.
    """

    on_hold: bool
    payment: Payment | None = None


class SpecialGround(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ground for data of GDPR art. 9.

    Attributes:
        article: Such as ``art9_2_h``.
        ref: Where it is written down.
    """

    article: Annotated[str, Meta(pattern=r"^art9_2_[a-j]$", description="art9_2_a to art9_2_j")]
    ref: Text


class Derived(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is made from a recording.

    Attributes:
        transcript: Whether the talk is written out.
        transcript_keep: How long that is kept; not longer than the sound.
        analytics: Nothing else is allowed.
    """

    transcript: Transcript
    transcript_keep: timedelta | None = None
    analytics: Analytics


class Playback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may listen.

    Attributes:
        roles: Names of roles.
        uses: Purposes it may be played for; none is this one.
        four_eyes: Whether two must agree.
        sample_cap: At most so many a month.
    """

    roles: tuple[str, ...]
    uses: tuple[PurposeName, ...] = ()
    four_eyes: bool
    sample_cap: Annotated[int, Meta(ge=1, description="a number from 1")] | None = None


class Transfer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Data that leave the European Economic Area.

    Attributes:
        recipient: Who gets them.
        country: Where.
        safeguard: Such as ``adequacy`` or ``scc``, with its reference.
    """

    recipient: Text
    country: CountryCode
    safeguard: str = ""


class Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of a call that cannot be announced or recorded.

    Attributes:
        recorder_down: It goes on unrecorded, or it is refused.
    """

    recorder_down: OnFailure


class Storage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where recordings lie.

    Attributes:
        location: Country.
        key_group: One of ``key_groups``.
    """

    location: CountryCode
    key_group: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left after shredding.

    Attributes:
        tombstone_keep: Time to keep the trace, which names nobody.
    """

    tombstone_keep: timedelta


class Override(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Countries whose rules are not applied, on a lawyer's word.

    Attributes:
        countries: Which.
        legal_opinion_ref: His opinion.
    """

    countries: tuple[Country, ...]
    legal_opinion_ref: Text


class Purpose(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why calls are recorded, on what ground, and for how long (GDPR art. 5, 6, 13).

    Attributes:
        kind: What sort of purpose it is.
        title: By language.
        description: By language.
        basis: Grounds.
        legal_ref: Statutes.
        balancing: Needed for a legitimate interest.
        dpia: Impact assessment.
        staff: What concerns staff.
        selection: Which calls.
        scope: Of which lines.
        announce: The words before.
        choice: By key.
        consent: How one is asked for where a party's country wants it; none: not recorded then.
        decline: What becomes of a party who refuses what a statute orders.
        retention: How long.
        access: The right to a copy.
        pause: When not.
        special_categories: Health and the like.
        special_ground: Their ground.
        derived: Transcripts.
        playback: Who may listen.
        recipients: Who else gets them.
        transfers: Out of the EEA.
        failure: Of the recorder.
        storage: Where.
        evidence: What is left.
        override: Of countries' rules.
    """

    kind: Kind
    title: Texts
    description: Texts
    basis: Basis
    legal_ref: tuple[Text, ...] = ()
    balancing: Balancing | None = None
    dpia: Dpia
    staff: Staff
    selection: Selection
    scope: Scope
    announce: Announce
    choice: Choice
    consent: Consent | None = None
    decline: Decline | None = None
    retention: Retention
    access: Access
    pause: Pause
    special_categories: SpecialCategories
    special_ground: SpecialGround | None = None
    derived: Derived
    playback: Playback
    recipients: tuple[Text, ...]
    transfers: tuple[Transfer, ...]
    failure: Failure
    storage: Storage
    evidence: Evidence
    override: Override | None = None
