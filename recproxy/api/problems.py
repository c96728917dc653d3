"""Errors as clients see them: ``application/problem+json`` (RFC 9457), each with its mend.

No answer repeats what a client sent: it could be a telephone number or a token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from storage import (
    AmbiguousId,
    BodyMissing,
    CatalogueBusy,
    DerivedRefused,
    ForeignRecording,
    HeldRecording,
    HoldError,
    KeyDestroyed,
    KeyUnavailable,
    RecordingNotFound,
    StorageError,
    TermError,
    TicketError,
)

__all__ = ["MEDIA_TYPE", "Problem", "answer", "install"]

MEDIA_TYPE: Final = "application/problem+json"

_STORAGE: Final[tuple[tuple[type[StorageError], int, str], ...]] = (
    (AmbiguousId, 409, "give the whole id"),
    (ForeignRecording, 409, "ask the API of that node"),
    (RecordingNotFound, 404, "look it up with GET /v1/recordings"),
    (KeyDestroyed, 410, "it was shredded; GET /v1/recordings/{id} tells when and why"),
    (KeyUnavailable, 503, "restore keys/ from its backup"),
    (BodyMissing, 503, "restore recordings/ from its backup"),
    (HoldError, 409, "see GET /v1/holds"),
    (HeldRecording, 409, "see GET /v1/holds"),
    (DerivedRefused, 409, "look at it with GET /v1/recordings/{id}"),
    (TicketError, 409, "see GET /v1/requests"),
    (TermError, 409, "look at it with GET /v1/recordings/{id}"),
    (CatalogueBusy, 503, "try again in some seconds"),
)
"""The first that fits counts."""


class Problem(Exception):  # noqa: N818 - the term of RFC 9457
    """An answer that is not what was asked for.

    Args:
        status: Of HTTP.
        detail: What is wrong.
        mend: What the client can do about it.
        headers: Of the answer, besides.
    """

    def __init__(self, status: int, detail: str, mend: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.mend = mend
        self.headers = dict(headers or {})


def answer(problem: Problem) -> JSONResponse:
    """The answer that tells of a problem."""
    return JSONResponse(
        {
            "type": "about:blank",
            "title": HTTPStatus(problem.status).phrase,
            "status": problem.status,
            "detail": problem.detail,
            "mend": problem.mend,
        },
        status_code=problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def install(app: FastAPI, failed: Callable[[str], None]) -> None:
    """Let an application answer every error as a problem.

    Args:
        app: The application.
        failed: Told of what is our fault.
    """

    async def _known(_request: Request, err: Exception) -> JSONResponse:
        assert isinstance(err, Problem)  # noqa: S101 - registered for it
        return answer(err)

    async def _malformed(_request: Request, err: Exception) -> JSONResponse:
        assert isinstance(err, RequestValidationError)  # noqa: S101 - registered for it
        return answer(Problem(422, _complaints(err), "see /v1/openapi.json"))

    async def _refused(_request: Request, err: Exception) -> JSONResponse:
        assert isinstance(err, HTTPException)  # noqa: S101 - registered for it
        return answer(Problem(err.status_code, str(err.detail), "see /v1/openapi.json", err.headers))

    async def _storage(_request: Request, err: Exception) -> JSONResponse:
        assert isinstance(err, StorageError)  # noqa: S101 - registered for it
        for kind, status, mend in _STORAGE:
            if isinstance(err, kind):
                return answer(Problem(status, str(err), mend))
        failed(f"{type(err).__name__}: {err}")
        return answer(Problem(503, "the store cannot be used now", "see the event log of recproxy"))

    async def _ours(_request: Request, err: Exception) -> JSONResponse:
        failed(type(err).__name__)
        return answer(Problem(500, "recproxy failed", "see the event log of recproxy"))

    app.add_exception_handler(Problem, _known)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(StorageError, _storage)
    app.add_exception_handler(Exception, _ours)


def _complaints(err: RequestValidationError) -> str:
    """What is wrong, without what was sent."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in err.errors()[:5])
