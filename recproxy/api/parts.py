"""What the API is made of: handed in whole by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Annotated, Protocol

from fastapi import Depends, Request

from recproxy.api.live import LiveCalls
from recproxy.api.readiness import Readiness
from recproxy.api.tokens import Token
from recproxy.call.events import Event
from recproxy.metrics import Metrics
from recproxy.policy import Policy
from recproxy.transcribing import RecipientPlaces
from storage import AuditLog, Catalogue, Files, NumberIndex, Objects

__all__ = ["ApiParts", "Chain", "Parts", "TokenSource", "Who"]


class TokenSource(Protocol):
    """Gives the tokens that are let in at this moment."""

    def tokens(self) -> tuple[Token, ...]:
        """All of them; none if the file cannot be read."""


class Chain:
    """Appends to the audit chain, one line at a time, whichever thread asks.

    Args:
        log: An object of the chain of its own.
    """

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._lock = Lock()

    @property
    def log(self) -> AuditLog:
        """The chain, for its public key."""
        return self._log

    def append(self, event: str, actor: str, fields: Mapping[str, str | int | bool]) -> None:
        """Append a line; durable on return.

        Raises:
            StorageError: It could not be written.
        """
        with self._lock:
            self._log.append(event, {"actor": actor, **fields})
            self._log.flush()

    @contextmanager
    def acting(self, actor: str) -> Iterator[AuditLog]:
        """The chain for what appends by itself, in the name of somebody; durable at the end.

        Raises:
            StorageError: It could not be written.
        """
        log = self._log.acting(actor)
        try:
            yield log
        finally:
            log.close()

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._log.close()


@dataclass(frozen=True, slots=True)
class ApiParts:
    """Everything that the endpoints use.

    Attributes:
        version: Of recproxy.
        files: The data directory.
        catalogue: Its catalogue.
        chain: Its audit chain.
        index: Finds recordings by number; None if there is no key for it.
        policy: Gives the policy in force.
        live: The calls that go on.
        readiness: Whether new calls may come.
        metrics: What Prometheus is told.
        post: Hands an event to a call.
        tokens: Who is let in.
        now: Wall clock: aware, UTC.
        monotonic: Seconds.
        new_id: Gives 32 random hex digits.
        console: Directory of the web console; None if there is none.
        failed: Told of what is our fault.
        recipients: Whom a transcript is encrypted to.
        objects: Where sealed bodies may be instead; None if they are all in the data directory.
    """

    version: str
    files: Files
    catalogue: Catalogue
    chain: Chain
    index: NumberIndex | None
    policy: Callable[[], Policy]
    live: LiveCalls
    readiness: Readiness
    metrics: Metrics
    post: Callable[[str, Event], None]
    tokens: TokenSource
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    new_id: Callable[[], str]
    console: Path | None
    failed: Callable[[str], None]
    recipients: RecipientPlaces
    objects: Objects | None = None


def _parts(request: Request) -> ApiParts:
    parts: ApiParts = request.app.state.parts
    return parts


def _who(request: Request) -> Token:
    who: Token = request.state.who
    return who


Parts = Annotated[ApiParts, Depends(_parts)]
Who = Annotated[Token, Depends(_who)]
"""Whoever asks; ``authorise`` has let them in."""
