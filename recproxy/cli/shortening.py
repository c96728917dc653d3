"""A shorter term holds for existing recordings at once: what retention does with a policy it has loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from recproxy.cli.archive import Archive
from recproxy.cli.policy.reading import surroundings
from recproxy.errors import ConfigError
from recproxy.eventlog import EventLog
from recproxy.policy import Policy, load_policy
from recproxy.policy.terms import term_of
from storage import AuditLog, StorageError, Term, TermChange

__all__ = ["Shortening", "shorten"]

_BATCH: Final = 500


class Shortening:
    """Applies the policy as it was when it was last loaded: a file in the making moves nothing.

    Args:
        archive: The recordings.
        chain: Gets a line for each that moves.
        log: Told of the sums, and of a policy that cannot be used.
    """

    def __init__(self, archive: Archive, chain: AuditLog, log: EventLog) -> None:
        self._archive = archive
        self._chain = chain
        self._log = log
        self._policy: Policy | None = None
        self.load()

    @property
    def policy(self) -> Policy | None:
        """The policy as it was last loaded; None if it never could be."""
        return self._policy

    def load(self) -> None:
        """Read the policy; if it is wrong the one before goes on, or none."""
        settings = self._archive.config
        try:
            self._policy = load_policy(settings.policy, surroundings(tuple(settings.trunks)))
        except ConfigError as err:
            self._log.emit("policy.rejected", why="; ".join(err.problems), problems=len(err.problems))

    def apply(self) -> None:
        """Shorten what the policy keeps for a shorter time; faults are logged."""
        if self._policy is None:
            return
        try:
            moved = shorten(self._archive, self._chain, self._policy)
        except StorageError as err:
            self._log.emit("retention.failed", why=f"terms were not shortened: {err}")
            return
        for purpose, count in moved.items():
            self._log.emit("retention.shortened", purpose=purpose, count=count, version=self._policy.version)


def shorten(archive: Archive, chain: AuditLog, policy: Policy) -> dict[str, int]:
    """Let every recording that is kept longer than its purpose says expire sooner.

    Each is in the chain before its row changes: what is cut short is done anew.

    Args:
        archive: The recordings.
        chain: Gets a line for each.
        policy: In force. Recordings of purposes that it does not have keep their term.

    Returns:
        How many moved, by purpose.

    Raises:
        StorageError: Chain or catalogue cannot be written.
    """
    moved: dict[str, int] = {}
    for name, purpose in policy.purposes.items():
        register = archive.catalogue.terms
        changes = register.longer_than(name, Term(*term_of(purpose)))
        _apply(chain, policy, changes, register.shorten)
        keep, derived = purpose.derived.transcript_keep, archive.catalogue.derived
        if keep is not None:
            shorter = derived.longer_than(name, keep)
            _apply(chain, policy, shorter, derived.shorten)
            changes = (*changes, *shorter)
        if changes:
            moved[name] = len(changes)
    return moved


def _apply(
    chain: AuditLog,
    policy: Policy,
    changes: Sequence[TermChange],
    shorten_rows: Callable[[Sequence[TermChange]], None],
) -> None:
    for at in range(0, len(changes), _BATCH):
        batch = changes[at : at + _BATCH]
        for change in batch:
            _audit(chain, change, policy)
        chain.flush()
        shorten_rows(batch)


def _audit(chain: AuditLog, change: TermChange, policy: Policy) -> None:
    chain.append(
        "rec.expiry_changed",
        {
            "rec": change.recording.text,
            "purpose": change.purpose,
            "before": change.before.isoformat(),
            "expires_at": change.after.isoformat(),
            "policy": policy.version,
            "outcome": "shortened",
            "reason": "policy",
        },
        durable=False,
    )
