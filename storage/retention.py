"""Retention: what is due, and a clock that is not believed blindly.

``due`` is pure. ``Retention.sweep`` shreds what is due, up to a
limit, and returns; there is no thread and no sleep here. The caller reads the
clocks (``read_clock``) and decides when to call again.

Nothing is ever shredded early. The wall clock of the last run is kept together
with the monotonic clock of that boot: within one boot both must have advanced
alike; across boots the wall clock may not have jumped by more than a bound, nor
back. If they disagree, the sweep stands still and says so, and keeps standing
still until the clock is right again or a person accepts it (``accept_clock``).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from storage.age import Random
from storage.audit import AuditLog
from storage.catalogue import EXPIRY, LEASE, Catalogue, CatalogueRow, Lease, State, Tombstone
from storage.clock import ClockGuard, ClockReading, StandStill
from storage.derived import DerivedStore
from storage.errors import HeldRecording, StorageError
from storage.files import Files
from storage.holds import Hold
from storage.numberindex import destroy_month, month_of, months_with_secret
from storage.objects import Objects
from storage.shred import ShredCertificate, Shredder
from storage.tags import PurposeTerm, RecordingId

_MONTH_MARGIN: Final = timedelta(days=2)  # a call that began in the old month may still be opened
_TOGETHER: Final = 50
_LATE: Final = timedelta(hours=2)  # twice the longest time between two sweeps


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one sweep did.

    Attributes:
        run: Its random id, in the audit chain and on each tombstone.
        due: Recordings that were due, at most ``limit``.
        shredded: One certificate for each that is gone.
        failed: Those that could not be shredded, with the reason; still due.
        held: Recordings past their expiry that a hold keeps.
        oldest_overdue: How long the longest overdue recording was due when the
            sweep began; zero if none was.
        stood_still: Why nothing was done, or None.
        lapsed: Holds whose date came.
        months_forgotten: Months whose numbers can no longer be looked up.
        purposes_ended: What remains of each purpose that ended of a recording that lives on.
        derived_ended: What remains of each transcript that ended before its recording.
        overdue_elsewhere: Recordings that another node should have shredded two hours ago or earlier.
    """

    run: str
    due: int
    shredded: tuple[ShredCertificate, ...]
    failed: tuple[tuple[RecordingId, str], ...]
    held: int
    oldest_overdue: timedelta
    stood_still: str | None
    lapsed: tuple[Hold, ...] = ()
    months_forgotten: tuple[str, ...] = ()
    purposes_ended: tuple[Tombstone, ...] = ()
    overdue_elsewhere: int = 0
    derived_ended: tuple[Tombstone, ...] = ()


def due(rows: Iterable[CatalogueRow], now: datetime) -> tuple[CatalogueRow, ...]:
    """Pick what must be shredded now.

    Args:
        rows: Any rows.
        now: The current instant (aware).

    Returns:
        In the order given: those already being shredded, or with a purpose that is ending, and
        sealed or aborted ones of which a purpose has expired and that no hold keeps. Never an open one.
    """
    return tuple(
        row
        for row in rows
        if row.state is State.SHREDDING
        or (row.state in {State.SEALED, State.ABORTED} and (row.ending or expired_purposes(row, now)))
    )


def expired_purposes(row: CatalogueRow, now: datetime) -> tuple[PurposeTerm, ...]:
    """Which purposes of a row have expired; none while a hold keeps it.

    Args:
        row: Any row.
        now: The current instant (aware).
    """
    return () if row.held else tuple(term for term in row.tags.terms if term.expiry <= now)


def _is_over(row: CatalogueRow, now: datetime) -> bool:
    """Whether a row that is due has no purpose left."""
    return row.state is State.SHREDDING or len(expired_purposes(row, now)) == len(row.tags.terms)


class Retention:
    """Shreds what is due.

    Args:
        files: The data directory.
        catalogue: Its catalogue.
        audit: Its audit chain.
        guard: Judges the clock.
        random: Source of randomness for run ids.
        objects: Where sealed bodies may be instead; None if they are all in the data directory.
    """

    def __init__(
        self,
        files: Files,
        catalogue: Catalogue,
        audit: AuditLog,
        guard: ClockGuard,
        random: Random = secrets.token_bytes,
        objects: Objects | None = None,
    ) -> None:
        self._files = files
        self._catalogue = catalogue
        self._audit = audit
        self._guard = guard
        self._random = random
        self._shredder = Shredder(files, catalogue, audit, objects)
        self._derived = DerivedStore(files, catalogue, audit, objects)

    def sweep(self, reading: ClockReading, limit: int = 1000) -> SweepReport:
        """Shred what is due, oldest expiry first.

        Args:
            reading: Both clocks, read just now.
            limit: At most so many; call again while ``due`` equals it.

        Returns:
            What was done. A recording that cannot be shredded does not stop the
            others.

        Raises:
            StorageError: The catalogue, the audit chain or the clock state cannot
                be used.
        """
        run = self._random(16).hex()
        verdict = self._guard.check(reading, self._catalogue.latest_start())
        if isinstance(verdict, StandStill):
            self._audit.append(
                "clock.unsynced", {"run": run, "outcome": "stood_still", "reason": verdict.reason}
            )
            self._audit.flush()
            return SweepReport(run, 0, (), (), 0, timedelta(0), verdict.reason)
        lapsed = self._lapse(verdict.now, run)
        with self._taken(verdict.now, limit, run) as taken:
            return self._sweep(due(taken, verdict.now), lapsed, verdict.now, run)

    def _sweep(
        self, rows: tuple[CatalogueRow, ...], lapsed: tuple[Hold, ...], now: datetime, run: str
    ) -> SweepReport:
        shredded: list[ShredCertificate] = []
        failed: list[tuple[RecordingId, str]] = []
        ended: list[Tombstone] = []
        over = [row for row in rows if _is_over(row, now)]
        for row, made in zip(over, self._shred(over, now, run), strict=True):
            if isinstance(made, HeldRecording):
                continue  # held since it was listed
            if isinstance(made, StorageError):
                failed.append((row.tags.recording, str(made)))
            elif not made.repeated:
                shredded.append(made)
        for row in rows:
            if not _is_over(row, now):
                try:
                    self._end_purposes(row, now, run, ended)
                except HeldRecording:
                    continue
                except StorageError as err:
                    failed.append((row.tags.recording, str(err)))
        swept = self._derived.sweep(now, run)
        failed += swept.failed
        if shredded or ended or swept.ended:
            self._catalogue.checkpoint()
        forgotten = self._forget_months(now, run)
        held = self._catalogue.held_past(now)
        overdue = max(
            (now - term.expiry for row in rows for term in expired_purposes(row, now)),
            default=timedelta(0),
        )
        self._audit.append(
            "retention.run",
            {
                "run": run,
                "due": len(rows),
                "shredded": len(shredded),
                "purposes_ended": len(ended),
                "derived_ended": len(swept.ended),
                "failed": len(failed),
                "held": held,
                "outcome": "failed" if failed else "done",
            },
        )
        self._audit.flush()
        return SweepReport(
            run,
            len(rows),
            tuple(shredded),
            tuple(failed),
            held,
            max(overdue, timedelta(0)),
            None,
            lapsed,
            forgotten,
            tuple(ended),
            self._catalogue.overdue(now - _LATE, elsewhere=True).recordings,
            swept.ended,
        )

    @contextmanager
    def _taken(self, now: datetime, limit: int, run: str) -> Iterator[tuple[CatalogueRow, ...]]:
        """What may have to be shredded; on lease meanwhile, where workers do not take turns anyway."""
        if not self._catalogue.shared:
            yield self._catalogue.expiring(now, limit)
            return
        leases = self._catalogue.leases
        taken = leases.take(now, limit, Lease(run, now, now + LEASE))
        try:
            yield self._catalogue.several(taken)
        finally:
            if taken:
                leases.release(run)

    def _shred(
        self, rows: Sequence[CatalogueRow], now: datetime, run: str
    ) -> list[ShredCertificate | StorageError]:
        """Shred recordings, so many together that others who want the lock do not wait long."""
        made: list[ShredCertificate | StorageError] = []
        for first in range(0, len(rows), _TOGETHER):
            recordings = [row.tags.recording for row in rows[first : first + _TOGETHER]]
            try:
                made += self._shredder.shred_together(recordings, EXPIRY, now, run)
            except StorageError as err:
                made += [err] * len(recordings)
        return made

    def _end_purposes(self, row: CatalogueRow, now: datetime, run: str, ended: list[Tombstone]) -> None:
        """End the purposes of one recording that have expired; it lives on for others."""
        ended.extend(
            self._shredder.shred_purpose(row.tags.recording, term.purpose, EXPIRY, now, run)
            for term in (*(ending.term for ending in row.ending), *expired_purposes(row, now))
        )

    def _lapse(self, now: datetime, run: str) -> tuple[Hold, ...]:
        lapsed = self._catalogue.holds.lapse(now)
        for hold in lapsed:
            self._audit.append(
                "hold.expired", {"hold": hold.id, "case_ref": hold.case_ref, "run": run, "outcome": "expired"}
            )
        return lapsed

    def _forget_months(self, now: datetime, run: str) -> tuple[str, ...]:
        """Destroy the index secret of each past month whose last recording is gone."""
        known = months_with_secret(self._files)
        past = [month for month in known if month < month_of(now - _MONTH_MARGIN)]
        if not past:
            return ()
        indexed = self._catalogue.indexed_months()
        forgotten = [month for month in past if month not in indexed]
        for month in forgotten:
            destroy_month(self._files, month)
            self._audit.append(
                "key.destroyed", {"key_id": f"index {month}", "run": run, "outcome": "destroyed"}
            )
        return tuple(forgotten)

    def accept_clock(self, reading: ClockReading, by: str) -> None:
        """Believe the clock from now on, because a person checked it.

        Args:
            reading: Both clocks, read just now.
            by: Who, for the audit chain.

        Raises:
            StorageError: It cannot be written.
        """
        self._audit.append("clock.accepted", {"actor": by, "outcome": "accepted"})
        self._guard.accept(reading)
        self._audit.flush()
