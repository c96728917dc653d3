"""Whether somebody may hear a recording, and for what, as its purpose says; a no is audited."""

from __future__ import annotations

from collections.abc import Mapping

from recproxy.api.gate import actor
from recproxy.api.parts import ApiParts
from recproxy.api.problems import Problem
from recproxy.api.tokens import Token
from recproxy.policy.playback import Denied, hearing_denied, named_use, playback_denied
from storage import CatalogueRow, Ticket, read_events

__all__ = ["leave", "refusal"]


def refusal(parts: ApiParts, row: CatalogueRow, name: str, use: str) -> Denied | None:
    """What stands against hearing a recording.

    Args:
        parts: Of the API.
        row: Which.
        name: Of the person, as in the roles of the policy.
        use: What for.

    Returns:
        None if it may be heard.
    """
    file, purpose = parts.policy().file, row.tags.purpose
    return playback_denied(file, purpose, use, name) or hearing_denied(
        file,
        purpose,
        row.tags.recording.text,
        approved=_ticket(parts, row, name, use) is not None,
        events=read_events(parts.files),
        now=parts.now(),
    )


def leave(parts: ApiParts, row: CatalogueRow, who: Token, use: str) -> Mapping[str, str]:
    """Let somebody hear a recording.

    Returns:
        What the audit chain is to be told.

    Raises:
        Problem: The purpose, the role, four eyes or a cap forbid it.
    """
    facts = {
        "rec": row.tags.recording.text,
        "purpose": row.tags.purpose,
        "use": named_use(parts.policy().file, use),
        "role": who.role.value,
    }
    denied = refusal(parts, row, who.name, use)
    if denied is not None:
        parts.chain.append(
            "playback.denied", actor(who.name), {**facts, "outcome": "denied", "reason": denied.why.value}
        )
        raise Problem(403, denied.what, denied.mend)
    ticket = _ticket(parts, row, who.name, use)
    return facts if ticket is None else {**facts, "ticket": ticket.id, "approved_by": ticket.approved_by}


def _ticket(parts: ApiParts, row: CatalogueRow, name: str, use: str) -> Ticket | None:
    """Asked for here or on the machine, by the same name."""
    people, now = (actor(name), f"user:{name}"), parts.now()
    return next(
        (
            ticket
            for ticket in parts.catalogue.tickets.select(row.tags.recording)
            if any(ticket.allows(person, use, now) for person in people)
        ),
        None,
    )
