"""Lets in who shows a token whose role may do what is asked; nobody else.

What is refused is in the audit chain, as far as one client's failures within a minute go.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from recproxy.api.access import ROLES
from recproxy.api.parts import ApiParts, Parts
from recproxy.api.problems import Problem
from recproxy.api.tokens import match

__all__ = ["actor", "authorise"]

_BEARER = HTTPBearer(auto_error=False, description='Made by "recproxy api token".')
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="recproxy"'}
_UNIX = "unix"


def actor(name: str) -> str:
    """Who acts, for the audit chain, by the name of the token."""
    return f"token:{name}"


def authorise(
    request: Request, parts: Parts, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> None:
    """Let a request in or stop it.

    Raises:
        Problem: No token, a wrong one, or its role may not do this.
    """
    operation = str(request.scope["route"].operation_id)
    if shown is None:
        parts.metrics.denied()
        raise Problem(401, "no token", "send the header Authorization: Bearer …", _CHALLENGE)
    who = match(parts.tokens.tokens(), shown.credentials)
    if who is None:
        _refuse(request, parts, operation)
    elif who.role not in ROLES[operation]:
        parts.metrics.denied()
        if _within(request, parts):
            fields = {"reason": "role", "role": who.role.value, "operation": operation}
            parts.chain.append("auth.denied", actor(who.name), fields)
        may = " or ".join(sorted(role.value for role in ROLES[operation]))
        raise Problem(403, f"the role {who.role.value} may not do this", f"it takes the role {may}")
    else:
        request.state.who = who


def _refuse(request: Request, parts: ApiParts, operation: str) -> None:
    parts.metrics.denied()
    if not _within(request, parts):
        raise Problem(429, "too many wrong tokens", "wait a minute", {"Retry-After": "60"})
    fields = {"reason": "token", "client": _client(request), "operation": operation}
    parts.chain.append("auth.denied", "unknown", fields)
    raise Problem(401, "the token is not known", 'make one with "recproxy api token"', _CHALLENGE)


def _within(request: Request, parts: ApiParts) -> bool:
    within: bool = request.app.state.failures.add(_client(request), parts.monotonic())
    return within


def _client(request: Request) -> str:
    return request.client.host if request.client is not None and request.client.host else _UNIX
