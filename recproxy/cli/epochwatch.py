"""Says in time that the keys of coming epochs run out; for the process that shreds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

from recproxy.epochkeys import SHORT, EpochKeys, epoch_lengths
from recproxy.eventlog import EventLog
from recproxy.policy import Policy
from storage import StorageError

__all__ = ["EpochWatch"]


class EpochWatch:
    """Tells once a day of each key group whose keys run out.

    Args:
        directory: Of the public halves; None if none is configured.
        log: The event log.
        policy: Gives the policy as it was last loaded; None if there is none.
    """

    def __init__(self, directory: Path | None, log: EventLog, policy: Callable[[], Policy | None]) -> None:
        self._directory = directory
        self._log = log
        self._policy = policy
        self._told: dict[str, date] = {}

    def run(self, now: datetime) -> None:
        """Look, and tell; every fault is logged.

        Args:
            now: A trusted instant (aware).
        """
        policy = self._policy()
        if policy is None:
            return
        today = now.astimezone(UTC).date()
        try:
            until = EpochKeys.at(self._directory, lambda: policy).covered_until(now)
        except StorageError as err:
            self._log.emit("retention.failed", why=f"storage.epochs: {err}")
            return
        for group, length in epoch_lengths(policy).items():
            left = until[group] - now
            if left < SHORT[length] and self._told.get(group) != today:
                self._told[group] = today
                self._log.emit(
                    "keys.epoch_short",
                    key_group=group,
                    days=left.days,
                    expiry=until[group].isoformat(timespec="seconds"),
                )
