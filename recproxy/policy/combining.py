"""Several purposes that one call is for, made into one plan: the strictest rule of all holds. Pure.

* The purpose that is kept longest leads; of those kept equally long the first in the policy.
* Every purpose is announced, one after the other (law.md C-20); purposes that name the same
  announcement are announced by it once.
* A yes that one purpose needs is needed for each that could be refused: silence is no.
* A refusal is for the purposes whose keys were pressed; one that offers no refusal stays (C-5).
* The call is refused without a recorder if one purpose wants that; one that staff start later does not.
* What staff start by a key is announced when they do; what it needs a yes for is its own affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from recproxy.policy.decision import (
    Audience,
    ChoiceEffect,
    ChoiceMode,
    ChoicePlan,
    ChoiceWindow,
    DeclinePlan,
    ForkAnnouncement,
    NewParty,
    OnFailure,
    PausePlan,
    Phrase,
    PurposePlan,
    RecordPlan,
    StaffNotice,
)
from recproxy.policy.purpose import Index, Kind, Purpose

__all__ = ["Taking", "combined"]

#: From what staff hear over and over to what they hear because all do.
_LOUDEST: Final = (
    StaffNotice.BEEP_REPEAT,
    StaffNotice.BEEP,
    StaffNotice.WHISPER,
    StaffNotice.ANNOUNCEMENT,
)


@dataclass(frozen=True, slots=True)
class Taking:
    """A purpose that takes a call.

    Attributes:
        plan: What it means for this call.
        purpose: What the policy says of it.
        decline: What becomes of who refuses it; None: its choice says it.
    """

    plan: PurposePlan
    purpose: Purpose
    decline: DeclinePlan | None = None


def combined(
    taking: Sequence[Taking],
    version: str,
    jurisdiction: str,
    fork: ForkAnnouncement | None = None,
    whisper: Phrase | None = None,
) -> RecordPlan:
    """Make one plan of all purposes that take a call.

    Args:
        taking: One or more, in the order of the policy.
        version: Of the policy.
        jurisdiction: Countries whose rules were applied.
        fork: What a fork of the call must show; None if it is not announced elsewhere.
        whisper: What staff hear if they are told by whisper.
    """
    ordered = sorted(taking, key=lambda one: one.plan.retention, reverse=True)
    plans = _with_strictest_choice([one.plan for one in ordered])
    purposes = [one.purpose for one in ordered]
    lead = plans[0]
    first = [one for one in purposes if not one.selection.keys] or purposes
    refuse = any(one.failure.recorder_down is OnFailure.REFUSE for one in first)
    stop = any(one.announce.on_new_party is NewParty.STOP for one in purposes)
    told = {one.announce.staff for one in purposes}
    return RecordPlan(
        purpose=lead.purpose,
        legal_basis=lead.legal_basis,
        retention=lead.retention,
        from_end=lead.from_end,
        prompt=lead.prompt,
        language=lead.language,
        audience=_widest(one.audience for one in plans),
        on_failure=OnFailure.REFUSE if refuse else OnFailure.CONTINUE,
        policy_version=version,
        choice=lead.choice,
        pause=_pause(purposes),
        start=lead.start,
        stop=lead.stop,
        purposes=plans,
        staff_notice=next(way for way in _LOUDEST if way in told),
        on_new_party=NewParty.STOP if stop else NewParty.REPLAY,
        indexed=any(one.access.index is Index.NUMBER for one in purposes),
        jurisdiction=jurisdiction,
        fork=fork,
        statutory=frozenset(one.plan.purpose for one in ordered if one.purpose.kind is Kind.STATUTORY),
        whisper=whisper,
        decline=next((one.decline for one in ordered if one.decline is not None), None),
    )


def _with_strictest_choice(plans: Sequence[PurposePlan]) -> tuple[PurposePlan, ...]:
    """Where one needs a yes, what starts with it and could be refused needs it too; the rest stays."""
    asking: dict[tuple[str, ...], list[ChoicePlan]] = {}
    for plan in plans:
        if plan.choice.mode is ChoiceMode.OPT_IN:
            asking.setdefault(plan.start, []).append(plan.choice)
    return tuple(
        replace(plan, choice=_asking(plan.choice, asking[plan.start]))
        if plan.choice.mode is ChoiceMode.OPT_OUT and plan.start in asking
        else plan
        for plan in plans
    )


def _asking(choice: ChoicePlan, asking: Sequence[ChoicePlan]) -> ChoicePlan:
    return replace(
        choice,
        mode=ChoiceMode.OPT_IN,
        accept=tuple(dict.fromkeys(keys for one in asking for keys in one.accept)),
        window_s=max(one.window_s for one in asking),
        refused_in=ChoiceWindow.CALL,
        effect=ChoiceEffect.STOP_AND_SHRED,
    )


def _pause(purposes: Iterable[Purpose]) -> PausePlan:
    """A pause that one of them allows is allowed: what is said meanwhile must be kept for none."""
    found = [one.pause.payment for one in purposes if one.pause.payment is not None]
    if not found:
        return PausePlan()
    return PausePlan(
        tuple(dict.fromkeys(keys for payment in found for keys in payment.keys)),
        max(payment.max.total_seconds() for payment in found),
        any(payment.api for payment in found),
    )


def _widest(audiences: Iterable[Audience]) -> Audience:
    return Audience.BOTH if Audience.BOTH in set(audiences) else Audience.OUTSIDE
