"""What the law makes of a request, recording by recording; pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from recproxy.subject.cases import Outcome, RequestKind
from storage.catalogue import CatalogueRow, State
from storage.holds import Hold, HoldKind, HoldState
from storage.tags import LegalBasis

__all__ = ["CAUSES", "PORTABLE", "decide"]

CAUSES: Final = {
    RequestKind.ERASE: "erase",
    RequestKind.OBJECT: "objection",
    RequestKind.WITHDRAW: "withdraw",
}
"""Of a shred, by what the person asked."""

PORTABLE: Final = frozenset({LegalBasis.CONSENT, LegalBasis.CONTRACT})
"""Grounds of the recordings that a person may take along (GDPR art. 20(1)(a))."""

_OBJECTABLE: Final = frozenset({LegalBasis.LEGITIMATE_INTEREST, LegalBasis.PUBLIC_TASK})
_LIVE: Final = frozenset({State.SEALED, State.ABORTED})


def decide(kind: RequestKind, row: CatalogueRow, holds: Collection[Hold]) -> Outcome | None:
    """Tell whether the law grants a request for one recording.

    Args:
        kind: What is asked: to erase, to object, or to withdraw consent.
        row: The recording.
        holds: Holds on it.

    Returns:
        None if it is granted, else why not. A recording kept by statute or a legal
        hold stays (GDPR art. 17(3)(b) and (e)). Only processing for a legitimate
        interest or a public task can be objected to (art. 21(1)); only consent can
        be withdrawn (art. 7(3)). The recording of a call that is still on waits for
        its end.
    """
    basis = row.tags.legal_basis
    if kind is RequestKind.WITHDRAW and basis is not LegalBasis.CONSENT:
        return Outcome.REFUSED_BASIS
    if kind is RequestKind.OBJECT and basis not in _OBJECTABLE:
        return Outcome.REFUSED_BASIS
    if basis is LegalBasis.LEGAL_OBLIGATION:
        return Outcome.REFUSED_STATUTE
    if any(hold.kind is HoldKind.LEGAL and hold.state is HoldState.ACTIVE for hold in holds):
        return Outcome.REFUSED_HOLD
    if row.state not in _LIVE and row.state is not State.SHREDDING:
        return Outcome.OPEN_CALL
    return None
