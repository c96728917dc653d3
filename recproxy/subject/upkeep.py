"""What time does to cases: reminders of due answers, and the end of answers that waited too long."""

from __future__ import annotations

from datetime import UTC, datetime

from recproxy.eventlog import EventLog
from recproxy.subject.cases import Case, CaseError, CaseStore
from recproxy.subject.due import days_left
from recproxy.subject.reminders import ReminderBook, Step, Told, reminder
from storage import AuditLog, StorageError

__all__ = ["CaseUpkeep"]


class CaseUpkeep:
    """Looks at every case now and then, and changes none; for the process that shreds.

    Args:
        cases: The cases.
        book: What was said of them.
        audit: The audit chain.
        log: The event log.
    """

    def __init__(self, cases: CaseStore, book: ReminderBook, audit: AuditLog, log: EventLog) -> None:
        self._cases = cases
        self._book = book
        self._audit = audit
        self._log = log

    def run(self, now: datetime) -> None:
        """Remind, and destroy the answers whose time is over; every fault is logged.

        Args:
            now: A trusted instant (aware).
        """
        try:
            self._remind(now)
        except (CaseError, StorageError) as err:
            self._log.emit("case.failed", why=str(err))

    def _remind(self, now: datetime) -> None:
        today = now.astimezone(UTC).date()
        before = self._book.read()
        told: dict[str, Told] = {}
        for case in self._cases.all():
            said = reminder(case, before.get(case.id), today)
            if said is not None:
                self._say(case, said)
            kept = said or before.get(case.id)
            if kept is not None:
                told[case.id] = kept
            self._destroy_bundle(case, now)
        if told != before:
            self._book.write(told)

    def _say(self, case: Case, said: Told) -> None:
        overdue = said.step is Step.OVERDUE
        self._audit.append(
            "dsr.overdue" if overdue else "dsr.due_soon",
            {
                "dsr": case.id,
                "type": case.kind.value,
                "due": case.due.isoformat(),
                "outcome": said.step.value,
            },
        )
        self._log.emit(
            "case.overdue" if overdue else "case.due_soon",
            case_ref=case.reference,
            days=abs(days_left(case.due, said.on)),
        )

    def _destroy_bundle(self, case: Case, now: datetime) -> None:
        kept = case.bundle
        if kept is None or kept.until > now or not self._cases.destroy_bundle(case):
            return
        self._audit.append(
            "dsr.bundle_destroyed", {"dsr": case.id, "sha256": kept.sha256, "outcome": "destroyed"}
        )
        self._log.emit("case.bundle_destroyed", case_ref=case.reference)
