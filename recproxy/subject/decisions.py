"""What the law makes of a request, recording by recording; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from recproxy.subject.cases import Found, Outcome, RequestKind
from storage.catalogue import CatalogueRow, State
from storage.holds import Hold, HoldKind, HoldState
from storage.tags import LegalBasis

__all__ = ["CAUSES", "PORTABLE", "Ruling", "decide", "outcomes", "rule"]

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


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the law makes of a request for one recording, purpose by purpose.

    Attributes:
        row: The recording.
        granted: Purposes for which it must go, or its use must stop.
        refused: The others, and why not.
    """

    row: CatalogueRow
    granted: tuple[str, ...]
    refused: Mapping[str, Outcome]

    @property
    def whole(self) -> bool:
        """Whether nothing is left that it is kept for."""
        return not self.refused

    @property
    def kept(self) -> tuple[Found, ...]:
        """What is said of the purposes that are refused."""
        name = self.row.tags.recording.text
        return tuple(
            Found(recording=name, purpose=purpose, outcome=why) for purpose, why in self.refused.items()
        )

    def done(self, outcome: Outcome) -> tuple[Found, ...]:
        """What is said of the purposes that are granted."""
        name = self.row.tags.recording.text
        return tuple(Found(recording=name, purpose=purpose, outcome=outcome) for purpose in self.granted)


def outcomes(row: CatalogueRow, outcome: Outcome) -> tuple[Found, ...]:
    """The same outcome for every purpose of a recording."""
    return tuple(
        Found(recording=row.tags.recording.text, purpose=term.purpose, outcome=outcome)
        for term in row.tags.terms
    )


def rule(kind: RequestKind, row: CatalogueRow, holds: Collection[Hold]) -> Ruling:
    """Tell for which purposes of a recording the law grants a request.

    Args:
        kind: What is asked: to erase, to object, or to withdraw consent.
        row: The recording.
        holds: Holds on it.
    """
    verdicts = {term.purpose: decide(kind, term.legal_basis, row.state, holds) for term in row.tags.terms}
    return Ruling(
        row,
        tuple(purpose for purpose, why in verdicts.items() if why is None),
        {purpose: why for purpose, why in verdicts.items() if why is not None},
    )


def decide(kind: RequestKind, basis: LegalBasis, state: State, holds: Collection[Hold]) -> Outcome | None:
    """Tell whether the law grants a request for one purpose of one recording.

    Args:
        kind: What is asked: to erase, to object, or to withdraw consent.
        basis: Ground on which the recording is kept for that purpose.
        state: Of the recording.
        holds: Holds on it.

    Returns:
        None if it is granted, else why not. A recording kept by statute or a legal
        hold stays (GDPR art. 17(3)(b) and (e)). Only processing for a legitimate
        interest or a public task can be objected to (art. 21(1)); only consent can
        be withdrawn (art. 7(3)). The recording of a call that is still on waits for
        its end.
    """
    if kind is RequestKind.WITHDRAW and basis is not LegalBasis.CONSENT:
        return Outcome.REFUSED_BASIS
    if kind is RequestKind.OBJECT and basis not in _OBJECTABLE:
        return Outcome.REFUSED_BASIS
    if basis is LegalBasis.LEGAL_OBLIGATION:
        return Outcome.REFUSED_STATUTE
    if any(hold.kind is HoldKind.LEGAL and hold.state is HoldState.ACTIVE for hold in holds):
        return Outcome.REFUSED_HOLD
    if state not in _LIVE and state is not State.SHREDDING:
        return Outcome.OPEN_CALL
    return None
