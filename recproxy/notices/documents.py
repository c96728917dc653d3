"""Privacy statement, staff notice and balancing sheet, as Markdown."""

from __future__ import annotations

from typing import Final

from recproxy.notices import texts
from recproxy.notices.sheet import PurposeSheet, Sheet

__all__ = ["balance", "staff_notice", "statement"]

_LEGITIMATE_INTEREST: Final = "legitimate_interest"
_BALANCED: Final = (
    *("interest", "necessity", "alternatives", "impact", "safeguards", "outcome", "approved_by"),
    *("date", "review_by", "ref", "sha256"),
)


def statement(sheet: Sheet) -> str:
    """The privacy statement for callers (GDPR art. 13), one paragraph for each purpose."""
    return "\n".join(_statement(purpose) for purpose in sheet.purposes) + f"\n{policy_line(sheet)}\n"


def staff_notice(sheet: Sheet) -> str:
    """What staff must be told: which lines, why, how long, who listens, how to object."""
    body = texts.STAFF[sheet.language].format(
        controller=sheet.text("controller.name"),
        contact=sheet.text("controller.contact"),
        dpo=sheet.text("controller.dpo"),
        private_prefix=sheet.text("exempt.private_prefix"),
        extensions=sheet.text("exempt.extensions"),
        purposes="\n".join(_for_staff(purpose) for purpose in sheet.purposes),
    )
    return f"{body}\n{policy_line(sheet)}\n"


def balance(sheet: Sheet) -> str:
    """The balancing of interests of each purpose that rests on a legitimate interest (GDPR art. 6(1)(f))."""
    sheets = [_balance(purpose) for purpose in sheet.purposes if purpose.basis == _LEGITIMATE_INTEREST]
    return "\n".join([*sheets, policy_line(sheet)]) + "\n"


def policy_line(sheet: Sheet) -> str:
    """Which policy a document repeats."""
    return texts.POLICY[sheet.language].format(sheet.version[:16])


def basis_words(purpose: PurposeSheet) -> str:
    """The legal basis towards the caller."""
    known = texts.BASES[purpose.language].get(purpose.basis)
    return known or purpose.text("basis.caller", "legal_basis")


def selection_words(purpose: PurposeSheet) -> str:
    """Which calls."""
    mode = purpose.value("selection.mode")
    known = texts.SELECTIONS[purpose.language].get(mode) if isinstance(mode, str) else None
    return known or purpose.text("selection.mode")


def _statement(purpose: PurposeSheet) -> str:
    language, sheet = purpose.language, purpose.sheet
    unindexed = purpose.value("access.index") == "none"
    interest = ""
    if purpose.basis == _LEGITIMATE_INTEREST:
        interest = texts.INTEREST[language].format(purpose.text("balancing.interest"))
    return texts.STATEMENT[language].format(
        title=purpose.text("title"),
        description=purpose.text("description"),
        controller=sheet.text("controller.name"),
        contact=sheet.text("controller.contact"),
        selection=selection_words(purpose),
        lines=purpose.text("scope.lines"),
        basis=basis_words(purpose),
        interest=interest,
        unindexed=texts.UNINDEXED[language] if unindexed else "",
        choice=_choice(purpose),
        keep=purpose.keep,
        rationale=purpose.text("retention.rationale"),
        roles=purpose.text("playback.roles"),
        recipients=purpose.listed("recipients"),
        withdrawal=texts.WITHDRAWAL[language] if purpose.basis == "consent" else "",
        look_up=texts.LOOK_UP[language] if unindexed else "",
        transcript=_transcript(purpose),
    )


def _for_staff(purpose: PurposeSheet) -> str:
    assessed = purpose.value("staff.assessment_use")
    no, yes = texts.YES_NO[purpose.language]
    return texts.STAFF_PURPOSE[purpose.language].format(
        title=purpose.text("title"),
        description=purpose.text("description"),
        lines=purpose.text("scope.lines"),
        selection=selection_words(purpose),
        basis=basis_words(purpose),
        keep=purpose.keep,
        transcript=_transcript(purpose),
        roles=purpose.text("playback.roles"),
        assessment=(yes if assessed else no)
        if isinstance(assessed, bool)
        else purpose.text("staff.assessment_use"),
        beep=purpose.text("announce.staff"),
        works_council=purpose.text("staff.works_council"),
        notice_ref=purpose.text("staff.notice_ref"),
    )


def _balance(purpose: PurposeSheet) -> str:
    return texts.BALANCE[purpose.language].format(
        title=purpose.text("title"),
        name=purpose.name,
        keep=purpose.keep,
        dpia=purpose.text("dpia"),
        **{name: purpose.text(f"balancing.{name}") for name in _BALANCED},
    )


def _transcript(purpose: PurposeSheet) -> str:
    """That the talk may be written out, and that a copy has the other party in writing only."""
    language = purpose.language
    if not purpose.written:
        return ""
    only = purpose.value("access.counterparty_voice") == "transcript"
    kept = texts.TRANSCRIPT[language].format(keep=purpose.text("derived.transcript_keep"))
    return kept + (texts.WRITTEN_ONLY[language] if only else "")


def _choice(purpose: PurposeSheet) -> str:
    mode = purpose.value("choice.mode")
    known = texts.CHOICES[purpose.language].get(mode) if isinstance(mode, str) else None
    if known is None:
        return purpose.text("choice.mode")
    return known.format(keys=purpose.text("choice.keys") if "{keys}" in known else "")
