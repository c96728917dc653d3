"""Calls that a recording client forks to us (SIPREC): recproxy cannot announce in them, so who does.

There is no third way beside these two: the client says in each call that the announcement
was heard, or a person declares here that it always is, and puts his name to it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from enum import Enum
from typing import Annotated

import msgspec
from msgspec import Meta

from recproxy.policy.decision import ForkAnnouncement

__all__ = ["Evidence", "ForkAnnounce", "fork_announcement"]

_Text = Annotated[str, Meta(max_length=500, description="a text of up to 500 characters")]


class Evidence(Enum):
    """What shows that the parties were told."""

    ASSERTED = "asserted"  # a header of each call, set by the client once the announcement was heard
    DECLARED = "declared"  # the declaration beside this


class ForkAnnounce(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who announces in calls that come as forks.

    Attributes:
        trunks: Names of the trunks (``siprec: true``) whose clients announce this purpose.
        evidence: What shows it.
        authorised_by: Who declares it; for ``declared``.
        ref: Where that is written down: contract, test report, decision; for ``declared``.
        date: When it was declared.
    """

    trunks: tuple[str, ...]
    evidence: Evidence
    authorised_by: _Text = ""
    ref: _Text = ""
    date: dt.date | None = None


def fork_announcement(
    announce: ForkAnnounce | None, trunk: str, prompts: frozenset[str]
) -> ForkAnnouncement | None:
    """What must be shown of a fork that comes from a trunk.

    Args:
        announce: What the policy says; None for nothing.
        trunk: Its name.
        prompts: Announcements of the purpose, in any language.

    Returns:
        None if nobody announces there: nothing may be recorded.
    """
    if announce is None or trunk not in announce.trunks:
        return None
    declared = announce.evidence is Evidence.DECLARED
    words = f"{announce.authorised_by}\n{announce.ref}\n{announce.date}\n" if declared else ""
    return ForkAnnouncement(
        declared=declared,
        prompts=prompts,
        ref=announce.ref if declared else "",
        sha256=hashlib.sha256(words.encode()).hexdigest() if declared else "",
    )
