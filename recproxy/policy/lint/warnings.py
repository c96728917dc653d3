"""Warnings: what a policy may say, and somebody should have thought about."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from recproxy.policy.decision import ChoiceMode
from recproxy.policy.lint.findings import Lint
from recproxy.policy.lint.forks import warn_forks
from recproxy.policy.lint.meeting import warn_meeting
from recproxy.policy.lint.purposes import FIVE_YEARS, shown
from recproxy.policy.lint.terms import warn_terms
from recproxy.policy.purpose import (
    CounterpartyVoice,
    Index,
    Kind,
    Purpose,
    PurposeName,
    SelectionMode,
)
from storage.tags import Direction, LegalBasis

__all__ = ["warn"]

_TRAINING_KEEP: Final = timedelta(days=30)
_TWO_YEARS: Final = timedelta(days=731)
_MANY: Final = 50
_PERHAPS: Final = re.compile(
    r"\b(?:kan|kunnen|mag|may|might|can|could|kann|können|dürfen|peut|pouvons)\b", re.IGNORECASE
)


def warn(lint: Lint) -> None:
    """Note what deserves a look."""
    for name, purpose in lint.file.purposes.items():
        _warn_basis(lint, name, purpose)
        _warn_data(lint, name, purpose)
        _warn_words(lint, name, purpose)
        _warn_age(lint, name, purpose)
        warn_forks(lint, name, purpose)
    warn_meeting(lint)
    warn_terms(lint)


def _warn_basis(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name)
    if purpose.basis.caller is LegalBasis.LEGITIMATE_INTEREST:
        if purpose.selection.mode is SelectionMode.ALL:
            lint.warn(
                "W101",
                (*key, "selection", "mode"),
                "'all': to record every call seldom outweighs the callers' interest; record a share",
            )
        if purpose.choice.mode is ChoiceMode.NONE:
            lint.warn(
                "W103",
                (*key, "choice", "mode"),
                "'none': who objects (GDPR art. 21) must be heard by other means; tell staff how",
            )
        if lint.file.controller.public_body:
            lint.warn(
                "W112",
                (*key, "basis", "caller"),
                "'legitimate_interest' is not for the tasks of an authority (GDPR art. 6(1)); "
                "rest on public_task",
            )
    if purpose.kind is Kind.AGREEMENTS and Direction.OUTBOUND in purpose.scope.directions:
        lint.warn(
            "W104",
            (*key, "scope", "directions"),
            "outbound: a consumer is bound by a sales call only in writing (art. 6:230v(6) BW)",
        )
    if purpose.staff.assessment_use:
        lint.warn(
            "W111",
            (*key, "staff", "assessment_use"),
            "true: assessing staff is a purpose of its own, and the works council must have agreed to it",
        )


def _warn_data(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name)
    keep = purpose.retention.keep
    if purpose.kind is Kind.TRAINING and keep > _TRAINING_KEEP:
        lint.warn(
            "W102", (*key, "retention", "keep"), f"{shown(keep)}: a month is usual for training; shorten it"
        )
    if purpose.selection.mode is SelectionMode.NON_SELECTIVE:
        lint.warn(
            "W105",
            (*key, "selection", "mode"),
            "'non_selective': who tells date, time and line gets a copy while there is one (GDPR art. 11)",
        )
    if purpose.access.index is Index.NONE:
        lint.warn(
            "W108", (*key, "access", "index"), "'none': callers who withhold their number are recorded too"
        )
    if purpose.scope.internal:
        lint.warn(
            "W108", (*key, "scope", "internal"), "true: calls among staff are recorded; is that needed?"
        )
    if purpose.access.counterparty_voice is not CounterpartyVoice.INCLUDE:
        lint.warn(
            "W109",
            (*key, "access", "counterparty_voice"),
            f"{purpose.access.counterparty_voice.value!r}: a copy without the other voice needs a reason "
            "each time (GDPR art. 15(4))",
        )
    if purpose.evidence.tombstone_keep > FIVE_YEARS:
        lint.warn(
            "W110",
            (*key, "evidence", "tombstone_keep"),
            f"{shown(purpose.evidence.tombstone_keep)} is more than five years; shorten it",
        )


def _warn_words(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    if purpose.choice.mode is ChoiceMode.OPT_IN:
        return
    for language, prompt in purpose.announce.prompts.items():
        words = lint.words(prompt, language)
        if words is not None and _PERHAPS.search(words):
            lint.warn(
                "W106",
                ("purposes", name, "announce", "prompts", language),
                f"{words!r} leaves open what is certain: it is played only when the call is recorded",
            )


def _warn_age(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    key = ("purposes", name)
    for what, made in (
        ("dpia", purpose.dpia.date),
        ("balancing", purpose.balancing.date if purpose.balancing is not None else None),
    ):
        if made is not None and lint.around.today - made > _TWO_YEARS:
            lint.warn("W107", (*key, what, "date"), f"{made} is more than two years ago; look at it again")
    council = purpose.staff.works_council
    lines = (lint.file.lines[line] for line in purpose.scope.lines if line in lint.file.lines)
    telephones = sum(pattern.count for line in lines for pattern in line.match)
    if council is not None and council.none and telephones > _MANY:
        lint.warn(
            "W107",
            (*key, "staff", "works_council"),
            f"none, but the lines have {telephones} numbers: 50 people must have one (art. 2 WOR)",
        )
