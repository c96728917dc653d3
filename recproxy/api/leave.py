"""Whether somebody may hear a recording, and for what, as its purposes say; a no is audited."""

from __future__ import annotations

from collections.abc import Mapping

from recproxy.api.gate import actor
from recproxy.api.parts import ApiParts
from recproxy.api.problems import Problem
from recproxy.api.tokens import Token
from recproxy.policy.playback import Denied, hearing_denied, named_use, purpose_allowing
from storage import CatalogueRow, Ticket, read_events

__all__ = ["leave", "refusal"]


def refusal(parts: ApiParts, row: CatalogueRow, name: str, use: str) -> tuple[str, Denied | None]:
    """What stands against hearing a recording.

    Args:
        parts: Of the API.
        row: Which.
        name: Of the person, as in the roles of the policy.
        use: What for.

    Returns:
        Its purpose whose rules were asked, and None if it may be heard.
    """
    file = parts.policy().file
    purposes = [term.purpose for term in row.tags.live(parts.now())]
    purpose, denied = purpose_allowing(file, purposes, use, name)
    return purpose, denied or hearing_denied(
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
    purpose, denied = refusal(parts, row, who.name, use)
    facts = {
        "rec": row.tags.recording.text,
        "purpose": purpose,
        "use": named_use(parts.policy().file, use),
        "role": who.role.value,
    }
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
