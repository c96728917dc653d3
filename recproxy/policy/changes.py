"""What changes from one policy to the next, and what that means for recordings that exist.

Four rules: the term is stamped on a recording when it starts; a shorter term holds for existing
recordings at once; a longer one only for new ones, since callers were told the old one; a use is
never added to what exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from recproxy.policy.file import PolicyFile
from recproxy.policy.purpose import Purpose, PurposeName
from recproxy.policy.terms import term_of

__all__ = ["Change", "ChangeKind", "changes"]


class ChangeKind(Enum):
    """What a change does."""

    ADDED = "added"  # a purpose that is new
    REMOVED = "removed"  # a purpose that is gone; its recordings keep their term
    SHORTER = "shorter"  # existing recordings expire sooner
    LONGER = "longer"  # new recordings expire later
    USE = "use"  # new recordings may be used for more
    OTHER = "other"  # anything else of a purpose
    WHOLE = "whole"  # a part of the policy outside of the purposes


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        kind: What it does.
        purpose: Of which purpose; empty if of the whole.
        what: In words.
    """

    kind: ChangeKind
    purpose: str
    what: str


def changes(old: PolicyFile, new: PolicyFile) -> tuple[Change, ...]:
    """Everything that differs, purposes in their order, then the whole."""
    return (*_of_purposes(old, new), *_of_whole(old, new))


def _of_purposes(old: PolicyFile, new: PolicyFile) -> Iterator[Change]:
    for name in dict.fromkeys((*old.purposes, *new.purposes)):
        before, after = old.purposes.get(name), new.purposes.get(name)
        if before is None:
            yield Change(ChangeKind.ADDED, name, "is new")
        elif after is None:
            yield Change(ChangeKind.REMOVED, name, "is gone; its recordings keep their term")
        else:
            yield from _of_purpose(name, before, after)


def _of_purpose(name: PurposeName, before: Purpose, after: Purpose) -> Iterator[Change]:
    was, now = before.retention.keep, after.retention.keep
    if now < was:
        what = f"kept {_days(now)} instead of {_days(was)}: for existing recordings too, at once"
        yield Change(ChangeKind.SHORTER, name, what)
    elif now > was:
        yield Change(
            ChangeKind.LONGER,
            name,
            f"kept {_days(now)} instead of {_days(was)}: for new recordings alone",
        )
    before_end, after_end = term_of(before)[2], term_of(after)[2]
    if before_end and not after_end:
        what = "kept from the start of the recording instead of its end: for existing recordings too, at once"
        yield Change(ChangeKind.SHORTER, name, what)
    elif after_end and not before_end:
        what = "kept from the end of the recording instead of its start: for new recordings alone"
        yield Change(ChangeKind.LONGER, name, what)
    yield from _of_promotion(name, before, after)
    added = _uses(name, after) - _uses(name, before)
    if added:
        yield Change(
            ChangeKind.USE, name, f"may be played for {', '.join(sorted(added))}: new recordings alone"
        )
    for key in Purpose.__struct_fields__:
        if key != "retention" and getattr(before, key) != getattr(after, key):
            yield Change(ChangeKind.OTHER, name, f"{key} differs")


def _of_promotion(name: PurposeName, before: Purpose, after: Purpose) -> Iterator[Change]:
    """Changes of the longer term that a tag gives; without it tagged recordings get the usual one."""
    (_, old, _), (usual, new, _) = term_of(before), term_of(after)
    for tag in dict.fromkeys((*old, *new)):
        was, now = old.get(tag), new.get(tag, usual)
        if was is None:
            what = f"kept {_days(now)} with the tag {tag!r}: for new recordings alone"
            yield Change(ChangeKind.LONGER, name, what)
        elif now != was:
            kind = ChangeKind.SHORTER if now < was else ChangeKind.LONGER
            reach = "for existing recordings too, at once" if now < was else "for new recordings alone"
            yield Change(
                kind, name, f"kept {_days(now)} instead of {_days(was)} with the tag {tag!r}: {reach}"
            )


def _of_whole(old: PolicyFile, new: PolicyFile) -> Iterator[Change]:
    for key in PolicyFile.__struct_fields__:
        if key != "purposes" and getattr(old, key) != getattr(new, key):
            yield Change(ChangeKind.WHOLE, "", f"{key} differs")


def _uses(name: PurposeName, purpose: Purpose) -> frozenset[str]:
    return frozenset(purpose.playback.uses or (name,))


def _days(term: timedelta) -> str:
    return f"{term.days} days" if term.days and not term.seconds else f"{int(term.total_seconds())} s"
