"""May this person hear this recording, for that? Asked before anything is opened; a no is audited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from recproxy.cli.archive import Archive, actor, person, refuse_restricted, user
from recproxy.cli.policy.reading import surroundings
from recproxy.errors import RecproxyError
from recproxy.policy import load_policy
from recproxy.policy.playback import Denied, hearing_denied, named_use, purpose_allowing
from storage import CatalogueRow, Ticket, read_events

__all__ = ["Leave", "permitted", "use_option"]


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave to use a recording.

    Attributes:
        use: What for.
        purpose: Of the recording, whose rules allow it.
        ticket: Of the two people who agreed, None where one suffices.
    """

    use: str
    purpose: str
    ticket: Ticket | None = None

    @property
    def facts(self) -> dict[str, str]:
        """For the audit chain."""
        made = {"use": self.use, "purpose": self.purpose}
        if self.ticket is not None:
            made |= {"ticket": self.ticket.id, "approved_by": self.ticket.approved_by}
        return made


_Command = TypeVar("_Command", bound=Callable[..., Any])


def use_option(*, required: bool) -> Callable[[_Command], _Command]:
    """``--use``: what a recording is to be used for."""
    return click.option(
        "--use",
        required=required,
        metavar="PURPOSE",
        help="What it is used for: a purpose that callers were told. Who may, says playback in the policy.",
    )


def permitted(archive: Archive, row: CatalogueRow, use: str, *, audio: bool) -> Leave:
    """Let the person behind this command use a recording, or refuse and audit that.

    Args:
        archive: Where it is.
        row: Which.
        use: What for.
        audio: Whether it is to be heard; four eyes and a cap are about that alone.

    Raises:
        ConfigError: The policy cannot be read or is wrong.
        RecproxyError: It may not be used: restricted, or not by this person, or not for this.
    """
    refuse_restricted(archive, row)
    settings = archive.config
    file = load_policy(settings.policy, surroundings(tuple(settings.trunks))).file
    now = datetime.now(UTC)
    purposes = [term.purpose for term in row.tags.live(now)]
    purpose, denied = purpose_allowing(file, purposes, use, user())
    if denied is None and not audio:
        return Leave(use, purpose)
    ticket = None
    if denied is None:
        ticket = _ticket(archive.catalogue.tickets.select(row.tags.recording), use, now)
        denied = hearing_denied(
            file,
            purpose,
            row.tags.recording.text,
            approved=ticket is not None,
            events=read_events(archive.files),
            now=now,
        )
    if denied is not None:
        _audit_denial(archive, row, purpose, named_use(file, use), denied)
        raise RecproxyError(denied.what, hint=denied.mend)
    return Leave(use, purpose, ticket)


def _ticket(tickets: Sequence[Ticket], use: str, now: datetime) -> Ticket | None:
    return next((one for one in tickets if one.allows(person(), use, now)), None)


def _audit_denial(archive: Archive, row: CatalogueRow, purpose: str, use: str, denied: Denied) -> None:
    with archive.audit(actor()) as audit:
        audit.append(
            "playback.denied",
            {
                "rec": row.tags.recording.text,
                "purpose": purpose,
                "use": use,
                "outcome": "denied",
                "reason": denied.why.value,
            },
        )
