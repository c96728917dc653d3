"""Tombstones age by the policy that retention has loaded: out of backups first, then gone themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from recproxy.cli.archive import Archive
from recproxy.eventlog import EventLog
from recproxy.policy import Policy
from recproxy.policy.file import KeyGroup, KeyGroupName
from storage import AuditLog, Remains, StorageError, TraceTerm

__all__ = ["Aging", "trace_terms"]


class Aging:
    """Lets tombstones age as a policy says; for the process that shreds.

    Args:
        archive: Their catalogue.
        chain: Gets a line for each step.
        log: Told of the sums and of faults.
        policy: Gives the policy as it was last loaded; None if there is none: then nothing ages.
    """

    def __init__(
        self, archive: Archive, chain: AuditLog, log: EventLog, policy: Callable[[], Policy | None]
    ) -> None:
        self._remains = Remains(archive.files, archive.catalogue, chain)
        self._log = log
        self._policy = policy

    def run(self, now: datetime) -> None:
        """Do what is due; every fault is logged.

        Args:
            now: A trusted instant (aware).
        """
        policy = self._policy()
        if policy is None:
            return
        try:
            aged = self._remains.age(trace_terms(policy), now)
        except StorageError as err:
            self._log.emit("retention.failed", why=f"tombstones did not age: {err}")
            return
        if aged.completed or aged.purged:
            self._log.emit("tombstone.aged", completed=aged.completed, purged=aged.purged)


def trace_terms(policy: Policy) -> Mapping[str, TraceTerm]:
    """What a policy says of the remains of each purpose."""
    groups, none = policy.file.key_groups, KeyGroup()
    return {
        name: TraceTerm(
            purpose.storage.key_group,
            groups.get(KeyGroupName(purpose.storage.key_group), none).backup_horizon,
            purpose.evidence.tombstone_keep,
        )
        for name, purpose in policy.purposes.items()
    }
