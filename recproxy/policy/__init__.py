"""The policy: which calls are recorded, why, for how long and after which words."""

from recproxy.policy.decision import (
    Audience,
    CallQuestion,
    Decision,
    OnFailure,
    Pass,
    PassReason,
    Record,
    RecordPlan,
)
from recproxy.policy.emergency import Country, Emergency
from recproxy.policy.loading import load_policy, parse
from recproxy.policy.numbers import Numbering, NumberPattern, parse_pattern
from recproxy.policy.rules import Announcement, Policy, Purpose, Rule

__all__ = [
    "Announcement",
    "Audience",
    "CallQuestion",
    "Country",
    "Decision",
    "Emergency",
    "NumberPattern",
    "Numbering",
    "OnFailure",
    "Pass",
    "PassReason",
    "Policy",
    "Purpose",
    "Record",
    "RecordPlan",
    "Rule",
    "load_policy",
    "parse",
    "parse_pattern",
]
