"""Warnings about terms that do not fit one another: of the audit log, of key pairs."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from recproxy.policy.file import KeyEpoch, KeyGroupName
from recproxy.policy.lint.findings import Lint
from recproxy.policy.lint.purposes import shown
from recproxy.policy.purpose import Purpose

__all__ = ["warn_terms"]

_TWO_YEARS: Final = timedelta(days=731)
_SHORT: Final = timedelta(days=31)
"""With a key pair for each month one that is kept no longer may lie wrapped twice its time."""
_LONG: Final = timedelta(days=92)
"""With a key pair for each day one that is kept longer needs more of them than people look after."""


def warn_terms(lint: Lint) -> None:
    """Note terms of audit log and key pairs that do not fit those of the purposes."""
    _warn_audit(lint)
    _warn_epochs(lint)


def _warn_audit(lint: Lint) -> None:
    keep = lint.file.audit_keep
    if keep is None:
        return
    needed = {name: _proven(purpose) for name, purpose in lint.file.purposes.items()}
    name = max(needed, key=lambda name: needed[name][1], default=None)
    what, longest = ("", timedelta(0)) if name is None else needed[name]
    if keep < longest:
        lint.warn(
            "W117",
            ("audit_keep",),
            f"{shown(keep)} is less than {what} of {name}, {shown(longest)}: "
            "the lines that prove them are gone first; keep it as long",
        )
    if keep > max(_TWO_YEARS, longest):
        lint.warn(
            "W110",
            ("audit_keep",),
            f"{shown(keep)} is more than two years and than anything it proves, "
            f"{shown(longest)} at most; say why",
        )


def _proven(purpose: Purpose) -> tuple[str, timedelta]:
    """What of a purpose wants lines of the chain for the longest time: its recordings or its traces."""
    promote = purpose.retention.promote
    kept = max(purpose.retention.keep, timedelta(0) if promote is None else promote.keep)
    traces = purpose.evidence.tombstone_keep
    return ("the traces", traces) if traces > kept else ("the recordings", kept)


def _warn_epochs(lint: Lint) -> None:
    for name, purpose in lint.file.purposes.items():
        group = lint.file.key_groups.get(KeyGroupName(purpose.storage.key_group))
        keep = purpose.retention.keep
        key = ("key_groups", purpose.storage.key_group, "epoch")
        if group is not None and group.epoch is KeyEpoch.MONTH and keep <= _SHORT:
            lint.warn(
                "W118",
                key,
                f"'month': {name} is kept for {shown(keep)}, and its key pair up to a month longer; "
                "set day, or give it a group of its own",
            )
        if group is not None and group.epoch is KeyEpoch.DAY and keep > _LONG:
            lint.warn(
                "W118",
                key,
                f"'day': {name} is kept for {shown(keep)}, with a key pair to look after for each day of it; "
                "set month, or give it a group of its own",
            )
