"""The clocks of the daemon, and whether the wall clock may be believed."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from recproxy.call.commands import AuditNote, Note

__all__ = ["ClockWatch", "SystemClock", "is_synchronised"]

_UNSYNCHRONISED: Final = 0x0040  # STA_UNSYNC of linux/timex.h
_ERROR: Final = 5  # TIME_ERROR: what adjtimex(2) returns of a clock that nothing disciplines


class SystemClock:
    """The only clock of the daemon."""

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC in seconds."""
        return time.monotonic()

    def utcnow(self) -> datetime:
        """Aware UTC wall time."""
        return datetime.now(UTC)


class _Timex(ctypes.Structure):
    """The beginning of ``struct timex`` (adjtimex(2)), and room for its rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def is_synchronised() -> bool:
    """Whether the kernel holds the clock for synchronised, as chrony, ntpd or systemd-timesyncd told it.

    One that we may not ask about (a container, a unit with ProtectClock=yes) is not.
    """
    asked = _Timex()  # modes 0 changes nothing
    state: int = ctypes.CDLL(None).adjtimex(ctypes.byref(asked))
    return 0 <= state < _ERROR and not asked.status & _UNSYNCHRONISED


class ClockWatch:
    """Says when the clock is believed no longer, and again.

    A recording with a wrong time cannot be found by its date, and is shredded too early or too late.
    """

    def __init__(
        self,
        probe: Callable[[], bool],
        note: Callable[[Note], None],
        audit: Callable[[AuditNote], None],
        *,
        needed: bool,
    ) -> None:
        """Begin with a clock that is believed.

        Args:
            probe: Whether it is synchronised.
            note: Takes what the event log says.
            audit: Takes what the audit chain says.
            needed: Whether nothing may be recorded by a clock that is not.
        """
        self._probe = probe
        self._note = note
        self._audit = audit
        self._needed = needed
        self._believed = True

    def look(self) -> None:
        """Look at the clock; now and then."""
        believed = self._probe()
        if believed is self._believed:
            return
        self._believed = believed
        if believed:
            self._note(Note("clock.synced"))
            self._audit(AuditNote("clock.synced"))
        else:
            self._note(Note("clock.unsynced"))
            self._audit(AuditNote("clock.unsynced"))

    def fault(self) -> str | None:
        """Why nothing may be recorded by this clock; None if it may."""
        return "the clock is not synchronised" if self._needed and not self._believed else None
