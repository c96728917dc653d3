"""Whether new calls may come: the reasons against it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from threading import Lock

__all__ = ["Readiness", "Unready"]


class Unready(Enum):
    """Why no new calls should come."""

    STARTING = "starting"
    DRAINING = "draining"
    POLICY_REJECTED = "policy_rejected"
    CONFIG_REJECTED = "config_rejected"
    RECORDER = "recorder"


class Readiness:
    """Safe from any thread.

    Args:
        recorder_fault: Why nothing can be recorded at present; None if it can.
    """

    def __init__(self, recorder_fault: Callable[[], str | None]) -> None:
        self._recorder_fault = recorder_fault
        self._reasons: dict[Unready, str] = {Unready.STARTING: "recproxy starts"}
        self._lock = Lock()

    def set(self, reason: Unready, why: str) -> None:
        """From now on this stands against it."""
        with self._lock:
            self._reasons[reason] = why

    def clear(self, *reasons: Unready) -> None:
        """These no longer do."""
        with self._lock:
            for reason in reasons:
                self._reasons.pop(reason, None)

    def reasons(self) -> tuple[tuple[Unready, str], ...]:
        """All that stands against it; empty if calls may come."""
        fault = self._recorder_fault()
        with self._lock:
            found = tuple(self._reasons.items())
        return found if fault is None else (*found, (Unready.RECORDER, fault))
