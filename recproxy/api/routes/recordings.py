"""Recordings: found, their facts, and the ciphertext of one, which only its recipients can open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Body, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from recproxy.api.gate import actor, authorise
from recproxy.api.leave import leave, refusal, usable
from recproxy.api.models import RecordingFacts, Recordings, TombstoneDocument
from recproxy.api.parts import ApiParts, Parts, Who
from recproxy.api.pauses import pauses_of
from recproxy.api.problems import Problem
from recproxy.api.sealed import Sealed, sealed_answer
from recproxy.documents import body_path, of_derived, of_row, of_tombstone, summary
from recproxy.jsonform import Json
from recproxy.policy.playback import uses_of
from recproxy.subject.finding import by_number
from storage import CatalogueRow, State, Tombstone, read_events

__all__ = ["router"]

router = APIRouter(prefix="/v1/recordings", tags=["recordings"], dependencies=[Depends(authorise)])

_GONE: Final = (State.SHREDDED, State.SHRED_COMPLETE, State.DISCARDED)
_LIVING: Final = tuple(state for state in State if state not in _GONE)
_MOST: Final = 500
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Id of a recording")]
Purpose = Annotated[str | None, Query(max_length=63, description="Only of this purpose")]
States = Annotated[list[State] | None, Query(description="Only in these states; all that have files")]
Since = Annotated[AwareDatetime | None, Query(description="Only started at or after")]
Until = Annotated[AwareDatetime | None, Query(description="Only started before; pages a list")]
Limit = Annotated[int, Query(ge=1, le=_MOST, description="At most so many")]
Use = Annotated[
    str, Query(min_length=1, max_length=63, description="What for: one of the recording's uses; audited")
]


class NumberSearch(BaseModel):
    """Whose recordings; in the body, so that no number is in a URL, a log or a history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: str = Field(min_length=2, max_length=64)
    purpose: str | None = Field(None, max_length=63)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: int = Field(50, ge=1, le=_MOST)


@dataclass(frozen=True, slots=True)
class _Filter:
    """What is looked for, besides a number."""

    purpose: str | None
    since: datetime | None
    until: datetime | None

    def takes(self, row: CatalogueRow) -> bool:
        tags = row.tags
        return (
            (self.purpose is None or self.purpose in {term.purpose for term in tags.terms})
            and (self.since is None or tags.started >= self.since)
            and (self.until is None or tags.started < self.until)
        )


@router.get("", operation_id="recordings.list", response_model=Recordings)
def listing(
    parts: Parts,
    purpose: Purpose = None,
    state: States = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
) -> dict[str, Json]:
    """List recordings, newest first; of those in a state that has no files, what remains of them."""
    wanted = tuple(state or _LIVING)
    if State.SHREDDED in wanted:
        wanted = (*wanted, State.SHRED_COMPLETE)
    living = tuple(one for one in wanted if one not in _GONE)
    rows: Sequence[CatalogueRow] = ()
    if living:
        rows = parts.catalogue.select(
            purpose=purpose, states=living, since=since, until=until, limit=limit + 1
        )
    stones: Sequence[Tombstone] = ()
    if set(wanted) & set(_GONE):
        stones = [
            stone
            for stone in parts.catalogue.tombstones(since=since, until=until, limit=limit + 1)
            if stone.state in wanted and (purpose is None or stone.purpose == purpose)
        ]
    return _page(rows, stones, limit)


@router.post("/search", operation_id="recordings.search", response_model=Recordings)
def search(parts: Parts, who: Who, asked: Annotated[NumberSearch, Body()]) -> dict[str, Json]:
    """Find the recordings of a telephone number; audited, without the number.

    Of this node: others that have recordings are named, and must be asked besides.
    """
    if parts.index is None:
        raise Problem(409, "no number index is kept", "set storage.index_key, for recordings made after that")
    wanted = _Filter(asked.purpose, asked.since, asked.until)
    number = parts.policy().numbering.canonical(asked.number)
    found = [
        row
        for row in by_number(parts.catalogue, parts.index, number)
        if wanted.takes(row) and _is_findable(parts, row, asked.purpose)
    ]
    elsewhere = tuple(parts.catalogue.elsewhere())
    facts = {"found": len(found), "not_searched": len(elsewhere)}
    parts.chain.append("number.searched", actor(who.name), facts)
    return _page(found, (), asked.limit, elsewhere)


@router.get("/{recording}", operation_id="recordings.show", response_model=RecordingFacts | TombstoneDocument)
def show(recording: Id, parts: Parts, who: Who) -> dict[str, Json]:
    """Show all that is known of a recording, or what remains of it."""
    found = parts.catalogue.find(recording)
    if isinstance(found, Tombstone):
        return dict(of_tombstone(found))
    terms, policy = found.tags.live(parts.now()), parts.policy().file
    uses = tuple(dict.fromkeys(use for term in terms for use in uses_of(policy, term.purpose)))
    playable = found.state is State.SEALED and any(
        refusal(parts, found, who.name, use)[1] is None for use in uses
    )
    pauses = pauses_of(found, read_events(parts.files))
    tag = parts.catalogue.terms.tag(found.tags.recording)
    derived: list[Json] = [
        dict(of_derived(file)) for file in parts.catalogue.derived.of(found.tags.recording)
    ]
    parts_of_call: list[Json] = [row.tags.recording.text for row in parts.catalogue.of_call(found)]
    own: dict[str, Json] = {"uses": list(uses), "playable": playable, "tag": tag, "pauses": list(pauses)}
    return {**of_row(found), "recordings_of_call": parts_of_call, **own, "derived": derived}


@router.get(
    "/{recording}/file",
    operation_id="recordings.file",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}},
)
def file(recording: Id, use: Use, parts: Parts, who: Who) -> StreamingResponse:
    """Give a recording as one age file; what for is declared, checked and audited.

    Header and body as they are stored: only an identity of its recipients opens it.
    """
    row = usable(parts, recording)
    facts = leave(parts, row, who, use)
    sealed = Sealed(facts["purpose"], body_path(row), row.size_bytes, f"{recording}.wav.age")
    return sealed_answer(parts, row.tags.recording, sealed, "playback.opened", actor(who.name), facts)


def _is_findable(parts: ApiParts, row: CatalogueRow, purpose: str | None) -> bool:
    """Whether a number may find a recording for a purpose: one without an index finds nobody by it."""
    findable = parts.catalogue.findable_for(row.tags.recording)
    return purpose is None or findable is None or purpose in findable


def _page(
    rows: Sequence[CatalogueRow], stones: Sequence[Tombstone], limit: int, not_searched: Sequence[str] = ()
) -> dict[str, Json]:
    return {
        "recordings": [summary(row) for row in rows[:limit]],
        "gone": [of_tombstone(stone) for stone in stones[:limit]],
        "more": max(len(rows), len(stones)) > limit,
        "not_searched": list(not_searched),
    }
