"""The ASGI application: the endpoints, what guards them, and the console's files."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recproxy.api import problems
from recproxy.api.access import Failures
from recproxy.api.models import ProblemDocument
from recproxy.api.parts import ApiParts
from recproxy.api.problems import Problem
from recproxy.api.routes import (
    audit,
    calls,
    health,
    holds,
    policy,
    recordings,
    retention,
    tags,
    tickets,
    transcripts,
)
from recproxy.transcripts import LONGEST_BYTES

__all__ = ["application", "openapi"]

MAX_BODY_BYTES: Final = 64 << 10
_TRANSCRIPT: Final = re.compile(r"/v1/recordings/[0-9a-f]{32}/transcript\Z")
_ROUTERS: Final[tuple[APIRouter, ...]] = (
    health.open_to_all,
    health.measured,
    calls.router,
    recordings.router,
    tags.router,
    transcripts.router,
    retention.router,
    holds.router,
    tickets.router,
    audit.router,
    policy.router,
)
_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_DESCRIPTION: Final = (
    "Calls, recordings, holds and audit of one recproxy. Times are RFC 3339, UTC. Errors are "
    "application/problem+json (RFC 9457) with a mend. Recordings are given as age files: what "
    "serves them cannot open them."
)


def application(parts: ApiParts) -> ASGIApp:
    """Build the application.

    Args:
        parts: What its endpoints use.
    """
    app = _endpoints(parts.version, parts.failed)
    app.state.parts = parts
    app.state.failures = Failures()
    if parts.console is not None:
        app.mount("/", StaticFiles(directory=parts.console, html=True), name="console")
    return _Guard(app)


def openapi(version: str) -> dict[str, Any]:
    """The OpenAPI document of the endpoints."""
    return _endpoints(version, lambda _why: None).openapi()


def _endpoints(version: str, failed: Callable[[str], None]) -> FastAPI:
    app = FastAPI(
        title="recproxy",
        version=version,
        description=_DESCRIPTION,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
    )
    problems.install(app, failed)
    for router in _ROUTERS:
        app.include_router(router)

    @app.get("/v1/openapi.json", include_in_schema=False)
    async def _document(_request: Request) -> JSONResponse:
        return JSONResponse(app.openapi())

    generate = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_problems(generate())
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign]
    return app


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Every operation may answer with a problem; FastAPI's own form of errors is never sent."""
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
    problem = {
        "description": "What went wrong, and the mend",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = problem
    return document


class _Guard:
    """Bounds what is sent to us and adds the headers that every answer has.

    Args:
        app: What it guards.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def _guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*_without(message), *_HEADERS]
            await send(message)

        refusal = _too_large(scope)
        if refusal is not None:
            await problems.answer(refusal)(scope, receive, _guarded)
            return
        await self._app(scope, receive, _guarded)


def _without(message: MutableMapping[str, Any]) -> list[tuple[bytes, bytes]]:
    own = {name for name, _ in _HEADERS}
    return [(name, value) for name, value in message.get("headers", []) if name.lower() not in own]


def _too_large(scope: Scope) -> Problem | None:
    """A body whose length is not told, or is more than any of ours needs."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    if b"transfer-encoding" in headers:
        return Problem(HTTPStatus.LENGTH_REQUIRED, "a body of unknown length", "send Content-Length")
    most = LONGEST_BYTES if _TRANSCRIPT.match(scope["path"]) else MAX_BODY_BYTES
    if not length.isdigit() or int(length) > most:
        return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large", f"up to {most} bytes")
    return None
