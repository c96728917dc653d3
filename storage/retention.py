"""Retention: what is due, and a clock that is not believed blindly.

``due`` and ``judge`` are pure. ``Retention.sweep`` shreds what is due, up to a
limit, and returns; there is no thread and no sleep here. The caller reads the
clocks (``read_clock``) and decides when to call again.

Nothing is ever shredded early. The wall clock of the last run is kept together
with the monotonic clock of that boot: within one boot both must have advanced
alike; across boots the wall clock may not have jumped by more than a bound, nor
back. If they disagree, the sweep stands still and says so, and keeps standing
still until the clock is right again or a person accepts it (``accept_clock``).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

from storage.age import Random
from storage.audit import AuditLog
from storage.catalogue import EXPIRY, Catalogue, CatalogueRow, State, Tombstone
from storage.durable import replace
from storage.errors import ClockStateError, HeldRecording, StorageError
from storage.files import Files
from storage.holds import Hold
from storage.numberindex import destroy_month, month_of, months_with_secret
from storage.shred import ShredCertificate, Shredder
from storage.tags import PurposeTerm, RecordingId

CLOCK_PATH: Final = "retention.clock"
LOCK_PATH: Final = "retention.lock"
_MAX_STATE_BYTES: Final = 4096
_MONTH_MARGIN: Final = timedelta(days=2)  # a call that began in the old month may still be opened
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Both clocks, read together.

    Attributes:
        wall: Wall clock (aware).
        boot_seconds: CLOCK_BOOTTIME: seconds since boot, suspend included.
        boot: Random id of this boot.
    """

    wall: datetime
    boot_seconds: float
    boot: str


@dataclass(frozen=True, slots=True)
class ClockBounds:
    """How far clocks may disagree before retention stands still.

    Attributes:
        drift: Within one boot: wall against monotonic time, since the last run.
        absence: Across boots, and behind the newest recording if there was no run
            before: how far the wall clock may have moved on.
    """

    drift: timedelta = timedelta(minutes=5)
    absence: timedelta = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Trusted:
    """The clock may be used.

    Attributes:
        now: The instant it shows.
    """

    now: datetime


@dataclass(frozen=True, slots=True)
class StandStill:
    """The clock may not be used; nothing is shredded.

    Attributes:
        reason: One sentence for a person.
    """

    reason: str


ClockVerdict: TypeAlias = Trusted | StandStill


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


def judge(
    last: ClockReading | None,
    current: ClockReading,
    newest: datetime | None,
    bounds: ClockBounds,
) -> ClockVerdict:
    """Decide whether the wall clock may be believed.

    Args:
        last: Reading of the last run whose clock was trusted; None if there was none.
        current: Reading of this run.
        newest: Start of the newest recording, a second witness; None if there is none.
        bounds: What is tolerated.

    Returns:
        The verdict.
    """
    if newest is not None and current.wall < newest - bounds.drift:
        return StandStill(
            f"the clock shows {_show(current.wall)}, but a recording was started at {_show(newest)}"
        )
    if last is None:
        if newest is not None and current.wall - newest > bounds.absence:
            return StandStill(
                f"first run: the clock shows {_show(current.wall)}, more than {bounds.absence.days} days "
                f"after the newest recording ({_show(newest)})"
            )
        return Trusted(current.wall)
    moved = current.wall - last.wall
    if current.boot == last.boot:
        elapsed = timedelta(seconds=current.boot_seconds - last.boot_seconds)
        if abs(moved - elapsed) > bounds.drift:
            return StandStill(
                f"since the last run the clock moved by {moved}, but {elapsed} passed: "
                f"it shows {_show(current.wall)}"
            )
    elif moved < -bounds.drift:
        return StandStill(f"the clock shows {_show(current.wall)}, before the last run ({_show(last.wall)})")
    elif moved > bounds.absence:
        return StandStill(
            f"the clock shows {_show(current.wall)}, more than {bounds.absence.days} days after the last "
            f"run ({_show(last.wall)}), and the machine was restarted in between"
        )
    return Trusted(current.wall)


class ClockGuard:
    """Remembers the last trusted clock reading in the data directory.

    Args:
        files: The data directory.
        bounds: What is tolerated.
    """

    def __init__(self, files: Files, bounds: ClockBounds | None = None) -> None:
        self._files = files
        self._bounds = bounds or ClockBounds()

    def check(self, current: ClockReading, newest: datetime | None) -> ClockVerdict:
        """Judge a reading, and remember it if it is trusted.

        Args:
            current: The reading.
            newest: Start of the newest recording.

        Returns:
            The verdict.

        Raises:
            ClockStateError: The remembered reading is damaged.
            FileFault: It cannot be read or written.
        """
        with self._files.lock(LOCK_PATH):
            verdict = judge(self.last(), current, newest, self._bounds)
            if isinstance(verdict, Trusted):
                self._remember(current)
        return verdict

    def accept(self, current: ClockReading) -> None:
        """Remember a reading as right, whatever came before.

        Raises:
            FileFault: It cannot be written.
        """
        with self._files.lock(LOCK_PATH):
            self._remember(current)

    def last(self) -> ClockReading | None:
        """The remembered reading; None before the first run.

        Raises:
            ClockStateError: It is damaged.
            FileFault: It cannot be read.
        """
        if self._files.size(CLOCK_PATH) is None:
            return None
        try:
            values = json.loads(self._files.read(CLOCK_PATH, 0, _MAX_STATE_BYTES))
            wall = datetime.fromisoformat(values["wall"])
            if wall.tzinfo is None:
                raise ValueError("no time zone")  # noqa: TRY301  -- one message for all damage
            return ClockReading(wall, float(values["boot_seconds"]), str(values["boot"]))
        except (ValueError, KeyError, TypeError) as err:
            raise ClockStateError(
                f"{CLOCK_PATH} is damaged: check the clock, then accept it "
                '("recproxy retention --accept-clock")'
            ) from err

    def _remember(self, current: ClockReading) -> None:
        text = json.dumps(
            {
                "wall": current.wall.astimezone(UTC).isoformat(),
                "boot_seconds": current.boot_seconds,
                "boot": current.boot,
            }
        )
        replace(self._files, CLOCK_PATH, text.encode() + b"\n")


class Retention:
    """Shreds what is due.

    Args:
        files: The data directory.
        catalogue: Its catalogue.
        audit: Its audit chain.
        guard: Judges the clock.
        random: Source of randomness for run ids.
    """

    def __init__(
        self,
        files: Files,
        catalogue: Catalogue,
        audit: AuditLog,
        guard: ClockGuard,
        random: Random = secrets.token_bytes,
    ) -> None:
        self._files = files
        self._catalogue = catalogue
        self._audit = audit
        self._guard = guard
        self._random = random
        self._shredder = Shredder(files, catalogue, audit)

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
        rows = due(self._catalogue.expiring(verdict.now, limit), verdict.now)
        shredded: list[ShredCertificate] = []
        failed: list[tuple[RecordingId, str]] = []
        ended: list[Tombstone] = []
        for row in rows:
            try:
                certificate = self._end(row, verdict.now, run, ended)
            except HeldRecording:
                continue  # held since it was listed
            except StorageError as err:
                failed.append((row.tags.recording, str(err)))
            else:
                if certificate is not None and not certificate.repeated:
                    shredded.append(certificate)
        if shredded or ended:
            self._catalogue.checkpoint()
        forgotten = self._forget_months(verdict.now, run)
        held = self._catalogue.held_past(verdict.now)
        overdue = max(
            (verdict.now - term.expiry for row in rows for term in expired_purposes(row, verdict.now)),
            default=timedelta(0),
        )
        self._audit.append(
            "retention.run",
            {
                "run": run,
                "due": len(rows),
                "shredded": len(shredded),
                "purposes_ended": len(ended),
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
        )

    def _end(
        self, row: CatalogueRow, now: datetime, run: str, ended: list[Tombstone]
    ) -> ShredCertificate | None:
        """End what has expired of one recording: purposes, or all of it."""
        recording = row.tags.recording
        over = expired_purposes(row, now)
        if row.state is State.SHREDDING or len(over) == len(row.tags.terms):
            return self._shredder.shred(recording, EXPIRY, now, run)
        ended.extend(
            self._shredder.shred_purpose(recording, term.purpose, EXPIRY, now, run)
            for term in (*(ending.term for ending in row.ending), *over)
        )
        return None

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


def read_clock() -> ClockReading:
    """Read both clocks of this machine; for the process that calls ``sweep``."""
    return ClockReading(
        wall=datetime.now(UTC),
        boot_seconds=time.clock_gettime(time.CLOCK_BOOTTIME),
        boot=_BOOT_ID.read_text().strip(),
    )


def _show(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds")
