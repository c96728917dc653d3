"""The catalogue made again from the audit chain, the headers and the bodies.

What the catalogue knows already stays as it is: so it may be empty, or an old copy that was
put back, and the work may be repeated. Nothing is opened, and nothing becomes readable that was
not: a recording that the chain saw go gets a tombstone, whatever a backup has put back of it.

Lost for good is what no log may hold: who called whom, and the index by number; besides, the
counts of packets of each channel, and by how many pauses a recording was interrupted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from storage.audit import read_entries
from storage.bodies import Bodies
from storage.catalogue import Catalogue, LostRow, State, Wrap
from storage.errors import KeyUnavailable
from storage.files import Files
from storage.history import History, Story, read_history
from storage.holds import Hold
from storage.keys import KeyStore
from storage.objects import Objects
from storage.openbody import OPEN_SUFFIX
from storage.places import KEYS_DIRECTORY, SHRED_LOCK

__all__ = ["Finding", "Rebuilt", "rebuild"]

_OWNER: Final = re.compile(r"(?:.*/)?([0-9a-f]{32})\.")
_KEPT: Final = (State.OPEN, State.SEALED, State.ABORTED)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person must look at.

    Attributes:
        recording: Id.
        reason: What is wrong with it.
    """

    recording: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was made again.

    Attributes:
        rows: How many rows, by the state they have now.
        tombstones: How many tombstones.
        holds: Legal holds that stand again.
        findings: What a person must look at, sorted by recording.
        restrictions: Cases under which use was restricted; the chain does not tell of which recordings.
        cases: Cases that are open, and froze what they are about.
    """

    rows: dict[State, int]
    tombstones: int
    holds: tuple[Hold, ...]
    findings: tuple[Finding, ...]
    restrictions: tuple[str, ...]
    cases: tuple[str, ...]


def rebuild(
    files: Files,
    catalogue: Catalogue,
    now: datetime,
    objects: Objects | None = None,
    *,
    dry: bool = False,
) -> Rebuilt:
    """Enter every recording that the chain tells of and the catalogue does not know.

    Args:
        files: The data directory; its chain was verified.
        catalogue: The catalogue.
        now: The current instant (aware).
        objects: Where sealed bodies may be instead.
        dry: Change nothing.

    Returns:
        What was entered, or would be.

    Raises:
        StorageError: Something cannot be read, or the catalogue cannot be written; it is as before.
    """
    with files.lock(SHRED_LOCK):
        history = read_history(read_entries(files))
        known = _known(catalogue)
        lost = {name: one for name, one in history.stories.items() if name not in known}
        rows = [_lost_row(files, story) for story in lost.values() if not story.gone]
        stones = [stone for stone in history.stones() if stone.recording.text in lost]
        holds = _lost_holds(history, catalogue, rows, now)
        findings = [*_findings(Bodies(files, objects), rows), *_strays(files, objects, history, known)]
        if not dry:
            catalogue.adoption.adopt(rows, stones)
            for hold in holds:  # those that a crash leaves out are found by the next run
                catalogue.holds.add(hold)
    states = [one.row.state for one in rows]
    return Rebuilt(
        rows={state: states.count(state) for state in State if state in states},
        tombstones=len(stones),
        holds=holds,
        findings=tuple(sorted(findings, key=lambda one: (one.recording, one.reason))),
        restrictions=tuple(sorted(history.restrictions)),
        cases=tuple(sorted(history.cases)),
    )


def _known(catalogue: Catalogue) -> frozenset[str]:
    """Ids of rows and tombstones."""
    stones = {stone.recording.text for stone in catalogue.tombstones()}
    return frozenset({recording.text for recording in catalogue.ids()} | stones)


def _lost_row(files: Files, story: Story) -> LostRow:
    row = story.row
    keys = KeyStore(files)
    slots = [*row.header_purposes, *(file.slot for file in story.derived.values())]
    wraps = []
    for slot in slots:
        try:
            digest = hashlib.sha256(keys.get(row.tags.recording, slot)).hexdigest()
        except KeyUnavailable:
            continue
        wraps.append(Wrap(slot, digest, *story.epochs.get(slot, ("", ""))))
    return LostRow(row, tuple(wraps), tuple(story.derived.values()), tuple(story.promoted.items()))


def _lost_holds(
    history: History, catalogue: Catalogue, rows: Sequence[LostRow], now: datetime
) -> tuple[Hold, ...]:
    """The holds that stand and that the catalogue does not know; of each the recordings that are kept."""
    there = {hold.id for hold in catalogue.holds.select()}
    kept = {row.tags.recording.text for row in catalogue.select(states=_KEPT)}
    kept |= {one.row.tags.recording.text for one in rows if one.row.state in _KEPT}
    found = []
    for hold in history.holds.values():
        recordings = tuple(one for one in hold.recordings if one.text in kept)
        if recordings and hold.id not in there and hold.ends > now:
            found.append(replace(hold, recordings=recordings))
    return tuple(found)


def _findings(bodies: Bodies, rows: Sequence[LostRow]) -> Iterator[Finding]:
    """Rows that are entered whose files do not fit them."""
    for one in rows:
        row, name = one.row, one.row.tags.recording.text
        if row.state is State.SHREDDING:
            continue  # half gone: retention goes on with it
        for purpose in set(row.header_purposes) - {wrap.purpose for wrap in one.wraps}:
            yield Finding(name, f"its key for {purpose} is missing: it opens for that purpose no more")
        place = bodies.find(row.body)
        if place is None:
            yield Finding(name, "its body is missing, here and in the object store")
        elif row.state is State.SEALED and bodies.size(place) != row.size_bytes:
            found = bodies.size(place)
            yield Finding(name, f"its body has {found} bytes, {row.size_bytes} were sealed")


def _strays(
    files: Files, objects: Objects | None, history: History, known: frozenset[str]
) -> Iterator[Finding]:
    """Keys and bodies that have neither row nor story."""
    here: dict[str, str] = {}
    for path in Bodies(files, objects).all_paths():
        if (match := _OWNER.match(path)) is not None:
            here.setdefault(match[1], "a body" if not path.endswith(OPEN_SUFFIX) else "an open body")
    for path in files.names(KEYS_DIRECTORY):
        if (match := _OWNER.match(path)) is not None:
            here[match[1]] = "a key"
    for name, what in here.items():
        story = history.stories.get(name)
        if story is not None and story.gone:
            yield Finding(name, f"{what} of it is here, but the chain saw it go: a backup was put back")
        elif story is None and name not in known:
            why = history.untold.get(name, "the chain does not tell of it")
            yield Finding(name, f"{what} of it is here, and its purpose and expiry are unknown: {why}")
