"""What remains of recordings, with time: backups that forget, and tombstones whose own time is over.

A shredded recording is ``shredded``: its key is destroyed here. It is ``shred_complete``
when the last backup that may hold that key is gone too: the backup horizon of its key
group after the shred. Later, when its purpose keeps traces no longer, the tombstone
goes and adds one to the total of its month. Each step is in the audit chain before it
is in the catalogue; what a crash cuts short is done anew, and counts once.

The instant comes from a clock that retention has found to be right, so nothing is
early; a horizon that became longer is heeded, one that became shorter moves nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from storage.age import Random
from storage.audit import AuditLog
from storage.catalogue import Catalogue, Horizon, Tombstone, served_purpose
from storage.files import Files
from storage.shred import LOCK_PATH

__all__ = ["Aged", "Remains", "TraceTerm"]

_BATCH: Final = 500
"""Tombstones in one transaction: the recorder waits for it."""


@dataclass(frozen=True, slots=True)
class TraceTerm:
    """What a policy says of the remains of a purpose.

    Attributes:
        key_group: Group of its keys.
        horizon: How long a destroyed key of the group lives on in backups.
        keep: How long a tombstone is kept, from the shred.
    """

    key_group: str
    horizon: timedelta
    keep: timedelta


@dataclass(frozen=True, slots=True)
class Aged:
    """What time did to tombstones.

    Attributes:
        completed: How many are out of every backup now.
        purged: How many became totals.
    """

    completed: int
    purged: int


class Remains:
    """Lets tombstones age; for the process that shreds.

    Args:
        files: The data directory.
        catalogue: Its catalogue.
        audit: Its audit chain.
        random: Source of randomness for run ids.
    """

    def __init__(
        self, files: Files, catalogue: Catalogue, audit: AuditLog, random: Random = secrets.token_bytes
    ) -> None:
        self._files = files
        self._catalogue = catalogue
        self._audit = audit
        self._random = random

    def age(self, terms: Mapping[str, TraceTerm], now: datetime, limit: int = 1000) -> Aged:
        """Complete and purge what is due.

        Args:
            terms: By purpose, of the policy in force. A purpose that it has no more has the
                longest of all horizons and terms; with no purpose at all nothing is done.
            now: The current instant (aware), by a clock that is trusted.
            limit: Tombstones to purge at a time, of each purpose.

        Returns:
            What was done.

        Raises:
            StorageError: Chain or catalogue cannot be written; repeat.
        """
        if not terms:
            return Aged(0, 0)
        run = self._random(16).hex()
        longest = TraceTerm(
            "", max(term.horizon for term in terms.values()), max(term.keep for term in terms.values())
        )
        shortest = min(term.keep for term in terms.values())
        with self._files.lock(LOCK_PATH):
            completed = self._complete(terms, longest, now, run)
            purged = sum(
                self._purge(purpose, terms.get(served_purpose(purpose), longest).keep, now, run, limit)
                for purpose in self._catalogue.stones.purposes(now - shortest)
            )
        if purged:
            self._catalogue.checkpoint()
        return Aged(completed, purged)

    def _complete(self, terms: Mapping[str, TraceTerm], longest: TraceTerm, now: datetime, run: str) -> int:
        noted: list[Horizon] = []
        over: list[Tombstone] = []
        for stone in self._catalogue.stones.incomplete(now):
            horizon = _horizon(stone, terms.get(served_purpose(stone.purpose), longest))
            if (stone.key_group, stone.out_of_backups) != (horizon.key_group, horizon.out_of_backups):
                noted.append(horizon)
            if horizon.out_of_backups <= now:
                over.append(stone)
                self._audit.append("backup.horizon_passed", _passed(stone, horizon, run), durable=False)
        if over:
            self._audit.flush()
        for at in range(0, len(noted), _BATCH):
            self._catalogue.stones.note_horizons(noted[at : at + _BATCH])
        for at in range(0, len(over), _BATCH):
            self._catalogue.stones.complete(over[at : at + _BATCH], now)
        return len(over)

    def _purge(self, purpose: str, keep: timedelta, now: datetime, run: str, limit: int) -> int:
        stones = self._catalogue.stones.gone_by(purpose, now - keep, limit)
        if not stones:
            return 0
        self._audit.append(
            "tombstone.purged",
            {
                "purpose": purpose,
                "count": len(stones),
                "until": _written(stones[-1].gone_at),
                "run": run,
                "outcome": "purged",
            },
        )
        self._audit.flush()
        return self._catalogue.stones.purge(stones)


def _horizon(stone: Tombstone, term: TraceTerm) -> Horizon:
    """The later of what was said of it before and what the policy says now."""
    until = stone.gone_at + term.horizon
    if stone.out_of_backups is not None:
        until = max(until, stone.out_of_backups)
    return Horizon(stone.recording, stone.purpose, stone.key_group or term.key_group, until)


def _passed(stone: Tombstone, horizon: Horizon, run: str) -> Mapping[str, str]:
    return {
        "rec": stone.recording.text,
        "purpose": stone.purpose,
        "key_group": horizon.key_group,
        "key_id": stone.key_id,
        "gone_at": _written(stone.gone_at),
        "until": _written(horizon.out_of_backups),
        "run": run,
        "outcome": "complete",
    }


def _written(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds")
