"""The policy: which calls are recorded, why, for how long and after which words."""

from recproxy.policy.deciding import Announcement, Policy, Verdict
from recproxy.policy.decision import (
    Audience,
    CallQuestion,
    ChoiceEffect,
    ChoiceMode,
    ChoicePlan,
    ChoiceWindow,
    Decision,
    ForkAnnouncement,
    NewParty,
    OnFailure,
    Pass,
    PassReason,
    PausePlan,
    PurposePlan,
    Record,
    RecordPlan,
    RecordPreference,
    StaffNotice,
    Words,
)
from recproxy.policy.emergency import Country, Emergency, HelpLines
from recproxy.policy.file import PolicyFile, canonical_json
from recproxy.policy.hidden import number_token, parse_key
from recproxy.policy.lint import ERRORS, WARNINGS, Surroundings
from recproxy.policy.loading import Report, attachments_of, examine, load_policy, parse, sources_of
from recproxy.policy.merging import Source
from recproxy.policy.numbers import Numbering, NumberPattern, parse_pattern
from recproxy.policy.purpose import Index, Kind, Language, Purpose, PurposeName, SelectionMode

__all__ = [
    "ERRORS",
    "WARNINGS",
    "Announcement",
    "Audience",
    "CallQuestion",
    "ChoiceEffect",
    "ChoiceMode",
    "ChoicePlan",
    "ChoiceWindow",
    "Country",
    "Decision",
    "Emergency",
    "ForkAnnouncement",
    "HelpLines",
    "Index",
    "Kind",
    "Language",
    "NewParty",
    "NumberPattern",
    "Numbering",
    "OnFailure",
    "Pass",
    "PassReason",
    "PausePlan",
    "Policy",
    "PolicyFile",
    "Purpose",
    "PurposeName",
    "PurposePlan",
    "Record",
    "RecordPlan",
    "RecordPreference",
    "Report",
    "SelectionMode",
    "Source",
    "StaffNotice",
    "Surroundings",
    "Verdict",
    "Words",
    "attachments_of",
    "canonical_json",
    "examine",
    "load_policy",
    "number_token",
    "parse",
    "parse_key",
    "parse_pattern",
    "sources_of",
]
