"""The policy in force, in short."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Depends

from recproxy.api.gate import authorise
from recproxy.api.models import PolicySummary
from recproxy.api.parts import Parts
from recproxy.jsonform import Json
from recproxy.policy import Purpose
from recproxy.policy.playback import uses_of
from recproxy.policy.terms import term_of

__all__ = ["router"]

router = APIRouter(prefix="/v1/policy", tags=["policy"], dependencies=[Depends(authorise)])


@router.get("", operation_id="policy.show", response_model=PolicySummary)
def show(parts: Parts) -> dict[str, Json]:
    """Tell what is recorded, what for and for how long."""
    policy = parts.policy()
    return {
        "version": policy.version,
        "controller": policy.file.controller.name,
        "languages": list(policy.file.languages),
        "purposes": [
            _purpose(name, purpose, uses_of(policy.file, name)) for name, purpose in policy.purposes.items()
        ],
        "lines": list(policy.lines),
    }


def _purpose(name: str, purpose: Purpose, uses: tuple[str, ...]) -> dict[str, Json]:
    payment = purpose.pause.payment
    return {
        "name": name,
        "title": {str(language): text for language, text in purpose.title.items()},
        "keep_days": _days(purpose.retention.keep),
        "roles": list(purpose.playback.roles),
        "uses": list(uses),
        "four_eyes": purpose.playback.four_eyes,
        "tags": {tag: _days(keep) for tag, keep in term_of(purpose)[1].items()},
        "pause_by_api": payment is not None and payment.api,
    }


def _days(keep: timedelta) -> float:
    return round(keep.total_seconds() / 86_400, 3)
