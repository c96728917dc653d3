"""Why a policy does what it does with a call, in values for people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from recproxy.policy.deciding import Policy, Verdict
from recproxy.policy.decision import CallQuestion, Decision, PassReason, Record

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happens to a call, and why.

    Attributes:
        decision: What happens.
        exempt: Why no purpose was looked at; None if they were.
        line: The line it is on; empty if on none, or if nobody looked.
        jurisdiction: Countries whose rules hold; empty likewise.
        verdicts: What each purpose says; empty likewise.
        expires: When the recording would be shredded if it began now; None if there is none.
        at: When the call begins.
    """

    decision: Decision
    exempt: PassReason | None
    line: str
    jurisdiction: str
    verdicts: tuple[Verdict, ...]
    expires: datetime | None
    at: datetime


def explain(policy: Policy, question: CallQuestion, at: datetime) -> Explanation:
    """Tell what happens to a call, and why.

    Args:
        policy: Decides.
        question: The call.
        at: When it begins (aware).
    """
    question = policy.named(question)
    decision = policy.decide(question)
    expires = at + decision.plan.retention if isinstance(decision, Record) else None
    exempt = policy.exemption(question)
    line = policy.line(question) if exempt is None else None
    if line is None:
        return Explanation(decision, exempt, "", "", (), expires, at)
    verdicts = tuple(policy.verdicts(line, question))
    country = policy.profile(line, question).name
    return Explanation(decision, None, line, country, verdicts, expires, at)
