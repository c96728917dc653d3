"""The audit chain: read line by line, and checked as a whole."""

from __future__ import annotations

from threading import Lock
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query

from recproxy.api.gate import authorise
from recproxy.api.models import AuditPage, AuditVerdict
from recproxy.api.parts import Parts
from recproxy.api.problems import Problem
from recproxy.jsonform import Json
from storage import AuditChainBroken, read_tail, verify_chain

__all__ = ["router"]

router = APIRouter(prefix="/v1/audit", tags=["audit"], dependencies=[Depends(authorise)])

_VERIFYING: Final = Lock()
_MOST: Final = 500


@router.get("", operation_id="audit.list", response_model=AuditPage)
def listing(
    parts: Parts,
    before: Annotated[
        int | None, Query(ge=0, le=2**62, description="Only older lines: ``older`` of a page")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST, description="At most so many")] = 100,
) -> dict[str, Any]:
    """List lines of the audit chain, newest first, as they are stored; nothing is checked."""
    page = read_tail(parts.files, before, limit)
    return {"lines": [dict(line) for line in page.lines], "older": page.older}


@router.get("/verification", operation_id="audit.verify", response_model=AuditVerdict)
def verify(parts: Parts) -> dict[str, Json]:
    """Check every line of the chain; takes seconds for each hundred thousand, one at a time."""
    if not _VERIFYING.acquire(blocking=False):
        raise Problem(503, "it is being checked for somebody else", "try again later", {"Retry-After": "10"})
    try:
        report = verify_chain(parts.files, parts.chain.log.public_key)
    except AuditChainBroken as err:
        return _verdict(lines=err.line, fault=err.fault.value, reason=str(err))
    finally:
        _VERIFYING.release()
    return _verdict(report.lines, report.last_sha256, report.first_ts, report.last_ts)


def _verdict(
    lines: int, sha256: str = "", first: str = "", last: str = "", fault: str = "", reason: str = ""
) -> dict[str, Json]:
    return {
        "sound": not fault,
        "lines": lines,
        "sha256": sha256,
        "first": first,
        "last": last,
        "fault": fault,
        "reason": reason,
    }
