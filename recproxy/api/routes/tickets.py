"""Requests to hear a recording where two must agree: one person asks, another approves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from recproxy.api.gate import actor, authorise
from recproxy.api.models import TicketDocument, Tickets
from recproxy.api.parts import ApiParts, Parts, Who
from recproxy.api.problems import Problem
from recproxy.api.tokens import Token
from recproxy.documents import of_ticket, ticket_evidence
from recproxy.jsonform import Json
from recproxy.policy.playback import named_use, purpose_allowing
from storage import CatalogueRow, Ticket, Tombstone
from storage.catalogue.tickets import ASKED_FOR

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["recordings"], dependencies=[Depends(authorise)])

Recording = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Id of a recording")]
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Id of a request")]
Why = Annotated[str, Field(max_length=200, description="A reference, no personal data; audited")]


class TicketRequest(BaseModel):
    """What it is to be heard for, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    use: str = Field(min_length=1, max_length=63, description="One of the recording's uses")
    why: Why = ""


class TicketApproval(BaseModel):
    """Why it may be heard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    why: Why = ""


@router.get("/requests", operation_id="tickets.list", response_model=Tickets)
def listing(parts: Parts) -> dict[str, Json]:
    """List requests to hear a recording, oldest first."""
    return {"requests": [of_ticket(one) for one in parts.catalogue.tickets.select()]}


@router.post(
    "/recordings/{recording}/requests",
    operation_id="tickets.request",
    response_model=TicketDocument,
    status_code=201,
)
def request(
    recording: Recording, parts: Parts, who: Who, asked: Annotated[TicketRequest, Body()]
) -> dict[str, Json]:
    """Ask to hear a recording; it waits for a week for another person to approve it."""
    row = _existing(parts, recording)
    purpose = _allowed(parts, row, asked.use, who)
    now = parts.now()
    ticket = Ticket(
        id=parts.new_id(),
        recording=row.tags.recording,
        use=named_use(parts.policy().file, asked.use),
        requested_by=actor(who.name),
        requested_at=now,
        ends=now + ASKED_FOR,
    )
    parts.catalogue.tickets.add(ticket)
    return _told(parts, "playback.requested", ticket, purpose, asked.why, who)


@router.post("/requests/{request}/approve", operation_id="tickets.approve", response_model=TicketDocument)
def approve(
    request: Id, parts: Parts, who: Who, said: Annotated[TicketApproval | None, Body()] = None
) -> dict[str, Json]:
    """Approve a request that another person made; who asked may hear the recording for a day."""
    asked = next((one for one in parts.catalogue.tickets.select() if one.id == request), None)
    if asked is None:
        raise Problem(404, "no such request", "see GET /v1/requests")
    row = _existing(parts, asked.recording.text)
    purpose = _allowed(parts, row, asked.use, who)
    approved = parts.catalogue.tickets.approve(asked.id, actor(who.name), parts.now())
    return _told(parts, "playback.approved", approved, purpose, said.why if said else "", who)


def _existing(parts: ApiParts, recording: str) -> CatalogueRow:
    found = parts.catalogue.find(recording)
    if isinstance(found, Tombstone):
        raise Problem(410, f"the recording is {found.state.value}", "nothing can be heard")
    return found


def _allowed(parts: ApiParts, row: CatalogueRow, use: str, who: Token) -> str:
    """The purpose that lets this person hear it for this use, but for four eyes.

    Raises:
        Problem: None does.
    """
    purposes = [term.purpose for term in row.tags.live(parts.now())]
    if not purposes:
        raise Problem(409, "it has expired: it goes with the next sweep", "nothing can be heard")
    purpose, denied = purpose_allowing(parts.policy().file, purposes, use, who.name)
    if denied is not None:
        raise Problem(403, denied.what, denied.mend)
    return purpose


def _told(parts: ApiParts, event: str, ticket: Ticket, purpose: str, why: str, who: Token) -> dict[str, Json]:
    parts.chain.append(event, actor(who.name), ticket_evidence(ticket, purpose, why))
    return dict(of_ticket(ticket))
