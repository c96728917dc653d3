"""All of ``policy.yaml`` as frozen values, and its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date, timedelta
from enum import Enum
from typing import Annotated, NewType

import msgspec
from msgspec import Meta

from recproxy.policy.emergency import Country, Emergency, HelpLines
from recproxy.policy.numbers import Numbering, NumberPattern
from recproxy.policy.purpose import Language, LineName, PromptId, Purpose, PurposeName

__all__ = [
    "Confidential",
    "Controller",
    "Exempt",
    "Jurisdictions",
    "KeyGroup",
    "KeyGroupName",
    "Line",
    "NumberPrefix",
    "PolicyFile",
    "Processor",
    "PromptText",
    "Role",
    "RoleName",
    "UnknownParty",
    "canonical_json",
    "version_of",
]

RoleName = NewType("RoleName", str)
KeyGroupName = NewType("KeyGroupName", str)
NumberPrefix = NewType("NumberPrefix", str)


class UnknownParty(Enum):
    """Whose rules hold when nobody knows where the outside party is."""

    STRICTEST = "strictest"  # of all that are known
    DEFAULT = "default"  # those of the line


class Controller(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is answerable (GDPR art. 4(7)).

    Attributes:
        name: Of the organisation.
        registration: Its number in a trade register.
        address: Where letters reach it.
        contact: Where people ask for their rights.
        dpo: The data protection officer.
        privacy_url: Where the privacy statement is.
        public_body: Whether it is an authority, which may not rest on a legitimate interest.
    """

    name: Annotated[str, Meta(min_length=1, description="a name")]
    registration: str = ""
    address: str = ""
    contact: str = ""
    dpo: str = ""
    privacy_url: str = ""
    public_body: bool = False


class Processor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who runs this recorder for the controller (GDPR art. 28).

    Attributes:
        name: Of the organisation.
        address: Where letters reach it.
        contact: Whom to ask.
        contract_ref: The contract.
    """

    name: str
    address: str = ""
    contact: str = ""
    contract_ref: str = ""


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers of the organisation, and by whose order they are recorded.

    Attributes:
        match: Numbers, prefixes, ranges, user names; ``*`` is every one.
        trunk: Only calls from this trunk.
        entitled_party: Who holds the subscription.
        authorised_by: Who ordered the recording.
        authorised_on: When.
        language: Of announcements on it.
        jurisdiction: Whose rules hold on it; none is the default of all lines.
    """

    match: tuple[NumberPattern, ...]
    trunk: str | None = None
    entitled_party: str = ""
    authorised_by: str = ""
    authorised_on: date | None = None
    language: Language | None = None
    jurisdiction: Country | None = None


class Confidential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers that are never recorded: lawyers, company doctor, confidants, works council.

    Attributes:
        file: Keyed hashes, one a line, as ``recproxy policy confidential`` makes them.
        key_file: Their key, mode 0600.
    """

    file: Annotated[str, Meta(min_length=1, description="a path")]
    key_file: Annotated[str, Meta(min_length=1, description="a path")]


class Exempt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What passes before any purpose is looked at.

    Attributes:
        emergency: Emergency numbers.
        helplines: Help lines.
        confidential: Numbers never recorded.
        extensions: Telephones never recorded.
        private_prefix: What staff dial first so that a call is not recorded.
    """

    emergency: Emergency = Emergency()
    helplines: HelpLines = HelpLines()
    confidential: Confidential | None = None
    extensions: tuple[NumberPattern, ...] = ()
    private_prefix: Annotated[
        str, Meta(pattern=r"^([*#][0-9*#]{1,8})?$", description='a code such as "*88"')
    ] = ""


class Jurisdictions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose rules hold; those of the line and of the outside party add up.

    Attributes:
        default: Of every line that names none.
        by_prefix: Of the outside party, by the start of its number.
        unknown: Of an outside party without number, or from elsewhere.
    """

    default: Country
    by_prefix: Mapping[NumberPrefix, Country] = msgspec.field(default_factory=dict)
    unknown: UnknownParty = UnknownParty.STRICTEST


class Role(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People with the same duty.

    Attributes:
        users: Their names.
    """

    users: tuple[str, ...]


class Orders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders of authorities: police, courts, regulators.

    Attributes:
        reviewers: Role whose users review an order before anything is handed over.
    """

    reviewers: RoleName = RoleName("legal")


class PromptText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Own words or own audio of an announcement: one of the two.

    Attributes:
        text: Spoken by recproxy.
        file: WAV or MP3; a relative path starts at the directory of the policy file.
    """

    text: Annotated[str, Meta(max_length=300, description="a text of up to 300 characters")] = ""
    file: str = ""


class KeyEpoch(Enum):
    """For how long a key group uses one key pair before the next takes its place."""

    NONE = "none"
    DAY = "day"
    MONTH = "month"


class KeyGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys that are backed up together.

    Attributes:
        backup_horizon: How long a destroyed key lives on in backups: until then what was
            shredded is not ``shred_complete``.
        epoch: For how long recordings are wrapped to one key pair; none is for ever, to
            ``storage.recipients``. A day suits terms of up to 30 days, a month longer ones.
    """

    backup_horizon: timedelta = timedelta(0)
    epoch: KeyEpoch = KeyEpoch.NONE


class PolicyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of ``policy.yaml``, with what ``policy.d`` adds.

    Attributes:
        version: Of the file's form.
        controller: Who is answerable.
        processor: Who runs it for him.
        languages: Of announcements; the first is spoken where no other is known.
        numbering: How numbers are dialled.
        jurisdictions: Whose rules hold.
        lines: By name.
        exempt: What passes before any purpose.
        roles: By name.
        authority: Who reviews orders of authorities.
        prompts: Own announcements, by name.
        key_groups: By name.
        sample_key_file: Key of the draws, mode 0600.
        audit_keep: Time to keep the audit log; none is for ever. Whole months are removed.
        purposes: By id.
    """

    version: int = 1
    controller: Controller
    processor: Processor | None = None
    languages: tuple[Language, ...]
    numbering: Numbering = Numbering()
    jurisdictions: Jurisdictions
    lines: Mapping[LineName, Line]
    exempt: Exempt | None = None
    roles: Mapping[RoleName, Role]
    authority: Orders = Orders()
    prompts: Mapping[PromptId, PromptText] = msgspec.field(default_factory=dict)
    key_groups: Mapping[KeyGroupName, KeyGroup]
    sample_key_file: str = ""
    audit_keep: timedelta | None = None
    purposes: Mapping[PurposeName, Purpose]


def canonical_json(file: PolicyFile) -> bytes:
    """The whole policy in one spelling: sorted keys, every default written out."""
    return msgspec.json.encode(file, enc_hook=_plain, order="deterministic")


def version_of(file: PolicyFile) -> str:
    """SHA-256 of the policy in its one spelling, 64 hex digits."""
    return hashlib.sha256(canonical_json(file)).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"a {type(value).__name__} in a policy")
