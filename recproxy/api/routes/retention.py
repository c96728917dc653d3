"""What is kept, until when, and what should be gone already."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fastapi import APIRouter, Depends

from recproxy.api.gate import authorise
from recproxy.api.models import RetentionOverview
from recproxy.api.parts import Parts
from recproxy.jsonform import Json, instant
from storage import State

__all__ = ["router"]

router = APIRouter(prefix="/v1/retention", tags=["retention"], dependencies=[Depends(authorise)])

_BOUNDS: Final = {
    "P1D": timedelta(days=1),
    **{f"P{days}D": timedelta(days=days) for days in (7, 14, 21, 28, 56, 91, 182, 365)},
    "later": None,
}
"""Spans from now; a recording counts in the first that holds its expiry."""


@router.get("", operation_id="retention.show", response_model=RetentionOverview)
def show(parts: Parts) -> dict[str, Json]:
    """Count recordings by purpose and by when they expire; and those that are overdue."""
    now = parts.now()
    buckets: list[Json] = []
    begin = now
    for name, span in _BOUNDS.items():
        end = None if span is None else now + span
        for purpose, count in parts.catalogue.expiring_between(begin, end).items():
            buckets.append({"purpose": purpose, "within": name, "recordings": count})
        begin = end if end is not None else begin
    overdue = parts.catalogue.overdue(now)
    return {
        "at": instant(now),
        "recordings": sum(
            parts.catalogue.count(state) for state in (State.OPEN, State.SEALED, State.ABORTED)
        ),
        "held": parts.catalogue.held(),
        "overdue": overdue.recordings,
        "oldest_overdue_s": 0.0
        if overdue.oldest is None
        else round((now - overdue.oldest).total_seconds(), 3),
        "shredded": sum(parts.catalogue.count(state) for state in (State.SHREDDED, State.SHRED_COMPLETE)),
        "expiring": buckets,
    }
