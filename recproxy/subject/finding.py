"""Finding a person's recordings: by number where there is an index, else by date, time and line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from recproxy.policy import Numbering
from storage import (
    Catalogue,
    CatalogueRow,
    NumberIndex,
    Parties,
    Reader,
    State,
)
from storage.age import Identity

__all__ = ["Lookup", "by_number", "by_time", "is_caller", "is_party"]

_FINDABLE: Final = (State.OPEN, State.SEALED, State.ABORTED)


@dataclass(frozen=True, slots=True)
class Lookup:
    """Facts a person gives to find a recording that no number finds.

    Attributes:
        at: About when the call began (aware).
        within: How far off that may be.
        line: The number that was called or that called, as E.164; empty for any.
    """

    at: datetime
    within: timedelta
    line: str


def by_number(catalogue: Catalogue, index: NumberIndex, number: str) -> tuple[CatalogueRow, ...]:
    """Recordings with this very number as a party.

    Args:
        catalogue: The catalogue.
        index: Makes the tokens.
        number: As E.164.

    Returns:
        Newest first; nothing that the policy keeps out of the index.
    """
    found = catalogue.with_tokens(tuple(index.lookup(number).values()))
    return tuple(row for row in found if row.state in _FINDABLE)


def by_time(
    catalogue: Catalogue,
    reader: Reader,
    identities: Sequence[Identity],
    numbering: Numbering,
    number: str,
    lookup: Lookup,
) -> tuple[CatalogueRow, ...]:
    """Recordings of this node that no number finds, by when and on which line they were made.

    Opens the parties of those that began about then, which leaves nothing behind.

    Args:
        catalogue: The catalogue.
        reader: Opens parties.
        identities: Private keys.
        numbering: How numbers compare.
        number: Of the person who asks, as E.164.
        lookup: What the person knows.

    Returns:
        Those with the person's number, and the line if one is given, as parties.

    Raises:
        KeyUnavailable: The identities do not open one of them.
    """
    indexed = catalogue.indexed()
    found = []
    for row in _around(catalogue, lookup):
        if row.tags.recording in indexed:
            continue
        if not row.parties:
            continue  # lost with the catalogue: without_parties tells of them
        parties = reader.parties(row.tags.recording, identities)
        if is_party(parties, number, numbering) and (
            not lookup.line or is_party(parties, lookup.line, numbering)
        ):
            found.append(row)
    return tuple(found)


def without_parties(catalogue: Catalogue, lookup: Lookup) -> int:
    """How many recordings around an instant do not say any more who called whom.

    Args:
        catalogue: Of the recordings; one that was made again from the audit chain.
        lookup: What the person knows.
    """
    return sum(not row.parties for row in _around(catalogue, lookup))


def _around(catalogue: Catalogue, lookup: Lookup) -> tuple[CatalogueRow, ...]:
    """Recordings of this node that began around the instant."""
    return catalogue.select(
        states=_FINDABLE, since=lookup.at - lookup.within, until=lookup.at + lookup.within, own=True
    )


def is_party(parties: Parties, number: str, numbering: Numbering) -> bool:
    """Whether a number, as E.164, called or was called."""
    return number in {numbering.canonical(party) for party in (parties.caller, parties.callee) if party}


def is_caller(parties: Parties, number: str, numbering: Numbering) -> bool:
    """Whether a number, as E.164, called."""
    return bool(parties.caller) and numbering.canonical(parties.caller) == number
