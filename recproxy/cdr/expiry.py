"""The end of call detail records: days that were kept long enough are destroyed, and that is audited."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from recproxy.cdr.journal import days
from recproxy.eventlog import EventLog
from storage import AuditLog, Files, StorageError
from storage.durable import destroy_together

__all__ = ["DetailUpkeep"]


class DetailUpkeep:
    """Looks at the files of records now and then; for the process that shreds.

    Args:
        files: The directory of the records.
        keep: How long a day is kept, from its end.
        audit: The audit chain.
        log: The event log.
    """

    def __init__(self, files: Files, keep: timedelta, audit: AuditLog, log: EventLog) -> None:
        self._files = files
        self._keep = keep
        self._audit = audit
        self._log = log

    def run(self, now: datetime) -> None:
        """Destroy the days that are over; every fault is logged, and tried again the next time.

        Args:
            now: A trusted instant (aware).
        """
        try:
            for day, names in days(self._files).items():
                if _end_of(day) + self._keep <= now:
                    self._destroy(day, names)
        except StorageError as err:
            self._log.emit("cdr.failed", what="expiry", why=str(err))

    def _destroy(self, day: date, names: list[str]) -> None:
        for fault in destroy_together(self._files, names).values():
            raise fault
        self._audit.append(
            "cdr.expired", {"day": day.isoformat(), "files": len(names), "outcome": "destroyed"}
        )
        self._log.emit("cdr.expired", day=day.isoformat(), count=len(names))


def _end_of(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(0), UTC)
