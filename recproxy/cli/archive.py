"""A data directory opened by a command: never created, and only by its owner.

A file that root made in the data directory could not be read by the daemon any
more, so commands refuse to run as anyone but the owner of the directory.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Final

from recproxy.config import Config, load
from recproxy.errors import NoCatalogue, RecproxyError, UsageError
from recproxy.stores import open_catalogue, open_objects
from storage import (
    AuditLog,
    Catalogue,
    CatalogueRow,
    Objects,
    OsFiles,
    Reader,
    Tombstone,
    load_identities,
    load_signing_key,
)
from storage.age import AgeError, Identity, parse_identities
from storage.catalogue import sqlite_engine

__all__ = [
    "Absent",
    "Archive",
    "actor",
    "load_identity_files",
    "open_archive",
    "person",
    "refuse_restricted",
    "user",
]

_STANDARD_INPUT: Final = Path("-")
_LONGEST_IDENTITY_FILE: Final = 1 << 20


class Absent(Enum):
    """What becomes of a catalogue that is not there: refuse, make it, or stand in for it in memory."""

    REFUSED = "refused"
    MADE = "made"
    IN_MEMORY = "in_memory"


@dataclass(frozen=True, slots=True)
class Archive:
    """An opened data directory.

    Attributes:
        config: What names it.
        files: The directory.
        catalogue: Its catalogue.
        objects: Where sealed bodies may be instead; None if they are all in the directory.
    """

    config: Config
    files: OsFiles
    catalogue: Catalogue
    objects: Objects | None = None

    @property
    def reader(self) -> Reader:
        """Reads its recordings."""
        return Reader(self.files, self.catalogue, self.objects)

    def find(self, prefix: str) -> CatalogueRow | Tombstone:
        """A recording, or what remains of it, by the first digits of its id.

        Raises:
            CatalogueError: There is none, or more than one.
        """
        return self.catalogue.find(prefix.strip().lower())

    @contextmanager
    def audit(self, by: str) -> Iterator[AuditLog]:
        """The audit chain, for ``by`` to add to; made durable at the end.

        Raises:
            StorageError: The key or the chain cannot be used.
        """
        key_file = self.config.storage.audit_key
        key = load_signing_key(OsFiles(key_file.parent), key_file.name)
        log = AuditLog(self.files, key, self.config.node, _utcnow, by)
        try:
            yield log
        finally:
            log.close()


@contextmanager
def open_archive(
    config: Path, euid: int | None = None, *, absent: Absent = Absent.REFUSED
) -> Iterator[Archive]:
    """Open the data directory that a configuration names.

    Args:
        config: The configuration file.
        euid: Of the process; None to ask.
        absent: What to do if there is no catalogue.

    Yields:
        It.

    Raises:
        ConfigError: The configuration is wrong.
        NoCatalogue: There is no catalogue, and none is made.
        RecproxyError: The directory belongs to somebody else.
        StorageError: It cannot be opened.
    """
    settings = load(config)
    places = settings.storage
    files = OsFiles(places.directory)
    _check_owner(places.directory, os.geteuid() if euid is None else euid)
    database = places.catalogue_file
    there = database is None or database.exists()
    if not there and absent is Absent.REFUSED:
        raise NoCatalogue(
            f"{database}: no catalogue of recordings",
            hint='check storage.directory; "recproxy run" makes the catalogue when it first starts',
        )
    if there or absent is Absent.MADE:
        catalogue = open_catalogue(places, settings.node, files)
    else:
        catalogue = Catalogue(sqlite_engine("sqlite://"))
    try:
        yield Archive(settings, files, catalogue, open_objects(places))
    finally:
        catalogue.close()


def refuse_restricted(archive: Archive, row: CatalogueRow) -> None:
    """Stop before a recording whose use is restricted (GDPR art. 18).

    Raises:
        RecproxyError: It is.
    """
    restriction = archive.catalogue.holds.restricted(row.tags.recording)
    if restriction is not None:
        raise RecproxyError(
            f"recording {row.tags.recording} is restricted ({restriction.case_ref}, "
            f"{restriction.reason.value}): it is kept and not used",
            hint='see "recproxy subject status"',
        )


def load_identity_files(paths: Sequence[Path]) -> tuple[Identity, ...]:
    """Read private keys that open recordings.

    Args:
        paths: Identity files; ``-`` is standard input, so that the key need not be on this machine.

    Raises:
        UsageError: One of them cannot be read or holds no identity.
        StorageError: Likewise.
    """
    found: list[Identity] = []
    for path in paths:
        if path == _STANDARD_INPUT:
            try:
                text = sys.stdin.buffer.read(_LONGEST_IDENTITY_FILE).decode()
                found += parse_identities(text, "standard input")
            except UnicodeDecodeError as err:
                raise UsageError("standard input: is not text", hint="give an age identity") from err
            except AgeError as err:
                raise UsageError(str(err)) from err
        else:
            found += load_identities(OsFiles(path.absolute().parent), path.name)
    return tuple(found)


def actor() -> str:
    """Who runs this command, for the audit chain: the login name, and who became that by sudo."""
    name = _login(os.getuid())
    # Set by sudo itself; nobody but root and the user who runs this can forge it.
    before = os.environ.get("SUDO_USER", "")
    return f"user:{name}" + (f" by sudo:{before[:64]}" if before and before != name else "")


def person() -> str:
    """The person behind this command: who became this user by sudo, else the login name."""
    return f"user:{os.environ.get('SUDO_USER', '')[:64] or _login(os.getuid())}"


def user() -> str:
    """Name of the person behind this command, as the roles of a policy have it."""
    return person().removeprefix("user:")


def _login(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _check_owner(directory: Path, euid: int) -> None:
    try:
        owner = directory.stat().st_uid
    except FileNotFoundError as err:
        raise NoCatalogue(
            f"{directory}: no such directory", hint="check storage.directory in the configuration"
        ) from err
    if owner != euid:
        raise RecproxyError(
            f"{directory} belongs to {_login(owner)}, this command runs as {_login(euid)}",
            hint=f"run it as {_login(owner)}: sudo -u {_login(owner)} recproxy …",
        )


def _utcnow() -> datetime:
    return datetime.now(UTC)
