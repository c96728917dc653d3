"""The catalogue held against the audit chain: who removes or changes a row leaves a contradiction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from storage import CatalogueRow, State, Tombstone

__all__ = ["Discrepancy", "cross_check"]

# A line is written a moment after the row that it speaks of, or before: the daemon may be at it.
_SETTLED: Final = timedelta(minutes=1)
# A tombstone has the instant at which its sweep began, its lines in the chain have their own.
_LONGEST_SWEEP: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One contradiction.

    Attributes:
        recording: Id.
        reason: What is said where.
    """

    recording: str
    reason: str


@dataclass(slots=True)
class _Told:
    """What the chain tells of one recording; its expiries by purpose, and which went when."""

    started: str = ""
    expiries: dict[str, str] = field(default_factory=dict)
    sha256: str | None = None
    last: str = ""
    gone: bool = field(default=False)
    ended: str = ""
    purposes: frozenset[str] = frozenset()


def cross_check(
    events: Callable[[], Iterable[Mapping[str, object]]],
    catalogue: Callable[[], tuple[Sequence[CatalogueRow], Sequence[Tombstone]]],
    now: datetime,
    trimmed_until: str = "",
) -> tuple[Discrepancy, ...]:
    """Compare; what looks wrong is looked at twice, since the daemon writes meanwhile.

    Args:
        events: Reads the chain, oldest line first.
        catalogue: Reads rows and tombstones.
        now: The current instant; what is younger than a minute is left out.
        trimmed_until: When the newest line was written that was removed in its time; empty if none
            was. What began before is left out where the chain cannot know it any more.

    Returns:
        The contradictions, sorted by recording.
    """
    since = datetime.fromisoformat(trimmed_until) if trimmed_until else None
    found = _compare(events, catalogue, now, since)
    if not found:
        return ()
    again = set(_compare(events, catalogue, now, since))
    return tuple(one for one in found if one in again)


def _compare(
    events: Callable[[], Iterable[Mapping[str, object]]],
    catalogue: Callable[[], tuple[Sequence[CatalogueRow], Sequence[Tombstone]]],
    now: datetime,
    since: datetime | None,
) -> list[Discrepancy]:
    told, purged = _told(events())
    rows, stones = catalogue()
    by_id = {row.tags.recording.text: row for row in rows}
    gone = {stone.recording.text: stone for stone in stones}
    found: list[Discrepancy] = []
    for name in sorted({*told, *by_id, *gone}):
        if since is not None and _began_before(since, told.get(name), by_id.get(name), gone.get(name)):
            continue
        reason = _contradiction(told.get(name), by_id.get(name), gone.get(name), now, purged)
        if reason:
            found.append(Discrepancy(name, reason))
    return found


def _told(events: Iterable[Mapping[str, object]]) -> tuple[dict[str, _Told], dict[str, str]]:
    """What is told of each recording, and by purpose up to when tombstones were purged."""
    told: dict[str, _Told] = {}
    purged: dict[str, str] = {}
    for line in events:
        if line.get("event") == "tombstone.purged":
            purged[str(line.get("purpose", ""))] = str(line.get("until", ""))
        name = line.get("rec")
        if not isinstance(name, str):
            continue
        one = told.setdefault(name, _Told())
        one.last = str(line.get("ts", ""))
        match line.get("event"):
            case "rec.started":
                one.started = one.last
                one.expiries |= _expiries(line)
            case "rec.expiry_changed" | "rec.promoted":
                one.expiries[str(line.get("purpose", ""))] = str(line.get("expires_at", ""))
            case "rec.sealed":
                one.sha256 = str(line.get("sha256_ct", ""))
            case "shred.started" | "shred.verified" | "rec.discarded":
                one.gone, one.ended = True, one.last
                one.purposes = frozenset(str(line.get("purpose", "")).split(","))
            case _:
                pass
    return told, purged


def _was_purged(told: _Told, purged: Mapping[str, str]) -> bool:
    """Whether the chain tells that the tombstones of a recording went with their time."""
    return told.gone and all(
        purpose in purged
        and datetime.fromisoformat(told.ended) <= datetime.fromisoformat(purged[purpose]) + _LONGEST_SWEEP
        for purpose in told.purposes
    )


def _expiries(line: Mapping[str, object]) -> dict[str, str]:
    """By purpose, as ``rec.started`` tells them."""
    several = str(line.get("expires_by_purpose", ""))
    if not several:
        return {str(line.get("purpose", "")): str(line.get("expires_at", ""))}
    return dict(one.split("=", maxsplit=1) for one in several.split(",") if "=" in one)


def _began_before(
    since: datetime, told: _Told | None, row: CatalogueRow | None, stone: Tombstone | None
) -> bool:
    """Whether a recording began in the part of the chain that was removed."""
    if told is not None and told.started:
        return False
    if row is not None:
        return row.tags.started <= since + _SETTLED
    return stone is None or stone.started_on <= since.date()


def _contradiction(
    told: _Told | None,
    row: CatalogueRow | None,
    stone: Tombstone | None,
    now: datetime,
    purged: Mapping[str, str],
) -> str:
    if told is None or not told.started:
        # An opening that broke off before its line is erased at the next start: no audio, no harm.
        broken_off = (row is not None and row.state is State.OPEN) or (told is not None and told.gone)
        young = row is not None and now - row.tags.started < _SETTLED
        return "" if broken_off or young else "is in the catalogue, but the chain never saw it start"
    if row is None and stone is None:
        if _was_purged(told, purged):
            return ""
        young = now - datetime.fromisoformat(told.last) < _SETTLED
        return "" if young else f"started {told.started} and has neither row nor tombstone"
    if row is None:
        return "" if told.gone else "has a tombstone, but the chain never saw it go"
    if told.gone and row.state not in {State.SHREDDING, State.DISCARDING}:
        return f"is in the catalogue as {row.state.value}, but the chain saw it go: a backup was put back"
    for term in row.tags.terms:
        expiry = told.expiries.get(term.purpose, "")
        if expiry and datetime.fromisoformat(expiry) != term.expiry:
            return f"was to be kept until {expiry}, the catalogue says {term.expiry.isoformat()}"
    if row.state is State.SEALED and told.sha256 is not None and told.sha256 != row.sha256:
        return "was sealed with another hash than the catalogue says"
    if row.state is State.SEALED and told.sha256 is None:
        young = row.facts is None or now - row.facts.ended < _SETTLED
        return "" if young else "is sealed, but the chain never saw it sealed"
    return ""
