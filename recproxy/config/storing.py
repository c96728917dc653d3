"""Where recordings live: the data directory, the catalogue, and what other nodes have to do with them."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NewType
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Meta

from recproxy.config.document import Document

if TYPE_CHECKING:
    from recproxy.config.settings import Config

__all__ = ["BucketConfig", "ClockNeed", "NodeName", "StorageConfig", "check_storage"]

NodeName = NewType("NodeName", str)

_SHORTEST_WAIT: Final = timedelta(seconds=1)
_LONGEST_WAIT: Final = timedelta(seconds=10)
_SQLITE: Final = ("sqlite", "sqlite+pysqlite")
_POSTGRESQL: Final = "postgresql+psycopg"


class BucketConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An S3 bucket that sealed bodies are moved to.

    Attributes:
        name: Of the bucket.
        region: As the store calls it.
        endpoint: URL of the store; empty for Amazon's own.
        prefix: Before each key, with a slash at its end; empty for none.
        credentials_file: Two lines: id of the access key, and its secret; mode 0600.
        authorities: PEM file of the certification authorities that the store is checked
            against; None for the usual ones.
    """

    name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
            description="3 to 63 lower-case letters, digits, dots and hyphens",
        ),
    ]
    region: Annotated[
        str, Meta(pattern=r"^[a-z0-9-]{1,32}$", description="up to 32 lower-case letters, digits and hyphens")
    ] = "us-east-1"
    endpoint: str = ""
    prefix: Annotated[
        str,
        Meta(
            pattern=r"^(?:[A-Za-z0-9._-]+/)*$", description="letters, digits and ._- with a slash at the end"
        ),
    ] = ""
    credentials_file: Path
    authorities: Path | None = None


class ClockNeed(Enum):
    """By which clock something may be recorded."""

    ANY = "any"
    SYNCHRONISED = "synchronised"  # by chrony, ntpd …; else it is as if the recorder were down


class StorageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where recordings live.

    Attributes:
        directory: Holds ``recordings/``, ``keys/``, ``wal/``, the catalogue and the audit log.
        recipients: File of age recipients (public keys), one a line.
        audit_key: File with the Ed25519 key that signs the audit log.
        index_key: File with the key of the number index; None for no index: then a
            person's recordings are found by date, time and line only.
        epochs: Directory of the public keys of epochs, ``<key group>/<epoch>.recipient``; None
            for none. Needed where ``key_groups`` of the policy declares an ``epoch``.
        catalogue: SQLAlchemy URL; empty for SQLite in ``directory``. PostgreSQL is shared by all
            nodes that name it.
        catalogue_password_file: Holds the password for PostgreSQL, alone on its first line; mode
            0600. None if the server asks for none.
        catalogue_timeout: How long ``recproxy run`` waits for PostgreSQL; the thread that records
            stands still meanwhile, once, since nobody is asked who did not answer.
        former_nodes: Names of nodes whose data directory was moved into this one.
        bucket: Where ``recproxy upload`` moves sealed bodies; None if they stay in ``directory``.
        sync_interval_ms: Milliseconds between two syncs of the write-ahead log: what a
            power failure can cost.
        clock: By which clock something may be recorded.
    """

    directory: Path
    recipients: Path
    audit_key: Path
    index_key: Path | None = None
    epochs: Path | None = None
    catalogue: str = ""
    catalogue_password_file: Path | None = None
    catalogue_timeout: timedelta = timedelta(seconds=2)
    former_nodes: tuple[NodeName, ...] = ()
    bucket: BucketConfig | None = None
    sync_interval_ms: Annotated[
        int, Meta(ge=50, le=600, description="a whole number of milliseconds from 50 to 600")
    ] = 400
    clock: ClockNeed = ClockNeed.ANY

    @property
    def catalogue_url(self) -> str:
        """URL of the catalogue, the default filled in."""
        return self.catalogue or f"sqlite:///{self.directory / 'catalogue.sqlite'}"

    @property
    def catalogue_file(self) -> Path | None:
        """The file that holds the catalogue; None if a server does."""
        scheme, _, rest = self.catalogue_url.partition(":///")
        return Path(rest) if scheme in _SQLITE else None

    def nodes(self, name: NodeName) -> tuple[NodeName, ...] | None:
        """Nodes whose recordings are in the data directory of ``name``; None if all recordings are."""
        return (name, *self.former_nodes) if self.catalogue_file is None else None


def check_storage(config: Config, document: Document) -> None:
    """Note what only shows when the keys are put together."""
    places = config.storage
    for problem in _url_problems(places.catalogue):
        document.note(("storage", "catalogue"), problem)
    if places.catalogue_file is not None:
        for name, value in (
            ("catalogue_password_file", places.catalogue_password_file),
            ("former_nodes", places.former_nodes),
        ):
            if value:
                document.note(("storage", name), "is for a catalogue in PostgreSQL; take it out")
    if not _SHORTEST_WAIT <= places.catalogue_timeout <= _LONGEST_WAIT:
        document.note(("storage", "catalogue_timeout"), "is not from PT1S to PT10S")
    for at, node in enumerate(places.former_nodes):
        if node == config.node or node in places.former_nodes[:at]:
            document.note(("storage", "former_nodes", at), f"{node} a second time; take it out")
    if places.bucket is not None and places.bucket.endpoint:
        for problem in _endpoint_problems(places.bucket.endpoint):
            document.note(("storage", "bucket", "endpoint"), problem)


def _url_problems(url: str) -> list[str]:
    """What is wrong with the URL of a catalogue; it is not shown, since it may hold a password."""
    if not url:
        return []
    try:
        parts = urlsplit(url)
        words = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
        password = parts.password
    except ValueError:
        return ["is no URL such as postgresql+psycopg://recproxy@/recproxy?host=/run/postgresql"]
    if password is not None or "password" in words:
        return ["holds a password, which is not for this file; give catalogue_password_file"]
    if parts.scheme in _SQLITE:
        return [] if parts.path.startswith("//") else ["is not sqlite:/// and an absolute path"]
    if parts.scheme != _POSTGRESQL:
        return [f"is for {parts.scheme or 'no database'}; write sqlite:///… or {_POSTGRESQL}://…"]
    if not parts.path.strip("/"):
        return ["names no database: postgresql+psycopg://ROLE@HOST/DATABASE"]
    return []


def _endpoint_problems(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        host, port_is_right, parts = "", False, urlsplit("")
    if not host or not port_is_right or parts.path.strip("/") or parts.query or parts.username:
        return ["is no URL such as https://s3.example or https://s3.example:9000"]
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)):
        return []
    return ["is not https://, which all but a loopback address needs"]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
