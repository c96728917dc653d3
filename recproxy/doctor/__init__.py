"""Is this machine fit to record? Facts are probed, then judged by pure functions."""

from recproxy.doctor.checks import check
from recproxy.doctor.facts import (
    DirectoryFacts,
    EpochFacts,
    Facts,
    FileFacts,
    Finding,
    Grade,
    PromptFacts,
    SipFacts,
)
from recproxy.doctor.probes import probe

__all__ = [
    "DirectoryFacts",
    "EpochFacts",
    "Facts",
    "FileFacts",
    "Finding",
    "Grade",
    "PromptFacts",
    "SipFacts",
    "check",
    "probe",
]
