"""What earlier versions wrote, brought to the form of this one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn

from storage.catalogue.schema import METADATA, TOMBSTONES
from storage.durable import sync_directories
from storage.files import Files
from storage.places import KEYS_DIRECTORY, header_path
from storage.tags import RecordingId

__all__ = [
    "add_missing_columns",
    "headers_of_earlier_form",
    "key_tombstones_by_purpose",
    "name_headers_by_purpose",
]

_OLD: Final = "tombstones_by_recording"
_OLD_HEADER: Final = re.compile(r"[0-9a-f]{32}\Z")


def add_missing_columns(connection: sa.Connection) -> None:
    """Give tables of an earlier version the columns and indexes they lack; each column has a default."""
    inspector = sa.inspect(connection)
    for table in METADATA.sorted_tables:
        if not inspector.has_table(table.name):
            continue
        there = {column["name"]: column["type"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name in there:
                _widen(connection, column, there[column.name])
            else:
                written = CreateColumn(column).compile(dialect=connection.dialect)
                connection.execute(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {written}"))
        for index in table.indexes:
            index.create(connection, checkfirst=True)


def _widen(connection: sa.Connection, column: sa.Column[Any], found: object) -> None:
    """Give a text column the room that it has now; SQLite never bounds it."""
    wanted = column.type.length if isinstance(column.type, sa.String) else None
    had = found.length if isinstance(found, sa.String) else None
    if connection.dialect.name != "sqlite" and wanted and had and had < wanted:
        connection.execute(
            sa.text(f"ALTER TABLE {column.table.name} ALTER COLUMN {column.name} TYPE VARCHAR({wanted})")
        )


def key_tombstones_by_purpose(connection: sa.Connection) -> None:
    """Let a recording have a tombstone for each of its purposes; nothing to do in a new catalogue."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(TOMBSTONES.name):
        return
    if "purpose" in inspector.get_pk_constraint(TOMBSTONES.name)["constrained_columns"]:
        return
    there = {column["name"] for column in inspector.get_columns(TOMBSTONES.name)}
    for index in TOMBSTONES.indexes:
        index.drop(connection, checkfirst=True)
    connection.execute(sa.text(f"ALTER TABLE {TOMBSTONES.name} RENAME TO {_OLD}"))
    TOMBSTONES.create(connection)
    names = ", ".join(column.name for column in TOMBSTONES.columns if column.name in there)
    connection.execute(sa.text(f"INSERT INTO {TOMBSTONES.name} ({names}) SELECT {names} FROM {_OLD}"))  # noqa: S608  -- names of ours
    connection.execute(sa.text(f"DROP TABLE {_OLD}"))


def headers_of_earlier_form(files: Files) -> tuple[RecordingId, ...]:
    """Recordings whose header has no purpose in its name."""
    return tuple(RecordingId(name) for name in files.names(KEYS_DIRECTORY) if _OLD_HEADER.match(name))


def name_headers_by_purpose(files: Files, purposes: Mapping[RecordingId, str]) -> None:
    """Rename headers ``keys/<id>`` to ``keys/<id>.<purpose>``; may be repeated.

    Args:
        files: The data directory.
        purposes: The purpose of each; it had one only.

    Raises:
        FileFault: Some are not renamed; repeat.
    """
    renamed = []
    for recording, purpose in purposes.items():
        files.rename(f"{KEYS_DIRECTORY}/{recording}", header_path(recording, purpose))
        renamed.append(header_path(recording, purpose))
    for fault in sync_directories(files, renamed).values():
        raise fault
