"""The policy: which calls are recorded, why, for how long and after which words."""

from recproxy.policy.decision import (
    Audience,
    CallQuestion,
    ChoiceMode,
    ChoicePlan,
    Decision,
    OnFailure,
    Pass,
    PassReason,
    PausePlan,
    Record,
    RecordPlan,
)
from recproxy.policy.emergency import Country, Emergency
from recproxy.policy.loading import load_policy, parse
from recproxy.policy.numbers import Numbering, NumberPattern, parse_pattern
from recproxy.policy.rules import Announcement, Language, Policy, Purpose, PurposeName, Rule

__all__ = [
    "Announcement",
    "Audience",
    "CallQuestion",
    "ChoiceMode",
    "ChoicePlan",
    "Country",
    "Decision",
    "Emergency",
    "Language",
    "NumberPattern",
    "Numbering",
    "OnFailure",
    "Pass",
    "PassReason",
    "PausePlan",
    "Policy",
    "Purpose",
    "PurposeName",
    "Record",
    "RecordPlan",
    "Rule",
    "load_policy",
    "parse",
    "parse_pattern",
]
