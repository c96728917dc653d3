"""Whether somebody may hear a recording, and for what, as its purposes say; a no is audited."""

from __future__ import annotations

from collections.abc import Mapping

from recproxy.api.gate import actor
from recproxy.api.parts import ApiParts
from recproxy.api.problems import Problem
from recproxy.api.tokens import Token
from recproxy.policy.playback import Denied, hearing_denied, named_use, purpose_allowing
from storage import CatalogueRow, RecordingId, State, Ticket, Tombstone, read_events

__all__ = ["leave", "permit", "refusal", "usable"]


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
    facts = _allowed(parts, row, who, use, *refusal(parts, row, who.name, use))
    ticket = _ticket(parts, row, who.name, use)
    return facts if ticket is None else {**facts, "ticket": ticket.id, "approved_by": ticket.approved_by}


def permit(parts: ApiParts, row: CatalogueRow, who: Token, use: str) -> Mapping[str, str]:
    """Let somebody do something with a recording without hearing it; four eyes and a cap are not asked.

    Returns:
        What the audit chain is to be told.

    Raises:
        Problem: The purpose or the role forbid it.
    """
    purposes = [term.purpose for term in row.tags.live(parts.now())]
    asked = purpose_allowing(parts.policy().file, purposes, use, who.name)
    return _allowed(parts, row, who, use, *asked)


def usable(parts: ApiParts, recording: str) -> CatalogueRow:
    """A sealed recording of this node whose use nothing restricts.

    Raises:
        Problem: It is gone, not sealed yet, or restricted (GDPR art. 18).
        StorageError: There is none, or another node has it.
    """
    found = parts.catalogue.find(recording)
    if isinstance(found, Tombstone):
        raise Problem(
            410,
            f"the recording is {found.state.value} since {found.gone_at:%Y-%m-%d} ({found.cause})",
            "nothing opens it any more",
        )
    if found.state is not State.SEALED:
        raise Problem(409, f"the recording is {found.state.value}", "it can be had once it is sealed")
    parts.catalogue.check_own(found)
    restriction = parts.catalogue.holds.restricted(RecordingId(recording))
    if restriction is not None:
        raise Problem(409, f"its use is restricted ({restriction.case_ref})", "the case file says until when")
    return found


def _allowed(
    parts: ApiParts, row: CatalogueRow, who: Token, use: str, purpose: str, denied: Denied | None
) -> Mapping[str, str]:
    """What the audit chain is to be told of a yes; a no is told to it here."""
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
    return facts


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
