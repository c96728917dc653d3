"""The HTTP API on a made store, in a thread of the test process, on a Unix socket."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from httpx import Client, HTTPTransport, Response
from policies import parsed, whole
from recorded import START, Shelf

from recproxy.api.application import application
from recproxy.api.live import LiveCalls
from recproxy.api.parts import ApiParts, Chain
from recproxy.api.readiness import Readiness, Unready
from recproxy.api.server import ApiThread, Place, bind
from recproxy.api.tokens import Role, Token, digest_of, mint
from recproxy.call.events import Event
from recproxy.config import ApiListen, IpAddress
from recproxy.metrics import Metrics
from recproxy.policy import Policy
from recproxy.transcribing import RecipientPlaces
from storage import (
    AuditLog,
    Catalogue,
    NumberIndex,
    OsFiles,
    load_root_key,
    load_signing_key,
    read_events,
    sqlite_url,
)

NOW = START + timedelta(days=3)
CALL = "ab" * 8


def secret_of(name: str) -> str:
    """The token of a person of a test."""
    return mint(name.encode().ljust(32, b"-"))


@dataclass(slots=True)
class Stage:
    """Who uses the API, and what it was told.

    Attributes:
        client: Sends requests.
        shelf: The store.
        live: The calls that go on.
        readiness: Whether new calls may come.
        metrics: What is counted.
        people: Tokens that are let in.
        posted: Events that calls were handed.
        failures: What was our fault.
        monotonic: The time that wrong tokens are counted by, in seconds.
        files: The data directory.
        port: Of the same API on 127.0.0.1.
    """

    client: Client
    shelf: Shelf
    live: LiveCalls
    readiness: Readiness
    metrics: Metrics
    people: list[Token]
    posted: list[tuple[str, Event]]
    failures: list[str]
    monotonic: list[float]
    files: OsFiles
    port: int

    def get(self, path: str, *, by: str = "privacy", **query: Any) -> Response:
        """Ask as somebody; nobody if ``by`` is empty."""
        return self.client.get(path, headers=headers(by), params=query)

    def post(self, path: str, body: Any = None, *, by: str = "privacy") -> Response:
        """Do something as somebody."""
        return self.client.post(path, headers=headers(by), json=body)

    def chain(self, event: str = "") -> list[Mapping[str, Any]]:
        """Lines of the audit chain, all or of one event."""
        return [line for line in read_events(self.files) if not event or line["event"] == event]


def headers(by: str) -> dict[str, str]:
    """Whose token a request shows."""
    return {"Authorization": f"Bearer {secret_of(by)}"} if by else {}


class People:
    """The tokens file of a test."""

    def __init__(self, people: list[Token]) -> None:
        self._people = people

    def tokens(self) -> tuple[Token, ...]:
        """All that are let in."""
        return tuple(self._people)


def one_of_each() -> list[Token]:
    """A person for each role, named like it, and a second privacy officer."""
    names = [(role.value, role) for role in Role] + [("second", Role.PRIVACY), ("coach1", Role.OPERATOR)]
    return [Token(name, role, digest_of(secret_of(name))) for name, role in names]


def policy_of(**changes: Any) -> Policy:
    """A policy in which the privacy officer may hear recordings."""
    return parsed(whole(roles={"coach": {"users": ["coach1", "privacy"]}}, **changes))


@contextlib.contextmanager
def stage(
    shelf: Shelf, policy: Policy | None = None, *, console: Path | None = None, index: bool = True
) -> Iterator[Stage]:
    """Serve a made store."""
    files = OsFiles(shelf.data)
    catalogue = Catalogue.open(files, sqlite_url(str(shelf.data / "catalogue.sqlite")))
    chain = Chain(AuditLog(files, load_signing_key(OsFiles(shelf.root), "audit.key"), "rig", _now, "api"))
    live, people = LiveCalls(_now), one_of_each()
    posted: list[tuple[str, Event]] = []
    failures: list[str] = []
    monotonic = [1000.0]
    readiness = Readiness(lambda: None)
    readiness.clear(Unready.STARTING)
    metrics = Metrics("1.0", "rig")
    in_force = policy or policy_of()
    ids = iter(range(1, 1000))
    parts = ApiParts(
        version="1.0",
        files=files,
        catalogue=catalogue,
        chain=chain,
        index=NumberIndex(files, load_root_key(OsFiles(shelf.root), "index.key")) if index else None,
        policy=lambda: in_force,
        live=live,
        readiness=readiness,
        metrics=metrics,
        post=lambda call, event: posted.append((call, event)),
        tokens=People(people),
        now=_now,
        monotonic=lambda: monotonic[0],
        new_id=lambda: f"{next(ids):032x}",
        console=console,
        failed=failures.append,
        recipients=RecipientPlaces(shelf.root / "recipients.txt", None),
    )
    directory = Path(tempfile.mkdtemp())  # the path of a socket may not be long
    listen = ApiListen(unix=directory / "api")
    loopback = bind(ApiListen(address=IpAddress("127.0.0.1"), port=0, plain=True))
    places = [Place(listen, bind(listen), None), Place(ApiListen(), loopback, None)]
    port = int(loopback.getsockname()[1])
    thread = ApiThread(application(parts), places, failures.append)
    thread.start()
    try:
        with Client(
            transport=HTTPTransport(uds=str(listen.unix)), base_url="http://recproxy", timeout=30
        ) as client:
            yield Stage(
                client, shelf, live, readiness, metrics, people, posted, failures, monotonic, files, port
            )
    finally:
        thread.stop()
        chain.close()
        catalogue.close()
        directory.rmdir()


def _now() -> datetime:
    return NOW
