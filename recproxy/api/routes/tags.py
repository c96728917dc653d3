"""Tags: what came of a call, by which its purpose keeps the recording longer."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Body, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from recproxy.api.gate import actor, authorise
from recproxy.api.models import RecordingSummary
from recproxy.api.parts import ApiParts, Parts, Who
from recproxy.api.problems import Problem
from recproxy.api.tokens import Token
from recproxy.documents import promotion_evidence, summary
from recproxy.jsonform import Json
from recproxy.policy import Policy, PurposeName
from recproxy.policy.playback import playback_denied
from recproxy.policy.terms import PromotionRefused, is_from_end, promoted_keep, term_of
from storage import CatalogueRow, PurposeTerm, RecordingTags, State, TermChange, Tombstone

__all__ = ["router"]

router = APIRouter(prefix="/v1/recordings", tags=["recordings"], dependencies=[Depends(authorise)])

_TAGGABLE: Final = (State.OPEN, State.SEALED, State.ABORTED)
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Id of a recording")]


class TagRequest(BaseModel):
    """What came of the call."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tag: str = Field(min_length=1, max_length=64, description="As the purpose declares it")
    why: str = Field("", max_length=200, description="A ticket, no personal data; audited")


@router.post("/{recording}/tag", operation_id="recordings.tag", response_model=RecordingSummary)
def tag(recording: Id, parts: Parts, who: Who, asked: Annotated[TagRequest, Body()]) -> dict[str, Json]:
    """Keep a recording longer, by the tag that its purpose declares and callers were told of.

    It may still be made. The policy in force must be the one that it was made under; else see
    recproxy recordings promote.
    """
    row = _existing(parts, recording)
    tags, policy = row.tags, parts.policy()
    term = _declaring(policy, tags, asked.tag)
    _check(parts, row, term, who)
    if policy.version != tags.policy_version:
        raise Problem(
            409,
            f"it was made under policy {tags.policy_version[:16]}, not the one in force",
            "use recproxy recordings promote with --made-under",
        )
    base = row.base(term) if is_from_end(policy.file, policy.file, term.purpose) else tags.started
    try:
        keep = promoted_keep(policy.file, policy.file, term.purpose, asked.tag, term.expiry - base)
    except PromotionRefused as err:
        raise Problem(409, str(err), err.mend) from err
    change = TermChange(tags.recording, term.purpose, term.expiry, base + keep)
    evidence = promotion_evidence(change, asked.tag, asked.why, policy.version)
    parts.chain.append("rec.promoted", actor(who.name), evidence)
    parts.catalogue.terms.promote(change, asked.tag)
    return dict(summary(parts.catalogue.get(tags.recording)))


def _declaring(policy: Policy, tags: RecordingTags, tag: str) -> PurposeTerm:
    """The purpose of a recording whose tag it is; the leading one if none declares it."""
    found = ((term, policy.purposes.get(PurposeName(term.purpose))) for term in tags.terms)
    return next(
        (term for term, purpose in found if purpose is not None and tag in term_of(purpose)[1]),
        tags.terms[0],
    )


def _existing(parts: ApiParts, recording: str) -> CatalogueRow:
    found = parts.catalogue.find(recording)
    if isinstance(found, Tombstone):
        raise Problem(410, f"the recording is {found.state.value}", "it cannot be kept longer")
    parts.catalogue.check_own(found)
    return found


def _check(parts: ApiParts, row: CatalogueRow, term: PurposeTerm, who: Token) -> None:
    denied = playback_denied(parts.policy().file, term.purpose, term.purpose, who.name)
    if denied is not None:
        raise Problem(403, denied.what, denied.mend)
    if row.state not in _TAGGABLE:
        raise Problem(409, f"the recording is {row.state.value}", "it cannot be kept longer")
    if term.expiry <= parts.now():
        raise Problem(409, "it has expired: it goes with the next sweep", "place a legal hold, today")
    if parts.catalogue.terms.tag(row.tags.recording):
        raise Problem(409, "it has a tag already", "a recording is kept longer once")
