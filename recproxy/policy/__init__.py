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

__all__ = [
    "Audience",
    "CallQuestion",
    "Decision",
    "OnFailure",
    "Pass",
    "PassReason",
    "Record",
    "RecordPlan",
]
