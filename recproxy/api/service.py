"""The API as the daemon knows it: built from the configuration, told of calls, started and stopped."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import recproxy
from recproxy.api.application import application
from recproxy.api.live import LiveCalls
from recproxy.api.parts import ApiParts, Chain
from recproxy.api.readiness import Readiness, Unready
from recproxy.api.server import ApiThread, Place, bind, read_certificate, tls_context
from recproxy.api.tokenfile import TokenFile
from recproxy.call.commands import Note
from recproxy.call.events import Event
from recproxy.certificates import KeyPair
from recproxy.config import ApiConfig
from recproxy.metrics import KeptFigures, Metrics, StoreFigures
from recproxy.policy import Policy
from recproxy.transcribing import RecipientPlaces
from storage import AuditLog, Catalogue, CatalogueError, Files, NumberIndex, Objects, State

__all__ = ["ApiService", "Outside"]

_CONSOLE: Final = Path(recproxy.__file__).parent / "console" / "static"


@dataclass(frozen=True, slots=True)
class Outside:
    """What the daemon lends to the API.

    Attributes:
        node: Name of this machine.
        files: The data directory.
        catalogue: Its catalogue.
        audit_key: Signs the audit chain.
        index: Finds recordings by number; None if there is no key for it.
        policy: Gives the policy in force.
        post: Hands an event to a call.
        recorder_fault: Why nothing can be recorded at present; None if it can.
        keys_until: When the keys of each key group that changes its key pair run out, asked of an instant.
        sync_age_s: Seconds since the write-ahead log was last synced.
        failed: Told of what goes wrong; any thread.
        recipients: Whom a transcript is encrypted to.
        objects: Where sealed bodies may be instead; None if they are all in the data directory.
    """

    node: str
    files: Files
    catalogue: Catalogue
    audit_key: Ed25519PrivateKey
    index: NumberIndex | None
    policy: Callable[[], Policy]
    post: Callable[[str, Event], None]
    recorder_fault: Callable[[], str | None]
    keys_until: Callable[[datetime], Mapping[str, datetime]]
    sync_age_s: Callable[[], float]
    failed: Callable[[str], None]
    recipients: RecipientPlaces
    objects: Objects | None = None


class ApiService:
    """Built before the daemon is ready, so that a wrong configuration ends it; started after.

    Args:
        config: The section ``api``.
        outside: What the daemon lends.

    Raises:
        ConfigError: The tokens or a certificate cannot be used.
    """

    def __init__(self, config: ApiConfig, outside: Outside) -> None:
        if config.tokens is None:
            raise ValueError("an API without tokens")
        self._outside = outside
        self._contexts = [(listen, tls_context(listen)) for listen in config.listen]
        tokens = TokenFile(config.tokens, outside.failed)
        tokens.check()
        self._live = LiveCalls(_utcnow)
        self.readiness = Readiness(outside.recorder_fault)
        self._metrics = Metrics(version("recproxy"), outside.node)
        self._metrics.read_store(self._figures)
        self._chain = Chain(AuditLog(outside.files, outside.audit_key, outside.node, _utcnow, "api"))
        self._app = application(
            ApiParts(
                version=version("recproxy"),
                files=outside.files,
                catalogue=outside.catalogue,
                chain=self._chain,
                index=outside.index,
                policy=outside.policy,
                live=self._live,
                readiness=self.readiness,
                metrics=self._metrics,
                post=outside.post,
                tokens=tokens,
                now=_utcnow,
                monotonic=time.monotonic,
                new_id=lambda: secrets.token_hex(16),
                console=_CONSOLE if _CONSOLE.is_dir() else None,
                failed=outside.failed,
                recipients=outside.recipients,
                objects=outside.objects,
            )
        )
        self._thread: ApiThread | None = None

    def start(self) -> tuple[str, ...]:
        """Serve wherever a socket can be bound; what cannot be is told and left out.

        Returns:
            Where it listens.
        """
        places: list[Place] = []
        for listen, context in self._contexts:
            try:
                places.append(Place(listen, bind(listen), context))
            except OSError as err:
                self._outside.failed(f"{listen}: {err.strerror or err}")
        if places:
            self._thread = ApiThread(self._app, places, self._outside.failed)
            self._thread.start()
        return tuple(str(place.listen) for place in places)

    def stop(self) -> None:
        """End it; the last line of the audit chain is signed."""
        if self._thread is not None:
            self._thread.stop()
        self._chain.close()

    def read_certificates(self) -> tuple[KeyPair | None, ...]:
        """Read the certificate of each socket anew; any thread, and nothing is taken over.

        Raises:
            ConfigError: One of them cannot be used.
        """
        return tuple(read_certificate(listen) for listen, _ in self._contexts)

    def renew(self, pairs: Sequence[KeyPair | None]) -> tuple[str, ...]:
        """Show these certificates to whoever connects from now on; connections that stand keep theirs.

        Args:
            pairs: As ``read_certificates`` gave them.

        Returns:
            The sockets whose certificate is another one.
        """
        return tuple(
            f"api:{listen.address}:{listen.port}"
            for (listen, context), pair in zip(self._contexts, pairs, strict=True)
            if context is not None and pair is not None and context.renew(pair)
        )

    def posted(self, call: str, event: Event) -> None:
        """An event is handed to a call; any thread."""
        self._live.posted(call, event)

    def noted(self, call: str, note: Note) -> None:
        """Something is told to the event log; any thread."""
        self._live.noted(call, note)
        self._metrics.noted(note.event, dict(note.fields))

    def ready(self) -> None:
        """Calls may come, from now on or again."""
        self.readiness.clear(Unready.STARTING, Unready.POLICY_REJECTED, Unready.CONFIG_REJECTED)

    def draining(self) -> None:
        """No new calls come, until the end."""
        self.readiness.set(Unready.DRAINING, "recproxy is being stopped")

    def rejected(self, event: str) -> None:
        """A reload was refused; what was in force stays."""
        reason = Unready.CONFIG_REJECTED if event == "config.rejected" else Unready.POLICY_REJECTED
        self.readiness.set(reason, "the last reload was refused; the event log says why")
        self._metrics.noted(event, {})

    def _figures(self) -> StoreFigures:
        now = _utcnow()
        return StoreFigures(
            ready=not self.readiness.reasons(),
            active_calls=len(self._live.all()),
            free_bytes=self._outside.files.free_bytes(),
            sync_age_s=self._outside.sync_age_s(),
            kept=self._kept(now),
            keys_left_s={
                group: (until - now).total_seconds() for group, until in self._outside.keys_until(now).items()
            },
        )

    def _kept(self, now: datetime) -> KeptFigures | None:
        """What the catalogue says; None if it cannot be asked: whoever scrapes is told that, and the rest."""
        catalogue = self._outside.catalogue
        try:
            overdue = catalogue.overdue(now)
            late = timedelta(0) if overdue.oldest is None else now - overdue.oldest
            gone = (State.SHREDDED, State.SHRED_COMPLETE)
            return KeptFigures(
                open=catalogue.count(State.OPEN, own=True),
                sealed=catalogue.count(State.SEALED, own=True),
                held=catalogue.held(),
                shredded=sum(catalogue.count(state, own=True) for state in gone),
                overdue=overdue.recordings,
                oldest_overdue_s=late.total_seconds(),
            )
        except CatalogueError:
            return None


def _utcnow() -> datetime:
    return datetime.now(UTC)
