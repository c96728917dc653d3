"""Whether recproxy lives and takes calls (without token), what it measures, and who asks."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from recproxy.api.access import ROLES
from recproxy.api.gate import authorise
from recproxy.api.models import Live, Me, Ready
from recproxy.api.parts import Parts, Who
from recproxy.jsonform import Json

__all__ = ["measured", "open_to_all"]

open_to_all = APIRouter(tags=["health"])
measured = APIRouter(tags=["health"], dependencies=[Depends(authorise)])


@open_to_all.get("/health/live", operation_id="health.live", response_model=Live)
async def live() -> dict[str, Json]:
    """Tell that the process answers."""
    return {"status": "live"}


@open_to_all.get(
    "/health/ready",
    operation_id="health.ready",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "No new calls should come"}},
)
def ready(parts: Parts) -> JSONResponse:
    """Tell whether new calls may come, and why not; 503 if not."""
    reasons = parts.readiness.reasons()
    body = {
        "ready": not reasons,
        "reasons": [{"reason": reason.value, "detail": why} for reason, why in reasons],
    }
    return JSONResponse(body, status_code=503 if reasons else 200)


@measured.get(
    "/metrics",
    operation_id="metrics.show",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(parts: Parts) -> Response:
    """Give what is measured, in the text form of Prometheus."""
    text, media_type = parts.metrics.exposition()
    return Response(text, media_type=media_type)


@measured.get("/v1/me", operation_id="me.show", response_model=Me, tags=["me"])
def me(who: Who) -> dict[str, Json]:
    """Tell who shows this token, and what it may."""
    operations = sorted(name for name, roles in ROLES.items() if who.role in roles)
    return {"name": who.name, "role": who.role.value, "operations": operations}
