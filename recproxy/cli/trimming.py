"""The audit chain forgets too: whole months whose time is over, by the policy that retention has loaded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from recproxy.eventlog import EventLog
from recproxy.policy import Policy
from storage import AuditLog, StorageError

__all__ = ["Trimming"]


class Trimming:
    """Removes the front of the audit chain as ``audit_keep`` says; for the process that shreds.

    Args:
        chain: The chain.
        log: Told of what was removed, and of faults.
        policy: Gives the policy as it was last loaded; None if there is none: then nothing goes.
    """

    def __init__(self, chain: AuditLog, log: EventLog, policy: Callable[[], Policy | None]) -> None:
        self._chain = chain
        self._log = log
        self._policy = policy

    def run(self, now: datetime) -> None:
        """Remove what is due; every fault is logged.

        Args:
            now: A trusted instant (aware).
        """
        policy = self._policy()
        if policy is None or policy.file.audit_keep is None:
            return
        oldest = (now - policy.file.audit_keep).astimezone(UTC)
        month = oldest.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        try:
            cut = self._chain.trim(month)
        except StorageError as err:
            self._log.emit("audit.failed", what="audit_keep", why=str(err))
            return
        if cut is not None:
            self._log.emit("audit.trimmed", count=cut.count)
