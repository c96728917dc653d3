"""Connections of the API: a request comes whole and soon, or its place is given to somebody else."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["ApiConnection", "ApiLoop"]

REQUEST_S: Final = 10.0
"""How long a request may take to come, from the opening or from its first byte; a handshake too."""
MOST_CONNECTIONS: Final = 256
MOST_REQUESTS: Final = 64
_COMING: Final = (h11.IDLE, h11.SEND_BODY)


class ApiConnection(H11Protocol):
    """Ends those that are slow to ask; of all connections only requests that go on count as load.

    When there are too many connections the one that has been asking for the longest goes, so that
    whoever has something to say finds a place however many others say nothing.
    """

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Somebody has come."""
        super().connection_made(transport)
        self._mind()
        if len(self.connections) > MOST_CONNECTIONS:
            slow = [
                one for one in self.connections if isinstance(one, ApiConnection) and one.due_at is not None
            ]
            min(slow, key=lambda one: one.due_at or 0.0, default=self).end()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some of a request has come."""
        self.limit_concurrency = MOST_REQUESTS if len(self.tasks) >= MOST_REQUESTS else None
        super().data_received(data)
        self._mind()

    @property
    def due_at(self) -> float | None:
        """When its request must be whole, by the loop's clock; None if it is, or none is awaited."""
        return None if self._due is None else self._due.when()

    def end(self) -> None:
        """Close it, whatever waits to be said."""
        self._rest()
        self.transport.abort()

    def _mind(self) -> None:
        """Begin to wait for the rest of a request, or see that it is there."""
        if self.conn.their_state not in _COMING or self.transport.is_closing():
            self._rest()
        elif self._due is None:
            self._due = self.loop.call_later(REQUEST_S, self.end)

    def _rest(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


class ApiLoop(asyncio.SelectorEventLoop):
    """Gives handshakes of TLS no more time than requests; the library's own limit is a minute."""

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:  # noqa: ANN401  -- handed on as it is
        """Listen."""
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", REQUEST_S)
        return await super().create_server(*args, **options)
