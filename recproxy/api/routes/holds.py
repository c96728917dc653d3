"""Holds: what must be kept beyond its expiry, on the word of two people."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from typing import Annotated, Final

from fastapi import APIRouter, Body, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from recproxy.api.gate import actor, authorise
from recproxy.api.models import HoldDocument, Holds
from recproxy.api.parts import ApiParts, Parts, Who
from recproxy.api.problems import Problem
from recproxy.documents import hold_evidence, of_hold
from recproxy.jsonform import Json
from storage import LEGAL_REASONS, Hold, HoldKind, HoldReason, HoldState, RecordingId

__all__ = ["router"]

router = APIRouter(prefix="/v1/holds", tags=["holds"], dependencies=[Depends(authorise)])

_STANDING: Final = (HoldState.REQUESTED, HoldState.ACTIVE)
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Id of a hold")]
RecordingText = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
LegalReason = Enum("LegalReason", {reason.name: reason.value for reason in LEGAL_REASONS})  # type: ignore[misc]


class HoldRequest(BaseModel):
    """What is to be kept, why and until when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recordings: list[RecordingText] = Field(min_length=1, max_length=1000)
    reason: LegalReason
    case_ref: str = Field(min_length=1, max_length=64, description="Of the case file; no name, no number")
    until: date = Field(description="Last day, UTC, within 12 months")


@router.get("", operation_id="holds.list", response_model=Holds)
def listing(
    parts: Parts, ended: Annotated[bool, Query(description="Also those that have ended")] = False
) -> dict[str, Json]:
    """List holds, oldest request first."""
    found = parts.catalogue.holds.select(states=() if ended else _STANDING)
    return {"holds": [of_hold(one) for one in found]}


@router.post("", operation_id="holds.request", response_model=HoldDocument, status_code=201)
def request(parts: Parts, who: Who, asked: Annotated[HoldRequest, Body()]) -> dict[str, Json]:
    """Ask that recordings are kept until a day; it keeps nothing until another person approves."""
    wanted = Hold(
        id=parts.new_id(),
        kind=HoldKind.LEGAL,
        reason=HoldReason(asked.reason.value),
        case_ref=asked.case_ref,
        recordings=tuple(RecordingId(text) for text in dict.fromkeys(asked.recordings)),
        requested_by=actor(who.name),
        requested_at=parts.now(),
        ends=_end_of(asked.until),
    )
    parts.catalogue.holds.add(wanted)
    return _told(parts, "hold.requested", wanted, who.name)


@router.post("/{hold}/approve", operation_id="holds.approve", response_model=HoldDocument)
def approve(hold: Id, parts: Parts, who: Who) -> dict[str, Json]:
    """Approve a hold that another person requested; it keeps its recordings from now on."""
    found = _find(parts, hold)
    approved = parts.catalogue.holds.approve(found.id, actor(who.name), parts.now())
    return _told(parts, "hold.approved", approved, who.name)


@router.post("/{hold}/release", operation_id="holds.release", response_model=HoldDocument)
def release(hold: Id, parts: Parts, who: Who) -> dict[str, Json]:
    """End a hold now; recordings past their expiry are shredded by the next sweep."""
    found = _find(parts, hold)
    if found.kind is not HoldKind.LEGAL:
        raise Problem(
            409, f"it is a {found.kind.value} hold, made by a data subject's case", "see recproxy subject"
        )
    ended = parts.catalogue.holds.release(found.id, actor(who.name), parts.now())
    return _told(parts, "hold.lifted", ended, who.name)


def _find(parts: ApiParts, hold: str) -> Hold:
    found = next((one for one in parts.catalogue.holds.select() if one.id == hold), None)
    if found is None:
        raise Problem(404, "no such hold", "see GET /v1/holds")
    return found


def _told(parts: ApiParts, event: str, hold: Hold, name: str) -> dict[str, Json]:
    for fields in hold_evidence(hold):
        parts.chain.append(event, actor(name), fields)
    return dict(of_hold(hold))


def _end_of(day: date) -> datetime:
    try:
        return datetime.combine(day, time(0), UTC) + timedelta(days=1)
    except OverflowError as err:
        raise Problem(422, "until is beyond all calendars", "give a day within 12 months") from err
