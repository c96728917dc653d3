"""A clock that is not believed blindly: what keeps retention from shredding early.

The wall clock of the last run is kept together with the monotonic clock of that boot:
within one boot both must have advanced alike; across boots the wall clock may not have
jumped by more than a bound, nor back.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

from storage.durable import replace
from storage.errors import ClockStateError
from storage.files import Files

__all__ = [
    "CLOCK_PATH",
    "ClockBounds",
    "ClockGuard",
    "ClockReading",
    "ClockVerdict",
    "StandStill",
    "Trusted",
    "judge",
    "read_clock",
]

CLOCK_PATH: Final = "retention.clock"
LOCK_PATH: Final = "retention.lock"
_MAX_STATE_BYTES: Final = 4096
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


def read_clock() -> ClockReading:
    """Read both clocks of this machine; for the process that calls ``sweep``."""
    return ClockReading(
        wall=datetime.now(UTC),
        boot_seconds=time.clock_gettime(time.CLOCK_BOOTTIME),
        boot=_BOOT_ID.read_text().strip(),
    )


def _show(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds")
